"""Measurements → findings → the verdict of a claim, with Holm's correction over its tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from bench.compare.claims.declaration import Claim, Criterion
from bench.compare.claims.measurements import Counts, Measurement, Seeds, measure
from bench.compare.comparison import Comparison
from bench.compare.stats import MIN_SEEDS, SIGNIFICANCE, holm, paired_difference, wilson
from bench.schema import EXACT

Verdict = Literal["supported", "contradicted", "inconclusive", "not measured"]

VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "inconclusive", "not measured")

Words = Literal["supports", "contradicts", "undecided", "too few"]


@dataclass(frozen=True)
class Estimate:
    """A measured effect before its verdict.

    Attributes:
        effect: on the scale that is compared: a ratio, a difference or a share.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value against no effect; NaN where there is none.
        n: seeds, data sets, or runs of the smaller side where runs are counted.
        text: effect with its interval, for readers.
        unit: what n counts.
    """

    effect: float
    low: float
    high: float
    p: float
    n: int
    text: str
    unit: str = "seeds"

    @property
    def size(self) -> str:
        """How many of what it rests on, for readers."""
        return f"{self.n} {self.unit if self.n != 1 else self.unit.removesuffix('s')}"


@dataclass(frozen=True)
class Finding:
    """What one test came to on one data set, or on several together.

    Attributes:
        test: the test.
        places: titles of the comparisons that it was measured on.
        rows: the entries behind it.
        estimate: the effect.
        p: adjusted over the tests of the claim that decide; NaN where nothing is decided.
        says: whether it speaks for the claim.
    """

    test: Criterion
    places: tuple[str, ...]
    rows: tuple[str, ...]
    estimate: Estimate
    p: float
    says: Words

    @property
    def where(self) -> str:
        """Where it was measured, for readers."""
        return ", ".join(self.places)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim.

    Attributes:
        claim: the claim.
        verdict: what its findings come to together.
        findings: one for each test and data set that was measured.
        missing: tests that no run speaks to.
    """

    claim: Claim
    verdict: Verdict
    findings: tuple[Finding, ...]
    missing: tuple[Criterion, ...]

    @property
    def sentence(self) -> str:
        """What the verdict rests on."""
        decide = [f.says for f in self.findings if f.test.decides]
        aside = len(self.findings) - len(decide)
        parts = [
            (decide.count("supports"), "for"),
            (decide.count("contradicts"), "against"),
            (decide.count("undecided"), "undecided"),
            (decide.count("too few"), "with too few seeds"),
            (len(self.missing), "not measured"),
            (aside, "aside"),
        ]
        return ", ".join(f"{count} {words}" for count, words in parts if count)


def judge(claims: Sequence[Claim], comparisons: Sequence[Comparison]) -> list[Judgement]:
    """The verdict on every claim, from the runs that there are.

    A test speaks for a claim if a finding of it does and none speaks against it; one that must hold
    everywhere, if all of them do. See `Claim.needs` for what tests come to together.
    """
    return [_judged(claim, comparisons) for claim in claims]


def _judged(claim: Claim, comparisons: Sequence[Comparison]) -> Judgement:
    measured = [(test, m) for test in claim.tests for m in measure(test, comparisons)]
    estimates = [estimate(test, m) for test, m in measured]
    decided = [k for k, e in enumerate(estimates) if measured[k][0].decides and not math.isnan(e.p)]
    adjusted = dict(zip(decided, holm([estimates[k].p for k in decided]), strict=True))
    findings = []
    for k, ((test, m), e) in enumerate(zip(measured, estimates, strict=True)):
        p = adjusted.get(k, e.p)
        findings.append(Finding(test, m.places, m.rows, e, p, _says(test, e, p)))
    seen = [test for test, _ in measured]
    missing = tuple(test for test in claim.tests if test not in seen)
    return Judgement(claim, verdict_of(claim, findings), tuple(findings), missing)


def verdict_of(claim: Claim, findings: Sequence[Finding]) -> Verdict:
    """What the findings of a claim come to together.

    Needing "all", a claim is supported if every test that decides speaks for it, and contradicted
    if one speaks against it; needing "any", if one does and none speaks for the other side.
    """
    tests = [test for test in claim.tests if test.decides]
    words = [_together([f for f in findings if f.test == test]) for test in tests]
    if not any(words):
        return "not measured"
    supported, contradicted = "supports" in words, "contradicts" in words
    if claim.needs == "all":
        if contradicted:
            return "contradicted"
        return "supported" if all(word == "supports" for word in words) else "inconclusive"
    if "disagrees" in words or supported == contradicted:
        return "inconclusive"
    return "supported" if supported else "contradicted"


def _together(findings: Sequence[Finding]) -> str:
    """What one test says on all data sets: a word of `Words`, "disagrees", or nothing."""
    says = {finding.says for finding in findings}
    if not says:
        return ""
    if {"supports", "contradicts"} <= says:
        return "contradicts" if findings[0].test.everywhere else "disagrees"
    if "contradicts" in says:
        return "contradicts"
    enough = says == {"supports"} if findings[0].test.everywhere else "supports" in says
    return "supports" if enough else "undecided"


