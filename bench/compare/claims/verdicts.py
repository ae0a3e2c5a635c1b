"""Measurements → findings → the verdict of a claim, with Holm's correction over its tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Literal

import numpy as np

from bench.compare.claims.declaration import Claim, Criterion
from bench.compare.claims.measurements import Counts, Seeds, Sides
from bench.compare.claims.selection import Group, find
from bench.compare.comparison import Comparison
from bench.compare.stats import MIN_SEEDS, SIGNIFICANCE, holm, paired_difference, wilson
from bench.schema import EXACT

Verdict = Literal["supported", "contradicted", "inconclusive", "not measured"]

VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "inconclusive", "not measured")

MARGIN = 1.1
"""A ratio within [1 / MARGIN, MARGIN] is no difference that matters, where a claim expects one."""

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
    found = [
        (test, estimate(test, value), groups)
        for test in claim.tests
        for value, groups in measure(test, comparisons)
    ]
    adjusted = holm([e.p if test.decides else math.nan for test, e, _ in found])
    findings = []
    for (test, e, groups), of_family in zip(found, adjusted, strict=True):
        p = of_family if test.decides else e.p
        places, rows = (
            dict.fromkeys(getattr(g, field) for g in groups) for field in ("place", "name")
        )
        findings.append(Finding(test, tuple(places), tuple(rows), e, p, _says(test, e, p)))
    missing = tuple(test for test in claim.tests if all(test is not f.test for f in findings))
    return Judgement(claim, verdict_of(claim, findings), tuple(findings), missing)


Measured = tuple[Seeds | Counts, tuple[Group, ...]]
"""What was measured, and the groups behind it."""


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measured]:
    """Everything that the runs say about a test, protocol by protocol.

    Once for each data set and size of model, or once for all of them together where the kind has
    no number of every seed. A test that names its data sets looks at all of them at once.
    """
    sizes = range(max(len(selection.models) for selection in test.sides))
    split, across = len(test.numerator), all(selection.dataset for selection in test.sides)
    measured: list[Measured] = []
    for _, of_protocol in groupby(sorted(comparisons, key=_protocol), key=_protocol):
        together, found = list(of_protocol), []
        for scope, size in product([together] if across else [[c] for c in together], sizes):
            matched = (find(selection, size, scope) for selection in test.sides)
            groups = tuple(group for group in matched if group is not None)
            if len(groups) == len(test.sides):
                sides = Sides(groups[:split], groups[split:], scope)
                value = test.kind.measure(sides, **test.options)
                found += [(value, groups)] if value is not None else []
        measured += found if test.kind.per == "seed" else _pooled(found)
    return measured


def _protocol(comparison: Comparison) -> str:
    """The values of the fields that tell a comparison from others of its data set."""
    return repr(sorted(comparison.values.items()))


def _pooled(found: Sequence[Measured]) -> list[Measured]:
    """The numbers, or counts, of all data sets as one measurement; none of none."""
    groups = tuple(group for _, groups in found for group in groups)
    counts = [value for value, _ in found if isinstance(value, Counts)]
    if counts:
        baseline = sum((c.baseline for c in counts), ())
        return [(Counts(sum((c.numerator for c in counts), ()), baseline), groups)]
    seeds = [value.values for value, _ in found if isinstance(value, Seeds)]
    values = {key: number for numbers in seeds for key, number in numbers.items()}
    return [(Seeds(values), groups)] if found else []


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
    everywhere = any(finding.test.everywhere for finding in findings)
    if "contradicts" in says:
        return "disagrees" if "supports" in says and not everywhere else "contradicts"
    if "supports" in says and not (everywhere and len(says) > 1):
        return "supports"
    return "undecided" if says else ""


def _says(test: Criterion, e: Estimate, p: float) -> Words:
    """Whether an estimate speaks for the claim or against it."""
    if math.isnan(p):
        return "too few" if e.n < MIN_SEEDS else "undecided"
    if test.expect == "differs":
        low, high = 1 / MARGIN, MARGIN
        if low <= e.low < e.high <= high:
            return "contradicts"
        return "supports" if p < SIGNIFICANCE and not low <= e.effect <= high else "undecided"
    if p >= SIGNIFICANCE:
        return "undecided"
    if (e.effect > test.threshold) == (test.expect == "above"):
        return "supports"
    return "contradicts" if test.refutes else "undecided"


def estimate(test: Criterion, value: Seeds | Counts) -> Estimate:
    """The effect with its interval and p value."""
    if isinstance(value, Seeds):
        return _of_seeds(test, value)
    return _of_two_shares(value) if value.baseline else _of_share(test, value)


def _of_seeds(test: Criterion, m: Seeds) -> Estimate:
    """Student's t over seeds or data sets, against the threshold."""
    unit = f"{test.kind.per}s"
    if m.lacking:
        return Estimate(math.nan, math.nan, math.nan, math.nan, MIN_SEEDS, m.lacking, unit)
    is_ratio = test.kind.scale == "ratio"
    null = math.log(test.threshold) if is_ratio else test.threshold
    d = paired_difference(m.values, dict.fromkeys(m.values, null))
    effect, low, high = (
        math.exp(null + x) if is_ratio else null + x for x in (d.mean, d.low, d.high)
    )
    p = d.p
    if d.n >= MIN_SEEDS and all(selection.column in EXACT for selection in test.sides):
        low = high = effect  # counted, not sampled
        p = 0.0 if effect != test.threshold else 1.0
    if m.bounds:
        return _of_bounds(list(m.values.values()), effect, unit)
    text = f"{'×' * is_ratio}{effect:.3g}"
    if not math.isnan(low) and low != high:
        text += f" [{low:.3g}, {high:.3g}]"
    return Estimate(effect, low, high, p, d.n, text, unit)


