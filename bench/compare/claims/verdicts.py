"""Verdicts on claims: tests of measurements, with Holm's correction over the tests of a claim."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby, product
from typing import Literal

import numpy as np

from bench.compare.claims.declaration import Claim, Criterion
from bench.compare.claims.measurements import Counts, Seeds, Sides
from bench.compare.claims.selection import Group, find
from bench.compare.comparison import Comparison, comparable, left_out
from bench.compare.read import Run
from bench.compare.stats import MIN_SEEDS, SIGNIFICANCE, holm, paired_difference, wilson
from bench.compare.topics.disturbed import named
from bench.schema import EXACT

Verdict = Literal["supported", "contradicted", "inconclusive", "not measured"]

VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "inconclusive", "not measured")

MARGIN = 1.1
"""A ratio within [1 / MARGIN, MARGIN] counts as no difference for `expect: differs`."""

Words = Literal["supports", "contradicts", "undecided", "too few"]


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
        """The number n with its unit, such as "5 seeds"."""
        return f"{self.n} {self.unit if self.n != 1 else self.unit.removesuffix('s')}"


@dataclass(frozen=True)
class Finding:
    """Result of one test on one data set, or on several together.

    Attributes:
        test: the test.
        places: titles of the comparisons in which it was measured.
        rows: names of the entries behind it.
        estimate: the effect.
        p: p value, adjusted over the deciding tests of the claim; NaN if there is none.
        says: whether it supports or contradicts the claim.
    """

    test: Criterion
    places: tuple[str, ...]
    rows: tuple[str, ...]
    estimate: Estimate
    p: float
    says: Words

    @property
    def where(self) -> str:
        """The places, joined."""
        return ", ".join(self.places)


@dataclass(frozen=True)
class Judgement:
    """The verdict on one claim.

    Attributes:
        claim: the claim.
        verdict: the verdict.
        findings: one per test and data set that was measured.
        missing: tests that were not measured.
        left_out: names of runs of its models that were not used, since training did not get its
            cores.
    """

    claim: Claim
    verdict: Verdict
    findings: tuple[Finding, ...]
    missing: tuple[Criterion, ...]
    left_out: str = ""

    @property
    def sentence(self) -> str:
        """The numbers of findings by what they say, such as "1 for, 2 undecided"."""
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
    """The verdict on every claim.

    A test supports a claim if one of its findings does and none contradicts it; a test that must
    hold everywhere, if all of its findings do. `Claim.needs` says how tests are combined.
    """
    fair = [comparable(comparison) for comparison in comparisons]
    unfair = [run for comparison in comparisons for run in left_out(comparison)]
    return [_judged(claim, fair, unfair) for claim in claims]


def _judged(claim: Claim, comparisons: Sequence[Comparison], unfair: Sequence[Run]) -> Judgement:
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
    models = {name for test in claim.tests for side in test.sides for name in side.models}
    lost = named(run for run in unfair if run.model in models)
    return Judgement(claim, verdict_of(claim, findings), tuple(findings), missing, lost)


Measured = tuple[Seeds | Counts, tuple[Group, ...]]
"""A measurement, and the groups behind it."""


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measured]:
    """All measurements of a test, for each protocol.

    There is one per data set and size of model, or one for all of them together if the kind does
    not give one number per seed. A test that names its data sets is measured over all of them.
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
    """A key of the protocol fields by which the comparison was split."""
    return repr(sorted(comparison.values.items()))


def _pooled(found: Sequence[Measured]) -> list[Measured]:
    """Measurements of all data sets combined into one; empty if there are none."""
    groups = tuple(group for _, groups in found for group in groups)
    counts = [value for value, _ in found if isinstance(value, Counts)]
    if counts:
        baseline = sum((c.baseline for c in counts), ())
        return [(Counts(sum((c.numerator for c in counts), ()), baseline), groups)]
    seeds = [value.values for value, _ in found if isinstance(value, Seeds)]
    values = {key: number for numbers in seeds for key, number in numbers.items()}
    return [(Seeds(values), groups)] if found else []


def verdict_of(claim: Claim, findings: Sequence[Finding]) -> Verdict:
    """The verdict of a claim from its findings.

    A claim with `needs: all` is supported if every deciding test supports it, and contradicted if
    one contradicts it. With `needs: any` one test suffices, if none says the opposite.
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
    """Result of one test over all data sets: one of `Words`, "disagrees", or empty."""
    says = {finding.says for finding in findings}
    everywhere = any(finding.test.everywhere for finding in findings)
    if "contradicts" in says:
        return "disagrees" if "supports" in says and not everywhere else "contradicts"
    if "supports" in says and not (everywhere and len(says) > 1):
        return "supports"
    return "undecided" if says else ""


def _says(test: Criterion, e: Estimate, p: float) -> Words:
    """Whether an estimate supports or contradicts the claim."""
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
    """The estimate of a measurement."""
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
    """The sign test of logarithms of ratios, some of which are bounds."""
    n, above = len(values), sum(value > 0 for value in values)
    text = f"{'at least' if effect > 1 else 'at most'} ×{effect:.3g}"
    if 0 < above < n:  # bounds on both sides do not bound the mean
        text = f"above ×1 in {above} of {n}"
    return Estimate(effect, math.nan, math.nan, _binomial_p(above, n, 0.5), n, text, unit)


def _of_share(test: Criterion, m: Counts) -> Estimate:
    """The exact binomial test of a share against the threshold."""
    k, n = _total(m.numerator)
    low, high = wilson(k, n)
    p = _binomial_p(k, n, test.threshold)
    return Estimate(k / n, low, high, p, n, f"{k} of {n} [{low:.2f}, {high:.2f}]", "runs")


def _binomial_p(k: int, n: int, share: float) -> float:
    """Two-sided p of the exact binomial test of k in n against a share; NaN for too few."""
    from scipy import stats

    return float(stats.binomtest(k, n, share).pvalue) if n >= MIN_SEEDS else math.nan


def _of_two_shares(counts: Counts) -> Estimate:
    """The exact test of two shares, stratified by data set; Fisher's test for one data set."""
    (k, n), (j, m) = _total(counts.numerator), _total(counts.baseline)
    low, high = _newcombe(k, n, j, m)
    p = stratified_p(counts.numerator, counts.baseline) if min(n, m) >= MIN_SEEDS else math.nan
    text = f"{k} of {n} runs against {j} of {m} [{low:.2f}, {high:.2f}]"
    effect = stratified_difference(counts.numerator, counts.baseline)
    return Estimate(effect, low, high, p, min(n, m), text, "runs")


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
