"""Command line of `python -m bench.compare`."""

import argparse
import math
import os
import re
import shlex
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from textwrap import fill, indent

from bench.columns import COLUMNS
from bench.compare.cells import natural
from bench.compare.claims.declaration import read_claims
from bench.compare.claims.verdicts import Judgement, judge
from bench.compare.comparison import Comparison, compare_runs, separated
from bench.compare.outputs import CLAIMS, MAP, REPORT, Pages, write_all
from bench.compare.protocols import AXES, check_fields, differing, split_runs, split_title
from bench.compare.read import Run, is_utf_8, read_runs
from bench.compare.topics.page import Section
from bench.compare.topics.pictures import find_grids
from bench.compare.watch import EVERY, LONGEST, QUIET, SHORTEST, Watch, watch
from bench.compare.writers.terminal import make_console, show_briefly, show_headline
from bench.compare.writers.wandb import log_comparison
from bench.runtime.printing import printable, replace_what_cannot_be_shown, words

OUTPUT = "comparison"
"""Name of the default output folder."""

UNCONDITIONAL = "unconditional models"
"""Heading of the section before one of class-conditional models."""

RUNS = "runs"
"""Name of the folder below results_root that holds all runs."""

EPILOG = """\
examples:
  python -m bench.compare                                      every run below results/runs
  python -m bench.compare results/runs/digits                  one data set
  python -m bench.compare results/runs/digits/dcgan/*/seed=0 … exactly these runs
  python -m bench.compare --allow-mixed budget                 one table for each budget
  python -m bench.compare --map                                who is ahead where, by size, images
                                                               and budget
  python -m bench.compare results/runs/{ring8,grid25} --page modes
                                                               two data sets on modes.md
  python -m bench.compare --open                               and open the report in a browser
  python -m bench.compare --watch                              rewrite it while a sweep goes on
  WANDB_MODE=offline python -m bench.compare --wandb my-project
"""

PAGE_NAME = re.compile(r"[\w-]+")
"""Valid values of --page: a file name without folder and suffix."""


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
        "--columns",
        action="store_true",
        help="explain each column of eval.csv, and exit",
    )
    made.add_argument(
        "--out",
        type=Path,
        help="folder for <dataset>.md, .csv and .tex, claims.md (.csv, .tex) and "
        f"report/index.html (default: {OUTPUT}/ next to the folder of the runs, such as "
        f"results/{OUTPUT})",
    )
    made.add_argument(
        "--allow-mixed",
        metavar="FIELD",
        action="append",
        default=[],
        help="if runs differ in this protocol field, make one table for each of its values "
        "instead of stopping; may be repeated",
    )
    made.add_argument(
        "--map",
        action="store_true",
        help="compare runs of several sizes, numbers of training images and budgets, one table for "
        f"each ({', '.join(f'--allow-mixed {field}' for field in AXES)}), and write map.md, "
        "map.svg and map.csv: which family is ahead where",
    )
    made.add_argument(
        "--page",
        metavar="NAME",
        help="write all data sets to one page: NAME.md, NAME.csv and NAME.tex",
    )
    made.add_argument(
        "--no-report", action="store_true", help="write the tables without the HTML report"
    )
    made.add_argument(
        "--watch",
        metavar="SECONDS",
        nargs="?",
        const=str(EVERY),
        help=f"rewrite the report every {EVERY} seconds (or SECONDS, {SHORTEST} to {LONGEST}) "
        "while runs go on, with their state, losses, FID so far and newest samples; runs need not "
        "exist yet; write it after the folders. It goes on until Ctrl-C, or until no run is going "
        f"on and nothing has changed for {QUIET:.0f} minutes, and then prints the final tables",
    )
    made.add_argument(
        "--open", action="store_true", help="open the report in a browser when it is written"
    )
    made.add_argument("--serve", nargs="?", const="", help=argparse.SUPPRESS)  # earlier versions
    made.add_argument(
        "--wandb",
        metavar="PROJECT",
        help="log tables and report as one artifact to this W&B project",
    )
    return made


