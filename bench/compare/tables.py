"""Statistics → tables of text: which columns, which digits, which value is best."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.notation import NOTHING, exact, spread
from bench.compare.statistics import Comparison, Entry
from bench.protocol import COLUMNS, Column

QUALITY_METRICS = ("fid", "kid", "is", "precision", "recall")
"""Metrics shown once per extractor."""

NAMES_EXTRACTOR = frozenset({"fid", "kid", "is"})
"""Metrics whose heading always names the extractor; the others do when there are several."""

AFTER_QUALITY = ("modes", "class_kl", "nfe", "latency_ms", "train_seconds")
"""The rest of the quality table: what the scores were bought with."""

COST_COLUMNS = (
    "nfe",
    "latency_ms",
    "images_per_second",
    "gflops_per_sample",
    "sampling_memory_mib",
    "parameters",
    "train_seconds",
    "images",
    "train_images_per_second",
    "train_gflops_per_image",
    "train_memory_mib",
)

MEMORY_COLUMNS = frozenset({"sampling_memory_mib", "train_memory_mib"})
"""Columns left to the CSV on CPUs: how far a process's resident memory rises depends on what ran in
it before."""

TRAINING_COLUMNS = frozenset(
    {
        "parameters",
        "train_seconds",
        "images",
        "train_images_per_second",
        "train_gflops_per_image",
        "train_memory_mib",
    }
)
"""Columns that say nothing of a model that is not trained."""

WITHOUT_SPREAD = frozenset({"nfe", "gflops_per_sample", "parameters", "train_gflops_per_image"})
"""Columns that are a property of the model: shown without ± unless the seeds differ."""

ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}

MIN_SEEDS = 3
"""Seeds below which a spread says little."""


@dataclass(frozen=True)
class Cell:
    """Text of one value, and whether it is the best of its column."""

    text: str
    best: bool = False


@dataclass(frozen=True)
class Table:
    """Headings and cells; the first `labels` columns are text, the others numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int


@dataclass(frozen=True)
class Measure:
    """One measured column of a table.

    Attributes:
        name: its column in eval.csv.
        heading: its title with extractor or unit and the arrow.
        column: direction and unit.
        scale: factor between eval.csv and the table.
    """

    name: str
    heading: str
    column: Column
    scale: float = 1.0


def quality_table(comparison: Comparison) -> Table:
    """How good the samples are; a run without result says so in the place of its first score."""
    several = len(comparison.extractors) > 1
    measures = [
        quality_measure(metric, extractor, name_extractor=several or metric in NAMES_EXTRACTOR)
        for extractor in comparison.extractors
        for metric in QUALITY_METRICS
    ]
    return build(comparison, [*measures, *map(measure, AFTER_QUALITY)], weights=True)


def cost_table(comparison: Comparison) -> Table:
    """What drawing one sample and training cost."""
    hidden = MEMORY_COLUMNS if on_cpu(comparison) else frozenset()
    columns = [name for name in COST_COLUMNS if name not in hidden]
    return build(comparison, list(map(measure, columns)), weights=False)


def on_cpu(comparison: Comparison) -> bool:
    """Whether nothing ran on an accelerator, whose allocator counts memory exactly."""
    devices = {entry.protocol.get("device", "") for entry in comparison.entries} - {""}
    return all(device.startswith("cpu") for device in devices)


def quality_measure(metric: str, extractor: str, *, name_extractor: bool) -> Measure:
    """A metric as this extractor sees it."""
    column = COLUMNS[metric]
    title, _, factor = column.title.partition(" ")
    words = (title, f"({extractor})" if name_extractor else "", factor)
    heading = " ".join(word for word in words if word) + ARROWS[column.better]
    return Measure(f"{metric}_{extractor}", heading, column, 1e3 if factor == "×10³" else 1.0)


def measure(name: str) -> Measure:
    """A column that no extractor enters."""
    column = COLUMNS[name]
    unit = f" ({column.unit})" if column.unit else ""
    return Measure(name, f"{column.title}{unit}{ARROWS[column.better]}", column)


def build(comparison: Comparison, measures: Sequence[Measure], *, weights: bool) -> Table:
    """Lay entries out, labels first, the best trained value of each column marked.

    Args:
        comparison: the entries, in order.
        measures: the measured columns.
        weights: whether to show which weights were drawn from.
    """
    labels = ("model", "sampler", "weights", "seeds") if weights else ("model", "sampler", "seeds")
    best = {m.name: best_entries(comparison.entries, m) for m in measures}
    rows = []
    for k, entry in enumerate(comparison.entries):
        cells = [Cell(comparison.label(entry)), Cell(entry.sampler or NOTHING)]
        if weights:
            cells.append(Cell(entry.weights if entry.trained and entry.weights else NOTHING))
        if entry.finished:
            cells.append(Cell(str(len(entry.seeds))))
            cells += [Cell(value_text(entry, m), k in best[m.name]) for m in measures]
        else:
            cells.append(Cell(f"seed {entry.seeds[0]}"))
            cells.append(Cell(entry.status))
            cells += [Cell(NOTHING)] * (len(measures) - 1)
        rows.append(tuple(cells))
    headings = (*labels, *(m.heading for m in measures))
    return Table(headings, tuple(rows), labels=len(labels) - 1)


def value_text(entry: Entry, m: Measure) -> str:
    """One measured value of a finished entry."""
    if m.name in TRAINING_COLUMNS and not entry.trained:
        return NOTHING
    mean, std = entry.mean[m.name] * m.scale, entry.std[m.name] * m.scale
    if m.name in WITHOUT_SPREAD and not std > 0:  # NaN, the spread of one seed, included
        return exact(mean)
    return spread(mean, std)


def best_entries(entries: Sequence[Entry], m: Measure) -> frozenset[int]:
    """Positions of the best trained entries, ties included; none where nothing is beaten."""
    if m.column.better == "neither":
        return frozenset()
    means = {k: e.mean[m.name] for k, e in enumerate(entries) if e.finished and e.trained}
    means = {k: mean for k, mean in means.items() if not math.isnan(mean)}
    if len(set(means.values())) < 2:
        return frozenset()
    target = min(means.values()) if m.column.better == "lower" else max(means.values())
    return frozenset(k for k, mean in means.items() if mean == target)


def notes(comparison: Comparison) -> list[str]:
    """What a reader has to know about a table: variants, few seeds, failed and unfinished runs."""
    few = [e for e in comparison.entries if e.finished and e.trained and len(e.seeds) < MIN_SEEDS]
    names = ", ".join(dict.fromkeys(comparison.label(entry) for entry in few))
    found = [f"Variant {name} is {what}." for name, what in comparison.variants.items()]
    if few:
        found.append(f"Fewer than {MIN_SEEDS} seeds for {names}: the spread says little.")
    if on_cpu(comparison):
        found.append(
            "Peak memory is in the CSV only: on a CPU it depends on what the process did before."
        )
    for entry in comparison.entries:
        run = f"{comparison.label(entry)} seed {entry.seeds[0]}"
        if entry.status == "failed":
            found.append(f"{run} failed and has no result: {entry.reason}.")
        elif entry.status == "unfinished":
            found.append(
                f"{run} is unfinished ({entry.reason}) and left out of every mean; "
                "its command resumes it."
            )
    return found
