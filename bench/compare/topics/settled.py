"""How far runs have settled which model of each pair has the lower FID, by evidence over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import median

import numpy as np

from bench.compare.cells import exact, interval, natural
from bench.compare.comparison import (
    Comparison,
    Entry,
    analysis,
    by_kind,
    comparable,
    separated,
)
from bench.compare.questions import Question, State
from bench.compare.racing import Standing, standings
from bench.compare.read import Run
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.outcomes import is_trained
from bench.compare.topics.pairs import contestants, eligible
from bench.compare.topics.ranked import is_fit
from bench.runs.looks import Look, read_look
from bench.schema import MEASURED

ASKS = "Which has the lower FID on {place}, {a} or {b}?"
FAILS = "{a} is lower: {b} has no result, all of its {n} runs failed"
FAILS_SO_FAR = "{a} is lower: {b} has no result, all of its {n} ended runs failed"
NO_SEED = "no common seed yet with a result"

NO_MARGIN = np.finfo(np.float64).tiny
"""The margin of FIDs of which some are not positive: their differences are never called equal."""


@dataclass(frozen=True)
class Contest:
    """Two models of a comparison, and how far runs have settled which one has the lower FID.

    Attributes:
        a: the one that comes first in the table.
        b: the other one.
        standing: what their common seeds show; None if the second one always fails.
        margin: FIDs with a ratio within [1 / margin, margin] count as equal.
        seconds: of one more seed of both, evaluation included; NaN if unknown.
        question: what is asked, its state and its evidence after every seed.
    """

    a: Entry
    b: Entry
    standing: Standing | None
    margin: float
    seconds: float
    question: Question

    @property
    def lower(self) -> Entry | None:
        """The one that is shown to have the lower FID; None if that is not settled."""
        if self.question.state != "settled":
            return None
        return self.a if self.standing is None or self.standing.direction < 0 else self.b

    @property
    def left(self) -> float:
        """Estimated number of seeds that are missing; NaN if unknown, infinite if out of reach."""
        return missing(self.question.needed, self.question.seeds) if self.is_open else 0.0

    @property
    def is_open(self) -> bool:
        """Whether it is neither settled nor equal."""
        return self.question.state == "open"

    @property
    def seconds_left(self) -> float:
        """Estimated seconds of computing until it is settled; NaN or infinite like `left`."""
        return self.left * self.seconds if self.left else 0.0


def always_fails(finished: int, failed: int) -> bool:
    """Whether a model is taken to fail always: several of its runs failed, and none finished.

    Runs that have begun and not ended do not count, whether they go on or were killed.

    Args:
        finished: number of its finished runs.
        failed: number of its failed runs.
    """
    return not finished and failed >= MIN_SEEDS


def questions_of_pairs(comparison: Comparison, margin: float | None = None) -> tuple[Question, ...]:
    """Which model of each pair has the lower FID, and how far that is settled.

    Class-conditional models are asked about among themselves.

    Every trained model and variant is represented by the first sampler that it lists. Runs that
    did not get their cores are left out. A model that `always_fails` has lost against every model
    with a result.

    Args:
        comparison: if it has fewer than two models, there is no question.
        margin: ratios within [1 / margin, margin] count as equal; None for that of the runs.

    Raises:
        ValueError: a margin that is no ratio above 1.
    """
    return tuple(
        contest.question for part in separated(comparison) for contest in contests(part, margin)
    )


def is_sequential(comparison: Comparison) -> bool:
    """Whether bench.decide made some of the finished runs of trained models."""
    return bool(looks(comparison))


@analysis
def looks(comparison: Comparison) -> tuple[tuple[Run, Look], ...]:
    """The finished runs of trained models that bench.decide made, each with its look."""
    finished = (run for run in comparison.runs if run.state == "finished" and is_trained(run))
    found = ((run, read_look(run.status.sequential)) for run in finished)
    return tuple((run, look) for run, look in found if look)


def margin_of(comparison: Comparison) -> float:
    """The margin of practical equality of the latest look; the default without one."""
    of_runs = [look for _, look in looks(comparison)]
    last = max((look.look for look in of_runs), default=0)
    return min((look.margin for look in of_runs if look.look == last), default=Look().margin)


@analysis
def contests(comparison: Comparison, margin: float | None = None) -> tuple[Contest, ...]:
    """All pairs of models, in the order of the table; those with a model that always fails last.

    Args:
        comparison: the comparison; runs that did not get their cores are left out here, and
            class-conditional models beside unconditional ones.
        margin: see `questions_of_pairs`.
    """
    comparison, _ = by_kind(comparison)
    fair = comparable(comparison)
    margin = margin_of(comparison) if margin is None else margin
    with_result = contestants(fair)
    failing, waiting = _without_result(comparison, fair)
    if len(with_result) < len(eligible(fair)):  # variants with overrides are not compared
        failing, waiting = (
            [e for e in found if e.variant == "default"] for found in (failing, waiting)
        )
    entries = (*with_result, *waiting)
    fids = [fid for entry in with_result for fid in entry.values(fair.fid).values()]
    ratio = MEASURED["fid"].by_ratio(fids)
    found = standings(
        _values(fair, entries),
        margin=margin if ratio else float(NO_MARGIN),
        ratio=ratio,
        unfit=[k for k, entry in enumerate(with_result) if not is_fit(fair, entry)],
    )
    compared = [
        _contest(comparison, entries[pair.a], entries[pair.b], pair, margin) for pair in found.pairs
    ]
    return (*compared, *(_lost(comparison, a, b, margin) for b in failing for a in with_result))


def _without_result(comparison: Comparison, fair: Comparison) -> tuple[list[Entry], list[Entry]]:
    """The models and variants that always fail, and the others that have no result.

    See `always_fails`. A model whose finished runs all did not get their cores has no result yet.

    Args:
        comparison: with all runs.
        fair: without those that did not get their cores.
    """
    finished = {entry.key for entry in fair.entries if entry.finished}
    failing: dict[tuple[str, str], Entry] = {}
    waiting: dict[tuple[str, str], Entry] = {}
    for entry in comparison.entries:
        if entry.key in finished or (entry.finished and not entry.trained):
            continue
        states = [run.status.status for run in _runs(comparison, entry)]
        fails = always_fails(states.count("finished"), states.count("failed"))
        without = replace(entry, status="unfinished", tables={}) if entry.finished else entry
        (failing if fails else waiting).setdefault(entry.key, without)
    return list(failing.values()), list(waiting.values())


def _runs(comparison: Comparison, entry: Entry) -> list[Run]:
    """All runs of a model and variant."""
    return [run for run in comparison.runs if (run.model, run.variant) == entry.key]


def _values(comparison: Comparison, entries: Sequence[Entry]) -> np.ndarray:
    """FIDs by entry and seed in the order of the seeds' numbers, (M, S); NaN if missing."""
    samples = [entry.values(comparison.fid) if entry.finished else {} for entry in entries]
    seeds = sorted({seed for sample in samples for seed in sample}, key=int)
    rows = [[sample.get(seed, math.nan) for seed in seeds] for sample in samples]
    return np.array(rows, dtype=np.float64).reshape(len(samples), len(seeds))


