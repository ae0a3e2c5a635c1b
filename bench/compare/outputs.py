"""The files that a comparison writes: pages, CSV, LaTeX, verdicts, the report."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from bench.compare.claims.verdicts import Judgement
from bench.compare.comparison import comparable
from bench.compare.map.again import runs_again
from bench.compare.map.grid import Map, make_map
from bench.compare.map.sentences import Headline
from bench.compare.map.sentences import headline as map_headline
from bench.compare.topics.headline import headline
from bench.compare.topics.page import Section
from bench.compare.topics.pictures import TRAJECTORY, Grid, copy_grids, find_grids
from bench.compare.topics.recommendation import recommendation
from bench.compare.topics.side_by_side import side_by_side
from bench.compare.writers.claims import claims_page, claims_table, counted
from bench.compare.writers.csv import frame_csv, joined, table_csv
from bench.compare.writers.html.charts import figures
from bench.compare.writers.html.page import document
from bench.compare.writers.html.section import Part
from bench.compare.writers.latex import NamedTable, latex_page, named_tables
from bench.compare.writers.map import NAME as MAP
from bench.compare.writers.map import map_csv, map_page, map_svg
from bench.compare.writers.markdown import page
from bench.compare.writers.terminal import make_console, show, show_files, show_headline
from bench.runtime.atomic_files import write_atomically
from bench.runtime.printing import printable, words

REPORT = Path("report") / "index.html"
"""Path of the report, relative to the folder of the pages."""

CLAIMS = "claims"
"""Name of the page of verdicts; reserved."""

FEW_PICTURES = 8
"""Largest number of pictures whose paths are printed one by one."""

Pages = Mapping[str, Sequence[Section]]
"""The comparisons of every page, by its name."""

Maps = tuple[Map, Map | None]
"""The map of the families' flagships, and that of the documents' plain models."""


@dataclass(frozen=True)
class Outputs:
    """All that a comparison writes, made before the first file is written.

    Attributes:
        pages: for every page its files by path, and its pictures.
        claims: the files of the verdicts by path; empty if no claim was measured.
        map: the files of the map by path; empty without one, or if it has a single row and was
            not asked for.
        no_map: why there is no map, as a sentence; empty if there is one.
        html: the report; None without one.
    """

    pages: Sequence[tuple[Mapping[Path, str], Sequence[Grid]]]
    claims: Mapping[Path, str]
    map: Mapping[Path, str]
    no_map: str
    html: str | None


def write_all(
    pages: Pages,
    judgements: Sequence[Judgement],
    out: Path,
    command: str,
    *,
    report: bool,
    asked: bool = False,
) -> list[Path]:
    """Build all files, write them, then print the tables, the headlines and the paths.

    Args:
        pages: the comparisons of every page, by its name.
        judgements: verdicts on all claims that are declared.
        out: folder of the pages.
        command: the command line, for the pages.
        report: whether to write the report as well.
        asked: whether the map was asked for: then one of a single row has files as well, one of a
            single cell is in the report, and it is said why there is none.

    Returns:
        Paths of the files written, pictures included.
    """
    outputs = build(pages, judgements, command, report=report, asked=asked)
    files, pictures = write_tables(outputs, out)
    files += _write({} if outputs.html is None else {REPORT: outputs.html}, out)
    with words():
        console = make_console()
        for sections in pages.values():
            for section in sections:
                show(console, section.comparison)
        if outputs.claims:
            console.print(counted(judgements))
        for sections in pages.values():
            for section in sections:
                show_headline(console, section.comparison)
        show_files(console, files)
        show_files(console, _few(pictures))
        if asked and outputs.no_map:
            console.print(printable(outputs.no_map), markup=False, highlight=False)
    return [*files, *pictures]


def build(
    pages: Pages,
    judgements: Sequence[Judgement],
    command: str,
    *,
    report: bool = True,
    watched: bool = False,
    asked: bool = False,
) -> Outputs:
    """Everything that is written; arguments are those of `write_all` and of `document`."""
    measured = any(j.addressed and not j.claim.undecidable for j in judgements)
    texts = {title: page_texts(title, sections, command) for title, sections in pages.items()}
    claims = claims_texts(judgements, command) if measured else {}
    mapped = maps(pages)
    html = None
    if report:
        shown = judgements if measured else ()
        html = report_text(pages, shown, command, mapped, asked=asked, watched=watched)
    grids = {
        title: [grid for section in sections for grid in section.grids]
        for title, sections in pages.items()
    }
    of_pages = [(texts[title], grids[title]) for title in pages]
    files = map_texts(mapped, command, least=1 if asked else 2)
    return Outputs(of_pages, claims, files, _no_map(mapped), html)


def write_tables(outputs: Outputs, out: Path) -> tuple[list[Path], list[Path]]:
    """Write everything but the report: the files, and the pictures.

    Raises:
        OSError: a file cannot be written.
    """
    files, pictures = [], []
    for texts, grids in outputs.pages:
        files += _write(texts, out)
        pictures += copy_grids(grids, out)
    return files + _write(outputs.map, out) + _write(outputs.claims, out), pictures


def write_report(html: str, out: Path) -> Path:
    """Replace the report by this one; a reader sees the old file or the new one.

    Raises:
        OSError: it cannot be written.
    """
    (file,) = _write({REPORT: html}, out)
    return file


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


def maps(pages: Pages) -> Maps:
    """The map of all comparisons, and that of the documents' plain models; None if it is no other.

    The first one may compare nothing.
    """
    comparisons = [section.comparison for sections in pages.values() for section in sections]
    made, plain = make_map(comparisons), make_map(comparisons, "plain")
    other = plain.compared and plain.stands != made.stands
    return made, plain if other else None


def rows_of(made: Map) -> int:
    """The number of rows of a map: one of a single row says what learning curves say."""
    return sum(len(panel.rows) for panel in made.panels)


def cells_of(made: Map) -> int:
    """The number of cells of a map: a single one says no more than the answer of its runs."""
    return sum(len(panel.rows) * len(panel.columns) for panel in made.panels)


def _no_map(mapped: Maps) -> str:
    """Why there is no map; empty if there is one."""
    if mapped[0].compared:
        return ""
    why = " ".join(mapped[0].skipped)
    return f"No map: it takes models of two families with a result at one budget. {why}".strip()


def map_texts(mapped: Maps, command: str, *, least: int) -> dict[Path, str]:
    """The files of the map, by path: Markdown, picture and CSV; empty if it has too few rows."""
    made, plain = mapped
    if not made.compared or rows_of(made) < least:
        return {}
    return {
        Path(f"{MAP}.md"): map_page(made, plain, command),
        Path(f"{MAP}.svg"): map_svg(made),
        Path(f"{MAP}.csv"): frame_csv(map_csv(made, plain)),
    }


def report_text(
    pages: Pages,
    judgements: Sequence[Judgement],
    command: str,
    mapped: Maps,
    *,
    asked: bool = False,
    watched: bool = False,
) -> str:
    """The report as HTML; arguments are those of `write_all`, `map_texts` and `document`."""
    parts = [_part(section) for of_page in pages.values() for section in of_page]
    compared = [each for each in mapped if each is not None and each.compared]
    made = [each for each in compared if asked or cells_of(each) > 1]
    again = [each.command for each in runs_again(made[0])] if made else []
    if made and rows_of(made[0]) > 1 and (found := map_headline(made[0])):
        parts = [
            _led(part, found) if part.comparison is found.row.comparison else part for part in parts
        ]
    return document(parts, judgements, command, watched=watched, maps=made, map_commands=again)


def _led(part: Part, found: Headline) -> Part:
    """The part that a map's answer is about, with which the report begins."""
    own = [sentence for sentence in part.headline if sentence not in found.said]
    return replace(
        part,
        headline=found.said,
        settled=found.settled,
        more=[*own, *part.more],
        strip=side_by_side(part.comparison, found.stands),
        leads=True,
    )


def _part(section: Section) -> Part:
    """A comparison as part of the report."""
    c = section.comparison
    said = headline(c)
    return Part(
        title=c.title,
        comparison=c,
        topics=section.topics,
        figures=figures(comparable(c)),
        trajectories=find_grids(c, c.runs, c.dataset, kind=TRAJECTORY),
        headline=said,
        more=[sentence for sentence in recommendation(c) if sentence not in said],
        strip=side_by_side(c),
    )


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
