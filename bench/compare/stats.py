"""Statistics over seeds: intervals, paired differences, Holm's correction. Pure functions."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import combinations_with_replacement
from typing import Literal

import numpy as np

Verdict = Literal["different", "not shown to differ", "too few seeds"]
"""Result of comparing two models."""

SIGNIFICANCE = 0.05
"""Threshold of adjusted p values below which two models are called different."""

CONFIDENCE = 0.95
"""Nominal coverage of every interval."""

MIN_SEEDS = 3
"""Minimum number of seeds for an interval or a verdict."""

ENUMERATED = 7
"""Largest number of seeds for which all bootstrap samples are enumerated; above it, `RESAMPLES` are
generated."""

RESAMPLES = 10_000

ROUNDING = 1e-6
"""Relative spread up to which values count as equal: files hold about seven digits."""


@dataclass(frozen=True)
class Summary:
    """One metric over seeds.

    Attributes:
        n: number of seeds.
        mean: arithmetic mean.
        median: the median.
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
    """Difference between A and B over seeds.

    Attributes:
        n: number of seeds; if they are not paired, of the smaller sample.
        mean: mean of A - B, or with `ratio` the ratio of geometric means A / B.
        low: lower end of Student's 95 % interval; NaN below `MIN_SEEDS`.
        high: its upper end.
        p: two-sided p value against no difference; NaN below `MIN_SEEDS`.
        effect: mean difference over its standard deviation over seeds, with Hedges' correction for
            few seeds (of logarithms with `ratio`); infinite if nothing varies.
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
    """Summarise finite values, one per seed; without values everything is NaN."""
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

    With few values all resamples are enumerated, which is exact. The interval is too narrow for few
    values (docs/statistics.md); verdicts rest on Student's t.
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
    """Compare two models over their common seeds by Student's paired t.

    Args:
        a: value by seed.
        b: value by seed.
        ratio: whether to compare logarithms, of positive values.

    Raises:
        ValueError: a ratio of values that are not positive.
    """
    seeds = [seed for seed in a if seed in b]
    x, y = (np.array([[of[seed] for seed in seeds]], dtype=np.float64) for of in (a, b))
    return paired_differences(x, y, ratio=ratio)[0]


def paired_differences(x: np.ndarray, y: np.ndarray, *, ratio: bool = False) -> list[Difference]:
    """`paired_difference` of many pairs at once.

    If all differences of a pair are equal, Student's t is undefined; the sign test's p value,
    2^(1 - n), is used instead, or 1 if they are all zero.

    Args:
        x: values of A by seed, (P, S); NaN if missing.
        y: values of B, (P, S), or (1, S) for all pairs.
        ratio: whether to compare logarithms, of positive values.

    Raises:
        ValueError: a ratio of values that are not positive.
    """
    x, y = np.broadcast_arrays(*(logarithms(v) if ratio else v for v in (x, y)))
    d = x - y
    known = ~np.isnan(d)
    n = known.sum(axis=1)
    d = np.where(known, d, 0.0)
    mean = d.sum(axis=1) / np.maximum(n, 1)
    squares = np.where(known, d - mean[:, None], 0.0) ** 2
    std = np.sqrt(squares.sum(axis=1) / np.maximum(n - 1, 1))
    size = np.where(known, np.maximum(np.abs(x), np.abs(y)), 0.0).max(axis=1, initial=float(ratio))
    flat = std <= ROUNDING * size
    error = np.where(flat, 1.0, std) / np.sqrt(np.maximum(n, 1))
    half, p = _student(mean, error, np.maximum(n - 1, 1))
    same = np.abs(mean) <= ROUNDING * size
    p = np.where(flat, np.where(same, 1.0, 2.0 ** (1 - n)), p)
    half = np.where(flat, 0.0, half)
    corrected = np.array([hedges(k - 1) for k in range(d.shape[1] + 1)])[n]
    effect = corrected * mean / np.where(flat, 1.0, std)
    effect = np.where(flat, np.where(same, 0.0, np.copysign(math.inf, mean)), effect)
    rows = np.stack((mean, mean - half, mean + half, p, effect), axis=1).tolist()
    return [
        _difference(count, mean, low, high, p, effect, ratio)
        for count, (mean, low, high, p, effect) in zip(n.tolist(), rows, strict=True)
    ]


def unpaired_difference(
    a: Sequence[float], b: Sequence[float], *, ratio: bool = False
) -> Difference:
    """Compare two models with different seeds by Welch's t.

    If neither varies, the p value is that of a permutation test.

    Raises:
        ValueError: a ratio of values that are not positive.
    """
    x, y = (np.asarray(v, dtype=np.float64) for v in (a, b))
    if ratio:
        x, y = logarithms(x), logarithms(y)
    n = min(len(x), len(y))
    mean = float(x.mean() - y.mean()) if n else math.nan
    if n < MIN_SEEDS:
        return _difference(n, mean, math.nan, math.nan, math.nan, math.nan, ratio)
    u, v = x.var(ddof=1) / len(x), y.var(ddof=1) / len(y)
    size = max(np.abs(x).max(), np.abs(y).max(), float(ratio))
    if math.sqrt(u + v) <= ROUNDING * size:
        same = abs(mean) <= ROUNDING * size
        p = 1.0 if same else 2 / math.comb(len(x) + len(y), n)
        return _difference(n, mean, mean, mean, p, 0.0 if same else mean * math.inf, ratio)
    freedom = (u + v) ** 2 / (u**2 / (len(x) - 1) + v**2 / (len(y) - 1))
    half, p = (float(found) for found in _student(mean, math.sqrt(u + v), freedom))
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
    """Adjust p values of a family of comparisons (Holm 1979), in the order given.

    NaN, a comparison that was not possible, stays NaN and is not counted.
    """
    order = sorted((k for k in range(len(p)) if not math.isnan(p[k])), key=lambda k: p[k])
    adjusted, largest = [math.nan] * len(p), 0.0
    for rank, k in enumerate(order):
        largest = max(largest, min(1.0, (len(order) - rank) * p[k]))
        adjusted[k] = largest
    return adjusted


def verdict(adjusted_p: float, n: int) -> Verdict:
    """The verdict of a comparison over n seeds with a p value adjusted over its family."""
    if n < MIN_SEEDS or math.isnan(adjusted_p):
        return "too few seeds"
    return "different" if adjusted_p < SIGNIFICANCE else "not shown to differ"


def power(n: int, effect: float, level: float = SIGNIFICANCE) -> float:
    """Power of the paired t test over n seeds, from the noncentral t distribution.

    Args:
        n: number of seeds, at least two.
        effect: mean difference over its standard deviation over seeds.
        level: significance level.
    """
    from scipy.special import nctdtr, stdtrit

    critical, shift = stdtrit(n - 1, 1 - level / 2), abs(effect) * math.sqrt(n)
    tails = nctdtr(n - 1, shift, [critical, -critical])
    missed, wrong_side = np.nan_to_num(tails).tolist()  # NaN if too close to zero
    return 1 - missed + wrong_side


def wilson(k: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion of k in n (Wilson 1927)."""
    z = 1.959963984540054
    centre = (k + z**2 / 2) / (n + z**2)
    half = z / (n + z**2) * math.sqrt(k * (n - k) / n + z**2 / 4)
    return max(0.0, centre - half), min(1.0, centre + half)


def logarithms(values: np.ndarray) -> np.ndarray:
    """Logarithms of positive values; NaN stays NaN.

    Raises:
        ValueError: a value is not positive.
    """
    if (values <= 0).any():
        raise ValueError(
            f"a ratio of geometric means needs positive values, got {np.nanmin(values)}: compare "
            "differences (ratio=False)"
        )
    return np.log(values)


def _student(
    mean: float | np.ndarray, error: float | np.ndarray, freedom: float | np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Half the length of the 95 % interval, and the two-sided p value; any shapes."""
    from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

    half = stdtrit(freedom, (1 + CONFIDENCE) / 2) * error
    return half, 2 * stdtr(freedom, -np.abs(mean) / error)


def _difference(
    n: int, mean: float, low: float, high: float, p: float, effect: float, ratio: bool
) -> Difference:
    """A `Difference`; interval and p value are NaN if there are too few seeds."""
    mean = mean if n else math.nan
    if n < MIN_SEEDS:
        low = high = p = effect = math.nan
    if ratio:
        mean, low, high = (math.exp(x) for x in (mean, low, high))
    return Difference(n, mean, low, high, p, effect, ratio)
