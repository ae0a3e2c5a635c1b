"""The measured columns of a table: headings, what a value looks like, and which one is best."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from bench.compare.cells import NOTHING, exact, interval, spread
from bench.compare.comparison import Comparison, Entry
from bench.compare.read import BEST_FID
from bench.schema import COLUMNS, Column

SCALES = {
    "kid": 1e3,
    "high_quality": 100.0,
    "accuracy": 100.0,
    "accuracy_supervised": 100.0,
    "class_agreement": 100.0,
}
"""Factors between eval.csv and the tables, by metric; title or unit name them."""

NAMES_EXTRACTOR = frozenset({"fid", "kid", "is", "fid_infinity", "mifid"})
"""Metrics that mean little without the extractor: their headings name it."""

TRAINING_COLUMNS = (
    "parameters",
    "train_seconds",
    "images",
    "train_images_per_second",
    "train_gflops_per_image",
    "train_memory_mib",
)
"""Columns that say nothing of a model that is not trained."""

WITHOUT_SPREAD = frozenset({"nfe", "gflops_per_sample", "parameters", "train_gflops_per_image"})
"""Columns that are a property of the model: shown without ± unless the seeds differ."""

ARROWS = {"lower": " ↓", "higher": " ↑", "neither": ""}


@dataclass(frozen=True)
class Measure:
    """One measured column of a table.

    Attributes:
        name: its column in eval.csv, or in the rows of a `bench.compare.read.Run`.
        heading: its title with extractor or unit and the arrow.
        column: direction and unit.
        text: shows the value of a finished entry; NOTHING where there is none.
        scale: factor between eval.csv and the table.
    """

    name: str
    heading: str
    column: Column
    text: Callable[[Entry, "Measure"], str]
    scale: float = 1.0


def quality_measure(metric: str, extractor: str) -> Measure:
    """A metric as this extractor sees it."""
    column = COLUMNS[metric]
    brackets = extractor if metric in NAMES_EXTRACTOR else column.unit
    heading = _heading(column, brackets) + ARROWS[column.better]
    return Measure(f"{metric}_{extractor}", heading, column, value_text, SCALES.get(metric, 1.0))


def interval_measure(metric: str, extractor: str) -> Measure:
    """A metric beside its interval over samples; nothing is best about it."""
    column = Column(COLUMNS[metric].title, "neither")
    ends = (f"{metric}_low_{extractor}", f"{metric}_high_{extractor}")
    text = partial(_interval_text, ends=ends)
    heading = _heading(column, extractor if metric in NAMES_EXTRACTOR else "")
    return Measure(f"{metric}_{extractor}", heading, column, text, SCALES.get(metric, 1.0))


def best_fid_measure(extractor: str) -> Measure:
    """The best FID along the run: never marked, since hindsight picked it."""
    heading = f"best FID ({extractor}) in hindsight"
    return Measure(BEST_FID, heading, Column("best FID along the run", "neither"), _best_fid_text)


def measure(name: str) -> Measure:
    """A column that no extractor enters."""
    column = COLUMNS[name]
    heading = _heading(column, column.unit) + ARROWS[column.better]
    return Measure(name, heading, column, value_text, SCALES.get(name, 1.0))


def value_text(entry: Entry, m: Measure) -> str:
    """One measured value of a finished entry: the mean over seeds and its spread."""
    if m.name in TRAINING_COLUMNS and not entry.trained:
        return NOTHING
    mean, std = entry.mean[m.name] * m.scale, entry.std[m.name] * m.scale
    if m.name in WITHOUT_SPREAD and not std > 0:  # NaN, the spread of one seed, included
        return exact(mean)
    return spread(mean, std)


def is_shown(entry: Entry, m: Measure) -> bool:
    """Whether an entry has this value."""
    return entry.finished and m.text(entry, m) != NOTHING


def with_values(comparison: Comparison, measures: Sequence[Measure]) -> list[Measure]:
    """The measures that some entry has a value of."""
    return [m for m in measures if any(is_shown(entry, m) for entry in comparison.entries)]


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


def _heading(column: Column, brackets: str) -> str:
    """The title with extractor or unit in brackets, before a factor as in "KID ×10³"."""
    title, factor = column.title.removesuffix(" ×10³"), " ×10³" * column.title.endswith(" ×10³")
    return f"{title} ({brackets}){factor}" if brackets else column.title


def _interval_text(entry: Entry, m: Measure, *, ends: tuple[str, str]) -> str:
    return interval(*(entry.mean[name] * m.scale for name in (m.name, *ends)))


def _best_fid_text(entry: Entry, m: Measure) -> str:
    """The mean of the seeds' best, and at which evaluation points they were."""
    course = entry.course
    if course is None or course.points < 2 or not course.best_at:
        return NOTHING
    first, last = min(course.best_at), max(course.best_at)
    where = f"{first}" if first == last else f"{first}–{last}"
    return f"{value_text(entry, m)} at {where} of {course.points}"
