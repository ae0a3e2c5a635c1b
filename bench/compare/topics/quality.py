"""Statistics → tables of text: which columns stand in which table."""

from collections.abc import Sequence
from dataclasses import replace

from bench.compare.blindness import blind_columns
from bench.compare.cells import NOTHING, Cell, Table
from bench.compare.comparison import Comparison
from bench.compare.topics.columns import (
    TRAINING_COLUMNS,
    Measure,
    best_entries,
    best_fid_measure,
    interval_measure,
    is_shown,
    measure,
    quality_measure,
    with_values,
)
from bench.schema import HELD_OUT, INTERVAL_METRICS, Column

QUALITY_METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
"""Metrics of the quality table, for one extractor."""

BIAS_METRICS = ("fid_infinity", "mifid", "authpct", "nn_ratio", "duplicates")
"""Metrics of the table of bias and memorisation, for one extractor."""

CLASS_COLUMNS = ("modes", "class_kl", "class_agreement")
"""Classes hit, as asked for where they can be; a data set with a protocol for modes has a table of
its own for them."""

MODE_COLUMNS = ("modes", "high_quality", "reverse_kl")
"""Measured columns of the table of modes."""

AFTER_QUALITY = ("nfe", "latency_ms", "train_seconds")
"""The rest of the quality table: what the scores were bought with."""

COST_COLUMNS = (
    "nfe",
    "latency_ms",
    "images_per_second",
    "gflops_per_sample",
    "sampling_memory_mib",
    *TRAINING_COLUMNS,
)

MEMORY_COLUMNS = frozenset({"sampling_memory_mib", "train_memory_mib"})
"""Columns left to the CSV on CPUs: how far a process's resident memory rises depends on what ran in
it before."""

NO_RESULT = Measure("", "result", Column("result", "neither"), lambda entry, m: NOTHING)
"""Stands where nothing was measured, so that a run can say there that it failed."""


def main_table(comparison: Comparison) -> Table:
    """How good the samples are and what they cost; a run without result says so instead."""
    first = comparison.extractors[:1]
    measures = [
        *(quality_measure(metric, extractor) for extractor in first for metric in QUALITY_METRICS),
        *(measure(name) for name in CLASS_COLUMNS if not counts_modes(comparison)),
        *map(measure, AFTER_QUALITY),
        *map(best_fid_measure, first),
    ]
    return build(comparison, measures, weights=True)


def quality_table(comparison: Comparison, extractor: str) -> Table:
    """How good the samples are in the eyes of one extractor."""
    return build(comparison, [quality_measure(metric, extractor) for metric in QUALITY_METRICS])


def cost_table(comparison: Comparison) -> Table:
    """What drawing one sample and training cost."""
    hidden = MEMORY_COLUMNS if on_cpu(comparison) else frozenset()
    return build(comparison, [measure(name) for name in COST_COLUMNS if name not in hidden])


def bias_table(comparison: Comparison, extractor: str) -> Table | None:
    """FID without its bias and signs of copying; None where nothing was measured."""
    measures = [quality_measure(metric, extractor) for metric in BIAS_METRICS]
    return build(comparison, measures) if with_values(comparison, measures) else None


def interval_table(comparison: Comparison, extractor: str) -> Table | None:
    """Metrics with their intervals over samples; None where there are none."""
    measures = [interval_measure(metric, extractor) for metric in INTERVAL_METRICS]
    return build(comparison, measures) if with_values(comparison, measures) else None


def held_out_table(comparison: Comparison) -> Table | None:
    """What models say about held-out data; None where none says anything.

    Models that only draw are left out; of runs without result it is not known.
    """
    measures = [measure(name) for name in HELD_OUT]
    speaking = tuple(
        entry
        for entry in comparison.entries
        if not entry.finished or any(is_shown(entry, m) for m in measures)
    )
    if not any(entry.finished for entry in speaking):
        return None
    return build(replace(comparison, entries=speaking), measures)


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
        weights: whether to show which weights were drawn from.
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
