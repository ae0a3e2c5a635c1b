"""Estimates of measurements: effect, interval, p values, and evidence after every seed.

Runs of a fixed number of seeds are tested by Student's t and exact tests, runs that were looked at
after every seed by e-processes (`bench.compare.sequential`), whose p value is 1 / e.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.compare.claims.declaration import MARGIN, Criterion
from bench.compare.claims.measurements import Counts, Seeds
from bench.compare.sequential import (
    bounded_evidence,
    confidence_sequence,
    equality_evidence,
    evidence,
    share_evidence,
    share_sequence,
)
from bench.compare.stats import (
    CONFIDENCE,
    MIN_SEEDS,
    ROUNDING,
    Difference,
    paired_difference,
    wilson,
)
from bench.schema import EXACT

SURE = 3.0
"""Number of standard errors by which evidence moves a null that is itself measured."""

BETS = 0.5
"""Weight of the bets on bounded values in a mixture with the evidence for symmetric noise."""

UNITS = {"seed": "seeds", "run": "runs", "data set": "spreads"}
"""What is counted, by `Kind.per`."""

Path = tuple[float, ...]
"""e-values after each seed."""


@dataclass(frozen=True)
class Estimate:
    """A measured effect before its verdict.

    Attributes:
        effect: a ratio, a difference or a share.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value against no effect; NaN if there is none.
        n: number of seeds, data sets, or runs of the smaller side.
        text: effect with its interval, formatted.
        unit: unit of n.
        equal_p: p value against a difference that is at least the margin; NaN if there is none.
        path: evidence after each seed that the effect is not the threshold.
        equal_path: evidence after each seed that the difference lies within the margin.
        differences: by seed, from the threshold, on the scale that is tested; empty for shares.
        sequential: whether p is 1 / e, so that it holds at any number of seeds.
    """

    effect: float
    low: float
    high: float
    p: float
    n: int
    text: str
    unit: str = "seeds"
    equal_p: float = math.nan
    path: Path = ()
    equal_path: Path = ()
    differences: tuple[float, ...] = ()
    sequential: bool = False

    @property
    def size(self) -> str:
        """The number n with its unit, such as "5 seeds"."""
        return f"{self.n} {self.unit if self.n != 1 else self.unit.removesuffix('s')}"


def estimate(
    test: Criterion, value: Seeds | Counts, *, sequential: bool = False, margin: float = MARGIN
) -> Estimate:
    """The estimate of a measurement.

    Args:
        test: the test.
        value: what it measured.
        sequential: whether the runs were looked at after every seed, so that p must be 1 / e.
        margin: ratios within [1 / margin, margin] count as equal.
    """
    if isinstance(value, Seeds):
        return _of_seeds(test, value, sequential, test.half_margin(margin))
    return _of_two_shares(value, sequential) if value.theirs else _of_share(test, value, sequential)


def _of_seeds(test: Criterion, m: Seeds, sequential: bool, margin: float | None) -> Estimate:
    """Numbers of seeds or data sets, against the threshold.

    Args:
        test: the test.
        m: its numbers.
        sequential: whether p is 1 / e.
        margin: of equality, on the scale of the numbers; None if equality says nothing.
    """
    unit = UNITS[test.kind.per]
    if m.lacking:
        return Estimate(math.nan, math.nan, math.nan, math.nan, MIN_SEEDS, m.lacking, unit)
    null = math.log(test.threshold) if test.kind.scale == "ratio" else test.threshold
    d = paired_difference(m.values, dict.fromkeys(m.values, null))
    if m.bounds:
        return _of_bounds(test, m, d, null, sequential)
    path, equal_path = _paths(m, null, margin)
    differences = tuple(value - null for _, value in m.ordered)
    found = Estimate(math.nan, d.low, d.high, d.p, d.n, "", unit, math.nan, path, equal_path)
    found = replace(found, differences=differences, sequential=sequential)
    if all(selection.column in EXACT for selection in test.sides):
        found = _counted(found, d, margin)
    elif sequential:
        low, high = confidence_sequence(np.array(differences)) if path else (math.nan, math.nan)
        p, equal = (_at_look(e, d.n) for e in (path, equal_path))
        found = replace(found, low=low, high=high, p=p, equal_p=equal)
    else:
        found = _of_fixed_seeds(found, m, d, null, margin)
    return _described(test, found, d.mean, null, _on_each_machine(m))


def _of_fixed_seeds(
    found: Estimate, m: Seeds, d: Difference, null: float, margin: float | None
) -> Estimate:
    """Student's t; where nothing varies, the evidence of bounded values, else the sign test."""
    x = np.array(list(m.values.values())) - null
    if d.n >= MIN_SEEDS and d.low == d.high and m.limits is not None:
        found = replace(found, p=_at_look(tuple(e / BETS for e in found.path), d.n))
    elif d.n >= MIN_SEEDS and m.error > 0:
        half, p = _student(x, 0.0, m.error, m.freedom)
        found = replace(found, low=d.mean - half, high=d.mean + half, p=p)
    parts = _by_machine(m)
    means = [float(part.mean()) - null for part in parts]
    if min(means) < 0 < max(means):
        found = replace(found, p=1.0)
    if margin is None or d.n < MIN_SEEDS:
        return found
    if min(map(len, parts)) < MIN_SEEDS or max(map(abs, means)) >= margin:
        return replace(found, equal_p=1.0)
    ends = [
        _student(part - null, end, m.error, m.freedom)[1]
        for part in parts
        for end in (-margin, margin)
    ]
    return replace(found, equal_p=max(ends))


