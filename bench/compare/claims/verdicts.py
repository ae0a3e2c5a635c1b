"""Verdicts on claims from estimates.

Within a claim p values are adjusted by Holm's method, over all claims of a page the rate of false
verdicts is controlled.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal, get_args

from bench.compare.claims.declaration import MARGIN, Claim, Criterion
from bench.compare.claims.estimates import Estimate, estimate
from bench.compare.claims.measured import Counts, Seeds
from bench.compare.claims.pooling import by_protocol, measure
from bench.compare.claims.selection import Group, training_seconds
from bench.compare.comparison import Comparison, left_out, undisturbed
from bench.compare.discoveries import false_discovery
from bench.compare.stats import MIN_SEEDS, SIGNIFICANCE, holm
from bench.compare.topics.disturbed import named
from bench.compare.topics.outcomes import is_trained
from bench.runs.looks import read_look

Verdict = Literal[
    "supported",
    "contradicted",
    "equal within the margin",
    "mixed",
    "open",
    "not decided by measurement",
    "not measured",
]

VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

EQUAL: Verdict = "equal within the margin"

SETTLED: tuple[Verdict, ...] = VERDICTS[:4]
"""Verdicts that an error rate holds for."""

Words = Literal["supports", "contradicts", "equal", "undecided", "too few"]


@dataclass(frozen=True)
class Finding:
    """Result of one test on one data set, or on several together.

    Attributes:
        test: the test.
        places: titles of the comparisons in which it was measured.
        rows: names of the entries behind it.
        estimate: the effect.
        p: p value of what it says, adjusted over the deciding tests of the claim; NaN if there is
            none.
        says: whether it supports or contradicts the claim.
        seconds: training of one more seed of its runs.
        machines: of its runs, where seeds of several are counted.
        runs: what was trained for it: (data set, model, variant).
    """

    test: Criterion
    places: tuple[str, ...]
    rows: tuple[str, ...]
    estimate: Estimate
    p: float
    says: Words
    seconds: float = math.nan
    machines: tuple[str, ...] = ()
    runs: tuple[tuple[str, ...], ...] = ()

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
        p: p value of the verdict; NaN if nothing was tested.
        q: p adjusted over all claims of the page: with verdicts up to q, at most this share of
            them is expected to be false.
    """

    claim: Claim
    verdict: Verdict
    findings: tuple[Finding, ...]
    missing: tuple[Criterion, ...]
    left_out: str = ""
    p: float = math.nan
    q: float = math.nan

    @property
    def addressed(self) -> bool:
        """Whether runs speak to the claim: its verdict rests on them, or they stand aside."""
        return self.verdict != "not measured" and bool(self.findings)

    @property
    def sentence(self) -> str:
        """The numbers of findings by what they say, such as "1 for, 2 undecided"."""
        decide = [f.says for f in self.findings if f.test.decides]
        aside = len(self.findings) - len(decide)
        parts = [
            (decide.count("supports"), "for"),
            (decide.count("contradicts"), "against"),
            (decide.count("equal"), "equal"),
            (decide.count("undecided"), "undecided"),
            (decide.count("too few"), "with too few seeds"),
            (len(self.missing), "not measured"),
            (aside, "aside"),
        ]
        return ", ".join(f"{count} {words}" for count, words in parts if count)


def judge(
    claims: Sequence[Claim], comparisons: Sequence[Comparison], *, sequential: bool = False
) -> list[Judgement]:
    """The verdict on every claim.

    A test supports a claim if one of its findings does and none contradicts it; a test that must
    hold everywhere, if all of its findings do. `Claim.needs` says how tests are combined.

    A claim enters the correction over claims once, with the p value of its verdict: of its
    possible verdicts at most one can be false and near the data at a time.

    Args:
        claims: the claims.
        comparisons: the runs.
        sequential: whether all runs count as looked at after every seed, however they were made.
    """
    fair = [undisturbed(comparison) for comparison in comparisons]
    unfair = [run for comparison in comparisons for run in left_out(comparison)]
    looks: dict[str, float] = {}
    for c in fair:
        margin = _margin_of_looks(c) or (MARGIN if sequential else 0.0)
        if margin:
            looks |= {name: max(margin, looks.get(name, 0.0)) for name in (c.place, c.title)}
    found, protocols = [], by_protocol(fair)
    for claim in claims:
        values = [
            (test, value, groups)
            for test in claim.tests
            for value, groups in measure(test, protocols)
        ]
        models = {name for test in claim.tests for side in test.sides for name in side.models}
        lost = named(run for run in unfair if run.model in models)
        found.append(replace(judge_claim(claim, values, looks), left_out=lost))
    return over_all_claims(found)


