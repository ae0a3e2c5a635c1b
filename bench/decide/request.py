"""What a command asks for: the words of bench.decide, and the grids whose jobs get seeds."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass

from bench.command_line import DRY_RUN, SWEEP, expand, key, overrides_in, read_grids, values
from bench.compare.sequential import MAX_SEEDS

OWN = ("hours", "margin", "seeds", "machines")
"""Words of this command that are no settings of runs."""

MULTIRUN = ("-m", "--multirun")
"""Flags of a sweep, which may be given or left out."""

MOST_SEEDS = 200
MOST_HOURS = 10_000.0
MOST_MARGIN = 10.0

PLANNED = 999_999
"""The seed of the jobs that are timed: no run has it, so that all of a run is timed."""


@dataclass(frozen=True)
class Request:
    """A command line, read.

    Attributes:
        arguments: those of a sweep; no words of this command.
        hours: limit of the time of all runs that are made for these questions.
        margin: ratios within [1 / margin, margin] count as equal; None if it is not given.
        seeds: largest number of seeds of a model.
        several_machines: whether runs may be of several machines.
        dry: whether only the plan is asked for.
        command: the command line, for readers.
    """

    arguments: tuple[str, ...]
    hours: float
    margin: float | None
    seeds: int
    several_machines: bool
    dry: bool
    command: str

    @property
    def shared(self) -> tuple[str, ...]:
        """Flags and overrides of hydra, which the jobs do not bring with them."""
        of_jobs = {w for w in overrides_in(self.arguments) if not key(w).startswith("hydra")}
        return tuple(word for word in self.arguments if word not in of_jobs)

    def again(self, hours: float) -> str:
        """The command line with another number of hours."""
        words = [w for w in shlex.split(self.command) if key(w) != "hours" and w != DRY_RUN]
        return shlex.join([*words, f"hours={hours:g}"])


@dataclass(frozen=True)
class Grid:
    """A grid of an experiment, or the command line itself.

    Attributes:
        name: of the grid; empty for the command line.
        words: the command line of its jobs.
        seeded: whether its jobs run with several seeds.
    """

    name: str
    words: tuple[str, ...]
    seeded: bool


def read_request(arguments: Sequence[str]) -> Request:
    """Read a command line.

    Raises:
        ValueError: hours is missing, or one of `OWN` is out of range.
    """
    given: dict[str, str] = {}
    rest = []
    for word in arguments:
        name, sign, value = word.lstrip("+").partition("=")
        if name in OWN and sign:
            given[name] = value
        elif word not in (DRY_RUN, *MULTIRUN):
            rest.append(word)
    if "hours" not in given:
        raise ValueError("hours is missing: say how long all runs may take together, as in hours=2")
    seeds = _number("seeds", given.get("seeds", str(MAX_SEEDS)), 2, MOST_SEEDS)
    if seeds != int(seeds):
        raise ValueError(f"seeds must be a whole number, got {given['seeds']}")
    if (machines := given.get("machines", "one")) not in ("one", "several"):
        raise ValueError(f"machines must be one or several, got {machines!r}")
    margin = given.get("margin")
    return Request(
        arguments=tuple(rest),
        hours=_number("hours", given["hours"], 0.0, MOST_HOURS, open_below=True),
        margin=None if margin is None else _margin(margin),
        seeds=int(seeds),
        several_machines=machines == "several",
        dry=DRY_RUN in arguments,
        command=shlex.join(["python", "-m", "bench.decide", *arguments]),
    )


def _margin(text: str) -> float:
    return _number("margin", text, 1.0, MOST_MARGIN, open_below=True)


def _number(name: str, text: str, low: float, high: float, *, open_below: bool = False) -> float:
    """A number within its range.

    Raises:
        ValueError: it is none.
    """
    least = f"above {low:g}" if open_below else f"at least {low:g}"
    why = {"margin": ": ratios between 1 / margin and margin count as equal"}.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not (low <= value <= high) or (open_below and value == low):
        said = f"{name} must be a number {least} and at most {high:g}, got {text!r}{why}"
        raise ValueError(said) from None
    return value


def read_command_grids(arguments: Sequence[str]) -> list[Grid]:
    """The grids that a command line stands for, with the seed `PLANNED` where seeds are swept.

    Seeds of the command line and of grids are left out. A grid without seeds in an experiment that
    has some, such as that of the real-data baseline, runs once.

    Args:
        arguments: of a sweep, see `Request`.

    Raises:
        ValueError: see `bench.command_line.expand`; or a grid has words of Hydra.
    """
    words = [word for word in arguments if key(word) != "seed"]
    rest = [word for word in words if key(word) != "experiment"]
    experiments = [str(name) for name in values(words, "experiment")]
    found = []
    for name in experiments or [None]:
        here = [*rest, f"experiment={name}"] if name else rest
        grids = read_grids(name, words) if name else {}
        if not grids:
            (line,) = expand(["-m", *here])
            found.append(Grid("", (*line, f"seed={PLANNED}"), seeded=True))
            continue
        swept = any("seed" in grid for grid in grids.values())
        wanted = [str(grid) for grid in values(here, SWEEP)] or list(grids)
        here = [word for word in here if key(word) != SWEEP]
        for grid in wanted:
            for setting in grids.get(grid, {}):
                if key(setting).startswith("hydra"):
                    raise ValueError(
                        f"experiment={name}: its grid {grid} sets {setting}, which bench.decide "
                        "reads from the command line only: give it there, not in the grid"
                    )
            (line,) = expand(["-m", *here, f"{SWEEP}={grid}"])
            seeded = not swept or "seed" in grids[grid]
            line = [word for word in line if key(word) != "seed"]
            seed = [f"seed={PLANNED}"] if seeded else []
            found.append(Grid(grid, (*line, *seed), seeded))
    return found
