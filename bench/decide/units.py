"""What runs once per seed, and how far its run directories have come."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from bench.command_line import key
from bench.compare.topics.settled import always_fails
from bench.decide.request import Grid
from bench.runs.directory import Status, read_status
from bench.runs.looks import Look, read_look
from bench.runtime.outlook import Planned

SEED = "seed="
"""Prefix of the names of run directories, and the override of the seed."""


@dataclass(frozen=True)
class Unit:
    """A model with its overrides on one data set: what runs once per seed.

    Attributes:
        grid: name of its grid; empty outside an experiment.
        planned: one job of it, as it is before it starts.
        seeded: whether it runs with several seeds.
    """

    grid: str
    planned: Planned
    seeded: bool

    @property
    def folder(self) -> Path:
        """The folder of its run directories."""
        return Path(self.planned.run).parent

    @property
    def dataset(self) -> str:
        """Name of its data set."""
        return self.planned.dataset

    @property
    def key(self) -> tuple[str, str]:
        """(model, variant)."""
        return self.planned.model, self.folder.name

    @property
    def forecast(self) -> float | None:
        """Estimated seconds of a run; None if it was not timed."""
        whole = self.planned.forecast
        evaluation = whole.evaluations(0)
        if whole.training is None or evaluation is None:
            return None
        return whole.training + evaluation

    def job(self, seed: int) -> Planned:
        """The job of a seed."""
        words = [f"{SEED}{seed}" if key(w) == "seed" else w for w in self.planned.overrides]
        run = self.folder / f"{SEED}{seed}"
        return replace(self.planned, overrides=tuple(words), run=str(run), seed=str(seed))


def make_units(grids: Sequence[Grid], plans: Sequence[Sequence[Planned]]) -> tuple[Unit, ...]:
    """The units of all grids; jobs of two grids that are one run are one unit.

    Args:
        grids: the grids.
        plans: the jobs of each.
    """
    units: dict[Path, Unit] = {}
    for grid, plan in zip(grids, plans, strict=True):
        for planned in plan:
            untrained = planned.forecast.training == 0
            unit = Unit(grid.name, planned, grid.seeded and not untrained)
            units.setdefault(unit.folder, unit)
    return tuple(units.values())


@dataclass(frozen=True)
class Tally:
    """What the run directories of a unit say.

    Attributes:
        finished: seeds with a result.
        failed: seeds of failed runs.
        half_done: seconds that runs took that have begun and not ended, by seed.
        spent: seconds that its sequential runs took.
        look: largest number of a look in them; -1 without one.
        margins: margins of their looks.
        took: seconds of its finished runs, by seed, as far as they are known.
    """

    finished: frozenset[int] = frozenset()
    failed: frozenset[int] = frozenset()
    half_done: Mapping[int, float] = field(default_factory=dict)
    spent: float = 0.0
    look: int = -1
    margins: frozenset[float] = frozenset()
    took: Mapping[int, float] = field(default_factory=dict)

    @property
    def ended(self) -> frozenset[int]:
        """Seeds that need not run."""
        return self.finished | self.failed

    @property
    def always_fails(self) -> bool:
        """Whether its model is taken to fail always, as in the questions."""
        return always_fails(len(self.finished), len(self.failed))


def tally(unit: Unit, *, several_machines: bool = False) -> Tally:
    """Read the statuses of a unit's runs.

    Args:
        unit: the unit.
        several_machines: whether time that is known to be another machine's does not count, and
            its half-done runs are left to it.

    Raises:
        ValueError: a status.json is damaged.
    """
    found: dict[int, Status] = {}
    for path in sorted(unit.folder.glob(f"{SEED}*")):
        status, number = read_status(path), path.name.removeprefix(SEED)
        if status is not None and number.isdecimal():
            found[int(number)] = status
    looks = {seed: read_look(status.sequential) for seed, status in found.items()}
    made = {seed: look for seed, look in looks.items() if isinstance(look, Look)}

    here = unit.planned.protocol.get("device", "") if several_machines else ""
    own = {seed: s for seed, s in found.items() if not here or s.device in ("", here)}

    def seeds(state: str) -> frozenset[int]:
        return frozenset(seed for seed, status in found.items() if status.status == state)

    return Tally(
        finished=seeds("finished"),
        failed=seeds("failed"),
        half_done={seed: s.seconds for seed, s in own.items() if s.status == "running"},
        spent=sum(s.seconds for seed, s in own.items() if seed in made),
        look=max((look.look for look in made.values()), default=-1),
        margins=frozenset(look.margin for look in made.values()),
        took={k: s.seconds for k, s in found.items() if s.status == "finished" and s.seconds},
    )
