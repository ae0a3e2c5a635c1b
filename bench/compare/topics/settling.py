"""Tables and sentences of a comparison that bench.decide made: its pairs, and how they end."""

import math
from collections.abc import Iterable, Sequence

from bench.compare.cells import NOTHING, Cell, Table, exact, natural, p_value
from bench.compare.comparison import Comparison, Entry
from bench.compare.read import Run
from bench.compare.sequential import LEVEL
from bench.compare.topics.outcomes import is_trained
from bench.compare.topics.pairs import (
    CONFIGURED_SENTENCE,
    FEW,
    LOWEST_SENTENCE,
    contestants,
    eligible,
)
from bench.compare.topics.settled import Contest, contests, estimate, looks, within
from bench.runtime.printing import duration

SETTLED_HEADING = "How the questions were settled"

PAIRS_SENTENCE = (
    "Every model is represented by the first sampler that it lists, so that no sampler is selected "
    "by its score. bench.decide added seeds until questions were settled, so that tests for a "
    "number of seeds fixed in advance do not hold. Evidence (an e-value) does after every seed: if "
    "two models are alike, it exceeds 20 at some time in at most 5 % of cases. p is 1 / the "
    "largest evidence so far, adjusted for all {family} pairs (Holm); with a p of up to 0.05 two "
    "models are called different. The confidence sequence contains the true value after all seeds "
    "together in 95 % of cases; it is not adjusted."
)
ALONE_SENTENCE = PAIRS_SENTENCE.replace(", adjusted for all {family} pairs (Holm)", "")
EQUAL_SENTENCE = (
    "Two models are called {equal} if there is as much evidence against both ends of this margin, "
    "of ratios from {low} to {high}."
)
SEEDS_SENTENCE = "Seeds that bench.decide made: {made}."
BEFORE_SENTENCE = "Seeds that sweeps over fixed seeds made, which count as well: {made}."
SETTLED_SENTENCE = (
    "Evidence that the FIDs of two models differ or, where it is marked so, that they are equal. A "
    "question is settled where its evidence reaches its threshold, which falls as others are "
    "settled (Holm). Open questions come first, the cheapest first: estimated seeds times seconds "
    "of training and evaluation of both models. A model that is shown to be higher than another "
    "one gets no more runs; its open questions are dropped."
)

LARGE = 1e6
"""Evidence above this is shown as such."""


def sequential_table(comparison: Comparison) -> Table:
    """The table of pairs; with more than `FEW` models the pairs with the first model."""
    found = shown(contests(comparison))
    ratio = all(c.standing.ratio for c in found if c.standing)
    estimated = f"FID ({comparison.extractors[0]}) A {'/' if ratio else '−'} B"
    headings = ("A", "B", "seeds", f"{estimated} [95 % confidence sequence]", "evidence")
    rows = []
    for contest in found:
        standing = contest.standing
        size = estimate(standing) if standing and standing.seeds else NOTHING
        p = NOTHING if standing is None else p_value(standing.p)
        names = (_name(comparison, contest.a), _name(comparison, contest.b))
        cells = (*names, str(contest.question.seeds), size)
        words = verdict_words(comparison, contest)
        rows.append((*map(Cell, cells), _evidence(contest), Cell(p), Cell(words)))
    return Table((*headings, "p at any time (Holm)", "verdict"), tuple(rows), labels=2)


def shown(found: Sequence[Contest]) -> list[Contest]:
    """All pairs, or with more than `FEW` models the pairs with the first model."""
    if len(found) <= math.comb(FEW, 2):
        return list(found)
    return [contest for contest in found if contest.a is found[0].a]


def _name(comparison: Comparison, entry: Entry) -> str:
    return ", ".join(filter(None, (comparison.label(entry), entry.sampler)))


def verdict_words(comparison: Comparison, contest: Contest) -> str:
    """What is known about a pair, and what is missing."""
    question = contest.question
    if contest.lower is not None:
        words = f"different: {comparison.label(contest.lower)} is lower"
        always = f", {comparison.label(contest.b)} always fails"
        return words if contest.standing else words + always
    if question.state == "equal":
        return within(contest.margin)
    return "dropped" if question.dropped else f"open: {_missing(contest)}"


def _missing(contest: Contest) -> str:
    """Estimated seeds and time until a pair is settled."""
    if math.isnan(contest.left):
        return "too few seeds for an estimate"
    if math.isinf(contest.left):
        return "more than 200 seeds"
    n = int(contest.left)
    words = f"about {n} more seed{'s' * (n != 1)}"
    known = math.isfinite(contest.seconds_left)
    return f"{words}, {duration(contest.seconds_left)}" if known else words


def _evidence(contest: Contest) -> Cell:
    """The largest evidence so far; of equality, where that is nearer to settling it."""
    if contest.standing is None:
        return Cell(NOTHING)
    value, equality = leading(contest)
    text = "> 1M" if value > LARGE else exact(value)
    return Cell(f"{text} (equal)" if equality else text, key=value)


