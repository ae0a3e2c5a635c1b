"""Anytime-valid statistics over seeds: evidence that may be looked at after every seed.

An e-process is a bet against a hypothesis, fair if the hypothesis holds: it exceeds 20 at any time
with a probability of at most 1/20 (Ville 1939), however often one looks and whenever one stops.
"""

import math
from collections.abc import Sequence

import numpy as np

from bench.compare.stats import ROUNDING

LEVEL = 0.05
"""Probability of a false verdict that is allowed, at all looks together."""

MAX_SEEDS = 30
"""Largest number of seeds up to which error rates were simulated (docs/statistics.md)."""

SYMMETRIC_SHARE = 0.7
"""Weight of the e-process for symmetric differences; the rest is that of Student's t."""

SYMMETRIC_SCALE = 1.0
"""Its stake in units of the root mean square of the differences so far."""

EFFECT_VARIANCE = 4.0
"""Prior variance of the effect size in the e-process of Student's t."""

STAKES = np.array([0.02, 0.05, 0.1, 0.2, 0.35, 0.5, 0.7, 0.9])
"""Shares of the largest stake that are mixed for bounded values."""


def evidence(
    differences: np.ndarray, null: float | np.ndarray = 0.0, *, size: float | np.ndarray = 0.0
) -> np.ndarray:
    """Evidence after each seed that paired differences are not centred at `null`.

    A mixture of two e-processes. The first needs only that differences are symmetric around the
    null, as those of two models that are alike are, whatever the noise: a bet of tanh(±d / s) on
    the sign of d, where s is the root mean square of all differences up to d. The second, of
    Student's t with the right Haar prior of the scale and a normal prior of the effect size, is
    stronger for normal noise (Lai 1976; Wang & Ramdas 2025); it is left out where nothing varies.
    Only evidence in the direction of the mean counts, so that a verdict has the mean's direction.

    Args:
        differences: (..., S) float64 in the order of seeds; NaN where a seed is missing, which is
            passed over.
        null: the centre under the hypothesis; broadcasts with (...,).
        size: magnitude of the values that were subtracted, broadcasts with (..., S): what is
            smaller than `ROUNDING` times the largest so far is rounding, not variation.

    Returns:
        e-values, (..., S) float64, two-sided.
    """
    return np.exp(_log_evidence(differences, null, size, sides=2))


def equality_evidence(
    differences: np.ndarray, margin: float, *, size: float | np.ndarray = 0.0
) -> np.ndarray:
    """Evidence after each seed that the centre of paired differences lies within ±margin.

    The smaller of the one-sided e-values against both ends of the margin, as in two one-sided
    tests (Schuirmann 1987), where the mean lies between them; else 0. Each bounds its error also
    for centres beyond its end: all bets lose when differences are shifted away from the margin.

    Args:
        differences: (..., S) float64, see `evidence`.
        margin: in the units of the differences, positive.
        size: see `evidence`.

    Returns:
        e-values, (..., S) float64.
    """
    known = ~np.isnan(differences)
    n = np.maximum(np.cumsum(known, axis=-1), 1)
    mean = np.cumsum(np.where(known, differences, 0.0), axis=-1) / n
    low, high = (_log_evidence(differences, end, size, sides=1) for end in (-margin, margin))
    return np.where(np.abs(mean) < margin, np.exp(np.minimum(low, high)), 0.0)


