"""Questions of claims: one per deciding test and place, what would settle it, and what it costs."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.claims.declaration import MARGIN, Claim
from bench.compare.claims.verdicts import SETTLED, Finding, Judgement, leaning
from bench.compare.questions import Question, State
from bench.compare.sequential import LEVEL, settled_after
from bench.compare.stats import MIN_SEEDS, holm

MOST_SEEDS = 200
"""Number of seeds beyond which a question counts as out of reach."""


@dataclass(frozen=True)
class Effort:
    """What it would take to settle a finding.

    Attributes:
        finding: the finding.
        threshold: the e-value that settles it, corrected for the claim's other tests and for the
            page's other claims.
        needed: estimated number of all seeds; infinite if out of reach, NaN if unknown.
        have: number of seeds behind it.
        alone: whether the claim is decided if the finding is settled as it leans.
    """

    finding: Finding
    threshold: float
    needed: float
    have: int
    alone: bool

    @property
    def more(self) -> float:
        """Estimated number of further seeds, at least one."""
        return max(1.0, self.needed - self.have)

    @property
    def minutes(self) -> float:
        """Estimated minutes of training of the further seeds; NaN if the runs do not tell."""
        return self.more * self.finding.seconds / 60

    @property
    def text(self) -> str:
        """The effort, such as "about 9 more seeds, 40 minutes"."""
        if math.isnan(self.needed):
            return "no estimate yet"
        if math.isinf(self.needed):
            return f"out of reach of {MOST_SEEDS} seeds"
        seeds = f"about {self.more:.0f} more seed{'s' if self.more > 1 else ''}"
        return seeds if math.isnan(self.minutes) else f"{seeds}, {duration(self.minutes)}"


def duration(minutes: float) -> str:
    """Minutes, or hours from two of them on, as text."""
    if minutes < 120:
        return f"{math.ceil(minutes)} minute{'s' if minutes > 1 else ''}"
    return f"{minutes / 60:.1f} hours"


def questions_of_claims(judgements: Sequence[Judgement]) -> tuple[Question, ...]:
    """One question per deciding test and place.

    The questions of a claim are parts of one verdict. With `needs: any` one of them is enough; with
    `needs: all` one for each test, on any data set. Of a test that must hold everywhere all are
    needed. One that contradicts is always enough. What is open although its claim is decided, or
    its test on another data set, is not asked any more. A claim of which nothing is measured,
    because runs did not get their cores, is one open question. A question asks for its own runs,
    or for all of the claim's while one of its tests is not measured.

    Args:
        judgements: the verdicts on all claims of a page; better with `judge(…, sequential=True)`.
    """
    questions = []
    for judgement in judgements:
        claim, factor = judgement.claim, claims_factor(judgement, judgements)
        found = efforts(judgement, factor)
        unmeasured = any(test.decides for test in judgement.missing)
        known = _known(claim, found)
        for effort in found:
            finding, part = effort.finding, _part(claim, effort.finding)
            e = finding.estimate
            where, number = finding.where, claim.tests.index(finding.test) + 1
            state = _state(effort)
            question = Question(
                name=f"claim {claim.name}, test {number}, {where}",
                asks=f"{claim.statement} {finding.test.says}",
                place=where,
                state=state,
                answer=f"{e.text} ({e.size}): {finding.says}",
                path=e.path,
                equal_path=e.equal_path,
                threshold=effort.threshold,
                needed=effort.needed if state == "open" else float(effort.have),
                needs=claim.runs if finding.test.kind.whole or unmeasured else finding.runs,
                dropped=state == "open"
                and (judgement.verdict in SETTLED or (part in known and not effort.alone)),
                verdict=claim.name,
                part=part,
                alone=effort.alone,
                seeds_each=_seeds_each(finding),
            )
            questions.append(question)
        if judgement.left_out and judgement.verdict == "not measured":
            questions.append(_unmeasured(claim))
    return tuple(questions)


def _part(claim: Claim, finding: Finding) -> str:
    """The part of a claim's verdict that a finding may settle: its test, or one place of it."""
    number = f"test {claim.tests.index(finding.test) + 1}"
    return f"{number}, {finding.where}" if finding.test.everywhere else number


def _known(claim: Claim, found: Sequence[Effort]) -> set[str]:
    """The parts of a claim's verdict that are settled for or against it."""
    return {
        _part(claim, effort.finding)
        for effort in found
        if effort.finding.says in ("supports", "contradicts") and not _is_open(effort)
    }


def _decides_alone(claim: Claim, finding: Finding) -> bool:
    """Whether a verdict on the claim follows if a finding is settled as it leans."""
    e, test = finding.estimate, finding.test
    leans = leaning(finding)
    if e.equal_path and e.equal_path[-1] > e.path[-1]:
        leans = "equal" if test.equality == "neither" else test.equality
    enough = claim.needs == "any" and not test.everywhere and leans == "supports"
    return enough or leans == "contradicts"


def _seeds_each(finding: Finding) -> int:
    """The number of seeds behind each number of a finding."""
    return MIN_SEEDS if finding.test.kind.per == "data set" else 1


def _in_vain(judgement: Judgement) -> bool:
    """Whether no further seed can have all parts of a claim support it.

    A test that it needs was not measured, or one that must hold everywhere is equal somewhere.
    """
    needed = judgement.claim.needs == "all" and any(t.decides for t in judgement.missing)
    return needed or any(f.test.everywhere and f.says == "equal" for f in judgement.findings)


