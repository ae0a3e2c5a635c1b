"""Table cells, and numbers as text with as many digits as their spread supports."""

import math
import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Cell:
    """One value.

    Attributes:
        text: the text shown.
        best: whether it is the best of its column.
        key: sort key; None if the text begins with the number.
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
"""A table or a sentence."""


NOTHING = "–"
"""Text of a missing value: not measured, not applicable, or the spread of a single seed."""

SCALES = ((1e9, "G"), (1e6, "M"), (1e3, "k"))
"""Suffixes of large numbers."""

PREFIXES = ("", "k", "M", "G", "T", "P", "E")
"""Prefixes of units, in steps of a thousand."""

LARGE = 1e4
"""Threshold from which numbers are scaled."""

DIGITS = 3
"""Significant digits of a number whose spread is unknown or zero."""

MAX_DIGITS = 4
"""Maximum significant digits of a mean: two nearly equal seeds are no precise measurement."""

MAX_DECIMALS = 4
"""Maximum decimal places of a mean."""


def decimals(value: float, digits: int) -> int:
    """Decimal places that show a number to `digits` significant digits; never negative."""
    if value == 0:
        return 0
    return max(0, digits - 1 - math.floor(math.log10(abs(value))))


def exact(value: float) -> str:
    """Format a number without spread: small integers in full, others to `DIGITS` digits."""
    if not math.isfinite(value):
        return _not_finite(value)
    if abs(value) < LARGE and value == int(value):
        return str(int(value))
    if abs(value) < 1e-3:
        return f"{value:.{DIGITS}g}"
    scale, suffix = _scale(value)
    return f"{value / scale:.{decimals(value / scale, DIGITS)}f}{suffix}"


def spread(mean: float, std: float) -> str:
    """Format mean ± standard deviation, to the place of the deviation's second digit."""
    if not math.isfinite(mean):
        return _not_finite(mean)
    scale, suffix = _scale(mean)
    mean, std = mean / scale, std / scale
    if std > 1e-9 * abs(mean) and math.isfinite(std):  # less is rounding error
        places = min(MAX_DECIMALS, decimals(mean, MAX_DIGITS), decimals(std, 2))
    else:
        places = 0 if mean == int(mean) else min(MAX_DECIMALS, decimals(mean, DIGITS))
    deviation = f"{std:.{places}f}{suffix}" if math.isfinite(std) else NOTHING
    return f"{mean:.{places}f}{suffix} ± {deviation}"


def interval(mean: float, low: float, high: float) -> str:
    """Format mean [low, high], to the place of the second digit of half the interval's length."""
    if not all(map(math.isfinite, (mean, low, high))):
        return NOTHING
    scale, suffix = _scale(mean)
    mean, low, high = mean / scale, low / scale, high / scale
    half = abs(high - low) / 2
    wanted = decimals(half, 2) if half else decimals(mean, DIGITS)
    places = min(MAX_DECIMALS, decimals(mean, MAX_DIGITS), wanted)
    return f"{mean:.{places}f}{suffix} [{low:.{places}f}{suffix}, {high:.{places}f}{suffix}]"


def prefixed(value: float, unit: str) -> str:
    """Format a non-negative number with a prefixed unit, such as 2.24 TFLOP."""
    power = max(0, min(len(PREFIXES) - 1, math.floor(math.log10(value) / 3))) if value > 0 else 0
    return f"{exact(value / 1000**power)} {PREFIXES[power]}{unit}"


def computed(value: float) -> str:
    """Format a number that is computed, not measured: four significant digits."""
    return f"{value:.4g}" if math.isfinite(value) else _not_finite(value)


def p_value(p: float) -> str:
    """Format a p value; NOTHING for NaN."""
    if math.isnan(p):
        return NOTHING
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def natural(text: str) -> tuple[tuple[int, str], ...]:
    """Sort key that orders numbers within a text by value: seed 10 comes after seed 2."""
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
