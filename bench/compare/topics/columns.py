"""Measured columns of a table: headings, formatted values, and the best entries."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from bench.columns import Column
from bench.compare.cells import NOTHING, exact, interval, spread
from bench.compare.comparison import BEST_FID, Comparison, Entry
from bench.schema import INTERVAL_METRICS, MEASURED, TIMED, shown_in

ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}

HINDSIGHT = Column(BEST_FID, "quality", meaning="The lowest FID at any evaluation point of a run.")
"""Column of the best FID; never marked as best, because it is selected in hindsight."""


@dataclass(frozen=True)
class Measure:
    """One measured column of a table.

    Attributes:
        name: key in `Entry.mean`, usually a column of eval.csv.
        heading: title with extractor or unit, and an arrow towards better values.
        column: its entry in `bench.schema`.
        text: formats the value of a finished entry; NOTHING if it has none.
        ranked: whether its best value is marked.
    """

    name: str
    heading: str
    column: Column
    text: Callable[[Entry, "Measure"], str]
    ranked: bool = False


def measures(table: str, extractor: str | None = None) -> list[Measure]:
    """The columns of a table, in order.

    Args:
        table: its name in `bench.schema`.
        extractor: whose metrics to show; None for columns that do not depend on an extractor only.
    """
    return [
        measure(column.name, extractor)
        for column in shown_in(table)
        if extractor or not column.per_extractor
    ]


def measure(name: str, extractor: str | None = None) -> Measure:
    """The measure of a column; for the given extractor if there is one column per extractor."""
    column = MEASURED[name]
    heading = _heading(column, extractor) + ARROWS[column.better]
    full = f"{name}_{extractor}" if column.per_extractor else name
    return Measure(full, heading, column, value_text, ranked=column.better != "neither")


def interval_measures(extractor: str) -> list[Measure]:
    """Metrics with their intervals over samples; no value is marked as best."""
    columns = [MEASURED[name] for name in INTERVAL_METRICS]
    return [
        Measure(f"{column.name}_{extractor}", _heading(column, extractor), column, _interval_text)
        for column in columns
    ]


def best_fid_measure(extractor: str) -> Measure:
    """The best FID along the run."""
    heading = f"best FID ({extractor}) in hindsight"
    return Measure(BEST_FID, heading, HINDSIGHT, _best_fid_text)


def kept_point_measure() -> Measure:
    """The evaluation points whose weights were selected, one for each seed."""
    return Measure("kept_point", "points selected", MEASURED["kept_point"], _kept_points_text)


def value_text(entry: Entry, m: Measure) -> str:
    """Mean over seeds and standard deviation of a finished entry."""
    if m.column.training and not entry.trained:
        return NOTHING
    mean, std = entry.mean[m.name] * m.column.factor, entry.std[m.name] * m.column.factor
    if m.column.exact and not std > 0:  # also NaN, for a single seed
        return exact(mean)
    return spread(mean, std)


def is_shown(entry: Entry, m: Measure) -> bool:
    """Whether an entry has a value of this measure."""
    return entry.finished and m.text(entry, m) != NOTHING


def with_values(comparison: Comparison, measures: Sequence[Measure]) -> list[Measure]:
    """The measures for which some entry has a value."""
    return [m for m in measures if any(is_shown(entry, m) for entry in comparison.entries)]


def best_entries(comparison: Comparison, m: Measure) -> frozenset[int]:
    """Indices of the best trained entries, ties included; empty if all are equal.

    Entries with runs whose values cannot be compared, since they did not get their cores, are not
    among them, nor class-conditional ones beside unconditional ones.
    """
    if not m.ranked:
        return frozenset()
    timed = m.column.name not in TIMED
    means = {
        k: entry.mean[m.name]
        for k, entry in enumerate(comparison.entries)
        if entry.finished
        and entry.trained
        and not comparison.is_disturbed(entry, timed=timed)
        and not comparison.is_apart(entry)
    }
    means = {k: mean for k, mean in means.items() if not math.isnan(mean)}
    if len(set(means.values())) < 2:
        return frozenset()
    target = min(means.values()) if m.column.better == "lower" else max(means.values())
    return frozenset(k for k, mean in means.items() if mean == target)


def _heading(column: Column, extractor: str | None) -> str:
    """The title with extractor or unit, such as "KID (domain) ×10³" or "latency (ms)"."""
    if column.names_extractor:
        return f"{column.label} ({extractor}) {column.unit}".rstrip()
    return f"{column.label} ({column.unit})" if column.unit else column.label


def _interval_text(entry: Entry, m: Measure) -> str:
    metric, extractor = m.column.name, m.name.removeprefix(f"{m.column.name}_")
    names = (m.name, f"{metric}_low_{extractor}", f"{metric}_high_{extractor}")
    return interval(*(entry.mean[name] * m.column.factor for name in names))


def _kept_points_text(entry: Entry, m: Measure) -> str:
    """The selected evaluation points, by seed."""
    return ", ".join(f"{point:.0f}" for point in entry.values(m.name).values()) or NOTHING


def _best_fid_text(entry: Entry, m: Measure) -> str:
    """Mean of the seeds' best FIDs, and the evaluation points where they occurred."""
    if not entry.followed or not entry.best_at:
        return NOTHING
    first, last = min(entry.best_at), max(entry.best_at)
    where = f"{first}" if first == last else f"{first}–{last}"
    return f"{value_text(entry, m)} at {where} of {entry.points}"
