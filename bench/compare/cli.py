"""Command line of the comparison: reads runs, writes tables, prints them."""

import argparse
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from bench.compare.grids import copy_grids, find_grids
from bench.compare.markdown import page
from bench.compare.read import Run, read_runs
from bench.compare.statistics import compare_runs, to_frame
from bench.compare.terminal import make_console, show
from bench.files import write_atomically

EPILOG = """\
examples:
  python -m bench.compare                                      every run below results/runs
  python -m bench.compare results/runs/digits                  one data set
  python -m bench.compare results/runs/digits/dcgan/*/seed=0 … exactly these runs
"""


def parser() -> argparse.ArgumentParser:
    """The arguments of `python -m bench.compare`."""
    made = argparse.ArgumentParser(
        prog="python -m bench.compare",
        description="Tabulate finished runs, mean ± std over seeds, one table per data set.",
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
        compare(options.runs, options.out, command)
    except (ValueError, OSError) as error:
        print(f"bench.compare: {error}", file=sys.stderr)
        return 2
    return 0


def compare(paths: Sequence[Path], out: Path, command: str) -> None:
    """Read runs, write one page with its sample grids and one CSV per data set, print the tables.

    Nothing is written unless every data set can be.

    Raises:
        ValueError: there is no run, a file is damaged, or two protocols meet.
    """
    by_dataset: dict[str, list[Run]] = {}
    for run in read_runs(paths):
        by_dataset.setdefault(run.dataset, []).append(run)
    comparisons = {name: compare_runs(runs) for name, runs in sorted(by_dataset.items())}
    out.mkdir(parents=True, exist_ok=True)
    console = make_console()
    for name, comparison in comparisons.items():
        grids = find_grids(comparison, by_dataset[name])
        copy_grids(grids, out)
        table, numbers = (out / f"{comparison.dataset}.{suffix}" for suffix in ("md", "csv"))
        write_atomically(table, page(comparison, command, grids))
        write_atomically(numbers, to_frame(comparison).to_csv(index=False, float_format="%.8g"))
        show(console, comparison, (str(table), str(numbers)))