def _counted(found: Estimate, d: Difference, margin: float | None) -> Estimate:
    """A column that is counted, not sampled: certain, whatever the number of seeds above two."""
    if d.n < MIN_SEEDS:
        return found
    within = margin is not None and abs(d.mean) < margin
    same = abs(d.mean) <= ROUNDING
    sure, none = (math.inf,) * len(found.path), (0.0,) * len(found.path)
    return replace(
        found,
        low=d.mean,
        high=d.mean,
        p=1.0 if same else 0.0,
        equal_p=math.nan if margin is None else float(not within),
        path=none if same else sure,
        equal_path=() if margin is None else sure if within else none,
    )


def _described(
    test: Criterion, found: Estimate, mean: float, null: float, machines: Sequence[float]
) -> Estimate:
    """The estimate with effect and interval on the scale of readers, and its text.

    Args:
        test: the test.
        found: the estimate so far.
        mean: of the differences.
        null: what they are differences from, on the scale that is tested.
        machines: means on each machine on that scale, which are told where they disagree.
    """
    ratio = test.kind.scale == "ratio"

    def shown(x: float) -> float:
        return float(np.exp(min(x, 700.0))) if ratio else x

    effect, low, high = (shown(null + x) for x in (mean, found.low, found.high))
    text = f"{'×' * ratio}{effect:.3g}"
    if math.isfinite(found.low) and math.isfinite(found.high) and low != high:
        text += f" [{low:.3g}, {high:.3g}]"
    if machines and min(machines) < null < max(machines):
        each = " and ".join(f"{'×' * ratio}{shown(x):.3g}" for x in machines)
        text += f"; {each} by machine"
    return replace(found, effect=effect, low=low, high=high, text=text)


def _student(
    x: np.ndarray, at: float, error: float, known: float = math.inf
) -> tuple[float, float]:
    """Half a 95 % interval of the mean, and the two-sided p value of a mean at a place.

    Args:
        x: numbers by seed, at least two.
        at: the mean under the hypothesis.
        error: standard error that all of them share; degrees of freedom are Satterthwaite's (1946).
            Without it, if nothing varies, the p value is that of the sign test.
        known: degrees of freedom of that error.
    """
    from scipy.special import stdtr, stdtrit  # scipy.stats takes a second to import

    n, mean = len(x), float(x.mean()) - at
    own = float(x.var(ddof=1)) / n
    size = float(np.abs(x).max()) + abs(at)
    if math.sqrt(n * own) <= ROUNDING * size and error == 0:
        return 0.0, 1.0 if abs(mean) <= ROUNDING * size else 2.0 ** (1 - n)
    both = own + error**2
    parts = own**2 / (n - 1) + error**4 / known
    freedom = min(1e9, both**2 / parts) if parts > 0 else 1e9
    half = float(stdtrit(freedom, (1 + CONFIDENCE) / 2)) * math.sqrt(both)
    return half, float(2 * stdtr(freedom, -abs(mean) / math.sqrt(both)))


