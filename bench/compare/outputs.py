"""The files that a comparison writes: pages, CSV, LaTeX, verdicts, the report."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from bench.compare.claims.verdicts import Judgement
from bench.compare.comparison import Comparison, comparable
from bench.compare.topics.headline import headline
from bench.compare.topics.page import Section
from bench.compare.topics.pictures import TRAJECTORY, copy_grids, find_grids
from bench.compare.topics.recommendation import answer, recommendation
from bench.compare.writers.claims import claims_page, claims_table, counted
from bench.compare.writers.csv import frame_csv, joined, table_csv
from bench.compare.writers.html.charts import figures
from bench.compare.writers.html.page import document
from bench.compare.writers.html.section import Part
from bench.compare.writers.latex import NamedTable, latex_page, named_tables
from bench.compare.writers.markdown import page
from bench.compare.writers.terminal import make_console, show, show_files, show_headline
from bench.runtime.atomic_files import write_atomically
from bench.runtime.printing import words

REPORT = Path("report") / "index.html"
"""Path of the report, relative to the folder of the pages."""

CLAIMS = "claims"
"""Name of the page of verdicts; reserved."""

FEW_PICTURES = 8
"""Largest number of pictures whose paths are printed one by one."""

Pages = Mapping[str, Sequence[Section]]
"""The comparisons of every page, by its name."""


def write_all(
    pages: Pages, judgements: Sequence[Judgement], out: Path, command: str, *, report: bool
) -> list[Path]:
    """Build all files, write them, then print the tables, the headlines and the paths.

    Args:
        pages: the comparisons of every page, by its name.
        judgements: verdicts on claims.
        out: folder of the pages.
        command: the command line, for the pages.
        report: whether to write the report as well.

    Returns:
        Paths of the files written, pictures included.
    """
    without = ("not measured", "not decided by measurement")  # of which runs say nothing
    measured = any(judgement.verdict not in without for judgement in judgements)
    texts = {title: page_texts(title, sections, command) for title, sections in pages.items()}
    claims = claims_texts(judgements, command) if measured else {}
    html = report_text(pages, judgements if measured else (), command) if report else None
    files, pictures = [], []
    for title, sections in pages.items():
        files += _write(texts[title], out)
        for section in sections:
            pictures += copy_grids(section.grids, out)
    files += _write(claims, out)
    files += _write({} if html is None else {REPORT: html}, out)
    with words():
        console = make_console()
        for sections in pages.values():
            for section in sections:
                show(console, section.comparison)
        if claims:
            console.print(counted(judgements))
        for sections in pages.values():
            for section in sections:
                show_headline(console, section.comparison)
        show_files(console, files)
        show_files(console, _few(pictures))
    return [*files, *pictures]


def _few(pictures: Sequence[Path]) -> list[Path]:
    """The pictures or, if there are more than `FEW_PICTURES`, their folders."""
    if len(pictures) <= FEW_PICTURES:
        return list(pictures)
    return [folder / "*.png" for folder in dict.fromkeys(file.parent for file in pictures)]


def page_texts(title: str, sections: Sequence[Section], command: str) -> dict[Path, str]:
    """The files of a page, by path: Markdown, CSV and LaTeX."""
    numbers = joined([section.comparison for section in sections])
    return {
        Path(f"{title}.md"): page(title, sections, command),
        Path(f"{title}.csv"): frame_csv(numbers),
        Path(f"{title}.tex"): latex_page(named_tables(title, sections), command),
    }


def claims_texts(judgements: Sequence[Judgement], command: str) -> dict[Path, str]:
    """The files of the verdicts, by path: Markdown, CSV and LaTeX."""
    table = claims_table(judgements)
    return {
        Path(f"{CLAIMS}.md"): claims_page(judgements, command),
        Path(f"{CLAIMS}.csv"): table_csv(table),
        Path(f"{CLAIMS}.tex"): latex_page([NamedTable(table, "Claims", CLAIMS)], command),
    }


def report_text(pages: Pages, judgements: Sequence[Judgement], command: str) -> str:
    """The report as HTML."""
    sections = [section for of_page in pages.values() for section in of_page]
    answers = [text for section in sections for text in _answers(section.comparison)]
    parts = [_part(section) for section in sections]
    return document(answers, parts, judgements, command)


def _answers(comparison: Comparison) -> list[str]:
    """The headline, unless it is a part of the recommendation, and the recommendation."""
    first, whole = headline(comparison), recommendation(comparison)
    short = [] if first == answer(comparison) else [first]
    return [" ".join(sentences) for sentences in (*short, whole) if sentences]


def _part(section: Section) -> Part:
    """A comparison as part of the report."""
    c = section.comparison
    trajectories = find_grids(c, c.runs, c.dataset, kind=TRAJECTORY)
    return Part(c.title, c, section.topics, figures(comparable(c)), trajectories)


def _write(texts: Mapping[Path, str], out: Path) -> list[Path]:
    """Write files below a folder.

    Raises:
        OSError: a file cannot be written.
    """
    for name, text in texts.items():
        try:
            write_atomically(out / name, text)
        except OSError as error:
            if error.errno is None:  # already a complete sentence
                raise
            raise OSError(
                f"{out / name} cannot be written ({os.strerror(error.errno)}): name another "
                "folder with --out"
            ) from error
    return [out / name for name in texts]
