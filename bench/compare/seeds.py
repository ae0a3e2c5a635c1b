"""Statistics over seeds: intervals, paired differences, Holm's correction. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement

import numpy as np

SIGNIFICANCE = 0.05
"""Adjusted p values below it call a difference real."""

CONFIDENCE = 0.95
"""Of every interval."""

MIN_SEEDS = 3
"""Seeds below which there is neither interval nor verdict."""

ENUMERATED = 7
"""Up to so many seeds every bootstrap sample is enumerated; above, `RESAMPLES` are drawn."""

RESAMPLES = 10_000

ROUNDING = 1e-9
"""Spreads below it, relative to the values, are rounding."""


@dataclass(frozen=True)
class Summary:
    """One metric over seeds.

    Attributes:
        n: number of seeds.
        mean: arithmetic mean.
        median: of the seeds.
        std: sample standard deviation (n - 1); NaN for one seed.
        minimum: the smallest value.
        maximum: the largest value.
        low: lower end of the 95 % bootstrap interval of the mean; NaN below `MIN_SEEDS`.
        high: its upper end.
    """

    n: int
    mean: float
    median: float
    std: float
    minimum: float
    maximum: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """A against B over seeds.

    Attributes:
        n: number of seeds, or of the smaller sample where seeds are not paired.
        mean: mean of A - B, or with `ratio` the ratio of geometric means A / B.
        low: lower end of Student's 95 % interval; NaN below `MIN_SEEDS`.
        high: its upper end.
        p: two-sided p value against no difference; NaN below `MIN_SEEDS`.
        effect: mean difference over its standard deviation over seeds, with Hedges' correction for
            few seeds (of logarithms with `ratio`); infinite where nothing varies.
        ratio: whether mean, low and high are ratios.
    """

    n: int
    mean: float
    low: float
    high: float
    p: float
    effect: float
    ratio: bool = False


def summarise(values: Sequence[float]) -> Summary:
    """Summarise finite values, one for each seed; of none, everything is NaN."""
    x = np.asarray(values, dtype=np.float64)
    if not len(x):
        return Summary(0, *[math.nan] * 7)
    std = float(x.std(ddof=1)) if len(x) > 1 else math.nan
    low, high = bootstrap_interval(x)
    return Summary(
        len(x), float(x.mean()), float(np.median(x)), std, float(x.min()), float(x.max()), low, high
    )


def bootstrap_interval(values: Sequence[float] | np.ndarray) -> tuple[float, float]:
    """The 95 % percentile bootstrap interval of a mean (Efron & Tibshirani 1993, Sec. 13.3).

    Of few values every resample is enumerated, so that it is exact. It is known to be short with
    few values; docs/statistics.md says by how much. Verdicts rest on Student's interval.
    """
    x = np.asarray(values, dtype=np.float64)
    if len(x) < MIN_SEEDS:
        return math.nan, math.nan
    tail = (1 - CONFIDENCE) / 2
    weights, probabilities = _resamples(len(x))
    means = weights @ x / len(x)
    order = np.argsort(means, kind="stable")
    cumulated = np.cumsum(probabilities[order])
    low, high = (np.searchsorted(cumulated, q - 1e-12) for q in (tail, 1 - tail))
    return float(means[order[low]]), float(means[order[min(high, len(order) - 1)]])


@cache
def _resamples(n: int) -> tuple[np.ndarray, np.ndarray]:
    """How often each value occurs in a resample, (R, n), and the resamples' probabilities, (R,)."""
    if n > ENUMERATED:
        weights = np.random.default_rng(0).multinomial(n, [1 / n] * n, size=RESAMPLES)
        return weights.astype(np.float64), np.full(RESAMPLES, 1 / RESAMPLES)
    rows = [np.bincount(c, minlength=n) for c in combinations_with_replacement(range(n), n)]
    ways = [math.factorial(n) / math.prod(map(math.factorial, row)) for row in rows]
    return np.array(rows, dtype=np.float64), np.array(ways) / n**n


