"""Statistics → tables of text: which columns stand in which table."""

from collections.abc import Sequence
from dataclasses import replace

from bench.compare.cells import NOTHING, Cell, Table
from bench.compare.comparison import Comparison, analysis
from bench.compare.topics.blindness import blind_columns
from bench.compare.topics.columns import (
    Measure,
    best_entries,
    best_fid_measure,
    is_shown,
    measure,
    measures,
    with_values,
)
from bench.schema import Column

_RESULT = Column("result", "watch", meaning="What a run came to.")
NO_RESULT = Measure("", "result", _RESULT, lambda entry, m: NOTHING)
"""Stands where nothing was measured, so that a run can say there that it failed."""


def main_table(comparison: Comparison) -> Table:
    """How good the samples are and what they cost; a run without result says so instead.

    A data set with a protocol for modes has a table of its own for them.
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


def cost_table(comparison: Comparison) -> Table:
    """What drawing one sample and training cost.

    Memory is left to the CSV on CPUs: how far a process's resident memory rises depends on what ran
    in it before.
    """
    hidden = "MiB" if on_cpu(comparison) else None
    return build(comparison, [m for m in measures("cost") if m.column.unit != hidden])


def table_of(comparison: Comparison, shown: Sequence[Measure]) -> Table | None:
    """Lay entries out; None where nothing was measured."""
    return build(comparison, shown) if with_values(comparison, shown) else None


def held_out_table(comparison: Comparison) -> Table | None:
    """What models say about held-out data; None where none says anything.

    Models that only draw are left out; of runs without result it is not known.
    """
    shown = measures("held-out")
    speaking = tuple(
        entry
        for entry in comparison.entries
        if not entry.finished or any(is_shown(entry, m) for m in shown)
    )
    if not any(entry.finished for entry in speaking):
        return None
    return build(replace(comparison, entries=speaking), shown)


@analysis
def counts_modes(comparison: Comparison) -> bool:
    """Whether the data set has a protocol for modes, beyond the classes of labelled data."""
    return bool(with_values(comparison, [measure("high_quality"), measure("reverse_kl")]))


def on_cpu(comparison: Comparison) -> bool:
    """Whether nothing ran on an accelerator, whose allocator counts memory exactly."""
    devices = {entry.protocol.get("device", "") for entry in comparison.entries} - {""}
    return all(device.startswith("cpu") for device in devices)


def best_by_column(
    comparison: Comparison, measures: Sequence[Measure]
) -> dict[str, frozenset[int]]:
    """Positions of the best trained entries; none in columns that do not tell bad from real."""
    blind = blind_columns(comparison)
    return {
        m.name: frozenset() if m.name in blind else best_entries(comparison.entries, m)
        for m in measures
    }


def build(comparison: Comparison, measures: Sequence[Measure], *, weights: bool = False) -> Table:
    """Lay entries out, labels first, the best trained value of each column marked.

    Args:
        comparison: the entries, in order.
        measures: the measured columns; those without any value are left out.
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