def leading(contest: Contest) -> tuple[float, bool]:
    """The largest evidence so far, and whether it is that of equality.

    It is if equality is nearer to its threshold than a difference is to its own.
    """
    question, standing = contest.question, contest.standing
    differs = max(question.path, default=1.0)
    equal = max(question.equal_path, default=0.0)
    if standing is None or question.state == "settled":
        return differs, False
    nearer = equal / standing.equal_threshold > differs / standing.threshold
    return (equal, True) if nearer else (differs, False)


def sequential_sentences(comparison: Comparison) -> list[str]:
    """Explanation of the table of pairs, and which seeds were made in which way."""
    found = contests(comparison)
    counted = [contest.standing for contest in found if contest.standing]
    words = PAIRS_SENTENCE if len(counted) > 1 else ALONE_SENTENCE
    said = [words.format(family=len(counted))]
    if found and all(standing.ratio for standing in counted):
        margin = found[0].margin
        ends = {"low": exact(1 / margin), "high": exact(margin)}
        said.append(EQUAL_SENTENCE.format(equal=within(margin), **ends))
    if len(contestants(comparison)) < len(eligible(comparison)):
        said.append(CONFIGURED_SENTENCE)
    if len(shown(found)) < len(found):
        said.append(LOWEST_SENTENCE)
    made = [run for run, _ in looks(comparison)]
    before = [
        run
        for run in comparison.runs
        if run.state == "finished" and is_trained(run) and run not in made
    ]
    said.append(SEEDS_SENTENCE.format(made=seeds_of(comparison, made)))
    if before:
        said.append(BEFORE_SENTENCE.format(made=seeds_of(comparison, before)))
    return said


def seeds_of(comparison: Comparison, runs: Iterable[Run]) -> str:
    """The seeds of every model, such as "0–4 of ddpm and edm; 0–2, 5 of dcgan"."""
    labels = {entry.key: comparison.label(entry) for entry in comparison.entries if entry.finished}
    seeds: dict[str, list[int]] = {}
    for run in runs:
        seeds.setdefault(labels[run.model, run.variant], []).append(int(run.seed))
    models: dict[str, list[str]] = {}
    for label in sorted(seeds, key=natural):
        models.setdefault(ranges(seeds[label]), []).append(label)
    return "; ".join(f"{numbers} of {_and(names)}" for numbers, names in models.items())


def ranges(numbers: Iterable[int]) -> str:
    """Whole numbers in order, neighbours joined: "0–2, 5"."""
    found: list[list[int]] = []
    for number in sorted(numbers):
        if found and number == found[-1][-1] + 1:
            found[-1].append(number)
        else:
            found.append([number])
    return ", ".join(f"{of[0]}–{of[-1]}" if len(of) > 1 else str(of[0]) for of in found)


def _and(names: Sequence[str]) -> str:
    return f"{', '.join(names[:-1])} and {names[-1]}" if len(names) > 1 else names[0]


def settled_table(comparison: Comparison) -> Table:
    """Every question with its evidence: open ones by cost, then equal, settled and dropped ones."""
    rows = []
    for contest in sorted(contests(comparison), key=_order):
        question, standing = contest.question, contest.standing
        threshold = NOTHING
        if standing is not None:
            equal = leading(contest)[1]
            threshold = exact(standing.equal_threshold if equal else standing.threshold)
        state = "dropped" if question.dropped else question.state
        missing = NOTHING if state != "open" else _missing(contest)
        cells = (Cell(_either(comparison, contest)), Cell(state), Cell(str(question.seeds)))
        rows.append((*cells, _evidence(contest), Cell(threshold), Cell(missing)))
    headings = ("question: which is lower", "state", "seeds", "evidence", "threshold", "needed")
    return Table(headings, tuple(rows), labels=2)


def _either(comparison: Comparison, contest: Contest) -> str:
    return f"{comparison.label(contest.a)} or {comparison.label(contest.b)}"


def _order(contest: Contest) -> tuple[object, ...]:
    """Open questions first, by cost; unknown and infinite costs come after known ones."""
    question = contest.question
    if question.dropped:
        return 3, 0.0, natural(question.name)
    state = ("open", "equal", "settled").index(question.state)
    cost = contest.seconds_left if question.state == "open" else 0.0
    return state, cost if math.isfinite(cost) else math.inf, natural(question.name)


def thresholds(comparison: Comparison) -> dict[str, float]:
    """The evidence that the first verdict needs, and what the next ones need, where that is less.

    If all questions are settled, it is what the last verdict needed.
    """
    counted = [contest.standing for contest in contests(comparison) if contest.standing]
    first = len(counted) / LEVEL
    later = {
        "threshold of a difference": min((each.threshold for each in counted), default=first),
        "threshold of equality": min((each.equal_threshold for each in counted), default=first),
    }
    return {"first threshold": first} | {k: value for k, value in later.items() if value < first}