def _paths(m: Seeds, null: float, margin: float | None) -> tuple[Path, Path]:
    """Evidence after each seed that the centre is not the null, and that it is near it.

    Numbers with limits are tested by bets on them as well, since symmetric noise cannot be taken
    for granted where a value is often the same; while nothing varies, by these alone. Of several
    machines all must lie on one side of the null, and each must be shown to be near it.
    """
    x = np.array([value for _, value in m.ordered])
    if not len(x):
        return (), ()
    seeds, room = [seed for seed, _ in m.ordered], SURE * m.error
    found = _outside(evidence, x - null, room)
    if m.limits is not None and m.limits[0] <= null <= m.limits[1]:
        low, high = m.limits

        def bounded(values: np.ndarray, at: float) -> np.ndarray:
            return bounded_evidence(values + null, min(max(null + at, low), high), low, high)

        with np.errstate(over="ignore"):
            bets = _outside(bounded, x - null, room)
        spread = np.maximum.accumulate(x) - np.minimum.accumulate(x)
        flat = spread <= ROUNDING * np.maximum(1.0, np.abs(x))
        found = BETS * bets + (1 - BETS) * np.where(flat, 0.0, found)
    machines = m.machines
    found = np.where(_agree(x - null, machines), found, np.minimum(found, 1.0))
    near: Path = ()
    if margin is not None:
        inner, equal = margin - room, np.full(len(x), np.inf if margin > room else 0.0)
        for machine in np.unique(machines) if inner > 0 else ():
            own = machines == machine
            path = equality_evidence(x[own] - null, inner)
            so_far = np.cumsum(own)
            equal = np.where(so_far > 0, np.minimum(equal, path[so_far - 1]), equal)
        near = _by_seed(seeds, equal)
    return _by_seed(seeds, found), near


def _agree(d: np.ndarray, machines: np.ndarray) -> np.ndarray:
    """Whether the means on all machines lie on one side of 0, after each seed.

    Args:
        d: differences in the order of seeds, (S,).
        machines: the machine of each, (S,).
    """
    sums = np.stack([np.cumsum(np.where(machines == k, d, 0.0)) for k in np.unique(machines)])
    return np.asarray((sums >= 0).all(axis=0) | (sums <= 0).all(axis=0))


def _by_machine(m: Seeds) -> list[np.ndarray]:
    """The numbers of each machine."""
    parts: dict[int, list[float]] = {}
    for key, value in m.values.items():
        parts.setdefault(m.machine_of.get(key, 0), []).append(value)
    return [np.array(part) for part in parts.values()]


def _on_each_machine(m: Seeds) -> list[float]:
    """The means on each of several machines; empty for one."""
    parts = _by_machine(m) if m.machine_of else []
    return [float(part.mean()) for part in parts]


def _outside(bet, d: np.ndarray, room: float) -> np.ndarray:
    """Evidence that the centre lies outside of ±room: that against the nearer end.

    Args:
        bet: evidence by differences and a centre.
        d: differences in the order of seeds, (S,).
        room: not negative; 1 is the evidence while the mean so far is within it.
    """
    if room == 0:
        return bet(d, 0.0)
    mean = np.cumsum(d) / np.arange(1, len(d) + 1)
    up, down = bet(d, room), bet(d, -room)
    return np.where(mean > room, up, np.where(mean < -room, down, 1.0))


def _by_seed(seeds: Sequence[int], found: np.ndarray) -> Path:
    """Evidence after the last item of every seed."""
    last = {seed: float(e) for seed, e in zip(seeds, found, strict=True)}
    return tuple(last.values())


def _at_look(path: Path, n: int) -> float:
    """The p value of the evidence so far, which holds at any number of seeds; NaN for too few."""
    if n < MIN_SEEDS or not path:
        return math.nan
    return min(1.0, 1 / path[-1]) if path[-1] > 0 else 1.0


def _of_bounds(test: Criterion, m: Seeds, d: Difference, null: float, sequential: bool) -> Estimate:
    """The sign test of logarithms of ratios, some of which are bounds."""
    effect, unit = math.exp(null + d.mean), UNITS[test.kind.per]
    n, above = len(m.values), sum(value > 0 for value in m.values.values())
    text = f"{'at least' if effect > 1 else 'at most'} ×{effect:.3g}"
    if 0 < above < n:  # bounds on both sides do not bound the mean
        text = f"above ×1 in {above} of {n}"
    path = tuple(share_evidence(np.array([value > 0 for _, value in m.ordered]), 0.5).tolist())
    p = _at_look(path, n) if sequential else _binomial_p(above, n, 0.5)
    found = Estimate(effect, math.nan, math.nan, p, n, text, unit, path=path)
    return replace(found, sequential=sequential)


