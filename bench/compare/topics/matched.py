"""Page blocks on models at matched budgets: headings, sentences and tables."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import groupby

from bench.compare.cells import Passage, Table
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
    "Every run was evaluated only once, at its end. Train with budget.checkpoints=5 for tables at "
    "equal training and for the time to an FID."
)
"""Replaces the tables that need several evaluation points."""


TRAINING_SENTENCE = (
    "FID ({extractor}) of every model with the sampler that is best at the end: mean ± standard "
    "deviation over seeds, interpolated on logarithmic scales between evaluation points, never "
    "extrapolated. –: outside the evaluated range of most seeds. If not all finished seeds have a "
    "value, their number is in brackets."
)
AHEAD_SENTENCE = "The lowest mean FID is {}."
APART_SENTENCE = (
    "Not in the table, because evaluated only before or after these budgets: {}. Increase "
    "budget.checkpoints to include them."
)
ONCE_SENTENCE = "Left out, because evaluated only once: {}."
FEW_SENTENCE = f"No share for models with fewer than {MIN_SEEDS} seeds: {{}}."
TIME_SENTENCE = (
    "Training until the FID ({extractor}) first falls to the threshold: median over seeds, and in "
    "brackets the number of seeds that reached it. >: not within the budget; ≤: before the first "
    "evaluation point. Failed seeds count as never. The thresholds are the final FIDs of the "
    "median seed of the worst, the median and the best model."
)
BREAK_EVEN_SENTENCE = (
    "The cheapest entry by total cost: training until the median seed reaches the FID "
    "({extractor}), plus generating the samples. Where one row ends and the next begins, both cost "
    "the same. An entry that is cheapest for any number of samples is the cheapest both to train "
    "and to sample from, among those that reach the FID. Seconds per sample are measured at the "
    "fastest batch size."
)
SAMPLING_SENTENCE = (
    "The lowest FID ({extractor}) of each model among its samplers within the cost limit per "
    "sample: mean ± standard deviation over seeds. The sampler was selected by this FID."
)
FRONT_SENTENCE = (
    "Non-dominated entries by means over seeds, with costs rounded to two digits, and the share of "
    "bootstrap resamples of the seeds in which an entry is on the front. Entries off the front are "
    "shown if they are on it in at least 5 % of resamples."
)


def blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Headings, each with the sentences and tables below it.

    There are none for a comparison without a trained and finished entry.
    """
    is_blind = comparison.fid in blind_columns(comparison)
    for heading, *found in _marked_blocks(comparison):
        yield heading, *(_unmarked(each) if is_blind else each for each in found)


def _unmarked(passage: Passage) -> Passage:
    """A table without marks of best values; other passages are unchanged."""
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
    """Tables from learning curves, of entries that were evaluated more than once."""
    followed = [of for of in curves if of.points > 1]
    of_models = best_samplers(followed)
    known = {of.entry.key for of in of_models}
    once = [of.entry for of in best_samplers(curves) if of.entry.key not in known]
    alone = _sentence(ONCE_SENTENCE, comparison, once)
    reading = _named(TRAINING_SENTENCE, comparison)
    for training in TRAININGS:
        table, absent = training_table(comparison, of_models, training)
        if table:
            apart = _sentence(APART_SENTENCE, comparison, absent)
            ahead = [] if comparison.fid in blind_columns(comparison) else _ahead(table)
            yield training.heading, reading, *ahead, *alone, *apart, table
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


def _ahead(table: Table) -> list[str]:
    """A sentence on which entry has the lowest mean at each budget; none where nothing is marked.

    Args:
        table: of `training_table`, with model and sampler in the first two columns.
    """
    ahead = []
    for column, heading in enumerate(table.headings):
        leaders = [f"{row[0].text} ({row[1].text})" for row in table.rows if row[column].best]
        if leaders:
            ahead.append((" and ".join(leaders), heading.removesuffix(" ↓")))
    runs = (
        f"that of {name} {' and '.join(budget for _, budget in group)}"
        for name, group in groupby(ahead, key=lambda found: found[0])
    )
    return [AHEAD_SENTENCE.format(", ".join(runs))] if ahead else []


def _named(text: str, comparison: Comparison) -> str:
    """A sentence completed with the name of the extractor."""
    return text.format(extractor=comparison.extractors[0])


def _sentence(text: str, comparison: Comparison, entries: Sequence[Entry]) -> list[str]:
    """A sentence that lists entries; empty if there are none."""
    names = dict.fromkeys(comparison.label(entry) for entry in entries)
    return [text.format(", ".join(names))] if names else []


def _fronts(
    comparison: Comparison, curves: Sequence[LearningCurves]
) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Pareto fronts of FID against the costs of sampling and of training."""
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