def _margin_of_looks(comparison: Comparison) -> float | None:
    """The margin of the runs that were made sequentially; None if there is no such run."""
    trained = (run for run in comparison.runs if run.state == "finished" and is_trained(run))
    texts = (run.status.sequential for run in trained)
    looks = [look for text in texts if (look := read_look(text)) is not None]
    return max(looks, key=lambda look: look.look).margin if looks else None


def over_all_claims(judged: Sequence[Judgement]) -> list[Judgement]:
    """Verdicts with control of the false discovery rate over all claims that were tested."""
    anytime = [
        all(f.estimate.sequential for f in j.findings if f.test.decides and not math.isnan(f.p))
        for j in judged
    ]
    adjusted = false_discovery([j.p for j in judged], anytime)
    found = []
    for j, q in zip(judged, adjusted, strict=True):
        lost = j.verdict in SETTLED and not q <= SIGNIFICANCE
        found.append(replace(j, q=q, verdict="open" if lost else j.verdict))
    return found


def judge_claim(
    claim: Claim,
    values: Sequence[tuple[Criterion, Seeds | Counts, tuple[Group, ...]]],
    looks: Mapping[str, float],
) -> Judgement:
    """The verdict of one claim by itself, before the correction over all claims.

    Args:
        claim: the claim.
        values: what its tests measured.
        looks: margins by place and title of the comparisons that were made sequentially.
    """
    found: list[tuple[Criterion, Estimate, tuple[Group, ...]]] = []
    for test, value, groups in values:
        margins = [looks[group.place] for group in groups if group.place in looks]
        margin = max(margins, default=MARGIN)
        e = estimate(test, value, sequential=bool(margins), margin=margin)
        found.append((test, e, groups))
    smallest = [_smallest(e) for _, e, _ in found]
    decide = [test.decides for test, _, _ in found]
    adjusted = holm([p if d else math.nan for p, d in zip(smallest, decide, strict=True)])
    findings = []
    for (test, e, groups), p, of_family in zip(found, smallest, adjusted, strict=True):
        factor = of_family / p if test.decides and p > 0 else 1.0
        places, rows = (
            dict.fromkeys(getattr(g, field) for g in groups) for field in ("place", "name")
        )
        says, p = _says(test, e, factor)
        seconds = training_seconds(groups)
        machines = tuple(dict.fromkeys(g.machine for g in groups if g.trained and g.machine))
        finding = Finding(test, tuple(places), tuple(rows), e, p, says, seconds)
        several = machines if len(machines) > 1 else ()
        findings.append(replace(finding, machines=several, runs=_runs(groups)))
    missing = tuple(test for test in claim.tests if all(test is not f.test for f in findings))
    verdict = verdict_of(claim, findings)
    p = p_of(claim, findings, verdict)
    return Judgement(claim, verdict, tuple(findings), missing, p=p)


def _runs(groups: Sequence[Group]) -> tuple[tuple[str, ...], ...]:
    """What was trained for groups: (data set, model, variant)."""
    runs = (group.members[0].run for group in groups if group.trained)
    return tuple(dict.fromkeys((run.dataset, run.model, run.variant) for run in runs))


def _smallest(e: Estimate) -> float:
    """The p value of the one thing that an estimate can say best; NaN if it can say nothing."""
    known = [p for p in (e.p, e.equal_p) if not math.isnan(p)]
    return min(known, default=math.nan)


def verdict_of(claim: Claim, findings: Sequence[Finding]) -> Verdict:
    """The verdict of a claim from its findings, before the correction over all claims.

    A claim with `needs: all` is supported if every deciding test supports it, and contradicted if
    one contradicts it. With `needs: any` one test suffices, if none says the opposite. Where
    differences within the margin are what is left, they are the verdict. A claim is mixed if tests
    of which one is enough, or data sets of a test that need not hold everywhere, show both sides;
    with `needs: all` only if no test contradicts it.
    """
    if claim.undecidable:
        return "not decided by measurement"
    tests = [test for test in claim.tests if test.decides]
    words = [_together([f for f in findings if f.test == test]) for test in tests]
    if not any(words):
        return "not measured"
    supported, contradicted = "supports" in words, "contradicts" in words
    if claim.needs == "all":
        if contradicted:
            return "contradicted"
        if all(word == "supports" for word in words):
            return "supported"
        if "disagrees" in words:
            return "mixed"
        settled = all(word in ("supports", "equal") for word in words)
        return "equal within the margin" if settled else "open"
    if all(word == "equal" for word in words):
        return "equal within the margin"
    if "disagrees" in words or (supported and contradicted):
        return "mixed"
    if supported:
        return "supported"
    return "contradicted" if contradicted else "open"


