"""Reading eval.csv: measurements as one array of numbers, other columns as text; with checks."""

import csv
import io
import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.columns import Range
from bench.runs.directory import EVAL_KEY, class_labels_of_before
from bench.runtime.atomic_files import read_text
from bench.runtime.plain_files import MAX_BYTES, yaml_value
from bench.schema import (
    ADDED,
    BEFORE,
    FORMER,
    column_ranges,
    eval_columns,
    extractor_names,
    is_later,
)

REMEDY = "delete {} and run it again, or name other runs"
"""Advice for a run whose files cannot be used."""

CONDITIONAL_BEFORE = ("models.gan.conditional.ConditionalGAN",)
"""Models that were always class-conditional when eval.csv did not record class labels. Later files
record them, so this list is complete. Other models had the setting `conditional: true`."""

MOST_POINTS = 1e9
"""Upper bound on the number of evaluation points."""


@dataclass(frozen=True, eq=False)
class Layout:
    """The columns of an eval.csv, shared by all files with equal headers.

    Attributes:
        extractors: names of the feature extractors, in column order.
        measured: numeric columns, with their row in `EvalTable.values`.
        texts: all other columns, with their row in `EvalTable.words`.
        ranges: allowed ranges of the measured columns, in order.
        bounds: lower and upper ends of these ranges, (2, measured columns, 1).
    """

    extractors: tuple[str, ...]
    measured: Mapping[str, int]
    texts: Mapping[str, int]
    ranges: tuple[Range, ...]
    bounds: np.ndarray


@dataclass(frozen=True, eq=False)
class EvalTable:
    """The R rows of an eval.csv; a table without rows has no columns.

    Attributes:
        layout: its columns.
        values: measurements, float64, NaN where empty, (measured columns, R).
        words: the other columns as text, (other columns, R).
        impossible: message about the first value outside its column's range; empty if there is
            none.
    """

    layout: Layout
    values: np.ndarray
    words: np.ndarray
    impossible: str = ""

    def __len__(self) -> int:
        return self.values.shape[1]

    def numbers(self, column: str) -> np.ndarray:
        """A measured column, float64, (R,); all NaN if the file has no such column."""
        at = self.layout.measured.get(column)
        return np.full(len(self), np.nan) if at is None else self.values[at]

    def texts(self, column: str) -> tuple[str, ...]:
        """A text column, R values; empty if the file has no such column."""
        at = self.layout.texts.get(column)
        return () if at is None else tuple(self.words[at])

    def take(self, rows: np.ndarray) -> "EvalTable":
        """The table reduced to some of its rows, given as indices or as a boolean mask, (R,)."""
        return replace(self, values=self.values[:, rows], words=self.words[:, rows])

    def split_selected(self) -> tuple["EvalTable", "EvalTable"]:
        """The rows of the trained weights, and those of selected ones (`trainer.keep=best`)."""
        selected = ~np.isnan(self.numbers("kept_point"))
        if not selected.any():
            return self, NO_ROWS
        return self.take(~selected), self.take(selected)


NO_ROWS = EvalTable(
    Layout((), {}, {}, (), np.empty((2, 0, 1))), np.empty((0, 0)), np.empty((0, 0), dtype=object)
)
"""The table of a run without evaluations."""


def read_eval(file: Path) -> EvalTable:
    """Read an eval.csv; NO_ROWS if it holds only a header.

    Raises:
        ValueError: the file is damaged, half-written, no eval.csv, or of an unsupported version.
    """
    header, rows = _parse(file)
    layout, missing = _layout(header)
    if missing or not layout.extractors:
        names = ", ".join(missing[:5] or ("fid_<extractor>",)) + (", …" if len(missing) > 5 else "")
        raise ValueError(
            f"{file} is not an eval.csv of this version: it lacks the columns {names}; "
            f"name other runs, or delete {file.parent} and run it again"
        )
    if not rows:
        return NO_ROWS
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    columns |= {name: ("",) * len(rows) for name in layout.measured if name not in columns}
    values = np.array([_numbers(columns[name], name, file) for name in layout.measured])
    if "class_labels" not in columns:
        columns["class_labels"] = _earlier_class_labels(columns, file)
    for name in layout.texts:
        columns.setdefault(name, (BEFORE.get(name, ""),) * len(rows))
    texts = [list(map(sys.intern, columns[name])) for name in layout.texts]
    words = np.array(texts, dtype=object)
    table = EvalTable(layout, values, words)
    _check_points(table, file)
    impossible = _impossible(table, columns)
    return replace(table, impossible=impossible) if impossible else table


def _impossible(table: EvalTable, columns: Mapping[str, Sequence[str]]) -> str:
    """Message about the first value outside its column's range; empty if there is none.

    Args:
        table: the rows.
        columns: the rows as text, by column: only there an empty value differs from "nan".
    """
    layout = table.layout
    low, high = layout.bounds
    wrong = (table.values < low) | (table.values > high)
    empty = np.isnan(table.values)
    counts = [columns[name].count("") for name in layout.measured]
    for k in np.flatnonzero(empty.sum(axis=1) != counts).tolist():
        texts = columns[tuple(layout.measured)[k]]
        wrong[k] |= empty[k] & np.array([text != "" for text in texts])
    if not wrong.any():
        return ""
    k, row = (int(at) for at in np.argwhere(wrong)[0])
    name, more = tuple(layout.measured)[k], int(wrong.sum()) - 1
    return (
        f"{name} of {table.texts('sampler')[row]} at evaluation point "
        f"{table.numbers('checkpoint')[row]:.0f} is {columns[name][row]}, must be "
        f"{layout.ranges[k]}{f' (and {more} more values are impossible)' if more else ''}"
    )


