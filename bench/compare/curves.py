"""Learning curves: a metric along what training consumed, and what it is at a budget."""

import math
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Curve:
    """A metric at the evaluation points of one run and sampler.

    Attributes:
        x: what was consumed (images, seconds or FLOPs), (P,), positive and ascending.
        y: the metric, (P,).
    """

    x: np.ndarray
    y: np.ndarray


def at(curve: Curve, x: float) -> float:
    """The metric at a budget; NaN before the first evaluation point and after the last.

    Interpolated between two points along the logarithm of the budget, and of the metric where both
    values are positive.
    """
    if not len(curve.x) or not curve.x[0] <= x <= curve.x[-1]:
        return math.nan
    k = int(np.searchsorted(curve.x, x))
    if curve.x[k] == x:
        return float(curve.y[k])
    return _between(curve, k, x)


def _between(curve: Curve, k: int, x: float) -> float:
    """The value at x between points k - 1 and k."""
    share = math.log(x / curve.x[k - 1]) / math.log(curve.x[k] / curve.x[k - 1])
    a, b = float(curve.y[k - 1]), float(curve.y[k])
    if a > 0 and b > 0:
        return math.exp((1 - share) * math.log(a) + share * math.log(b))
    return (1 - share) * a + share * b


def first_reached(curve: Curve, threshold: float) -> float:
    """What was consumed when the metric first fell to a threshold; infinite if it never did.

    Interpolated as in `at`; a run that has reached it at its first point has reached it there,
    which is an upper bound.
    """
    reached = np.flatnonzero(curve.y <= threshold)
    if not len(reached):
        return math.inf
    k = int(reached[0])
    if k == 0 or curve.y[k] == threshold:
        return float(curve.x[k])
    a, b = float(curve.y[k - 1]), float(curve.y[k])
    logs = b > 0 and threshold > 0
    share = math.log(threshold / a) / math.log(b / a) if logs else (threshold - a) / (b - a)
    return float(curve.x[k - 1] * (curve.x[k] / curve.x[k - 1]) ** share)