def _of_share(test: Criterion, m: Counts, sequential: bool) -> Estimate:
    """A share against the threshold: the exact binomial test, or the evidence of its trials."""
    (k, n), trials = _total(m.numerator), _trials(m.ours)
    outcomes = np.array([outcome for _, outcome in trials], dtype=np.float64)
    path = _by_seed([seed for seed, _ in trials], share_evidence(outcomes, test.threshold))
    low, high = share_sequence(outcomes) if sequential else wilson(k, n)
    p = _at_look(path, n) if sequential else _binomial_p(k, n, test.threshold)
    text = f"{k} of {n} [{low:.2f}, {high:.2f}]"
    found = Estimate(k / n, low, high, p, n, text, "runs", path=path)
    return replace(found, sequential=sequential)


def _trials(strata: Sequence[Mapping[str, bool]]) -> list[tuple[int, bool]]:
    """(seed, outcome) of all data sets, in the order of seeds."""
    found = [(int(seed), bool(o)) for outcomes in strata for seed, o in outcomes.items()]
    return sorted(found, key=lambda trial: trial[0])


def _binomial_p(k: int, n: int, share: float) -> float:
    """Two-sided p of the exact binomial test of k in n against a share; NaN for too few."""
    from scipy import stats

    return float(stats.binomtest(k, n, share).pvalue) if n >= MIN_SEEDS else math.nan


def _of_two_shares(counts: Counts, sequential: bool) -> Estimate:
    """Two shares within data sets.

    The exact test, stratified by data set (Fisher's for one data set); or evidence from the pairs
    of runs of one seed and data set that differ: of two models that are alike, either is as often
    the one that has the property.
    """
    (k, n), (j, m) = _total(counts.numerator), _total(counts.baseline)
    pairs = [
        (int(seed), bool(a))
        for ours, theirs in zip(counts.ours, counts.theirs, strict=True)
        for seed, a in ours.items()
        if seed in theirs
    ]
    pairs.sort(key=lambda pair: pair[0])
    differing = sorted(
        (int(seed), bool(a))
        for ours, theirs in zip(counts.ours, counts.theirs, strict=True)
        for seed, a in ours.items()
        if theirs.get(seed, a) != a
    )
    found = share_evidence(np.array([a for _, a in differing], dtype=np.float64), 0.5)
    after = dict(zip((seed for seed, _ in differing), found.tolist(), strict=True))
    path, e = [], 1.0
    for seed in dict.fromkeys(seed for seed, _ in pairs):
        e = after.get(seed, e)
        path.append(e)
    effect = stratified_difference(counts.numerator, counts.baseline)
    least, text = min(n, m), f"{k} of {n} runs against {j} of {m}"
    if sequential:
        p, low, high = _at_look(tuple(path), least), math.nan, math.nan
    else:
        low, high = _newcombe(k, n, j, m)
        exact = least >= MIN_SEEDS
        p = stratified_p(counts.numerator, counts.baseline) if exact else math.nan
        text += f" [{low:.2f}, {high:.2f}]"
    found = Estimate(effect, low, high, p, least, text, "runs", path=tuple(path))
    return replace(found, sequential=sequential)


Strata = Sequence[tuple[int, int]]
"""(successes, trials) by stratum."""


def stratified_difference(a: Strata, b: Strata) -> float:
    """The difference of two shares within strata, with Mantel-Haenszel weights."""
    strata = [(k, n, j, m) for (k, n), (j, m) in zip(a, b, strict=True)]
    weight = sum(n * m / (n + m) for _, n, _, m in strata)
    return sum((k * m - j * n) / (n + m) for k, n, j, m in strata) / weight


def stratified_p(a: Strata, b: Strata) -> float:
    """Two-sided p of the exact conditional test that two shares are equal in every stratum.

    Given the successes of each stratum, those of one side are hypergeometric; the distribution of
    their sum over strata is the convolution (Cox 1970; Fisher's exact test for one stratum).
    """
    from scipy import stats

    chances = np.ones(1)
    for (k, n), (j, m) in zip(a, b, strict=True):
        chances = np.convolve(chances, stats.hypergeom.pmf(np.arange(n + 1), n + m, k + j, n))
    seen = chances[_total(a)[0]]
    return float(min(1.0, chances[chances <= seen * (1 + 1e-7)].sum()))


def _total(strata: Strata) -> tuple[int, int]:
    return sum(k for k, _ in strata), sum(n for _, n in strata)


def _newcombe(k: int, n: int, j: int, m: int) -> tuple[float, float]:
    """The 95 % interval of a difference of shares (Newcombe 1998, method 10)."""
    (l1, u1), (l2, u2) = wilson(k, n), wilson(j, m)
    p1, p2 = k / n, j / m
    below = math.hypot(p1 - l1, u2 - p2)
    above = math.hypot(u1 - p1, p2 - l2)
    return p1 - p2 - below, p1 - p2 + above