def _says(test: Criterion, e: Estimate, p: float) -> Words:
    """Whether an estimate speaks for the claim or against it."""
    if math.isnan(p):
        return "too few" if e.n < MIN_SEEDS else "undecided"
    if test.expect == "differs":
        low, high = 1 / test.margin, test.margin
        if low <= e.low < e.high <= high:
            return "contradicts"
        return "supports" if p < SIGNIFICANCE and not low <= e.effect <= high else "undecided"
    if p >= SIGNIFICANCE:
        return "undecided"
    if (e.effect > test.than) == (test.expect == "above"):
        return "supports"
    return "contradicts" if test.refutes else "undecided"


def estimate(test: Criterion, measurement: Measurement) -> Estimate:
    """The effect with its interval and p value."""
    if isinstance(measurement, Seeds):
        return _of_seeds(test, measurement)
    return _of_pairs(measurement) if measurement.to else _of_shares(test, measurement)


def _of_seeds(test: Criterion, m: Seeds) -> Estimate:
    """Student's t over seeds or data sets, against `than`."""
    if m.lacking:
        return Estimate(math.nan, math.nan, math.nan, math.nan, MIN_SEEDS, m.lacking, m.unit)
    logs = test.scale == "log"
    null = math.log(test.than) if logs else test.than
    d = paired_difference(m.values, dict.fromkeys(m.values, null))
    back = math.exp if logs else float
    effect, low, high = (back(null + x) for x in (d.mean, d.low, d.high))
    p = d.p
    counted = all(selection.column in EXACT for selection in (*test.of, *test.to))
    if counted and d.n >= MIN_SEEDS:  # counted, not sampled
        low = high = effect
        p = 0.0 if effect != test.than else 1.0
    if m.bounds:
        return _of_bounds(list(m.values.values()), effect, m.unit)
    text = _text(effect, low, high, "×" if logs else "")
    return Estimate(effect, low, high, p, d.n, text, m.unit)


def _of_bounds(values: Sequence[float], effect: float, unit: str) -> Estimate:
    """The sign test of logarithms of ratios, of which some are bounds and know only their side."""
    from scipy import stats

    n, above = len(values), sum(value > 0 for value in values)
    p = float(stats.binomtest(above, n, 0.5).pvalue) if n >= MIN_SEEDS else math.nan
    text = f"{'at least' if effect > 1 else 'at most'} ×{_short(effect)}"
    if 0 < above < n:  # bounds on both sides bound no mean
        text = f"above ×1 in {above} of {n}"
    return Estimate(effect, math.nan, math.nan, p, n, text, unit)


def _of_shares(test: Criterion, m: Counts) -> Estimate:
    """The exact binomial test of a share against `than`."""
    from scipy import stats

    k, n = _total(m.of)
    p = float(stats.binomtest(k, n, test.than).pvalue) if n >= MIN_SEEDS else math.nan
    low, high = wilson(k, n)
    return Estimate(k / n, low, high, p, n, f"{k} of {n} [{low:.2f}, {high:.2f}]", "runs")


def _of_pairs(m: Counts) -> Estimate:
    """The exact test of two shares within data sets: Fisher's, where there is one data set."""
    (k, n), (j, of) = _total(m.of), _total(m.to)
    low, high = _newcombe(k, n, j, of)
    p = stratified_p(m.of, m.to) if min(n, of) >= MIN_SEEDS else math.nan
    text = f"{k} of {n} runs against {j} of {of} [{low:.2f}, {high:.2f}]"
    return Estimate(stratified_difference(m.of, m.to), low, high, p, min(n, of), text, "runs")


def stratified_difference(of: Sequence[tuple[int, int]], to: Sequence[tuple[int, int]]) -> float:
    """The difference of two shares within strata, weighted by Mantel and Haenszel."""
    strata = [(k, n, j, m) for (k, n), (j, m) in zip(of, to, strict=True)]
    weight = sum(n * m / (n + m) for _, n, _, m in strata)
    return sum((k * m - j * n) / (n + m) for k, n, j, m in strata) / weight


def stratified_p(of: Sequence[tuple[int, int]], to: Sequence[tuple[int, int]]) -> float:
    """Two-sided p of the exact conditional test that two shares are alike in every stratum.

    Given the successes of each stratum, those of one side are hypergeometric; their sum over strata
    is distributed as the convolution (Cox 1970; Fisher's exact test where there is one stratum).

    Args:
        of: (successes, trials) by stratum.
        to: the same of the other side.
    """
    from scipy import stats

    chances = np.ones(1)
    for (k, n), (j, m) in zip(of, to, strict=True):
        chances = np.convolve(chances, stats.hypergeom.pmf(np.arange(n + 1), n + m, k + j, n))
    seen = chances[sum(k for k, _ in of)]
    return float(min(1.0, chances[chances <= seen * (1 + 1e-7)].sum()))


def _total(counts: Sequence[tuple[int, int]]) -> tuple[int, int]:
    return sum(k for k, _ in counts), sum(n for _, n in counts)


def _newcombe(k: int, n: int, j: int, m: int) -> tuple[float, float]:
    """The 95 % interval of a difference of shares (Newcombe 1998, method 10)."""
    (l1, u1), (l2, u2) = wilson(k, n), wilson(j, m)
    p1, p2 = k / n, j / m
    below = math.hypot(p1 - l1, u2 - p2)
    above = math.hypot(u1 - p1, p2 - l2)
    return p1 - p2 - below, p1 - p2 + above


def _text(effect: float, low: float, high: float, unit: str) -> str:
    if math.isnan(low) or low == high:
        return f"{unit}{_short(effect)}"
    return f"{unit}{_short(effect)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.3g}"