def _together(findings: Sequence[Finding]) -> str:
    """Result of one test over all data sets: one of `Words`, "disagrees", or empty."""
    says = {finding.says for finding in findings}
    everywhere = any(finding.test.everywhere for finding in findings)
    if "contradicts" in says:
        return "disagrees" if "supports" in says and not everywhere else "contradicts"
    if "supports" in says and not (everywhere and len(says) > 1):
        return "supports"
    if says == {"equal"}:
        return "equal"
    return "undecided" if says else ""


def p_of(claim: Claim, findings: Sequence[Finding], verdict: Verdict) -> float:
    """The p value of a verdict of a claim; of an open one the smallest that a verdict could have.

    A verdict that takes one of several findings has the smallest of their adjusted p values
    (union-intersection test), one that takes all of them the largest (intersection-union test):

    - supported: over tests the smallest with `needs: any`, the largest with `needs: all`; over the
      places of a test the smallest, or the largest if it must hold everywhere.
    - contradicted: the smallest, since one contradiction suffices; with `needs: all` of the tests
      that do not show both sides.
    - equal: over tests the largest, over places the largest or that with which the test supports.
    - mixed: the larger one of that of supported and the smallest against; with `needs: all` of the
      smallest for and against of one test, which must show both.

    NaN if no deciding test has a p value, or the claim is not decided by measurement.
    """
    by_test = [[f for f in findings if f.test is test] for test in claim.tests if test.decides]
    measured = [f for found in by_test for f in found]
    if claim.undecidable or all(math.isnan(f.p) for f in measured):
        return math.nan
    of_tests = [_p_supports(found) for found in by_test]
    supported = max(of_tests) if claim.needs == "all" else min(of_tests)
    agree = [of for of in by_test if claim.needs == "any" or _together(of) != "disagrees"]
    contradicted = _smallest_if([f for of in agree for f in of], "contradicts")
    if verdict == "open":
        return 1.0 if max(supported, contradicted) < 1 else min(supported, contradicted)
    mixed = max(supported, contradicted)
    if claim.needs == "all":
        mixed = min(
            max(_smallest_if(of, "supports"), _smallest_if(of, "contradicts")) for of in by_test
        )
    found = {"supported": supported, "contradicted": contradicted, "mixed": mixed}
    return found[verdict] if verdict in found else max(map(_p_equal, by_test))


def _p_equal(findings: Sequence[Finding]) -> float:
    """The p value with which a test is equal everywhere, or supports its claim."""
    equal = max((_p_if(finding, "equal", "supports") for finding in findings), default=1.0)
    return min(equal, _p_supports(findings))


def _smallest_if(findings: Sequence[Finding], word: Words) -> float:
    """The smallest p value with which findings say something; 1 if none does."""
    return min((_p_if(finding, word) for finding in findings), default=1.0)


def _p_supports(findings: Sequence[Finding]) -> float:
    """The p value with which a test supports its claim; 1 if it was not measured."""
    p = [_p_if(finding, "supports") for finding in findings]
    everywhere = any(finding.test.everywhere for finding in findings)
    return (max if everywhere else min)(p, default=1.0)


def _p_if(finding: Finding, *words: Words) -> float:
    """The p value of a finding if it says one of these, or leans to it; else 1."""
    known = not math.isnan(finding.p)
    return finding.p if known and leaning(finding) in words else 1.0


def leaning(finding: Finding) -> Words:
    """What a finding says, or would say if its p value were small."""
    if finding.says not in ("undecided", "too few"):
        return finding.says
    e = replace(finding.estimate, p=0.0, equal_p=math.nan)
    return _says(finding.test, e, 1.0)[0]


def _says(test: Criterion, e: Estimate, factor: float) -> tuple[Words, float]:
    """What an estimate says of the claim, and the adjusted p value of that.

    Args:
        test: the test.
        e: the estimate.
        factor: by which its p values are adjusted.
    """
    p, equal_p = (min(1.0, p * factor) for p in (e.p, e.equal_p))
    if math.isnan(e.p):
        return ("too few" if e.n < MIN_SEEDS else "undecided"), math.nan
    if equal_p <= SIGNIFICANCE:
        return ("equal" if test.equality == "neither" else test.equality), equal_p
    if p >= SIGNIFICANCE:
        return "undecided", p
    if test.expect == "differs":
        return ("undecided" if 1 / MARGIN <= e.effect <= MARGIN else "supports"), p
    if (e.effect > test.threshold) == (test.expect == "above"):
        return "supports", p
    return ("contradicts" if test.refutes else "undecided"), p
