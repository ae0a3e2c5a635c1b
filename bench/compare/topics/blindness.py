"""Blind spots of a comparison: metrics that do not separate known bad samples from real data."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bench.columns import Column
from bench.compare.comparison import Comparison, analysis
from bench.compare.eval_rows import REMEDY
from bench.compare.read import Run
from bench.evaluation.blind_spots import RESTS_ON, BlindSpot, from_text, to_text
from bench.evaluation.classifier_error import error_sentence
from bench.schema import BLIND

BLIND_SENTENCE = (
    "In the features of {extractor}, {metric} does not separate {kinds} from held-out images "
    "({real}): a good value is no evidence of quality here, and none is bold."
)
OWN_CLASSIFIER = "domain"
"""The extractor whose features come from a classifier of the data's own classes."""


@analysis
def blind_to(comparison: Comparison, extractor: str) -> Mapping[str, tuple[BlindSpot, ...]]:
    """Known bad samples that each metric of an extractor does not separate from real data.

    Args:
        comparison: the runs.
        extractor: one of its extractors.

    Returns:
        Blind spots by metric, such as "precision" or "fid". Metrics without blind spots are left
        out; the mapping is empty if no run was checked (as in earlier versions).

    Raises:
        ValueError: a recorded text does not describe blind spots.
    """
    found: dict[tuple[str, str], BlindSpot] = {}
    for run in comparison.runs:
        for spot in _recorded(run, extractor):
            found.setdefault((spot.metric, spot.kind), spot)
    metrics = dict.fromkeys(metric for metric, _ in found)
    spots = {m: tuple(s for s in found.values() if s.metric == m) for m in metrics}
    followers = {name: spots[metric] for name, metric in RESTS_ON.items() if metric in spots}
    return MappingProxyType(spots | followers)


@analysis
def blind_text(comparison: Comparison, extractor: str) -> str:
    """The blind spots of an extractor as text of eval.csv; empty if no run was checked."""
    if not any(text for run in comparison.runs for text in _texts(run, extractor)):
        return ""
    by_metric = blind_to(comparison, extractor)
    return to_text([s for m, spots in by_metric.items() if m not in RESTS_ON for s in spots])


@analysis
def blind_columns(comparison: Comparison) -> frozenset[str]:
    """Columns of eval.csv in which no value is marked as best, such as "precision_domain"."""
    return frozenset(
        f"{metric}_{extractor}"
        for extractor in comparison.extractors
        for metric in blind_to(comparison, extractor)
    )


def blind_sentences(comparison: Comparison, extractor: str, columns: Iterable[Column]) -> list[str]:
    """One sentence per column that has blind spots."""
    spots = blind_to(comparison, extractor)
    return [
        BLIND_SENTENCE.format(
            extractor=extractor,
            metric=column.label,
            kinds=_listed([f"{s.kind} ({_number(s.score, column)})" for s in spots[column.name]]),
            real=_number(spots[column.name][0].real, column),
        )
        for column in columns
        if column.name in spots
    ]


def error_sentences(comparison: Comparison, extractor: str) -> list[str]:
    """How often the classifier errs on whose features this extractor's scores rest.

    Empty for other extractors, and if no run recorded it (as in earlier versions).
    """
    error = classifier_error(comparison, extractor)
    sentence = error_sentence(extractor, error, comparison.extractors)
    return [sentence] if sentence else []


def classifier_error(comparison: Comparison, extractor: str) -> float | None:
    """Share of held-out images that the classifier of an extractor misclassifies; None if unknown.

    It depends on data and extractor, on which all entries agree.
    """
    if extractor != OWN_CLASSIFIER or extractor not in comparison.extractors:
        return None
    errors = (e.mean["classifier_error"] for e in comparison.entries if e.finished)
    return next((error for error in errors if not math.isnan(error)), None)


def _recorded(run: Run, extractor: str) -> tuple[BlindSpot, ...]:
    found: tuple[BlindSpot, ...] = ()
    for text in dict.fromkeys(_texts(run, extractor)):
        try:
            found += from_text(text) or ()
        except ValueError as error:
            raise ValueError(
                f"{run.path / 'eval.csv'}: {BLIND}{extractor} is wrong, {error}: "
                f"{REMEDY.format(run.path)}"
            ) from error
    return found


def _texts(run: Run, extractor: str) -> tuple[str, ...]:
    return run.last.texts(f"{BLIND}{extractor}") if len(run.table) else ()


def _number(score: float, column: Column) -> str:
    """A score in the unit of the tables."""
    return f"{score * column.factor:.3g}"


def _listed(words: list[str]) -> str:
    return " and ".join(filter(None, (", ".join(words[:-1]), words[-1])))
