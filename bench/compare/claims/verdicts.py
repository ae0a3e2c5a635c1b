"""Measurements → findings → the verdict of a claim, with Holm's correction over its tests."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.claims.declaration import Claim, Criterion
from bench.compare.claims.measurements import measure
from bench.compare.claims.values import Counts, Measurement, Seeds, Spreads
from bench.compare.columns import WITHOUT_SPREAD
from bench.compare.seeds import MIN_SEEDS, SIGNIFICANCE, holm, paired_difference, wilson
from bench.compare.statistics import Comparison

Verdict = Literal["supported", "contradicted", "inconclusive", "not measured"]

VERDICTS: tuple[Verdict, ...] = ("supported", "contradicted", "inconclusive", "not measured")


@dataclass(frozen=True)
class Estimate:
    """A measured effect before its verdict.

    Attributes:
        effect: on the scale that is compared: a ratio, a difference or a share.
        low: lower end of its 95 % interval.
        high: upper end.
        p: two-sided p value against no effect; NaN with too few seeds.
        n: seeds, or runs of the smaller side where runs are counted.
        text: effect with its interval, for readers.
    """

    effect: float
    low: float
    high: float
    p: float
    n: int
    text: str


@dataclass(frozen=True)
class Finding:
    """What one test came to on one data set.

    Attributes:
        test: the test.
        where: data sets.
        rows: the entries behind it.
        estimate: the effect.
        p: adjusted over the tests of the claim; NaN with too few seeds.
        says: whether it speaks for the claim.
    """

    test: Criterion
    where: str
    rows: tuple[str, ...]
    estimate: Estimate
    p: float
    says: Literal["supports", "contradicts", "undecided", "too few seeds"]


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
        counted = {
            words: sum(f.says == words for f in self.findings)
            for words in ("supports", "contradicts", "undecided", "too few seeds")
        }
        parts = [
            f"{counted['supports']} for" if counted["supports"] else "",
            f"{counted['contradicts']} against" if counted["contradicts"] else "",
            f"{counted['undecided']} undecided" if counted["undecided"] else "",
            f"{counted['too few seeds']} with too few seeds" if counted["too few seeds"] else "",
            f"{len(self.missing)} not measured" if self.missing else "",
        ]
        return ", ".join(filter(None, parts))


def judge(claims: Sequence[Claim], comparisons: Sequence[Comparison]) -> list[Judgement]:
    """The verdict on every claim, from the runs that there are.

    A claim is supported if at least one of its tests speaks for it and none against it,
    contradicted the other way round, and inconclusive if tests disagree or none decides.
    """
    return [_judged(claim, comparisons) for claim in claims]


def _judged(claim: Claim, comparisons: Sequence[Comparison]) -> Judgement:
    measured = [(test, m) for test in claim.tests for m in measure(test, comparisons)]
    estimates = [estimate(test, m) for test, m in measured]
    decided = [k for k, e in enumerate(estimates) if not math.isnan(e.p)]
    adjusted = dict(zip(decided, holm([estimates[k].p for k in decided]), strict=True))
    findings = []
    for k, ((test, m), e) in enumerate(zip(measured, estimates, strict=True)):
        p = adjusted.get(k, math.nan)
        findings.append(Finding(test, ", ".join(m.datasets), m.rows, e, p, _says(test, e, p)))
    seen = [test for test, _ in measured]
    missing = tuple(test for test in claim.tests if test not in seen)
    return Judgement(claim, _verdict(findings), tuple(findings), missing)


def _verdict(findings: Sequence[Finding]) -> Verdict:
    if not findings:
        return "not measured"
    says = {finding.says for finding in findings}
    if "supports" in says and "contradicts" not in says:
        return "supported"
    if "contradicts" in says and "supports" not in says:
        return "contradicted"
    return "inconclusive"


def _says(
    test: Criterion, e: Estimate, p: float
) -> Literal["supports", "contradicts", "undecided", "too few seeds"]:
    """Whether an estimate speaks for the claim or against it."""
    if math.isnan(p):
        return "too few seeds"
    if test.expect == "differs":
        low, high = (
            (1 / test.margin, test.margin)
            if test.scale == "log"
            else (
                -test.margin,
                test.margin,
            )
        )
        if low <= e.low and e.high <= high:
            return "contradicts"
        return "supports" if p < SIGNIFICANCE else "undecided"
    if p >= SIGNIFICANCE:
        return "undecided"
    above = e.effect > test.than
    return "supports" if above == (test.expect == "above") else "contradicts"


def estimate(test: Criterion, measurement: Measurement) -> Estimate:
    """The effect with its interval and p value."""
    if isinstance(measurement, Seeds):
        return _of_seeds(test, measurement)
    if isinstance(measurement, Spreads):
        return _of_spreads(measurement)
    return _of_counts(test, measurement)


def _of_seeds(test: Criterion, m: Seeds) -> Estimate:
    """Student's t over seeds, against `than`."""
    logs = test.scale == "log"
    null = math.log(test.than) if logs else test.than
    d = paired_difference(m.values, dict.fromkeys(m.values, null))
    back = math.exp if logs else float
    effect, low, high = (back(null + x) for x in (d.mean, d.low, d.high))
    p = d.p
    if all(selection.column in WITHOUT_SPREAD for selection in (*test.of, *test.to)):
        low = high = effect  # counted, not sampled
        p = 0.0 if effect != test.than else 1.0
    return Estimate(effect, low, high, p, d.n, _text(effect, low, high, "×" if logs else ""))


