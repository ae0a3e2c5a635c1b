"""Quality at equal training budgets, and training budget to equal quality."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median_high

import numpy as np

from bench.compare.cells import NOTHING, Cell, Table, exact, spread
from bench.compare.comparison import Comparison, Entry
from bench.compare.topics.curves import Axis, Crossing, LearningCurves, at, median

SHARES = (0.25, 0.5, 1.0)
"""Shares of the largest budget that all models reach, at which they are compared."""

FARTHER = 1.25
"""The largest budget that two models reach gets a column if larger than others by this factor."""

OVERSHOOT = 1.05
"""A share of the budget may be moved up to this factor to the first point that all models have: a
run that ended at half of it and went on has its point after the last step of the first half."""

MAX_BUDGETS = 6
"""Maximum number of columns of a table at equal training."""


@dataclass(frozen=True)
class Training:
    """A unit of the training budget.

    Attributes:
        axis: column of eval.csv.
        heading: heading of its table.
        unit: unit in tables.
        size: one such unit, in the unit of the axis.
    """

    axis: Axis
    heading: str
    unit: str
    size: float


TRAININGS = (
    Training("train_seconds", "Equal training time", "s", 1.0),
    Training("train_flops", "Equal training operations", "TFLOP", 1e12),
    Training("images", "Equal samples seen", "samples", 1.0),
)


def best_samplers(curves: Sequence[LearningCurves]) -> list[LearningCurves]:
    """For each model and variant, the curves of the sampler with the lowest final FID."""
    best: dict[tuple[str, str], LearningCurves] = {}
    for of in curves:
        key = of.entry.key
        if key not in best or final_fid(of) < final_fid(best[key]):
            best[key] = of
    return list(best.values())


def final_fid(of: LearningCurves) -> float:
    """Mean FID over seeds at the last evaluation point; infinite if not measured."""
    fid = float(np.mean(of.final))
    return fid if math.isfinite(fid) else math.inf


def budgets(curves: Sequence[LearningCurves], axis: Axis) -> list[float]:
    """Budgets at which models are compared, ascending; at least two models have a value at each.

    These are `SHARES` of the largest budget that all models reach, up to `OVERSHOOT`; then, while
    some model has no value yet, the final budget that adds most models; and the largest budget that
    two models reach.
    """
    spans = [span for of in curves if (span := _span(of, axis))]
    ends = sorted(end for _, end in spans)
    if len(ends) < 2:
        return []

    def covered(x: float) -> set[int]:
        return {k for k, (start, end) in enumerate(spans) if start <= x <= end}

    first = max(start for start, _ in spans)
    wanted = [share * ends[0] for share in SHARES]
    wanted = [first if x < first <= min(OVERSHOOT * x, ends[0]) else x for x in wanted]
    found = [x for x in wanted if len(covered(x)) > 1]
    seen = set().union(*map(covered, found))
    while len(found) < MAX_BUDGETS - 1:
        gain, x = max((len(covered(x) - seen) * (len(covered(x)) > 1), x) for x in ends)
        if not gain:
            break
        found.append(x)
        seen |= covered(x)
    if len(covered(ends[-2])) > 1 and ends[-2] > FARTHER * max(found):
        found.append(ends[-2])
    return sorted(found)


def _span(of: LearningCurves, axis: Axis) -> tuple[float, float] | None:
    """The range in which every seed has a value; None if some seed has no point."""
    curves = of.along(axis)
    if not all(len(curve.x) for curve in curves):
        return None
    return max(float(c.x[0]) for c in curves), min(float(c.x[-1]) for c in curves)


def training_table(
    comparison: Comparison, curves: Sequence[LearningCurves], training: Training
) -> tuple[Table | None, list[Entry]]:
    """The FID of every entry at equal budgets.

    Args:
        comparison: names the entries.
        curves: learning curves, one per row.
        training: the budget that is equal.

    Returns:
        The table, or None if no two entries share a budget; and the entries without a value at any
        of its budgets, which are not in the table.
    """
    columns = budgets(curves, training.axis)
    values = [[[at(c, x) for c in of.along(training.axis)] for x in columns] for of in curves]
    known = [[[v for v in cell if not math.isnan(v)] for cell in row] for row in values]
    for row, of in zip(known, curves, strict=True):  # at most half of the seeds: no value
        row[:] = [cell if 2 * len(cell) > len(of.entry.seeds) else [] for cell in row]
    shown = [k for k, row in enumerate(known) if any(row)]
    absent = [of.entry for k, of in enumerate(curves) if k not in shown]
    if not shown:
        return None, absent
    headings = [f"at {exact(x / training.size)} {training.unit} ↓" for x in columns]
    totals = [len(curves[k].entry.seeds) for k in shown]
    cells = [marked([known[k][column] for k in shown], totals) for column in range(len(columns))]
    return _laid_out(comparison, [curves[k].entry for k in shown], headings, cells), absent


def marked(column: Sequence[Sequence[float]], totals: Sequence[int]) -> list[Cell]:
    """Cells with mean ± standard deviation; the lowest mean of complete rows is marked as best.

    Args:
        column: the values of each row; may be empty.
        totals: number of seeds of each row; a row is complete if all have a value.
    """
    means = [float(np.mean(values)) if values else math.nan for values in column]
    whole = {m for m, values, n in zip(means, column, totals, strict=True) if len(values) == n > 0}
    cells = []
    for values, mean, total in zip(column, means, totals, strict=True):
        text = NOTHING
        if values:
            text = spread(mean, float(np.std(values, ddof=1)) if len(values) > 1 else math.nan)
            text += f" ({len(values)} of {total})" if len(values) < total else ""
        best = len(values) == total and len(whole) > 1 and mean == min(whole)
        cells.append(Cell(text, best))
    return cells


def thresholds(curves: Sequence[LearningCurves]) -> list[float]:
    """Final FIDs of the median seed of the worst, the median and the best model, descending.

    They are rounded up to three digits. For an even number of seeds or models the higher median is
    used, so that each threshold is reached by most seeds of some model.
    """
    finals = [of.final for of in curves]
    medians = [median_high(fids) for fids in finals if all(map(math.isfinite, fids))]
    finals = [fid for fid in medians if fid > 0]
    if not finals:
        return []
    chosen = (max(finals), median_high(finals), min(finals))
    return sorted({rounded_up(fid) for fid in chosen}, reverse=True)


def rounded_up(value: float, digits: int = 3) -> float:
    """Round a positive value up to `digits` significant digits."""
    places = digits - 1 - math.floor(math.log10(value))
    nearest = round(value, places)
    return nearest if nearest >= value else round(nearest + 10.0**-places, places)


def time_table(
    comparison: Comparison,
    curves: Sequence[LearningCurves],
    training: Training,
    fids: Sequence[float],
) -> Table:
    """Training budget of every entry until its FID first fell to each threshold.

    Args:
        comparison: names the entries.
        curves: learning curves, one per row.
        training: unit of the budget.
        fids: the thresholds.
    """
    columns = [[of.crossings(training.axis, fid) for of in curves] for fid in fids]
    headings = [f"{training.unit} until FID ≤ {exact(fid)}" for fid in fids]
    cells = [_time_cells(column, training.size) for column in columns]
    return _laid_out(comparison, [of.entry for of in curves], headings, cells)


def _time_cells(column: Sequence[Sequence[Crossing]], size: float) -> list[Cell]:
    """Cells with the median crossing of each row; marked as best if no other can be earlier.

    Args:
        column: crossings of the seeds of each row.
        size: unit of the text, in the unit of the axis.
    """
    medians = [median(crossings) for crossings in column]
    cells = []
    for k, (when, crossings) in enumerate(zip(medians, column, strict=True)):
        others = [other for j, other in enumerate(medians) if j != k]
        first = when.reached and all(when.high <= other.low for other in others)
        beaten = first and any(other != when for other in others)
        count = sum(c.reached for c in crossings)
        cells.append(Cell(f"{when_text(when, size)} ({count} of {len(crossings)})", beaten))
    return cells


def when_text(when: Crossing, size: float = 1.0) -> str:
    """Text of a crossing: a number, a bound, a range, or "never"."""
    if when.low == when.high and not when.reached:
        return "never"
    low, high = (exact(end / size) for end in (when.low, when.high))
    if when.low == when.high:
        return low
    if not when.reached:
        return f"> {low}"
    return f"≤ {high}" if when.low == 0 else f"{low}–{high}"


def _laid_out(
    comparison: Comparison,
    entries: Sequence[Entry],
    headings: Sequence[str],
    columns: Sequence[Sequence[Cell]],
) -> Table:
    """A table of these columns, with the names of their entries in front."""
    names = [(Cell(comparison.label(e)), Cell(e.sampler), Cell(str(len(e.seeds)))) for e in entries]
    rows = tuple(
        (*name, *cells) for name, cells in zip(names, zip(*columns, strict=True), strict=True)
    )
    return Table(("model", "sampler", "seeds", *headings), rows, labels=2)
