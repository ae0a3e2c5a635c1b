"""Numbers by seed, and how the groups of a test are put together into one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.selection import Group, column
from bench.compare.curves import Curve, at


@dataclass(frozen=True)
class Seeds:
    """One number for every seed, to be compared with a number.

    Attributes:
        values: by seed; logarithms where the test is by ratio.
        rows: the entries behind it, for readers.
        datasets: the data sets behind it.
    """

    values: Mapping[str, float]
    rows: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Spreads:
    """Two samples whose spread is compared: logarithms of a metric over seeds."""

    of: tuple[float, ...]
    to: tuple[float, ...]
    rows: tuple[str, ...]
    datasets: tuple[str, ...]


@dataclass(frozen=True)
class Counts:
    """How many of how many; `to` is None where the share is compared with a number."""

    of: tuple[int, int]
    to: tuple[int, int] | None
    rows: tuple[str, ...]
    datasets: tuple[str, ...]


Measurement = Seeds | Spreads | Counts


def at_equal(groups: Sequence[Group], axis: str) -> list[dict[str, float]]:
    """The selected columns by seed where all groups have consumed the same, between points.

    Of every seed the least that any group ended with is taken; what was not evaluated around there
    is left out. This compares runs fairly that a busy machine let do more or less in equal time.

    Args:
        groups: of one data set.
        axis: what is equal, such as "images".
    """
    found: list[dict[str, float]] = [{} for _ in groups]
    members = [{m.seed: m for m in group.finished} for group in groups]
    for seed in members[0]:
        if not all(seed in of for of in members):
            continue
        chosen = [of[seed] for of in members]
        least = min(float(column(m, axis)[-1]) for m in chosen)
        for values, group, member in zip(found, groups, chosen, strict=True):
            curve = Curve(column(member, axis), column(member, group.selection.column))
            values[seed] = at(curve, least)
    return found


def combined(
    test: Criterion,
    of: Sequence[Group],
    to: Sequence[Group],
    values: Sequence[Mapping[str, float]],
) -> Seeds | None:
    """Sums over groups for every seed that all of them have."""
    seeds = [seed for seed in values[0] if all(seed in other for other in values)]
    transform: Callable[[float], float] = _log if test.scale == "log" else float
    signs = [1.0] * len(of) + [-1.0] * len(to)
    numbers = {
        seed: sum(sign * transform(v[seed]) for sign, v in zip(signs, values, strict=True))
        for seed in seeds
    }
    numbers = {seed: number for seed, number in numbers.items() if math.isfinite(number)}
    return Seeds(numbers, *where((*of, *to))) if numbers else None


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


def where(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries and data sets of groups, each once."""
    names = dict.fromkeys(group.name for group in groups)
    datasets = dict.fromkeys(group.members[0].run.dataset for group in groups)
    return tuple(names), tuple(datasets)
