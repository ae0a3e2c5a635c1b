"""Learning curves: a metric against the budget consumed, its interpolation and crossings."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce
from typing import Literal, get_args

import numpy as np

from bench.compare.comparison import Comparison, Entry, analysis

Axis = Literal["images", "train_seconds", "train_flops"]
"""Units of the training budget, as columns of eval.csv."""


@dataclass(frozen=True)
class Curve:
    """A metric at the evaluation points of one run and sampler.

    Attributes:
        x: budget consumed (images, seconds or FLOPs), (P,), positive and ascending.
        y: the metric, (P,).
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Crossing:
    """Interval [low, high] of the budget at which a curve first fell to a threshold.

    Attributes:
        low: equal to `high` if the crossing lies between two evaluation points; 0 if the first
            point is already at or below the threshold; the last point if none is (censored).
        high: infinite if the threshold was not reached.
    """

    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether the threshold was reached."""
        return math.isfinite(self.high)


NEVER = Crossing(math.inf, math.inf)
"""The crossing of a failed run."""


@dataclass(frozen=True)
class LearningCurves:
    """Learning curves of the seeds of one trained entry.

    Attributes:
        entry: the entry, finished and trained.
        fid: column of the FID.
        failed: number of failed seeds of its model and variant.
    """

    entry: Entry
    fid: str
    failed: int

    @cached_property
    def checkpoints(self) -> tuple[int, ...]:
        """The evaluation points that all seeds have, ascending.

        It is the last one alone for samplers that were scored only there.
        """
        found = [table.numbers("checkpoint") for table in self.entry.tables.values()]
        return tuple(reduce(np.intersect1d, found).astype(int).tolist())

    @property
    def points(self) -> int:
        """Number of evaluation points that all seeds have."""
        return len(self.checkpoints)

    @cached_property
    def final(self) -> tuple[float, ...]:
        """The FID of every seed at its last evaluation point."""
        return tuple(float(table.numbers(self.fid)[-1]) for table in self.entry.tables.values())

    def stacked(self, column: str) -> np.ndarray:
        """A column at the evaluation points that all seeds have, (S, P)."""
        return np.stack(
            [
                table.numbers(column)[np.isin(table.numbers("checkpoint"), self.checkpoints)]
                for table in self.entry.tables.values()
            ]
        )

    @cached_property
    def _along(self) -> dict[Axis, tuple[Curve, ...]]:
        tables = self.entry.tables.values()
        return {
            axis: tuple(curve(table.numbers(axis), table.numbers(self.fid)) for table in tables)
            for axis in get_args(Axis)
        }

    def along(self, axis: Axis) -> tuple[Curve, ...]:
        """The curve of every seed on one axis."""
        return self._along[axis]

    def crossings(self, axis: Axis, threshold: float) -> list[Crossing]:
        """The crossing of every seed; `NEVER` for failed seeds."""
        return [*(crossing(c, threshold) for c in self.along(axis)), *[NEVER] * self.failed]


@analysis
def learning_curves(comparison: Comparison) -> tuple[LearningCurves, ...]:
    """Learning curves of all finished trained entries, in the order of the comparison."""
    if not comparison.extractors:
        return ()
    failed = Counter((run.model, run.variant) for run in comparison.runs if run.state == "failed")
    return tuple(
        LearningCurves(entry, comparison.fid, failed[entry.key])
        for entry in comparison.entries
        if entry.finished and entry.trained
    )


def curve(x: np.ndarray, y: np.ndarray) -> Curve:
    """A curve of the points with finite values on both axes.

    Args:
        x: budget consumed at every evaluation point, not descending, (P,).
        y: the metric, (P,).
    """
    known = np.isfinite(x) & np.isfinite(y) & (x > 0)
    x, y = x[known], y[known]
    last = np.append(x[:-1] < x[1:], True)[: len(x)]  # the last of points at equal budget
    return Curve(x[last], y[last])


def at(curve: Curve, x: float) -> float:
    """The metric at a budget; NaN before the first evaluation point and after the last.

    Linear interpolation over the logarithm of the budget, and in the logarithm of the metric if
    both ends are positive.
    """
    if not len(curve.x) or not curve.x[0] <= x <= curve.x[-1]:
        return math.nan
    k = int(np.searchsorted(curve.x, x))
    if curve.x[k] == x:
        return float(curve.y[k])
    return _between(curve, k, x)


def crossing(curve: Curve, threshold: float) -> Crossing:
    """The budget at which the metric first fell to a threshold, interpolated as in `at`."""
    if not len(curve.x):
        return Crossing(0.0, math.inf)
    reached = np.flatnonzero(curve.y <= threshold)
    if not len(reached):
        return Crossing(float(curve.x[-1]), math.inf)
    k = int(reached[0])
    if curve.y[k] == threshold and k > 0:
        return Crossing(float(curve.x[k]), float(curve.x[k]))
    if k == 0:
        return Crossing(0.0, float(curve.x[0]))
    a, b = float(curve.y[k - 1]), float(curve.y[k])
    share = math.log(threshold / a) / math.log(b / a) if b > 0 else (threshold - a) / (b - a)
    when = float(curve.x[k - 1] * (curve.x[k] / curve.x[k - 1]) ** share)
    return Crossing(when, when)


def median(crossings: Sequence[Crossing]) -> Crossing:
    """Bounds of the median crossing: the medians of the lower and of the upper ends.

    The median is monotone in every value, so the true one lies between them, whatever the censored
    runs would have done.
    """
    lows, highs = (sorted(getattr(c, end) for c in crossings) for end in ("low", "high"))
    k = len(crossings)
    low, high = ((v[(k - 1) // 2] + v[k // 2]) / 2 for v in (lows, highs))
    return Crossing(low, high)


def _between(curve: Curve, k: int, x: float) -> float:
    """The value at x between points k - 1 and k."""
    share = math.log(x / curve.x[k - 1]) / math.log(curve.x[k] / curve.x[k - 1])
    a, b = float(curve.y[k - 1]), float(curve.y[k])
    if a > 0 and b > 0:
        return math.exp((1 - share) * math.log(a) + share * math.log(b))
    return (1 - share) * a + share * b
