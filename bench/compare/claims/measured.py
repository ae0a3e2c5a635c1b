"""What tests of claims compare: runs on both sides, and numbers or counts measured from them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from bench.compare.claims.selection import Group, column
from bench.compare.comparison import Comparison
from bench.compare.read import SEED
from bench.compare.topics.curves import Curve, at


@dataclass(frozen=True)
class Sides:
    """The runs that a test compares.

    Attributes:
        numerator: one group per selection.
        baseline: the groups to compare with; empty for a comparison with a constant.
        scope: the comparisons that contain them.
    """

    numerator: tuple[Group, ...]
    baseline: tuple[Group, ...]
    scope: Sequence[Comparison]

    @property
    def groups(self) -> tuple[Group, ...]:
        """The groups of both sides."""
        return (*self.numerator, *self.baseline)


@dataclass(frozen=True)
class Seeds:
    """One number per seed or per data set.

    Attributes:
        values: by seed or data set; logarithms if the kind compares by ratio.
        lacking: why there are no numbers; empty if there are.
        bounds: whether some values are only bounds towards 0, so that only signs are tested.
        limits: the smallest and the largest value that are possible; None if there is no limit.
        error: standard error that all values share, because they are compared with one measured
            constant, such as the score of held-out data, or rest on one split of the data.
        freedom: degrees of freedom of that error.
        blocks: for one number per data set: (last seed of a block, number of the block's seeds),
            from which evidence grows with the seeds; empty for one number per seed.
        machine_of: number of the machine of each seed, where seeds of several are counted.
    """

    values: Mapping[str, float]
    lacking: str = ""
    bounds: bool = False
    limits: tuple[float, float] | None = None
    error: float = 0.0
    freedom: float = math.inf
    blocks: tuple[tuple[int, float], ...] = ()
    machine_of: Mapping[str, int] = field(default_factory=dict)

    @property
    def machines(self) -> np.ndarray:
        """The machine of every number of `ordered`, (S,) int."""
        return np.array([self.machine_of.get(str(seed), 0) for seed, _ in self.ordered], dtype=int)

    @property
    def ordered(self) -> list[tuple[int, float]]:
        """(seed, number) in the order of seeds; numbers of data sets count as seeds of one each."""
        if self.blocks:
            return sorted(self.blocks, key=lambda block: block[0])
        if all(SEED.fullmatch(seed) for seed in self.values):
            return sorted((int(seed), value) for seed, value in self.values.items())
        return list(enumerate(self.values.values()))


Outcomes = Mapping[str, bool]
"""Whether the run of a seed has a property."""


@dataclass(frozen=True)
class Counts:
    """Runs that have a property, by data set.

    Attributes:
        ours: outcomes by seed, for each data set.
        theirs: the same for the baseline; empty for a comparison with a constant.
    """

    ours: tuple[Outcomes, ...]
    theirs: tuple[Outcomes, ...] = ()

    @property
    def numerator(self) -> tuple[tuple[int, int], ...]:
        """(runs with the property, all runs) for each data set."""
        return tuple((sum(found.values()), len(found)) for found in self.ours)

    @property
    def baseline(self) -> tuple[tuple[int, int], ...]:
        """The same for the baseline."""
        return tuple((sum(found.values()), len(found)) for found in self.theirs)


def at_equal(groups: Sequence[Group], axis: str) -> list[dict[str, float]]:
    """The selected columns by seed, interpolated at a budget that all groups have consumed.

    For each seed this is the smallest final budget of any group; NaN if it is outside the evaluated
    range. It makes runs of equal duration comparable if a busy machine slowed some of them.

    Args:
        groups: groups of one data set.
        axis: the budget that is equal, such as "images".
    """
    members = [{m.seed: m for m in group.finished} for group in groups]
    found: list[dict[str, float]] = [{} for _ in groups]
    for seed in (seed for seed in members[0] if all(seed in of_group for of_group in members)):
        chosen = [of_group[seed] for of_group in members]
        least = min(float(column(member, axis)[-1]) for member in chosen)
        for values, group, member in zip(found, groups, chosen, strict=True):
            curve = Curve(column(member, axis), column(member, group.selection.column))
            values[seed] = at(curve, least)
    return found


def ratios(sides: Sides, values: Sequence[Mapping[str, float]]) -> Seeds | None:
    """Logarithms of ratios for every seed that all groups have; None if there is no such seed.

    If a value is not positive, there is no measurement: leaving out its seed would leave out the
    seeds that collapsed.
    """
    seeds = common_seeds(values)
    bad = [seed for seed in seeds if any(group[seed] <= 0 for group in values)]
    if bad:
        why = f"no ratio: a value is not positive in {len(bad)} of {len(seeds)} seeds"
        return Seeds({}, lacking=why)
    logs = [{seed: math.log(group[seed]) for seed in seeds} for group in values]
    return differences(sides, logs)


def differences(
    sides: Sides, values: Sequence[Mapping[str, float]], factor: float = 1.0
) -> Seeds | None:
    """Sums of the numerator minus `factor` times sums of the baseline, for all common seeds."""
    signs = [1.0] * len(sides.numerator) + [-factor] * len(sides.baseline)
    found = {
        seed: sum(sign * group[seed] for sign, group in zip(signs, values, strict=True))
        for seed in common_seeds(values)
    }
    return Seeds(found) if found else None


def common_seeds(values: Sequence[Mapping[str, float]]) -> list[str]:
    """Seeds for which every group has a finite value."""
    return [s for s in values[0] if all(math.isfinite(g.get(s, math.nan)) for g in values)]
