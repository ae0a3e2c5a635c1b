"""What each kind of test measures: a number for every seed or data set, or counts of runs.

A kind is a function of the runs on both `Sides` and of the options that a test in conf/claims has
for it; `KINDS`, at the end, lists them with the scale on which they are compared.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
import pandas as pd

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
from bench.compare.read import ENDED
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.curves import Crossing, Curve, at, crossing
from bench.compare.topics.pareto import front, rounded
from bench.evaluation.collapse import shows_collapse


@dataclass(frozen=True)
class Sides:
    """The runs that a test compares.

    Attributes:
        numerator: one group for each selection.
        baseline: what they are compared with; empty for a comparison with a number.
        scope: the comparisons that they were found in.
    """

    numerator: tuple[Group, ...]
    baseline: tuple[Group, ...]
    scope: Sequence[Comparison]

    @property
    def groups(self) -> tuple[Group, ...]:
        """Both sides."""
        return (*self.numerator, *self.baseline)


@dataclass(frozen=True)
class Seeds:
    """One number for every seed, or for every data set.

    Attributes:
        values: by seed or data set; logarithms where the kind compares by ratio.
        lacking: why there are no numbers; empty where there are.
        bounds: whether some values are only bounds on the side of 0, so that only their signs
            count.
    """

    values: Mapping[str, float]
    lacking: str = ""
    bounds: bool = False


@dataclass(frozen=True)
class Counts:
    """Shares of runs, by data set.

    Attributes:
        numerator: (runs that are counted, all runs).
        baseline: of the other side; empty where shares are compared with a number.
    """

    numerator: tuple[tuple[int, int], ...]
    baseline: tuple[tuple[int, int], ...] = ()


def ratio(sides: Sides, equal: str = "") -> Seeds | None:
    """The numerator's value over the baseline's; values of several selections are multiplied.

    Args:
        sides: the runs.
        equal: what both sides shall have consumed equally, such as "images"; empty for the ends of
            the runs.
    """
    return _ratios(sides, _at_equal(sides.groups, equal) if equal else by_seed(sides.groups))


def difference(sides: Sides, factor: float = 1.0) -> Seeds | None:
    """The numerator's value minus `factor` times the baseline's; those of several are added up.

    Values that may be zero need it.
    """
    return _differences(sides, by_seed(sides.groups), factor)


def share_at_least(sides: Sides, factor: float = 1.0) -> Counts | None:
    """Seeds in which the numerator's value is at least `factor` times the baseline's.

    Where all seeds are alike, Student's t of the difference has no spread to divide by.
    """
    found = difference(sides, factor)
    return found and _share([value >= 0 for value in found.values.values()])


def largest_rise_ratio(sides: Sides) -> Seeds | None:
    """The largest rise of the metric along a run, numerator over baseline."""
    found = []
    for group in sides.groups:
        courses = {m.seed: column(m, group.selection.column) for m in group.finished}
        found.append({seed: largest_rise(c) for seed, c in courses.items() if len(c) > 1})
    return _ratios(sides, found)


def largest_rise(values: np.ndarray) -> float:
    """The largest value / best earlier value along a run, at least 1; lower values are better.

    NaN where a value is not positive or not known.
    """
    if not (np.isfinite(values) & (values > 0)).all():
        return math.nan
    best = np.minimum.accumulate(values)[:-1]
    return float(max(1.0, np.max(values[1:] / best)))


def cost_to_reach(sides: Sides, cost: str) -> Seeds | None:
    """What it cost to reach the worse of both final FIDs, numerator over baseline.

    A side that had it at its first evaluation point had it then or before. Such a seed counts only
    where knowing more would make the ratio larger still, or smaller still: as a bound.

    Args:
        sides: the runs.
        cost: a column of eval.csv that training consumes.
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
    """Seeds in which the numerator's cost to reach that FID is higher, of those that tell."""
    found = cost_to_reach(sides, cost)
    return found and _share([value > 0 for value in found.values.values()])


def _course(member: Member, cost: str) -> Curve:
    """The FID of a member along a cost, where both are known."""
    x, y = column(member, cost), column(member, "fid")
    known = np.isfinite(x) & np.isfinite(y)
    return Curve(x[known], y[known])


def _cost_ratio(a: Crossing, b: Crossing) -> float | None:
    """log(a / b), or the bound of it that is nearer to 0; None where it may be on either side."""
    found = math.log(a.high / b.high)
    known = (a.low == a.high or found < 0) and (b.low == b.high or found > 0)
    return found if known else None