def _earlier_class_labels(columns: Mapping[str, Sequence[str]], file: Path) -> tuple[str, ...]:
    """Values of class_labels in a file written before the column existed.

    Class labels were uniform then. A sampler was class-conditional if it has a class-conditional
    accuracy or, if no classifier scored the samples, if the run's configuration says so. Without
    that file the value is empty, which matches anything.
    """
    accuracies = columns["conditional_accuracy"]
    if not any(accuracies) and not any(columns["class_kl"]) and _took_classes(file.parent):
        return tuple("uniform" for _ in accuracies)
    return tuple(map(class_labels_of_before, accuracies))


def _took_classes(run: Path) -> bool:
    """Whether the recorded configuration of an earlier version has a class-conditional model."""
    path = run / "config.yaml"
    try:
        config = yaml_value(read_text(path, MAX_BYTES))
    except (OSError, ValueError):  # nothing else here needs the file
        return False
    left: list[object] = [config.get("model") if isinstance(config, dict) else None]
    while left:
        part = left.pop()
        if isinstance(part, dict):
            if part.get("conditional") is True or part.get("_target_") in CONDITIONAL_BEFORE:
                return True
            left += part.values()
        elif isinstance(part, list):
            left += part
    return False


@lru_cache(maxsize=64)
def _layout(header: tuple[str, ...]) -> tuple[Layout, tuple[str, ...]]:
    """The layout of a header, and the required columns that it lacks."""
    extractors = extractor_names(header)
    lacking = [name for name in eval_columns(extractors) if name not in header]
    missing = tuple(name for name in lacking if not is_later(name))
    header = (*header, *(name for name in lacking if name in ADDED))
    ranges = column_ranges(extractors)
    measured = {name: k for k, name in enumerate(ranges)}
    texts = {name: k for k, name in enumerate(n for n in header if n not in measured)}
    bounds = np.array([[[r.low] for r in ranges.values()], [[r.high] for r in ranges.values()]])
    layout = Layout(extractors, measured, texts, tuple(ranges.values()), bounds)
    return layout, missing


def _parse(file: Path) -> tuple[tuple[str, ...], list[list[str]]]:
    """Header and rows as text; every row has the length of the header."""
    remedy = REMEDY.format(file.parent)
    try:
        text = read_text(file)
    except ValueError as error:
        raise ValueError(f"{error}, or name other runs") from error
    try:
        if not text.strip():
            raise ValueError(f"{file} is empty: {remedy}")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header, rows = _present_names(tuple(next(reader))), []
        for row in reader:
            if len(row) != len(header):
                raise ValueError(
                    f"{file} is half-written: line {reader.line_num} has {len(row)} of "
                    f"{len(header)} values; {remedy}"
                )
            rows.append(row)
    except csv.Error as error:
        raise ValueError(f"{file} cannot be read as CSV ({error}): {remedy}") from error
    if not text.endswith("\n"):
        raise ValueError(f"{file} is half-written: its last line does not end; {remedy}")
    if set(EVAL_KEY).isdisjoint(header):
        raise ValueError(f"{file} has no header, its first line names no columns: {remedy}")
    if len(set(header)) < len(header):
        raise ValueError(f"{file} has two columns of the same name: {remedy}")
    return header, rows


@lru_cache(maxsize=64)
def _present_names(header: tuple[str, ...]) -> tuple[str, ...]:
    """A header with earlier column names replaced by the current ones."""
    return tuple(FORMER.get(name, name) for name in header)


def _check_points(table: EvalTable, file: Path) -> None:
    """Check that every row has a valid evaluation point and that no row occurs twice."""
    points, ends = table.numbers("checkpoint"), table.numbers("checkpoints")
    if np.isnan([points, ends]).any():
        raise ValueError(f"{file} has a row without checkpoint: {REMEDY.format(file.parent)}")
    for point, end in zip(points.tolist(), ends.tolist(), strict=True):
        if not (1 <= point <= end < MOST_POINTS and point.is_integer() and end.is_integer()):
            raise ValueError(
                f"{file} has a row of checkpoint {point:g} of {end:g}, which is impossible: "
                f"{REMEDY.format(file.parent)}"
            )
    checkpoint, *names = EVAL_KEY
    seen = set()
    for key in zip(table.numbers(checkpoint).tolist(), *map(table.texts, names), strict=True):
        if key in seen:
            raise ValueError(
                f"{file} has two rows of checkpoint {key[0]:.0f}, sampler {key[1]}: "
                f"{REMEDY.format(file.parent)}"
            )
        seen.add(key)


def _numbers(texts: Sequence[str], column: str, file: Path) -> list[float]:
    try:
        return [float(text) if text else math.nan for text in texts]
    except ValueError as error:
        raise ValueError(
            f"{file}: a value of {column} is no number ({error}): {REMEDY.format(file.parent)}"
        ) from error
