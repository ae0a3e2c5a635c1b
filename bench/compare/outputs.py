"""The files that a comparison leaves: pages, tables for machines, LaTeX, verdicts, the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.compare.blocks import Section, Topic, topics
from bench.compare.claims.page import claims_page, counted
from bench.compare.claims.verdicts import Judgement
from bench.compare.frame import joined
from bench.compare.grids import TRAJECTORY, copy_grids, find_grids
from bench.compare.latex import latex_page
from bench.compare.markdown import page
from bench.compare.recommend import recommendation
from bench.compare.report.page import Report, write_report
from bench.compare.report.plots import figures
from bench.compare.report.sections import Part
from bench.compare.terminal import make_console, show, show_files
from bench.files import write_atomically

REPORT = Path("report") / "index.html"
"""The report, below the folder of the pages."""

Pages = Mapping[str, Sequence[Section]]
"""The comparisons of every page, by its name."""

Found = Sequence[tuple[Section, tuple[Topic, ...]]]
"""Comparisons, each with what stands on its page."""


def write_all(
    pages: Pages, judgements: Sequence[Judgement], out: Path, command: str, *, report: bool
) -> list[Path]:
    """Write everything and print the tables.

    Args:
        pages: the comparisons of every page, by its name.
        judgements: verdicts on claims.
        out: folder of the pages.
        command: the command line, for the pages.
        report: whether to write the report as well.

    Returns:
        The files.
    """
    out.mkdir(parents=True, exist_ok=True)
    files, found = [], []
    for title, sections in pages.items():
        with_topics = [(section, tuple(topics(section))) for section in sections]
        files += write_page(title, with_topics, out, command)
        found += with_topics
    measured = any(judgement.verdict != "not measured" for judgement in judgements)
    if measured:
        files.append(write_claims(judgements, out, command))
    if report:
        file = out / REPORT
        shown = Report(headline(found), parts(found), judgements if measured else (), command)
        write_report(shown, file)
        show_files(make_console(), [file])
        files.append(file)
    return files


def write_page(title: str, found: Found, out: Path, command: str) -> list[Path]:
    """Write a page, its pictures, its CSV and its LaTeX, and print its tables."""
    sections = [section for section, _ in found]
    comparisons = [section.comparison for section in sections]
    for section in sections:
        copy_grids(section.grids, out)
    text, numbers, latex = (out / f"{title}.{suffix}" for suffix in ("md", "csv", "tex"))
    write_atomically(text, page(title, sections, command))
    write_atomically(numbers, joined(comparisons).to_csv(index=False, float_format="%.8g"))
    chapters = [(section.heading, shown) for section, shown in found]
    write_atomically(latex, latex_page(title, chapters, command))
    console = make_console()
    for comparison in comparisons:
        show(console, comparison)
    show_files(console, (text, numbers, latex))
    return [text, numbers, latex]


def write_claims(judgements: Sequence[Judgement], out: Path, command: str) -> Path:
    """Write the page of verdicts and say what they come to."""
    file = out / "claims.md"
    write_atomically(file, claims_page(judgements, command))
    console = make_console()
    console.print(counted(judgements))
    show_files(console, [file])
    return file


def headline(found: Found) -> list[str]:
    """The answer: what to take for each data set, a paragraph each."""
    answers = [" ".join(recommendation(section.comparison)) for section, _ in found]
    return [answer for answer in answers if answer]


def parts(found: Found) -> list[Part]:
    """The comparisons as the report shows them."""
    made = []
    for section, shown in found:
        c = section.comparison
        trajectories = find_grids(c, c.runs, c.dataset, kind=TRAJECTORY)
        made.append(Part(c.title, c, shown, figures(c), trajectories))
    return made
