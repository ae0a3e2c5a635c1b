"""The table of mode coverage: measured, of a perfect sampler, and published."""

import csv
import math
from pathlib import Path

from bench.compare.cells import NOTHING, Cell, Table, computed
from bench.compare.comparison import Comparison
from bench.compare.topics.columns import measures, with_values
from bench.compare.topics.quality import build
from bench.schema import shown_in

PUBLISHED = Path(__file__).with_name("published.csv")
"""Published figures by data set and number of samples; high quality in percent, KL in nats."""

PUBLISHED_COLUMNS = {
    "modes": "published: modes",
    "high_quality": "published: high quality (%)",
    "reverse_kl": "published: reverse KL (nats)",
}
"""Headings of published figures, by column of published.csv."""

PERFECT_LABEL = "perfect sampler (computed)"


def mode_table(comparison: Comparison) -> Table:
    """Modes, high quality and reverse KL: measured, of a perfect sampler, and published."""
    table = build(comparison, measures("modes"))
    rows, blank = list(table.rows), Cell(NOTHING)
    perfect = perfect_scores(comparison)
    if perfect:
        shown = with_values(comparison, measures("modes"))
        values = [Cell(perfect.get(m.name, NOTHING)) for m in shown]
        rows.append((Cell(PERFECT_LABEL), blank, blank, *values))
    figures = published(comparison)
    names = [name for name in PUBLISHED_COLUMNS if any(figure[name] for figure in figures)]
    rows = [(*row, *[blank] * len(names)) for row in rows]
    for figure in figures:
        cells = [Cell(figure[name] or NOTHING) for name in names]
        measured = [blank] * (len(table.headings) - 1)
        rows.append((Cell(f"{figure['system']} ({figure['source']})"), *measured, *cells))
    headings = (*table.headings, *(PUBLISHED_COLUMNS[name] for name in names))
    return Table(headings, tuple(rows), table.labels)


def mode_sentences(comparison: Comparison) -> list[str]:
    """How to read the table of modes."""
    perfect = perfect_scores(comparison)
    sentences = []
    if "high_quality" in perfect:
        sentences.append(
            f"High quality above the perfect sampler's {perfect['high_quality']} % means too "
            "little variance, not a better model."
        )
    error = _computed_mean(comparison, "classifier_error")
    if not math.isnan(error):
        sentences.append(
            f"The classifier that counts modes misclassifies {computed(100 * error)} % of held-out "
            "samples."
        )
    if published(comparison):
        sentences.append(
            "Published figures come from other networks and budgets, and for images from another "
            "classifier. They are context and are not ranked."
        )
    return sentences


def perfect_scores(comparison: Comparison) -> dict[str, str]:
    """Formatted scores of a perfect sampler, by column, in the table's units."""
    means = {c: _computed_mean(comparison, f"{c.name}_perfect") for c in shown_in("modes")}
    return {
        column.name: computed(mean * column.factor)
        for column, mean in means.items()
        if not math.isnan(mean)
    }


def published(comparison: Comparison) -> list[dict[str, str]]:
    """Published figures for this data set and number of samples, in the order of the file."""
    counts = {entry.protocol["samples"] for entry in comparison.entries if entry.finished}
    with PUBLISHED.open(encoding="utf-8", newline="") as file:
        figures = [row for row in csv.DictReader(file) if row["dataset"] == comparison.dataset]
    return [figure for figure in figures if figure["samples"] in counts]


def _computed_mean(comparison: Comparison, column: str) -> float:
    """A value that depends on data and protocol only; NaN if no entry has it."""
    means = (entry.mean.get(column, math.nan) for entry in comparison.entries if entry.finished)
    return next((mean for mean in means if not math.isnan(mean)), math.nan)