def columns_text() -> str:
    """The explanation of every column, for the terminal."""
    lines = ["columns of eval.csv:"]
    for column in COLUMNS:
        name = f"{column.name}_<extractor>" if column.per_extractor else column.name
        better = f"{column.better} is better" if column.better != "neither" else ""
        shown = ", ".join(filter(None, (column.title, column.unit, better)))
        lines.append(f"  {name}{f' ({shown})' if shown else ''}")
        text = fill(column.meaning, 90, break_on_hyphens=False)
        lines.append(indent(text, " " * 6))
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    """Compare runs.

    Returns:
        The exit code: 0, or 2 after one sentence on standard error if the runs cannot be compared,
        files cannot be written, or W&B cannot be reached.
    """
    options = parser().parse_args(arguments)
    replace_what_cannot_be_shown()
    command = shlex.join(["python", "-m", "bench.compare", *arguments])
    try:
        if options.columns:
            if len(arguments) > 1:
                raise ValueError("--columns compares no runs: leave out all other arguments")
            with words():
                print(columns_text())
            return 0
        if not is_utf_8(command):
            raise ValueError(f"{command} has a name that is not UTF-8: rename the file or folder")
        if options.map:
            options.allow_mixed += [name for name in AXES if name not in options.allow_mixed]
        out = options.out or output_folder(options.runs)
        if options.serve is not None:
            raise ValueError("--serve was removed: the report is one file, open it with --open")
        if options.open and options.no_report:
            raise ValueError("--open shows the report: leave out --no-report")
        if options.watch is not None:
            watch_runs(options, out, command)
        files = compare(
            options.runs,
            out,
            command,
            mixed=options.allow_mixed,
            name=options.page,
            report=not options.no_report,
            mapped=options.map,
        )
        if options.wandb is not None:
            said = log_comparison(options.wandb, files, out)
            with words():
                print(printable(said))
        if options.open and options.watch is None:
            open_report(out / REPORT)
    except (ValueError, OSError) as error:
        print(f"bench.compare: {printable(str(error))}", file=sys.stderr)
        return 2
    return 0


def watch_runs(options: argparse.Namespace, out: Path, command: str) -> None:
    """Rewrite the report until no run is going on; with --open, open the first one.

    Raises:
        ValueError: other arguments cannot be combined with --watch, or cannot be used.
        OSError: the report cannot be written.
    """
    every = seconds_between(options.watch)
    for refused, given in (("--no-report", options.no_report), ("--wandb", options.wandb)):
        if given:
            raise ValueError(f"--watch rewrites the report again and again: leave out {refused}")
    check_names(options.allow_mixed, options.page)
    watched = Watch(
        tuple(options.runs),
        out,
        command,
        every,
        lambda: gather(options.runs, mixed=options.allow_mixed, name=options.page),
        mapped=options.map,
    )
    watch(watched, opened=open_report if options.open else None)


def seconds_between(text: str) -> float:
    """The value of --watch.

    Raises:
        ValueError: it is no number of seconds, or too small or too large.
    """
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not SHORTEST <= seconds <= LONGEST:
        raise ValueError(
            f"--watch must be {SHORTEST} to {LONGEST} seconds, got {text!r}: give another number, "
            f"or none for {EVERY} (folders of runs come before it)"
        )
    return seconds


def open_report(file: Path) -> None:
    """Open the report in a browser, if there is a graphical one, and print its path.

    A text browser, which would occupy this terminal, is opened only if $BROWSER names it.
    """
    import webbrowser  # slow to import

    names = ("DISPLAY", "WAYLAND_DISPLAY", "BROWSER")
    has_browser = sys.platform in ("darwin", "win32") or any(map(os.environ.get, names))
    opened = has_browser and webbrowser.open(file.resolve().as_uri())
    said = "is open in your browser" if opened else "could not be opened, no browser was found here"
    with words():
        print(printable(f"The report {said}: {file.resolve()}"))


def output_folder(paths: Sequence[Path]) -> Path:
    """The default output folder: next to the folder `runs` that contains all paths.

    If there is no such folder, it is in the folder that contains all paths.

    Args:
        paths: run directories, their eval.csv, or folders of runs; at least one.
    """
    places = []
    for path in paths:
        path = path if RUNS in path.parts[:-1] or path.name == RUNS else path.absolute()
        above = [folder for folder in (path, *path.parents) if folder.name == RUNS]
        folder = path.parent if path.name == "eval.csv" else path
        places.append(above[0].parent if above else folder)
    common = places[0]
    if len(set(places)) > 1:
        common = Path(os.path.commonpath([place.absolute() for place in places]))
    if (common / "eval.csv").exists() or (common / "status.json").exists():
        common = common.parent  # nothing is written into a run directory
    return common / OUTPUT


