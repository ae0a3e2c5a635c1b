"""Kinds of tests of claims: functions from runs to one number per seed or data set, or to counts.

The arguments are the runs on both `Sides` and the options that the test has in conf/claims.
`KINDS`, at the end, lists all kinds with the scale on which they are compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

from bench.compare.claims.limits import common_error, limits
from bench.compare.claims.selection import (
    Group,
    Member,
    Selection,
    by_seed,
    column,
    find,
    model_overrides,
)
from bench.compare.comparison import Comparison
from bench.compare.read import ENDED, SEED
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.curves import Crossing, Curve, at, crossing
from bench.compare.topics.pareto import front, rounded
from bench.evaluation.collapse import shows_collapse


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
            constant, such as the score of held-out data.
        blocks: for one number per data set: (last seed of a block, number of the block's seeds),
            from which evidence grows with the seeds; empty for one number per seed.
    """

    values: Mapping[str, float]
    lacking: str = ""
    bounds: bool = False
    limits: tuple[float, float] | None = None
    error: float = 0.0
    blocks: tuple[tuple[int, float], ...] = ()

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


def ratio(sides: Sides, equal: str = "") -> Seeds | None:
    """The numerator's value divided by the baseline's; several selections are multiplied.

    Args:
        sides: the runs.
        equal: budget at which both sides are compared, such as "images"; empty for the ends of
            the runs.
    """
    return _ratios(sides, _at_equal(sides.groups, equal) if equal else by_seed(sides.groups))


def difference(sides: Sides, factor: float = 1.0) -> Seeds | None:
    """The numerator's value minus `factor` times the baseline's; several selections are added.

    Needed for columns that may be zero.
    """
    found = _differences(sides, by_seed(sides.groups), factor)
    if found is None:
        return None
    weighted = [(group, 1.0) for group in sides.numerator]
    weighted += [(group, -factor) for group in sides.baseline]
    return replace(found, limits=limits(weighted), error=common_error(weighted))


def share_at_least(sides: Sides, factor: float = 1.0) -> Counts | None:
    """Number of seeds in which the numerator's value is at least `factor` times the baseline's.

    Use it if all seeds may be equal, for which Student's t is undefined.
    """
    found = difference(sides, factor)
    return found and Counts(({seed: value >= 0 for seed, value in found.values.items()},))


def largest_rise_ratio(sides: Sides) -> Seeds | None:
    """Ratio of the largest rises of the metric along a run, numerator over baseline."""
    found = []
    for group in sides.groups:
        series = {m.seed: column(m, group.selection.column) for m in group.finished}
        found.append({seed: largest_rise(v) for seed, v in series.items() if len(v) > 1})
    return _ratios(sides, found)


def largest_rise(values: np.ndarray) -> float:
    """Maximum of value / best earlier value along a run, at least 1; lower values are better.

    NaN if a value is not positive or unknown.
    """
    if not (np.isfinite(values) & (values > 0)).all():
        return math.nan
    best = np.minimum.accumulate(values)[:-1]
    return float(max(1.0, np.max(values[1:] / best)))


def cost_to_reach(sides: Sides, cost: str) -> Seeds | None:
    """Ratio of the costs to reach the worse of both final FIDs, numerator over baseline.

    If a side had reached it at its first evaluation point, its cost is only an upper bound. Such a
    seed is used if the ratio is then a bound towards 1, and left out otherwise.

    Args:
        sides: the runs.
        cost: a unit of the training budget, as column of eval.csv.
    """
    ours, theirs = ({m.seed: _course(m, cost) for m in group.finished} for group in sides.groups)
    found, bounds = {}, False
    for seed in (seed for seed in ours if seed in theirs):
        a, b = ours[seed], theirs[seed]
        if len(a.y) and len(b.y):
            level = float(max(a.y[-1], b.y[-1]))
            crossings = (crossing(a, level), crossing(b, level))
            cost_ratio = _cost_ratio(*crossings)
            if cost_ratio is not None:
                found[seed] = cost_ratio
                bounds |= any(c.low != c.high for c in crossings)
    return Seeds(found, bounds=bounds) if found else None


def share_slower(sides: Sides, cost: str) -> Counts | None:
    """Number of seeds in which the numerator's `cost_to_reach` is higher."""
    found = cost_to_reach(sides, cost)
    return found and Counts(({seed: value > 0 for seed, value in found.values.items()},))


def _course(member: Member, cost: str) -> Curve:
    """The FID of a member against a cost, at points where both are known."""
    x, y = column(member, cost), column(member, "fid")
    known = np.isfinite(x) & np.isfinite(y)
    return Curve(x[known], y[known])


def _cost_ratio(a: Crossing, b: Crossing) -> float | None:
    """log(a / b), or its bound towards 0; None if the sign is unknown."""
    found = math.log(a.high / b.high)
    known = (a.low == a.high or found < 0) and (b.low == b.high or found > 0)
    return found if known else None


