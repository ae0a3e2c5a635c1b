"""Measured numbers → text with as many digits as their spread supports."""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: as readers see it.
        best: whether it is the best of its column.
        key: what to sort it by; None where its text begins with the number.
    """

    text: str
    best: bool = False
    key: float | None = None


@dataclass(frozen=True)
class Table:
    """Headings and cells; the first `labels` columns are text, the others numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    labels: int


Passage = Table | str
"""A table, or a sentence beside it."""


NOTHING = "–"
"""Shown where there is no value: not measured, not applicable, or no spread with one seed."""

SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
"""Steps of numbers too large to be written out."""

PREFIXES = ("", "k", "M", "G", "T", "P", "E")
"""Of units, in steps of a thousand."""

LARGE = 1e4
"""From here on numbers are scaled."""

DIGITS = 3
"""Significant digits of a number whose spread is unknown or zero."""

MAX_DIGITS = 4
"""Most significant digits of a mean: two nearly equal seeds do not make a precise measurement."""

MAX_DECIMALS = 4
"""Most decimal places of a mean."""


def decimals(value: float, digits: int) -> int:
    """Decimal places that show a number to so many significant digits; never negative."""
    if value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def exact(value: float) -> str:
    """Show a number that has no spread: a small count in full, anything else to `DIGITS` digits."""
    if not math.isfinite(value):
        return _not_finite(value)
    if abs(value) < LARGE and value == int(value):
        return str(int(value))
    if abs(value) < 1e-3:
        return f"{value:.{DIGITS}g}"
    scale, suffix = _scale(value)
    return f"{value / scale:.{decimals(value / scale, DIGITS)}f}{suffix}"


def spread(mean: float, std: float) -> str:
    """Show mean ± standard deviation: two digits of the deviation, the mean to the same place."""
    if not math.isfinite(mean):
        return _not_finite(mean)
    scale, suffix = _scale(mean)
    mean, std = mean / scale, std / scale
    if std > 1e-9 * abs(mean) and math.isfinite(std):  # less is rounding
        places = min(MAX_DECIMALS, decimals(mean, MAX_DIGITS), decimals(std, 2))
    else:
        places = 0 if mean == int(mean) else min(MAX_DECIMALS, decimals(mean, DIGITS))
    deviation = f"{std:.{places}f}{suffix}" if math.isfinite(std) else NOTHING
    return f"{mean:.{places}f}{suffix} ± {deviation}"


def interval(mean: float, low: float, high: float) -> str:
    """Show mean [low, high]: two digits of half the interval's length, everything to that place."""
    if not all(map(math.isfinite, (mean, low, high))):
        return NOTHING
    scale, suffix = _scale(mean)
    mean, low, high = mean / scale, low / scale, high / scale
    half = abs(high - low) / 2
    wanted = decimals(half, 2) if half else decimals(mean, DIGITS)
    places = min(MAX_DECIMALS, decimals(mean, MAX_DIGITS), wanted)
    return f"{mean:.{places}f}{suffix} [{low:.{places}f}{suffix}, {high:.{places}f}{suffix}]"


def prefixed(value: float, unit: str) -> str:
    """Show a number that is not negative with its unit and the prefix that suits: 2.24 TFLOP."""
    power = max(0, min(len(PREFIXES) - 1, math.floor(math.log10(value) / 3))) if value > 0 else 0
    return f"{exact(value / 1000**power)} {PREFIXES[power]}{unit}"


def computed(value: float) -> str:
    """Show a number that is computed, not measured, to four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else _not_finite(value)


def p_value(p: float) -> str:
    """Show a p value; NOTHING where there is none."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """A key that sorts numbers within a text by size: seed 10 comes after seed 2."""
    parts = re.split(r"(\d+)", text)
    return tuple((int(part) if part.isdecimal() else -1, part) for part in parts)


def _scale(value: float) -> tuple[float, str]:
    if abs(value) < LARGE:
        return 1.0, ""
    return next((scale, suffix) for scale, suffix in SCALES if abs(value) >= scale)


def _not_finite(value: float) -> str:
    if math.isnan(value):
        return NOTHING
    return "∞" if value > 0 else "-∞"