def compare(
    paths: Sequence[Path],
    out: Path,
    command: str,
    *,
    mixed: Collection[str] = (),
    name: str | None = None,
    report: bool = True,
    mapped: bool = False,
) -> list[Path]:
    """Read runs, write pages, tables, sample grids and the report, and print the tables.

    Everything is computed before the first file is written.

    Args:
        paths: run directories, or folders searched for them.
        out: output folder.
        command: the command line, to be shown on the pages.
        mixed: protocol fields by which runs may be split into several tables.
        name: name of one page for all data sets; None for one page per data set.
        report: whether to write the report.
        mapped: whether the map was asked for (--map).

    Returns:
        The files written.

    Raises:
        ValueError: there is no run, no run can be read, or runs differ in another protocol field.
    """
    check_names(mixed, name)
    pages, judgements = gather(paths, mixed=mixed, name=name)
    return write_all(pages, judgements, out, command, report=report, asked=mapped)


def check_names(mixed: Collection[str], name: str | None) -> None:
    """Check the values of --allow-mixed and --page.

    Raises:
        ValueError: one cannot be used.
    """
    check_fields(mixed)
    if name is not None and not PAGE_NAME.fullmatch(name):
        raise ValueError(f"--page {name!r} must be a file name of letters, digits, '-' and '_'")


def gather(
    paths: Sequence[Path], *, mixed: Collection[str], name: str | None
) -> tuple[Pages, list[Judgement]]:
    """Read runs and compare them: the comparisons of every page, and verdicts on claims.

    Args and errors are those of `compare`.
    """
    by_dataset: dict[str, list[Run]] = {}
    for run in read_runs(paths):
        by_dataset.setdefault(run.dataset, []).append(run)
    pages: dict[str, list[Section]] = {}
    comparisons: list[Comparison] = []
    for dataset, runs in _by_name(by_dataset):
        found = [compare_runs(group, values) for values, group in split_runs(runs, mixed)]
        sections = make_sections(found, folder=name or dataset, one_data_set=name is None)
        pages.setdefault(name or dataset, []).extend(sections)
        comparisons += found
    for reserved, what in ((CLAIMS, "verdicts"), (MAP, "the map")):
        if reserved in pages:
            raise ValueError(f"{reserved}.md is the page of {what}: name another by --page NAME")
    return pages, judge(read_claims(), comparisons)


def _by_name(by_dataset: Mapping[str, list[Run]]) -> list[tuple[str, list[Run]]]:
    """The runs of each data set in the order of their names; x_8 stands before x_16."""
    return sorted(by_dataset.items(), key=lambda item: natural(item[0]))


def show_runs(paths: Sequence[Path]) -> None:
    """Print tables of some runs, headlines and the command that makes a report; write nothing.

    Runs that cannot share a table, such as those of several budgets, have one for each value.

    Args:
        paths: run directories.
    """
    by_dataset: dict[str, list[Run]] = {}
    mixed: dict[str, None] = {}
    with words():
        console = make_console()
        try:
            for run in read_runs(paths):
                by_dataset.setdefault(run.dataset, []).append(run)
            for _, runs in _by_name(by_dataset):
                fields = differing(runs)
                mixed |= dict.fromkeys(fields)
                for values, group in split_runs(runs, fields):
                    for comparison in separated(compare_runs(group, values)):
                        show_briefly(console, comparison)
                        show_headline(console, comparison)
        except ValueError as error:
            print(printable(f"no table: {error}"))
        folders = sorted({run.path.parents[2] for runs in by_dataset.values() for run in runs})
        options = [word for field in mixed for word in ("--allow-mixed", field)]
        named = shlex.join(["python", "-m", "bench.compare", *map(str, folders), *options])
        print(printable(f"Report with figures and samples: {named} --open"))


def make_sections(
    comparisons: Sequence[Comparison], *, folder: str, one_data_set: bool
) -> list[Section]:
    """The sections of one data set, with their sample grids in `folder`.

    Several class-conditional models have a section of their own.
    """
    sections = []
    for whole in comparisons:
        parts = separated(whole)
        for part in parts:
            grids = find_grids(part, part.runs, folder, one_data_set=one_data_set)
            kind = part.kind or (UNCONDITIONAL if len(parts) > 1 else "")
            heading = ", ".join(filter(None, (split_title(part.values), kind)))
            sections.append(Section(part, grids, heading if one_data_set else part.title))
    return sections