def _contest(
    comparison: Comparison, a: Entry, b: Entry, standing: Standing, margin: float
) -> Contest:
    """A pair of which neither model always fails."""
    state = standing.state
    question = Question(
        name=_name(comparison, a, b),
        asks=_asks(comparison, a, b),
        place=comparison.title,
        state=state,
        answer=_answer(comparison, (a, b), standing, margin),
        path=standing.path,
        equal_path=standing.equal_path if standing.ratio else (),
        threshold=standing.equal_threshold if state == "equal" else standing.threshold,
        needed=standing.needed,
        needs=(a.key, b.key),
        dropped=standing.dropped,
    )
    seconds = seconds_per_seed(comparison, a) + seconds_per_seed(comparison, b)
    return Contest(a, b, standing, margin, seconds, question)


def _lost(comparison: Comparison, a: Entry, b: Entry, margin: float) -> Contest:
    """A model with a result, and one that always fails: that is settled without evidence."""
    failed = [run.status.status == "failed" for run in _runs(comparison, b)]
    words = FAILS if all(failed) else FAILS_SO_FAR
    question = Question(
        name=_name(comparison, a, b),
        asks=_asks(comparison, a, b),
        place=comparison.title,
        state="settled",
        answer=words.format(a=comparison.label(a), b=comparison.label(b), n=sum(failed)),
        path=(),
        equal_path=(),
        threshold=math.inf,
        needed=0.0,
        needs=(a.key, b.key),
    )
    return Contest(a, b, None, margin, math.nan, question)


def _name(comparison: Comparison, a: Entry, b: Entry) -> str:
    """The name of a pair, whichever of the two is ahead."""
    labels = sorted((comparison.label(a), comparison.label(b)), key=natural)
    return f"{comparison.title}: {labels[0]} or {labels[1]}"


def _asks(comparison: Comparison, a: Entry, b: Entry) -> str:
    labels = {"a": comparison.label(a), "b": comparison.label(b)}
    return ASKS.format(place=comparison.title, **labels)


def _answer(
    comparison: Comparison, pair: tuple[Entry, Entry], standing: Standing, margin: float
) -> str:
    """The finding with its estimate."""
    if not standing.seeds:
        return NO_SEED
    a, b = map(comparison.label, pair)
    size = f"FID {a} {'/' if standing.ratio else '−'} {b} {estimate(standing)}"
    words: dict[State, str] = {
        "settled": f"{a if standing.direction < 0 else b} is lower: {size}",
        "equal": f"{within(margin)}: {size}",
        "open": size,
    }
    return words[standing.state]


def estimate(standing: Standing) -> str:
    """An estimate with its confidence sequence; alone while that has no ends."""
    mean, (low, high) = standing.mean, standing.interval
    bounded = math.isfinite(low) and math.isfinite(high) and (low > 0 or not standing.ratio)
    return interval(mean, low, high) if bounded else exact(mean)


def within(margin: float) -> str:
    """The words of practical equality, such as "equal within ±10 %"."""
    return f"equal within ±{exact(round(100 * (margin - 1), 6))} %"


def missing(needed: float, seeds: int) -> float:
    """A whole number of missing seeds, at least one; NaN and infinity stay.

    Args:
        needed: estimated number of all seeds.
        seeds: number of those that are there.
    """
    return float(max(math.ceil(needed - seeds), 1)) if math.isfinite(needed) else needed


def seconds_per_seed(comparison: Comparison, entry: Entry) -> float:
    """Median seconds of a model's finished runs, see `seconds_of`; NaN without one."""
    found = [seconds_of(run) for run in _runs(comparison, entry) if run.state == "finished"]
    return median(found) if found else math.nan


def seconds_of(run: Run) -> float:
    """Seconds of a run, evaluation included; those of training for a run of an earlier version."""
    trained = run.table.numbers("train_seconds")
    return run.status.seconds or float(np.nanmax(trained, initial=0.0))