def _of_bounds(values: Sequence[float], effect: float, unit: str) -> Estimate:
    """The sign test of logarithms of ratios, of which some are bounds and know only their side."""
    n, above = len(values), sum(value > 0 for value in values)
    text = f"{'at least' if effect > 1 else 'at most'} ×{effect:.3g}"
    if 0 < above < n:  # bounds on both sides bound no mean
        text = f"above ×1 in {above} of {n}"
    return Estimate(effect, math.nan, math.nan, _binomial_p(above, n, 0.5), n, text, unit)


def _of_share(test: Criterion, m: Counts) -> Estimate:
    """The exact binomial test of a share against the threshold."""
    k, n = _total(m.numerator)
    low, high = wilson(k, n)
    p = _binomial_p(k, n, test.threshold)
    return Estimate(k / n, low, high, p, n, f"{k} of {n} [{low:.2f}, {high:.2f}]", "runs")


def _binomial_p(k: int, n: int, share: float) -> float:
    """Two-sided p of the exact test that k of n have a share; NaN of too few."""
    from scipy import stats

    return float(stats.binomtest(k, n, share).pvalue) if n >= MIN_SEEDS else math.nan


def _of_two_shares(counts: Counts) -> Estimate:
    """The exact test of two shares within data sets: Fisher's, where there is one data set."""
    (k, n), (j, m) = _total(counts.numerator), _total(counts.baseline)
    low, high = _newcombe(k, n, j, m)
    p = stratified_p(counts.numerator, counts.baseline) if min(n, m) >= MIN_SEEDS else math.nan
    text = f"{k} of {n} runs against {j} of {m} [{low:.2f}, {high:.2f}]"
    effect = stratified_difference(counts.numerator, counts.baseline)
    return Estimate(effect, low, high, p, min(n, m), text, "runs")


Strata = Sequence[tuple[int, int]]
"""(successes, trials) by stratum."""


def stratified_difference(a: Strata, b: Strata) -> float:
    """The difference of two shares within strata, weighted by Mantel and Haenszel."""
    strata = [(k, n, j, m) for (k, n), (j, m) in zip(a, b, strict=True)]
    weight = sum(n * m / (n + m) for _, n, _, m in strata)
    return sum((k * m - j * n) / (n + m) for k, n, j, m in strata) / weight


def stratified_p(a: Strata, b: Strata) -> float:
    """Two-sided p of the exact conditional test that two shares are alike in every stratum.

    Given the successes of each stratum, those of one side are hypergeometric; their sum over strata
    is distributed as the convolution (Cox 1970; Fisher's exact test where there is one stratum).
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
