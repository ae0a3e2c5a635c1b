"""Tables of entries: quality, cost, bias, sampling intervals and held-out scores."""

from collections.abc import Sequence
from dataclasses import replace

from bench.columns import Column
from bench.compare.cells import NOTHING, Cell, Table
from bench.compare.comparison import Comparison, analysis
from bench.compare.topics.blindness import blind_columns
from bench.compare.topics.columns import (
    Measure,
    best_entries,
    best_fid_measure,
    is_shown,
    kept_point_measure,
    measure,
    measures,
    with_values,
)

_RESULT = Column("result", "watch", meaning="Outcome of a run.")
NO_RESULT = Measure("", "result", _RESULT, lambda entry, m: NOTHING)
"""The only measure of a table without values; shows the status of runs."""


def main_table(comparison: Comparison) -> Table:
    """Quality of samples and main costs; runs without a result show their status.

    Modes are left out if the data set has a table of mode coverage.
    """
    extractor = next(iter(comparison.extractors), None)
    hidden = "modes" if counts_modes(comparison) else ""
    shown = [m for m in measures("quality", extractor) if m.column.group != hidden]
    best = [best_fid_measure(extractor)] if extractor else []
    return build(comparison, [*shown, *best], weights=True)


def quality_table(comparison: Comparison, extractor: str) -> Table:
    """Sample quality in the features of one extractor."""
    shown = measures("quality", extractor)
    return build(comparison, [m for m in shown if m.column.per_extractor])


def selected_table(comparison: Comparison) -> Table | None:
    """Quality of weights that were selected by a validation FID; None if there are none.

    Nothing is marked best: other models may not have had this choice.
    """
    if not comparison.best:
        return None
    extractor = next(iter(comparison.extractors), None)
    shown = [replace(m, ranked=False) for m in measures("quality", extractor)]
    selected = replace(comparison, entries=comparison.best)
    return build(selected, [kept_point_measure(), *shown], weights=True)


def cost_table(comparison: Comparison) -> Table:
    """Costs of sampling and training.

    On CPUs memory is only in the CSV: resident memory depends on earlier work of the process.
    """
    hidden = "MiB" if on_cpu(comparison) else None
    return build(comparison, [m for m in measures("cost") if m.column.unit != hidden])


def table_of(comparison: Comparison, shown: Sequence[Measure]) -> Table | None:
    """The table of these measures; None if no entry has a value."""
    return build(comparison, shown) if with_values(comparison, shown) else None


def held_out_table(comparison: Comparison) -> Table | None:
    """Scores on held-out data; None if no model has any.

    Finished models without such scores are left out.
    """
    shown = measures("held-out")
    scored = tuple(
        entry
        for entry in comparison.entries
        if not entry.finished or any(is_shown(entry, m) for m in shown)
    )
    if not any(entry.finished for entry in scored):
        return None
    return build(replace(comparison, entries=scored), shown)


@analysis
def counts_modes(comparison: Comparison) -> bool:
    """Whether mode coverage is measured (beyond the classes of labelled data)."""
    return bool(with_values(comparison, [measure("high_quality"), measure("reverse_kl")]))


def on_cpu(comparison: Comparison) -> bool:
    """Whether all entries ran on a CPU."""
    devices = {entry.protocol.get("device", "") for entry in comparison.entries} - {""}
    return all(device.startswith("cpu") for device in devices)


def best_by_column(
    comparison: Comparison, measures: Sequence[Measure]
) -> dict[str, frozenset[int]]:
    """Indices of the best trained entries by measure; empty for columns with blind spots."""
    blind = blind_columns(comparison)
    return {
        m.name: frozenset() if m.name in blind else best_entries(comparison, m) for m in measures
    }


def build(comparison: Comparison, measures: Sequence[Measure], *, weights: bool = False) -> Table:
    """A table with one row per entry; the best trained value of each column is marked.

    Args:
        comparison: the entries, in order.
        measures: the columns; those without any value are left out.
        weights: whether to show which weights were evaluated.
    """
    labels = ("model", "sampler", "weights", "seeds") if weights else ("model", "sampler", "seeds")
    measures = with_values(comparison, measures) or [NO_RESULT]
    best = best_by_column(comparison, measures)
    rows = []
    for k, entry in enumerate(comparison.entries):
        cells = [Cell(comparison.marked(entry)), Cell(entry.sampler or NOTHING)]
        if weights:
            cells.append(Cell(entry.weights if entry.trained and entry.weights else NOTHING))
        if entry.finished:
            cells.append(Cell(str(len(entry.seeds))))
            cells += [Cell(m.text(entry, m), k in best[m.name]) for m in measures]
        else:
            cells.append(Cell(f"seed {entry.seeds[0]}"))
            cells.append(Cell(entry.status))
            cells += [Cell(NOTHING)] * (len(measures) - 1)
        rows.append(tuple(cells))
    headings = (*labels, *(m.heading for m in measures))
    return Table(headings, tuple(rows), labels=len(labels) - 1)