def sensitivity(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """Ratio of sensitivities to settings: the root mean square of log(FID / FID of the default).

    Args:
        sides: the runs with default settings.
        settings: last parts of override keys; runs that override one of them are used.
    """
    effects = _effects(sides, settings)
    failed = sum(int(np.isinf(frame).any().sum()) for frame in effects)
    if failed:
        return Seeds({}, lacking=f"no ratio: a setting failed in {failed} seeds")
    return _ratios(sides, [((frame**2).mean() ** 0.5).to_dict() for frame in effects])


GOOD = 1.5
"""Maximum ratio of a good setting's FID to that of the default."""


def good_settings(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """Share of good settings, numerator minus baseline; a failed setting is not good."""
    effects = _effects(sides, settings)
    shares = [(frame <= math.log(GOOD)).mean().to_dict() for frame in effects]
    found = _differences(sides, shares)
    return found and replace(found, limits=(-1.0, 1.0))


def _effects(sides: Sides, settings: Sequence[str]) -> list[pd.DataFrame]:
    """Effects of both sides' settings; empty unless both have the same settings, at least two."""
    found = [_effects_of(group, settings, sides.scope) for group in sides.groups]
    alike = len({tuple(sorted(frame.index)) for frame in found}) == 1 and len(found[0]) > 1
    return found if alike and not any(frame.empty for frame in found) else [pd.DataFrame()] * 2


def _effects_of(
    default: Group, settings: Sequence[str], scope: Sequence[Comparison]
) -> pd.DataFrame:
    """log(FID / FID of the default) at equal images; one row per setting, one column per seed.

    Infinite if training failed. Only seeds that all settings have are included.
    """
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    names: list[str] = []
    effects: list[dict[str, float]] = []
    for overrides in sorted(variants):
        keys = {override.partition("=")[0].rpartition(".")[2] for override in overrides}
        if len(keys) == 1 and keys <= set(settings):
            wanted = (" ".join(overrides),)
            selection = replace(default.selection, models=(model,), overrides=wanted)
            group = find(selection, 0, scope)
            if group is not None:
                ours, theirs = _at_equal([group, default], "images")
                failed = [m.seed for m in group.members if m.run.state == "failed"]
                effect = {seed: _log_ratio(ours[seed], theirs[seed]) for seed in ours}
                effects.append(effect | dict.fromkeys(failed, math.inf))
                names += keys
    return pd.DataFrame(effects, index=names).dropna(axis=1)


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else math.nan


def spread_over_seeds(sides: Sides) -> Seeds | None:
    """Ratio of standard deviations of log FID over seeds: one number per data set.

    Its logarithm is symmetric about 0 if both models have equal distributions, whatever these are.
    An F test on one data set would take a single collapsed seed for a difference. So that evidence
    can grow with the seeds, there is one such number for every three of them as well.
    """
    ours, theirs = by_seed(sides.groups)
    seeds = sorted((seed for seed in ours if seed in theirs), key=int)
    whole = _spread_ratio(ours, theirs, seeds)
    if not math.isfinite(whole):
        return None
    parts = [seeds[k : k + MIN_SEEDS] for k in range(0, len(seeds) - MIN_SEEDS + 1, MIN_SEEDS)]
    found = [(int(part[-1]), _spread_ratio(ours, theirs, part)) for part in parts]
    blocks = tuple((seed, value) for seed, value in found if math.isfinite(value))
    group = sides.numerator[0]
    return Seeds({f"{group.place}: {group.name}": whole}, blocks=blocks)


def _spread_ratio(
    ours: Mapping[str, float], theirs: Mapping[str, float], seeds: Sequence[str]
) -> float:
    """Logarithm of the ratio of standard deviations of log values over some seeds, or NaN."""
    a, b = (log_spread([values[seed] for seed in seeds]) for values in (ours, theirs))
    return a - b


def log_spread(values: Sequence[float]) -> float:
    """Logarithm of the standard deviation of logarithms; NaN for too few or equal values."""
    if len(values) < MIN_SEEDS or min(values) <= 0:
        return math.nan
    deviation = float(np.std(np.log(values), ddof=1))
    return math.log(deviation) if deviation > 0 else math.nan


def failure_rate(sides: Sides) -> Counts | None:
    """Number of ended runs that failed or whose last samples show signs of collapse."""
    found = [
        {m.seed: _failed(m) for m in group.members if m.run.state in ENDED}
        for group in sides.groups
    ]
    return Counts((found[0],), tuple(found[1:])) if all(found) else None


def _failed(member: Member) -> bool:
    """Whether a run failed, or its last samples by this sampler show signs of collapse."""
    if member.run.state == "failed":
        return True
    last = member.run.last
    pairs = zip(last.texts("sampler"), last.texts("warning"), strict=True)
    return any(shows_collapse(warning) for sampler, warning in pairs if sampler == member.sampler)


def share_on_front(sides: Sides, cost: str) -> Counts | None:
    """Number of seeds in which the numerator is on the Pareto front of FID against a cost.

    The front is over all samplers of trained models in their default configuration, without those
    that show signs of collapse.

    Args:
        sides: the runs, of one side.
        cost: a column of eval.csv.
    """
    group, points = sides.numerator[0], _points_by_seed(cost, sides.scope)
    on = {}
    for seed in (m.seed for m in group.members if m.run.state in ENDED and m.seed in points):
        costs, fids = np.array(list(points[seed].values())).T
        best = front(rounded(costs), fids)
        on[seed] = group.name in {name for name, b in zip(points[seed], best, strict=True) if b}
    return Counts((on,)) if on else None


def _points_by_seed(
    cost: str, scope: Sequence[Comparison]
) -> dict[str, dict[str, tuple[float, float]]]:
    """(cost, FID) of every sampler of models in default configuration, by seed and name."""
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for comparison in scope:
        names = ((run.model, name) for run in comparison.runs for name in run.last.texts("sampler"))
        for model, sampler in dict.fromkeys(names):
            group = find(Selection((model,), sampler=sampler), 0, [comparison])
            for member in group.finished if group else ():
                point = float(column(member, cost)[-1]), float(column(member, "fid")[-1])
                known = not (member.broadcast or _failed(member)) and all(map(math.isfinite, point))
                if known:
                    points.setdefault(member.seed, {})[member.name] = point
    return points


def _at_equal(groups: Sequence[Group], axis: str) -> list[dict[str, float]]:
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


def _ratios(sides: Sides, values: Sequence[Mapping[str, float]]) -> Seeds | None:
    """Logarithms of ratios for every seed that all groups have; None if there is no such seed.

    If a value is not positive, there is no measurement: leaving out its seed would leave out the
    seeds that collapsed.
    """
    seeds = _common_seeds(values)
    bad = [seed for seed in seeds if any(group[seed] <= 0 for group in values)]
    if bad:
        why = f"no ratio: a value is not positive in {len(bad)} of {len(seeds)} seeds"
        return Seeds({}, lacking=why)
    logs = [{seed: math.log(group[seed]) for seed in seeds} for group in values]
    return _differences(sides, logs)


def _differences(
    sides: Sides, values: Sequence[Mapping[str, float]], factor: float = 1.0
) -> Seeds | None:
    """Sums of the numerator minus `factor` times sums of the baseline, for all common seeds."""
    signs = [1.0] * len(sides.numerator) + [-factor] * len(sides.baseline)
    found = {
        seed: sum(sign * group[seed] for sign, group in zip(signs, values, strict=True))
        for seed in _common_seeds(values)
    }
    return Seeds(found) if found else None


def _common_seeds(values: Sequence[Mapping[str, float]]) -> list[str]:
    """Seeds for which every group has a finite value."""
    return [s for s in values[0] if all(math.isfinite(g.get(s, math.nan)) for g in values)]


@dataclass(frozen=True)
class Kind:
    """A kind of test.

    Attributes:
        measure: computes the measurement from the runs and the options of the test; None if the
            runs lack the required values.
        scale: whether the sides are compared by ratio or difference, or runs are counted.
        per: unit of one number. Five seeds of one data set cannot decide a share or a spread, so
            anything but seeds is pooled over data sets.
        selections: 1 for a numerator, 2 for a numerator and a baseline, 0 for any number.
        only_default: whether only the default threshold is allowed.
    """

    measure: Callable[..., Seeds | Counts | None]
    scale: Literal["ratio", "difference", "share"]
    per: Literal["seed", "run", "data set"] = "seed"
    selections: int = 0
    only_default: bool = False

    @property
    def threshold(self) -> float:
        """The default threshold between support and contradiction."""
        return {"ratio": 1.0, "difference": 0.0, "share": 0.5}[self.scale]


KINDS = {
    "ratio": Kind(ratio, "ratio"),
    "difference": Kind(difference, "difference"),
    "share_at_least": Kind(share_at_least, "share", "run"),
    "largest_rise": Kind(largest_rise_ratio, "ratio", selections=2),
    "cost_to_reach": Kind(cost_to_reach, "ratio", selections=2, only_default=True),
    "share_slower": Kind(share_slower, "share", "run", selections=2),
    "sensitivity": Kind(sensitivity, "ratio", selections=2),
    "good_settings": Kind(good_settings, "difference", selections=2),
    "spread_over_seeds": Kind(spread_over_seeds, "ratio", "data set", selections=2),
    "failure_rate": Kind(failure_rate, "share", "run", selections=1),
    "failure_rate_difference": Kind(failure_rate, "difference", "run", 2, only_default=True),
    "share_on_front": Kind(share_on_front, "share", "run", selections=1),
}
"""Kinds of tests by their names in conf/claims; docs/claims.md explains them."""