def paired_difference(
    a: Mapping[str, float], b: Mapping[str, float], *, ratio: bool = False
) -> Difference:
    """Compare two models over the seeds that both have, by Student's paired t.

    Where all differences are equal, Student's t has nothing to divide by; the sign test's p value,
    2^(1 - n), stands instead, or 1 where they are all zero.

    Args:
        a: value by seed.
        b: value by seed.
        ratio: whether logarithms are compared, of positive values.
    """
    seeds = [seed for seed in a if seed in b]
    x = np.array([a[seed] for seed in seeds], dtype=np.float64)
    y = np.array([b[seed] for seed in seeds], dtype=np.float64)
    if ratio:
        x, y = np.log(x), np.log(y)
    d = x - y
    scale = max(np.abs(x).max(initial=0), np.abs(y).max(initial=0), 1e-300)
    n = len(d)
    mean = float(d.mean()) if n else math.nan
    std = float(d.std(ddof=1)) if n > 1 else math.nan
    if n < MIN_SEEDS:
        return _difference(n, mean, math.nan, math.nan, math.nan, math.nan, ratio)
    if std <= ROUNDING * scale:
        same = abs(mean) <= ROUNDING * scale
        p, effect = (1.0, 0.0) if same else (2.0 ** (1 - n), math.copysign(math.inf, mean))
        return _difference(n, mean, mean, mean, p, effect, ratio)
    half, p = _student(mean, std / math.sqrt(n), n - 1)
    return _difference(n, mean, mean - half, mean + half, p, hedges(n - 1) * mean / std, ratio)


def unpaired_difference(
    a: Sequence[float], b: Sequence[float], *, ratio: bool = False
) -> Difference:
    """Compare two models whose seeds do not pair, by Welch's t."""
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if ratio:
        x, y = np.log(x), np.log(y)
    n = min(len(x), len(y))
    mean = float(x.mean() - y.mean()) if n else math.nan
    if n < MIN_SEEDS:
        return _difference(n, mean, math.nan, math.nan, math.nan, math.nan, ratio)
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    scale = max(np.abs(x).max(), np.abs(y).max(), 1e-300)
    if math.sqrt(u + v) <= ROUNDING * scale:
        same = abs(mean) <= ROUNDING * scale
        p = 1.0 if same else 1 / math.comb(len(x) + len(y), len(x)) * 2
        return _difference(n, mean, mean, mean, p, 0.0 if same else math.inf, ratio)
    freedom = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    half, p = _student(mean, math.sqrt(u + v), freedom)
    pooled = math.sqrt((x.var(ddof=1) + y.var(ddof=1)) / 2)
    effect = hedges(len(x) + len(y) - 2) * mean / pooled
    return _difference(n, mean, mean - half, mean + half, p, effect, ratio)


def hedges(freedom: float) -> float:
    """The factor that removes the bias of a standardised difference (Hedges 1981, Eq. 6e)."""
    if freedom <= 1:
        return math.nan
    log = math.lgamma(freedom / 2) - math.lgamma((freedom - 1) / 2)
    return math.exp(log) / math.sqrt(freedom / 2)


def holm(p: Sequence[float]) -> list[float]:
    """Adjust p values of a family of comparisons (Holm 1979), in the order given."""
    order = sorted(range(len(p)), key=lambda k: p[k])
    adjusted, largest = [math.nan] * len(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(p) - rank) * p[k]))
        adjusted[k] = largest
    return adjusted


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a share of k in n (Wilson 1927)."""
    z = 1.959963984540054
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(k * (n - k) / n + z**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def _student(mean: float, error: float, freedom: float) -> tuple[float, float]:
    """Half the length of the 95 % interval, and the two-sided p value."""
    from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * error
    return half, float(2 * stdtr(freedom, -abs(mean) / error))


def _difference(
    n: int, mean: float, low: float, high: float, p: float, effect: float, ratio: bool
) -> Difference:
    if ratio:
        mean, low, high = (math.exp(x) for x in (mean, low, high))
    return Difference(n, mean, low, high, p, effect, ratio)