def _log_evidence(
    differences: np.ndarray, null: float | np.ndarray, size: float | np.ndarray, *, sides: int
) -> np.ndarray:
    """Logarithm of the e-value in the direction of the mean.

    Args:
        differences: see `evidence`.
        null: see `evidence`.
        size: see `evidence`.
        sides: 2 if either direction of the mean counts, 1 if the caller looks at one only.
    """
    known = ~np.isnan(differences)
    shift = np.asarray(null, dtype=np.float64)[..., None]
    d = np.where(known, differences - shift, 0.0)
    known = np.broadcast_to(known, d.shape)
    largest = np.maximum(np.abs(np.nan_to_num(differences)) + np.abs(shift), np.nan_to_num(size))
    rounding = ROUNDING * np.maximum.accumulate(np.where(known, largest, 0.0), axis=-1)
    d = np.where(np.abs(d) <= rounding, 0.0, d)
    n = np.cumsum(known, axis=-1)
    total, squares = np.cumsum(d, axis=-1), np.cumsum(d * d, axis=-1)
    scale = np.sqrt(squares / np.maximum(n, 1))
    stake = np.tanh(SYMMETRIC_SCALE * d / np.where(scale > 0, scale, 1.0))
    up, down = (np.cumsum(np.log1p(sign * stake), axis=-1) for sign in (1.0, -1.0))
    symmetric = np.where(total > 0, up, down) - math.log(sides)
    with np.errstate(divide="ignore", invalid="ignore"):
        explained = total * total / np.maximum(n, 1)
        rest = squares - explained
        flat = rest <= rounding**2 * n
        ratio = explained / np.where(flat, 1.0, rest)
        wider = 1 + n * EFFECT_VARIANCE
        student = n / 2 * (np.log1p(ratio) - np.log1p(ratio / wider)) - np.log(wider) / 2
    student = np.where((n < 2) | flat, symmetric, student)
    return np.logaddexp(
        math.log(SYMMETRIC_SHARE) + symmetric, math.log(1 - SYMMETRIC_SHARE) + student
    )


def confidence_sequence(
    differences: np.ndarray, level: float = LEVEL, *, size: float | np.ndarray = 0.0
) -> tuple[float, float]:
    """The interval of centres that the evidence of all seeds so far does not exclude.

    Intervals of all looks cover the centre together with a probability of at least 1 - level.

    Args:
        differences: (S,) float64, see `evidence`.
        level: non-coverage that is allowed.
        size: see `evidence`.

    Returns:
        Its ends; infinite while no centre can be excluded.
    """
    known = ~np.isnan(differences)
    d, size = differences[known], np.broadcast_to(size, differences.shape)[known]
    if not len(d):
        return -math.inf, math.inf
    step = max(float(np.ptp(d)), ROUNDING * max(float(np.abs(d).max()), float(size.max())), 1e-12)
    if evidence(d, d.mean() - 1e4 * step, size=size)[-1] < 1 / level:
        return -math.inf, math.inf
    found = [_end(d, sign * step, level, size) for sign in (-1.0, 1.0)]
    return found[0], found[1]


def _end(d: np.ndarray, step: float, level: float, size: np.ndarray) -> float:
    """The outermost centre in one direction that is not excluded, by scanning and bisection."""
    centre = float(d.mean())

    def inside(away: np.ndarray) -> np.ndarray:
        """Which centres at these distances are not excluded, (K,)."""
        shifted = np.broadcast_to(d, (len(away), len(d)))
        return evidence(shifted, centre + away, size=size)[:, -1] < 1 / level

    away = step * np.geomspace(1e-4, 1e4, 400)
    kept = np.flatnonzero(inside(away))
    last = int(kept[-1]) if len(kept) else -1
    low = away[last] if last >= 0 else 0.0
    high = away[min(last + 1, len(away) - 1)]
    for _ in range(4):  # each pass divides the bracket by 31
        between = np.linspace(low, high, 32)
        kept = np.flatnonzero(inside(between[:-1]))
        last = int(kept[-1]) if len(kept) else 0
        low, high = between[last], between[last + 1]
    return centre + float(low)