def sensitivity(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """How far settings move FID, numerator over baseline: root mean square of log(FID / default's).

    Args:
        sides: the runs with default settings.
        settings: last words of the keys of overrides; runs that override one of them count.
    """
    effects = _effects(sides, settings)
    failed = sum(int(np.isinf(frame).any().sum()) for frame in effects)
    if failed:
        return Seeds({}, lacking=f"no ratio: a setting failed in {failed} seeds")
    return _ratios(sides, [((frame**2).mean() ** 0.5).to_dict() for frame in effects])


GOOD = 1.5
"""A setting whose FID is at most this many times that of the default is good."""


def good_settings(sides: Sides, settings: Sequence[str]) -> Seeds | None:
    """Share of good settings, numerator minus baseline; one whose training failed is not good."""
    effects = _effects(sides, settings)
    return _differences(sides, [(frame <= math.log(GOOD)).mean().to_dict() for frame in effects])


def _effects(sides: Sides, settings: Sequence[str]) -> list[pd.DataFrame]:
    """The effects of both sides' settings; empty unless both have the same ones, at least two."""
    found = [_effects_of(group, settings, sides.scope) for group in sides.groups]
    alike = len({tuple(sorted(frame.index)) for frame in found}) == 1 and len(found[0]) > 1
    return found if alike and not any(frame.empty for frame in found) else [pd.DataFrame()] * 2


def _effects_of(
    default: Group, settings: Sequence[str], scope: Sequence[Comparison]
) -> pd.DataFrame:
    """log(FID / default's) at the same number of images: a row a setting, a column a seed.

    Infinite where training failed; only seeds that every setting has.
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
    """Standard deviation of log FID over seeds, numerator over baseline: one number a data set.

    Over the seeds that both have, that number is symmetric about 0 if both spread alike, whatever
    their distribution, where a test of variances on one data set takes one collapsed seed for a
    difference.
    """
    ours, theirs = (log_spread(list(values.values())) for values in by_seed(sides.groups))
    group = sides.numerator[0]
    known = math.isfinite(ours) and math.isfinite(theirs)
    return Seeds({f"{group.place}: {group.name}": ours - theirs}) if known else None


def log_spread(values: Sequence[float]) -> float:
    """Logarithm of the standard deviation of logarithms; NaN of too few, or of equal ones."""
    if len(values) < MIN_SEEDS or min(values) <= 0:
        return math.nan
    deviation = float(np.std(np.log(values), ddof=1))
    return math.log(deviation) if deviation > 0 else math.nan


def failure_rate(sides: Sides) -> Counts | None:
    """Runs that failed, or whose last samples show signs of collapse, of those that ended."""
    counts = []
    for group in sides.groups:
        ended = [m for m in group.members if m.run.state in ENDED]
        counts.append((sum(map(_failed, ended)), len(ended)))
    return Counts((counts[0],), tuple(counts[1:])) if all(n for _, n in counts) else None


def _failed(member: Member) -> bool:
    """Whether a run failed, or its last samples by this sampler show signs of collapse."""
    if member.run.state == "failed":
        return True
    last = member.run.last
    pairs = zip(last.texts("sampler"), last.texts("warning"), strict=True)
    return any(shows_collapse(warning) for sampler, warning in pairs if sampler == member.sampler)


def share_on_front(sides: Sides, cost: str) -> Counts | None:
    """Seeds in which the numerator is on the Pareto front of FID against a cost.

    The front is that of every sampler of the trained models whose configuration is the default,
    without those whose samples show signs of collapse; an entry that does is not on it.

    Args:
        sides: the runs, of one side.
        cost: a column of eval.csv.
    """
    group, points = sides.numerator[0], _points_by_seed(cost, sides.scope)
    on = []
    for seed in (m.seed for m in group.members if m.run.state in ENDED and m.seed in points):
        costs, fids = np.array(list(points[seed].values())).T
        best = front(rounded(costs), fids)
        on.append(group.name in {name for name, b in zip(points[seed], best, strict=True) if b})
    return _share(on) if on else None


def _points_by_seed(
    cost: str, scope: Sequence[Comparison]
) -> dict[str, dict[str, tuple[float, float]]]:
    """(cost, FID) of every sampler of models as they are configured, by seed and name."""
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
    """The selected columns by seed where all groups have consumed the same, between points.

    For each seed that is the least that any group ended with; a seed without evaluation points
    around it has NaN. This compares fairly what a busy machine let train more or less in equal
    time.

    Args:
        groups: of one data set.
        axis: what is equal, such as "images".
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
    """Logarithms of ratios for every seed that all groups have; None where there is none.

    A ratio of values that are not positive is none. Such seeds are not left out, which would leave
    out those that collapsed: the whole measurement says what it lacks.
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
    """Sums minus `factor` times the baseline's, for every seed that all groups have."""
    signs = [1.0] * len(sides.numerator) + [-factor] * len(sides.baseline)
    found = {
        seed: sum(sign * group[seed] for sign, group in zip(signs, values, strict=True))
        for seed in _common_seeds(values)
    }
    return Seeds(found) if found else None


def _common_seeds(values: Sequence[Mapping[str, float]]) -> list[str]:
    """Seeds that every group has a finite value of."""
    return [s for s in values[0] if all(math.isfinite(g.get(s, math.nan)) for g in values)]


def _share(counted: Sequence[bool]) -> Counts:
    return Counts(((sum(counted), len(counted)),))


@dataclass(frozen=True)
class Kind:
    """A kind of test.

    Attributes:
        measure: from the runs and the options of the test; None where runs are there that lack what
            it needs.
        scale: whether the sides are compared by ratio or difference, or runs are counted.
        per: what there is one number of. Five seeds of one data set cannot decide a share, or how
            far seeds spread: anything but seeds is taken of all data sets together.
        selections: 1 for a numerator, 2 for a numerator and a baseline, 0 for any number.
        only_default: whether it can be compared with the default threshold only.
    """

    measure: Callable[..., Seeds | Counts | None]
    scale: Literal["ratio", "difference", "share"]
    per: Literal["seed", "run", "data set"] = "seed"
    selections: int = 0
    only_default: bool = False

    @property
    def threshold(self) -> float:
        """What separates support from contradiction where a test does not say."""
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
"""Kinds of tests, by the names that conf/claims has for them; docs/claims.md explains them."""
