"""Kinds of tests of claims: functions from runs to one number per seed or data set, or to counts.

The arguments are the runs on both `Sides` and the options that the test has in conf/claims.
`KINDS`, at the end, lists all kinds with the scale on which they are compared.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.compare.claims.grids import (
    good_settings,
    log_spread,
    sensitivity,
    spread_over_seeds,
    unstable_runs,
)
from bench.compare.claims.limits import common_error, limits
from bench.compare.claims.measured import Counts, Seeds, Sides, at_equal, differences, ratios
from bench.compare.claims.selection import Member, Selection, by_seed, column, find
from bench.compare.comparison import Comparison
from bench.compare.read import ENDED
from bench.compare.topics.curves import Crossing, Curve, crossing
from bench.compare.topics.pareto import front, rounded
from bench.evaluation.collapse import shows_collapse

__all__ = ["KINDS", "Counts", "Kind", "Seeds", "Sides", "log_spread"]


def ratio(sides: Sides, equal: str = "") -> Seeds | None:
    """The numerator's value divided by the baseline's; several selections are multiplied.

    Args:
        sides: the runs.
        equal: budget at which both sides are compared, such as "images"; empty for the ends of
            the runs.
    """
    return ratios(sides, at_equal(sides.groups, equal) if equal else by_seed(sides.groups))


def difference(sides: Sides, factor: float = 1.0) -> Seeds | None:
    """The numerator's value minus `factor` times the baseline's; several selections are added.

    Needed for columns that may be zero.
    """
    found = differences(sides, by_seed(sides.groups), factor)
    if found is None:
        return None
    weighted = [(group, 1.0) for group in sides.numerator]
    weighted += [(group, -factor) for group in sides.baseline]
    return replace(found, limits=limits(weighted), error=common_error(weighted))


def copying(sides: Sides) -> Seeds | None:
    """Share of samples whose nearest image is one trained on, minus what it is without copying.

    All seeds have one split of the images into those trained on and held-out ones. Their common
    error is at most the mean of the errors of the seeds; its degrees of freedom follow from the
    number of images that share out the samples, were they shared equally. Runs of earlier versions
    do not know this error, and so decide nothing.
    """
    (group,) = sides.numerator
    names = ("nearest_trained", "nearest_trained_expected", "nearest_trained_error")
    rows = {m.seed: [float(column(m, name)[-1]) for name in names] for m in group.finished}
    if not rows:
        return None
    known = {seed: row for seed, row in rows.items() if all(map(math.isfinite, row))}
    if len(known) < len(rows):
        return Seeds({}, lacking=f"split error unknown in {len(rows) - len(known)} of {len(rows)}")
    values = {seed: share - expected for seed, (share, expected, _) in known.items()}
    errors = [error for *_, error in known.values()]
    images = min(e * (1 - e) / max(error, 1e-9) ** 2 for _, e, error in known.values())
    error, freedom = math.fsum(errors) / len(errors), max(1.0, images - 1)
    return Seeds(values, error=error, freedom=freedom, limits=(-1.0, 1.0))


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
    return ratios(sides, found)


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
        whole: whether it uses other runs of the claim's grids than those that it selects.
    """

    measure: Callable[..., Seeds | Counts | None]
    scale: Literal["ratio", "difference", "share"]
    per: Literal["seed", "run", "data set"] = "seed"
    selections: int = 0
    only_default: bool = False
    whole: bool = False

    @property
    def threshold(self) -> float:
        """The default threshold between support and contradiction."""
        return {"ratio": 1.0, "difference": 0.0, "share": 0.5}[self.scale]


KINDS = {
    "ratio": Kind(ratio, "ratio"),
    "difference": Kind(difference, "difference"),
    "copying": Kind(copying, "difference", selections=1, only_default=True),
    "share_at_least": Kind(share_at_least, "share", "run"),
    "largest_rise": Kind(largest_rise_ratio, "ratio", selections=2),
    "cost_to_reach": Kind(cost_to_reach, "ratio", selections=2, only_default=True),
    "share_slower": Kind(share_slower, "share", "run", selections=2),
    "sensitivity": Kind(sensitivity, "ratio", selections=2, whole=True),
    "good_settings": Kind(good_settings, "difference", selections=2, whole=True),
    "spread_over_seeds": Kind(spread_over_seeds, "ratio", "data set", selections=2, whole=True),
    "unstable_runs": Kind(unstable_runs, "difference", "run", 2, only_default=True, whole=True),
    "failure_rate": Kind(failure_rate, "share", "run", selections=1),
    "failure_rate_difference": Kind(failure_rate, "difference", "run", 2, only_default=True),
    "share_on_front": Kind(share_on_front, "share", "run", selections=1, whole=True),
}
"""Kinds of tests by their names in conf/claims; docs/claims.md explains them."""