def bounded_evidence(
    values: np.ndarray, null: float, low: float | np.ndarray, high: float | np.ndarray
) -> np.ndarray:
    """Evidence after each seed that the mean of bounded values is not `null`, whatever their law.

    Bets on values above and below the null with fixed shares of the largest stake that cannot lose
    everything, mixed (Waudby-Smith & Ramdas 2024). Values that do not vary are evidence as well:
    one of eight modes in each of three seeds excludes a mean of 90 % of them, not yet one of half.

    Args:
        values: (S,) float64 in the order of seeds, without NaN.
        null: the mean under the hypothesis.
        low: smallest possible value, also (S,); at most the null.
        high: largest possible value, also (S,); at least the null.

    Returns:
        e-values, (S,) float64, two-sided.

    Raises:
        ValueError: a value or the null lies outside of its bounds.
    """
    x, low, high = np.broadcast_arrays(
        *(np.asarray(v, dtype=np.float64) for v in (values, low, high))
    )
    slack = 1e-9 * (1 + np.abs(low) + np.abs(high))
    if (
        (x < low - slack) | (x > high + slack) | (low - slack > null) | (high + slack < null)
    ).any():
        raise ValueError(f"values and the null {null:g} must lie between their bounds")
    paths = []
    for room, gain in ((null - low, x - null), (high - null, null - x)):
        won = np.where(room > slack, gain / np.maximum(room, slack), 0.0)
        paths.append(np.exp(np.cumsum(np.log1p(STAKES[:, None] * np.maximum(won, -1.0)), axis=-1)))
    return np.concatenate(paths).mean(axis=0)


def share_evidence(outcomes: np.ndarray, null: float) -> np.ndarray:
    """Evidence after each trial that the share of successes is not `null`: a beta mixture.

    Args:
        outcomes: (S,) of 0 and 1 in the order of seeds.
        null: the share under the hypothesis, in (0, 1).

    Returns:
        e-values, (S,) float64, two-sided, with Jeffreys' prior Beta(1/2, 1/2).
    """
    from scipy.special import betaln

    k = np.cumsum(outcomes)
    n = np.arange(1, len(k) + 1)
    log = betaln(k + 0.5, n - k + 0.5) - betaln(0.5, 0.5)
    return np.exp(log - k * math.log(null) - (n - k) * math.log1p(-null))


def share_sequence(outcomes: np.ndarray, level: float = LEVEL) -> tuple[float, float]:
    """The shares that `share_evidence` of all trials so far does not exclude, as an interval.

    Args:
        outcomes: (S,) of 0 and 1, at least one.
        level: non-coverage that is allowed.
    """
    from scipy.special import betaln

    k, n = float(np.sum(outcomes)), len(outcomes)
    shares = np.linspace(0.0005, 0.9995, 2000)
    log = betaln(k + 0.5, n - k + 0.5) - betaln(0.5, 0.5)
    e = log - k * np.log(shares) - (n - k) * np.log1p(-shares)
    inside = shares[e < -math.log(level)]
    low = 0.0 if k == 0 else float(inside.min())
    return low, 1.0 if k == n else float(inside.max())


def settled_after(
    differences: Sequence[float],
    threshold: float,
    margin: float | None,
    *,
    equal_threshold: float | None = None,
    size: float = 0.0,
    most: int = 200,
) -> float:
    """Estimated number of seeds after which a question will be settled, from those so far.

    The median over simulated continuations: normal differences whose mean and spread have the
    distribution that the differences so far give them.

    Args:
        differences: in the order of seeds, at least two.
        threshold: the e-value that settles the question.
        margin: of practical equality, in units of the differences; None if it settles nothing.
        equal_threshold: the e-value that settles equality; that of the question if None.
        size: see `evidence`.
        most: largest number of seeds that is considered.

    Returns:
        The number of all seeds; infinite if it is above `most`, NaN with fewer than two seeds or
        if nothing varies.
    """
    d = np.asarray(differences, dtype=np.float64)
    d = d[~np.isnan(d)]
    n = len(d)
    if n < 2 or np.ptp(d) <= ROUNDING * size:
        return math.nan
    rng, paths = np.random.default_rng(0), 200
    std = d.std(ddof=1) * np.sqrt((n - 1) / rng.chisquare(n - 1, size=(paths, 1)))
    mean = d.mean() + std * rng.normal(size=(paths, 1)) / math.sqrt(n)
    more = mean + std * rng.normal(size=(paths, max(most - n, 0)))
    whole = np.concatenate([np.broadcast_to(d, (paths, n)), more], axis=1)
    reached = evidence(whole, size=size) >= threshold
    if margin is not None:
        equal = equality_evidence(whole, margin, size=size)
        reached |= equal >= (equal_threshold or threshold)
    reached[:, :n] = reached[:, n - 1 : n]
    first = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1.0, math.inf)
    return float(np.median(np.maximum(first, n)))
