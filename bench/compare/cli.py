"""Command line of the comparison: reads runs, writes tables, prints them."""

import argparse
import re
import shlex
import sys
from collections.abc import Collection, Sequence
from pathlib import Path

from bench.compare.claims.declaration import read_claims
from bench.compare.claims.page import claims_page, counted
from bench.compare.claims.verdicts import Judgement, judge
from bench.compare.frame import joined
from bench.compare.grids import copy_grids, find_grids
from bench.compare.markdown import Section, page
from bench.compare.protocols import check_fields, split_runs, split_title
from bench.compare.read import Run, read_runs
from bench.compare.statistics import compare_runs
from bench.compare.terminal import make_console, show, show_files
from bench.files import write_atomically

EPILOG = """\
examples:
  python -m bench.compare                                      every run below results/runs
  python -m bench.compare results/runs/digits                  one data set
  python -m bench.compare results/runs/digits/dcgan/*/seed=0 … exactly these runs
  python -m bench.compare --allow-mixed budget                 one table for each budget
  python -m bench.compare results/runs/{ring8,grid25} --page modes
                                                               two data sets on modes.md
"""

PAGE_NAME = re.compile(r"[\w-]+")
"""What --page takes: no folder, no suffix."""


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m bench.compare`."""
    made = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Tabulate finished runs, mean ± std over seeds, one page per data set.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument(
        "runs",
        nargs="*",
        type=Path,
        default=[Path("results/runs")],
        help="run directories, or folders searched for them (default: results/runs)",
    )
    made.add_argument(
        "--out",
        type=Path,
        default=Path("results"),
        help="folder for <dataset>.md and <dataset>.csv (default: results)",
    )
    made.add_argument(
        "--allow-mixed",
        metavar="FIELD",
        action="append",
        default=[],
        help="where runs differ in this protocol field, make one table for each of its values "
        "instead of refusing; may be repeated",
    )
    made.add_argument(
        "--page",
        metavar="NAME",
        help="write one NAME.md and NAME.csv with all data sets",
    )
    return made


def main(arguments: Sequence[str]) -> int:
    """Compare runs.

    Returns:
        The exit code: 2, after one sentence on standard error, if there is nothing to compare or
        the runs must not share a table.
    """
    options = parser().parse_args(arguments)
    command = shlex.join(["python", "-m", "bench.compare", *arguments])
    try:
        compare(options.runs, options.out, command, mixed=options.allow_mixed, name=options.page)
    except (ValueError, OSError) as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        return 2
    return 0


def compare(
    paths: Sequence[Path],
    out: Path,
    command: str,
    *,
    mixed: Collection[str] = (),
    name: str | None = None,
) -> None:
    """Read runs, write pages with their sample grids and CSVs, print the tables.

    Nothing is written unless every data set can be.

    Args:
        paths: run directories, or folders searched for them.
        out: folder of the pages.
        command: the command line, for the pages.
        mixed: protocol fields that split a data set's tables where runs differ in them.
        name: of the one page for all data sets; None for a page each.

    Raises:
        ValueError: there is no run, a file is damaged, or two protocols meet.
    """
    check_fields(mixed)
    if name is not None and not PAGE_NAME.fullmatch(name):
        raise ValueError(f"--page {name!r} must be a file name of letters, digits, '-' and '_'")
    by_dataset: dict[str, list[Run]] = {}
    for run in read_runs(paths):
        by_dataset.setdefault(run.dataset, []).append(run)
    pages: dict[str, list[Section]] = {}
    for dataset, runs in sorted(by_dataset.items()):
        sections = make_sections(runs, mixed, folder=name or dataset, one_data_set=name is None)
        pages.setdefault(name or dataset, []).extend(sections)
    comparisons = [section.comparison for sections in pages.values() for section in sections]
    judgements = judge(read_claims(), comparisons)
    out.mkdir(parents=True, exist_ok=True)
    for title, sections in pages.items():
        write(title, sections, out, command)
    write_claims(judgements, out, command)


def make_sections(
    runs: Sequence[Run], mixed: Collection[str], *, folder: str, one_data_set: bool
) -> list[Section]:
    """The comparisons of one data set with their pictures, whose folder is below the pages'."""
    sections = []
    for values, group in split_runs(runs, mixed):
        comparison = compare_runs(group, values)
        grids = find_grids(comparison, group, folder, one_data_set=one_data_set)
        heading = split_title(values) if one_data_set else comparison.title
        sections.append(Section(comparison, grids, heading))
    return sections


def write_claims(judgements: Sequence[Judgement], out: Path, command: str) -> None:
    """Write the page of verdicts and say what they come to; nothing where no claim was measured."""
    if all(judgement.verdict == "not measured" for judgement in judgements):
        return
    file = out / "claims.md"
    write_atomically(file, claims_page(judgements, command))
    console = make_console()
    console.print(counted(judgements))
    show_files(console, [file])


def write(title: str, sections: Sequence[Section], out: Path, command: str) -> None:
    """Write a page, its pictures and its CSV, and print its tables."""
    for section in sections:
        copy_grids(section.grids, out)
    comparisons = [section.comparison for section in sections]
    text, numbers = (out / f"{title}.{suffix}" for suffix in ("md", "csv"))
    write_atomically(text, page(title, sections, command))
    write_atomically(numbers, joined(comparisons).to_csv(index=False, float_format="%.8g"))
    console = make_console()
    for comparison in comparisons:
        show(console, comparison)
    show_files(console, (text, numbers))