def _unmeasured(claim: Claim) -> Question:
    """The question of a claim without a measurement so far."""
    return Question(
        name=f"claim {claim.name}",
        asks=claim.statement,
        place="",
        state="open",
        answer="no result yet from runs that got their cores",
        path=(),
        equal_path=(),
        threshold=1 / LEVEL,
        needed=math.nan,
        needs=claim.runs,
        verdict=claim.name,
    )


def _state(effort: Effort) -> State:
    """How far a finding is settled by the evidence so far."""
    e = effort.finding.estimate
    if effort.finding.says == "too few":
        return "open"
    if e.equal_path and e.equal_path[-1] >= effort.threshold:
        return "equal"
    shown = bool(e.path) and e.path[-1] >= effort.threshold
    return "settled" if shown and not _says_nothing(effort.finding) else "open"


def _says_nothing(finding: Finding) -> bool:
    """Whether a finding points in a direction that says nothing of its claim."""
    return leaning(finding) == "undecided"


def claims_factor(judgement: Judgement, judgements: Sequence[Judgement]) -> float:
    """By how much more evidence a claim needs at most because of the page's other claims.

    The number of claims that are tested, or will be once there are enough seeds, over the number of
    those that are decided if this one is: the factor of e-BH. Closed testing, which decides
    (`bench.compare.discoveries`), needs no more.
    """
    tested = sum(any(f.test.decides and f.estimate.path for f in j.findings) for j in judgements)
    decided = sum(j.verdict in SETTLED for j in judgements)
    return tested / max(1, decided + (judgement.verdict not in SETTLED))


def efforts(judgement: Judgement, factor: float) -> list[Effort]:
    """What it would take to settle each deciding finding of a claim.

    Args:
        judgement: the claim's verdict.
        factor: see `claims_factor`.
    """
    findings = [f for f in judgement.findings if f.test.decides and f.estimate.path]
    p = [_p_now(finding) for finding in findings]
    adjusted = holm(p)
    found = []
    for finding, raw, of_family in zip(findings, p, adjusted, strict=True):
        holm_factor = max(1.0, of_family / raw) if raw > 0 and of_family < 1 else len(findings)
        threshold = holm_factor * factor / LEVEL
        seeds, alone = _seeds_each(finding), _decides_alone(judgement.claim, finding)
        vain = _in_vain(judgement) and not alone
        needed = math.inf if vain else seeds * _needed(finding, threshold)
        have = seeds * len(finding.estimate.path)
        found.append(Effort(finding, threshold, needed, have, alone))
    return found


def _p_now(finding: Finding) -> float:
    e = max(finding.estimate.path[-1], *finding.estimate.equal_path[-1:], 0.0)
    return min(1.0, 1 / e) if e > 0 else 1.0


def _needed(finding: Finding, threshold: float) -> float:
    """Estimated number of all seeds that settle a finding.

    From simulated continuations if it rests on one number per seed; otherwise from the rate at
    which the logarithm of its evidence has grown. Of a finding that points in a direction that says
    nothing only the evidence of equality counts.
    """
    e = finding.estimate
    n = len(e.path)
    if _says_nothing(finding):
        return _by_growth(e.equal_path, threshold)
    if max(e.path[-1], *e.equal_path[-1:], 0.0) >= threshold:
        return float(n)
    if len(e.differences) == n:
        margin = finding.test.half_margin(MARGIN) if e.equal_path else None
        found = settled_after(e.differences, threshold, margin, most=MOST_SEEDS)
        if not math.isnan(found):
            return found
    return _by_growth(e.path, threshold)


def _by_growth(path: Sequence[float], threshold: float) -> float:
    """The number of items of a path of e-values that reach a threshold, by its rate so far."""
    growth = math.log(max(path[-1], 1e-300)) / len(path) if path else 0.0
    needed = math.ceil(math.log(threshold) / growth) if growth > 0 else math.inf
    return needed if needed <= MOST_SEEDS else math.inf


def cheapest(judgement: Judgement, judgements: Sequence[Judgement]) -> Effort | None:
    """The effort that would decide an open claim; None if no finding of it is open.

    The cheapest open finding of those that decide it alone, or the dearest among the cheapest ones
    of all parts that are open.
    """
    claim, found = judgement.claim, efforts(judgement, claims_factor(judgement, judgements))
    known, by_part = _known(claim, found), dict[str, list[Effort]]()
    for effort in filter(_is_open, found):
        by_part.setdefault(_part(claim, effort.finding), []).append(effort)
    parts = [min(of, key=_cost) for part, of in by_part.items() if part not in known]
    alone = [effort for of in by_part.values() for effort in of if effort.alone]
    whole = [max(parts, key=_cost)] if parts else []
    return min([*alone, *whole], key=_cost, default=None)


def _is_open(effort: Effort) -> bool:
    return _state(effort) == "open"


def _cost(effort: Effort) -> float:
    """Minutes, or seeds where the minutes are unknown; unknown ones come last."""
    known = effort.minutes if not math.isnan(effort.minutes) else effort.more
    return math.inf if math.isnan(known) else known


def by_cost(judgements: Sequence[Judgement]) -> list[tuple[Judgement, Effort]]:
    """Open claims with what would decide them, the cheapest first."""
    found = [(j, cheapest(j, judgements)) for j in judgements if j.verdict == "open"]
    known = [(j, effort) for j, effort in found if effort is not None]
    return sorted(known, key=lambda pair: _cost(pair[1]))
