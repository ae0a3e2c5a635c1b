"""Compare runs that were made again with where the map expects them.

Every command under the map (docs/map.md) trains one more seed, and says in which range its FID lies
in 95 % of cases. This prints, for runs that such commands made elsewhere, what came of it.

Command: python scripts/made_again.py docs/evidence/map/runs docs/evidence/again/runs
"""

import argparse
import math
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench.command_line import key
from bench.compare.cells import NOTHING, Cell, Table, exact
from bench.compare.cli import gather
from bench.compare.map.again import Again, runs_again
from bench.compare.map.grid import make_map
from bench.compare.protocols import AXES
from bench.compare.read import Run, read_runs
from bench.compare.writers.markdown import table_text

HEADINGS = ("place", "model", "seeds", "expected", "made again", "within")
ELSEWHERE = ("results_root", "data_root", "cache_root")
"""Settings that a run which is made again may have otherwise."""


def words(command: str) -> frozenset[str]:
    """What a command asks for, wherever its results and data lie."""
    return frozenset(w for w in shlex.split(command) if key(w) not in ELSEWHERE)


def expected(runs: Path) -> Sequence[Again]:
    """The runs that a map says how to make, with where it expects them."""
    pages, _ = gather([runs], mixed=AXES, name=None)
    return runs_again(make_map([s.comparison for sections in pages.values() for s in sections]))


def rows(expectations: Sequence[Again], made: Sequence[Run]) -> Iterator[tuple[Cell, ...]]:
    """A row of the table for every run that was made again.

    Raises:
        ValueError: the map has no command for a run, or the run has not finished.
    """
    by_words = {words(again.command): again for again in expectations}
    for run in made:
        again = by_words.get(words(run.status.command))
        if again is None or run.state != "finished":
            raise ValueError(f"{run.path} is no finished run of a command under the map")
        contender, (low, high) = again.score.contender, again.score.range
        first = [sampler for sampler, _ in run.samplers].index(contender.sampler)
        fid = float(run.last.numbers(f"fid_{run.extractors[0]}")[first])
        yield (
            Cell(again.place),
            Cell(f"{contender.label}, {contender.sampler}"),
            Cell(str(len(again.score.fids))),
            Cell(NOTHING if math.isnan(low) else f"{exact(low)} to {exact(high)}"),
            Cell(exact(fid)),
            Cell("unknown" if math.isnan(low) else "yes" if low <= fid <= high else "no"),
        )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("map", type=Path, help="the runs of the map")
    parser.add_argument("again", type=Path, help="the runs that were made again")
    options = parser.parse_args()
    found = tuple(rows(expected(options.map), read_runs([options.again])))
    print(table_text(Table(HEADINGS, found, labels=2)))


if __name__ == "__main__":
    main()
