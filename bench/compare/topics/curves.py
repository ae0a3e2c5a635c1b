"""Learning curves: a metric along what training consumed; its value at a budget, when it falls."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.compare.cells import natural
from bench.compare.comparison import KEY, Comparison, Entry
from bench.compare.read import Run

Axis = Literal["images", "train_seconds", "train_flops"]
"""What training consumes, as columns of eval.csv."""


@dataclass(frozen=True)
class Curve:
    """A metric at the evaluation points of one run and sampler.

    Attributes:
        x: what was consumed (images, seconds or FLOPs), (P,), positive and ascending.
        y: the metric, (P,).
    """

    x: np.ndarray
    y: np.ndarray


@dataclass(frozen=True)
class Crossing:
    """When a curve first fell to a threshold: somewhere from `low` to `high`, both inclusive.

    Attributes:
        low: equal to `high` where the moment lies between two evaluation points; 0 where the first
            point is already below; the last point (censored) where none is.
        high: infinite where the threshold was never reached.
    """

    low: float
    high: float

    @property
    def reached(self) -> bool:
        """Whether the threshold was reached at all."""
        return math.isfinite(self.high)


NEVER = Crossing(math.inf, math.inf)
"""The crossing of a run that can never reach anything: it failed."""


@dataclass(frozen=True)
class SeedCurve:
    """All evaluation points of one run and sampler, in order.

    Attributes:
        images: samples seen, (P,).
        train_seconds: seconds of training, (P,).
        train_flops: floating-point operations of training, (P,).
        metric: NaN where it was not measured, (P,).
    """

    images: np.ndarray
    train_seconds: np.ndarray
    train_flops: np.ndarray
    metric: np.ndarray

    def along(self, axis: Axis) -> Curve:
        """The curve on one axis, without points that lack a value on either."""
        x: np.ndarray = getattr(self, axis)
        known = np.isfinite(x) & np.isfinite(self.metric) & (x > 0)
        x, y = x[known], self.metric[known]
        last = np.append(x[:-1] < x[1:], True)[: len(x)]  # of several points at one budget
        return Curve(x[last], y[last])


@dataclass(frozen=True)
class LearningCurves:
    """How the seeds of one trained entry came to their result.

    Attributes:
        entry: the entry, finished and trained.
        seeds: the curve of every finished seed, by seed.
        failed: how many more seeds of its model failed.
    """

    entry: Entry
    seeds: Mapping[str, SeedCurve]
    failed: int

    @property
    def points(self) -> int:
        """Evaluation points that every seed has."""
        return min(len(curve.metric) for curve in self.seeds.values())

    def along(self, axis: Axis) -> list[Curve]:
        """The curve of every seed on one axis."""
        return [curve.along(axis) for curve in self.seeds.values()]

    def crossings(self, axis: Axis, threshold: float) -> list[Crossing]:
        """When every seed first fell to a threshold; seeds that failed never did."""
        return [*(crossing(c, threshold) for c in self.along(axis)), *[NEVER] * self.failed]


def learning_curves(comparison: Comparison, metric: str | None = None) -> list[LearningCurves]:
    """The curves of all trained entries that have a result, in the order of the comparison.

    Args:
        comparison: the entries and the runs that they were made from.
        metric: a measured column of eval.csv; None for the FID that ranks the entries.
    """
    column = f"fid_{comparison.extractors[0]}" if metric is None else metric
    found: dict[tuple[str, ...], dict[str, SeedCurve]] = {}
    failed: dict[tuple[str, str], int] = {}
    for run in sorted(comparison.runs, key=lambda run: natural(run.seed)):
        if run.state == "finished":
            for (sampler, weights), curve in _curves_of(run, column).items():
                key = (run.model, run.variant, sampler, weights)
                found.setdefault(key, {})[run.seed] = curve
        elif run.state == "failed":
            failed[run.model, run.variant] = failed.get((run.model, run.variant), 0) + 1
    return [
        LearningCurves(entry, found[key], failed.get((entry.model, entry.variant), 0))
        for entry in comparison.entries
        if entry.finished
        and entry.trained
        and (key := tuple(getattr(entry, name) for name in KEY)) in found
    ]


def at(curve: Curve, x: float) -> float:
    """The metric at a budget; NaN before the first evaluation point and after the last.

    Interpolated along the logarithm of the budget, and of the metric where both ends are positive.
    """
    if not len(curve.x) or not curve.x[0] <= x <= curve.x[-1]:
        return math.nan
    k = int(np.searchsorted(curve.x, x))
    if curve.x[k] == x:
        return float(curve.y[k])
    return _between(curve, k, x)


def crossing(curve: Curve, threshold: float) -> Crossing:
    """When the metric first fell to a threshold, interpolated as in `at`."""
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
    """What is known of the median moment: the medians of the lower and of the upper ends.

    The median rises with every value, so the true one lies between these two, however the censored
    runs would have gone on.
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


def _curves_of(run: Run, column: str) -> dict[tuple[str, str], SeedCurve]:
    """The curve of every sampler and kind of weights of a run."""
    table = run.table
    checkpoints = table.numbers("checkpoint")
    columns = ("images", "train_seconds", "train_flops", column)
    values = np.stack([table.numbers(name) for name in columns])  # (4, R)
    rows: dict[tuple[str, str], list[int]] = {}
    for k, key in enumerate(zip(table.texts("sampler"), table.texts("weights"), strict=True)):
        rows.setdefault(key, []).append(k)
    return {
        key: SeedCurve(*values[:, sorted(at, key=checkpoints.__getitem__)])
        for key, at in rows.items()
    }
