"""What stands on a page about models at matched budgets: headings, sentences and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace

from bench.compare.cells import Passage
from bench.compare.comparison import Comparison, Entry
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.blindness import blind_columns
from bench.compare.topics.curves import LearningCurves, learning_curves
from bench.compare.topics.equal_training import (
    TRAININGS,
    best_samplers,
    thresholds,
    time_table,
    training_table,
)
from bench.compare.topics.pareto import front_table, sampling_front, training_front
from bench.compare.topics.sampling_cost import PRICES, break_even_table, sampling_table

NO_CURVES = (
    "Every run was evaluated once, at its end, so that nothing is known of smaller budgets: train "
    "with budget.checkpoints=5 for tables at equal training and for the time to an FID."
)
"""Stands where tables along training would."""


TRAINING_SENTENCE = (
    "FID ({extractor}) of every model, with the sampler that is best at the end: mean ± "
    "standard deviation over seeds, interpolated between evaluation points on logarithmic scales,"
    " never beyond them. –: most seeds were not evaluated so early, or not trained so long. In "
    "brackets how many of the finished seeds have a value, where not all do."
)
APART_SENTENCE = (
    "Evaluated at none of these budgets, but only before or after them: {}. A larger "
    "budget.checkpoints would show more."
)
ONCE_SENTENCE = "Evaluated only once, and so left out: {}."
FEW_SENTENCE = f"Fewer than {MIN_SEEDS} seeds of {{}}: no share."
TIME_SENTENCE = (
    "Training until the FID ({extractor}) first falls so low, median over seeds, in brackets how "
    "many seeds came there; >: not within the budget, ≤: before the first evaluation point. Seeds"
    " that failed count as never. The thresholds are what the median seed of the worst, the "
    "median and the best model ends at."
)
BREAK_EVEN_SENTENCE = (
    "Training until the FID ({extractor}) is reached in the median seed, once, and drawing so "
    "many samples: who is cheapest in total. Two entries cost the same where the one hands over "
    "to the other; one that is cheapest for any number of samples is the cheapest both to train "
    "and to draw from, of those that reach the FID. Seconds per sample are those of the fastest "
    "batch size."
)
SAMPLING_SENTENCE = (
    "The lowest FID ({extractor}) of each model among its samplers that cost at most so much per "
    "sample, mean ± standard deviation over seeds; the sampler was chosen by this FID."
)
FRONT_SENTENCE = (
    "Entries that no other one beats in both, by means over seeds, with costs to two digits; and "
    "in what share of bootstrap samples of the seeds they stand there. All that is on the front in "
    "fewer than 5 % of them is left out."
)


def blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Headings of a comparison, each with the sentences and tables below it.

    Nothing for a comparison without a trained and finished entry.
    """
    is_blind = comparison.fid in blind_columns(comparison)
    for heading, *found in _marked_blocks(comparison):
        yield heading, *(_unmarked(each) if is_blind else each for each in found)


def _unmarked(passage: Passage) -> Passage:
    """A table of an FID that does not tell bad samples from real data, without best values."""
    if isinstance(passage, str):
        return passage
    rows = (tuple(replace(cell, best=False) for cell in row) for row in passage.rows)
    return replace(passage, rows=tuple(rows))


def _marked_blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    curves = learning_curves(comparison)
    if not curves:
        return
    if max(of.points for of in curves) < 2:
        yield "Equal training", NO_CURVES
    else:
        yield from _along_training(comparison, curves)
    tables = [table for cost in PRICES if (table := sampling_table(comparison, cost))]
    if tables:
        yield "Equal sampling cost", _named(SAMPLING_SENTENCE, comparison), *tables
    yield from _fronts(comparison, curves)


def _along_training(
    comparison: Comparison, curves: Sequence[LearningCurves]
) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """What needs learning curves: only entries that were evaluated more than once."""
    followed = [of for of in curves if of.points > 1]
    once = [of.entry for of in best_samplers(curves) if of.points < 2]
    alone = _sentence(ONCE_SENTENCE, comparison, once)
    of_models = best_samplers(followed)
    reading = _named(TRAINING_SENTENCE, comparison)
    for training in TRAININGS:
        table, absent = training_table(comparison, of_models, training)
        if table:
            apart = _sentence(APART_SENTENCE, comparison, absent)
            yield training.heading, reading, *alone, *apart, table
    fids = thresholds(of_models)
    tables = [
        time_table(comparison, of_models, training, fids)
        for training in TRAININGS[:2]
        if any(len(curve.x) for of in of_models for curve in of.along(training.axis))
    ]
    if tables:
        yield "Time to FID", _named(TIME_SENTENCE, comparison), *alone, *tables
    if table := break_even_table(comparison, followed, fids):
        yield "Break-even", _named(BREAK_EVEN_SENTENCE, comparison), *alone, table


def _named(text: str, comparison: Comparison) -> str:
    """A sentence with the extractor whose FID it speaks of."""
    return text.format(extractor=comparison.extractors[0])


def _sentence(text: str, comparison: Comparison, entries: Sequence[Entry]) -> list[str]:
    """A sentence about some entries; nothing about none."""
    names = dict.fromkeys(comparison.label(entry) for entry in entries)
    return [text.format(", ".join(names))] if names else []


def _fronts(
    comparison: Comparison, curves: Sequence[LearningCurves]
) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Pareto fronts of FID against what sampling and training cost."""
    few = [of.entry for of in curves if len(of.entry.seeds) < MIN_SEEDS]
    unsure = _sentence(FEW_SENTENCE, comparison, few)
    fronts = (
        ("sampling", "ms per sample ↓", sampling_front(comparison, "latency_ms")),
        ("training time", "training s ↓", training_front(comparison, "train_seconds")),
        ("training operations", "training TFLOP ↓", training_front(comparison, "train_flops")),
    )
    for name, heading, candidates in fronts:
        size = 1e12 if "TFLOP" in heading else 1.0
        if table := front_table(comparison, candidates, heading, size):
            yield f"Pareto front of FID and {name}", FRONT_SENTENCE, *unsure, table