def _of_spreads(m: Spreads) -> Estimate:
    """The ratio of standard deviations of logarithms, with the interval of the F distribution."""
    from scipy import stats

    a, b = len(m.of) - 1, len(m.to) - 1
    n = min(a, b) + 1
    variances = [_variance(sample) for sample in (m.of, m.to)]
    if n < MIN_SEEDS or min(variances) == 0:
        return Estimate(math.nan, math.nan, math.nan, math.nan, n, "–")
    f = variances[0] / variances[1]
    p = 2 * min(stats.f.cdf(f, a, b), stats.f.sf(f, a, b))
    ends = (f / stats.f.ppf(0.975, a, b), f / stats.f.ppf(0.025, a, b))
    effect, low, high = (math.sqrt(x) for x in (f, *ends))
    return Estimate(effect, low, high, float(p), n, _text(effect, low, high, "×"))


def _of_counts(test: Criterion, m: Counts) -> Estimate:
    """Fisher's exact test of two shares, or the exact binomial one of a share against a number."""
    from scipy import stats

    k, n = m.of
    if m.to is None:
        fewest, share = n, k / n
        p = float(stats.binomtest(k, n, test.than).pvalue)
        (low, high), text = wilson(k, n), f"{k} of {n}"
    else:
        j, m_to = m.to
        fewest, share = min(n, m_to), k / n - j / m_to
        p = float(stats.fisher_exact([[k, n - k], [j, m_to - j]])[1])  # pyright: ignore[reportArgumentType]
        low, high = _newcombe(k, n, j, m_to)
        text = f"{k} of {n} runs against {j} of {m_to}"
    shown = f"{text} [{low:.2f}, {high:.2f}]"
    return Estimate(share, low, high, p if fewest >= MIN_SEEDS else math.nan, fewest, shown)


def _newcombe(k: int, n: int, j: int, m: int) -> tuple[float, float]:
    """The 95 % interval of a difference of shares (Newcombe 1998, method 10)."""
    (l1, u1), (l2, u2) = wilson(k, n), wilson(j, m)
    p1, p2 = k / n, j / m
    below = math.hypot(p1 - l1, u2 - p2)
    above = math.hypot(u1 - p1, p2 - l2)
    return p1 - p2 - below, p1 - p2 + above


def _variance(sample: Sequence[float]) -> float:
    mean = sum(sample) / len(sample)
    return sum((x - mean) ** 2 for x in sample) / (len(sample) - 1)


def _text(effect: float, low: float, high: float, unit: str) -> str:
    if math.isnan(low) or low == high:
        return f"{unit}{_short(effect)}"
    return f"{unit}{_short(effect)} [{_short(low)}, {_short(high)}]"


def _short(value: float) -> str:
    return f"{value:.3g}"
