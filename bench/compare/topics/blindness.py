"""Blind spots of a comparison: metrics that do not separate known bad samples from real data."""

import math
from collections.abc import Iterable, Mapping
from types import MappingProxyType

from bench.compare.cells import computed
from bench.compare.comparison import Comparison, analysis
from bench.compare.eval_rows import REMEDY
from bench.compare.read import Run
from bench.evaluation.blind_spots import RESTS_ON, BlindSpot, from_text, to_text
from bench.schema import BLIND, Column

BLIND_SENTENCE = (
    "In the features of {extractor}, {metric} does not separate {kinds} from held-out images "
    "({real}): a good value is no evidence of quality here, and none is bold."
)
ERROR_SENTENCE = (
    "The features of {extractor} come from a classifier of the data's own classes, which "
    "misclassifies {error} % of held-out images."
)


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


def error_sentences(comparison: Comparison) -> list[str]:
    """A sentence with the error rate of the domain extractor's classifier, if it is used."""
    errors = [entry.mean["classifier_error"] for entry in comparison.entries if entry.finished]
    known = [error for error in errors if not math.isnan(error)]
    if "domain" not in comparison.extractors or not known:
        return []
    return [ERROR_SENTENCE.format(extractor="domain", error=computed(100 * known[0]))]


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
