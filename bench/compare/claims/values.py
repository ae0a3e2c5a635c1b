"""Numbers by seed, and how the groups of a test are put together into one."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.selection import Group, column
from bench.compare.curves import Curve, at


@dataclass(frozen=True)
class Seeds:
    """One number for every seed, or for every data set, to be compared with a number.

    Attributes:
        values: by seed or data set; logarithms where the test is by ratio.
        rows: the entries behind it, for readers.
        places: titles of the comparisons behind it.
        lacking: why there is no number for some of them; empty where there are all.
        unit: what there is one number of.
        bounds: whether some values are only bounds on the side of 0, so that their signs count.
    """

    values: Mapping[str, float]
    rows: tuple[str, ...]
    places: tuple[str, ...]
    lacking: str = ""
    unit: str = "seeds"
    bounds: bool = False


@dataclass(frozen=True)
class Counts:
    """How many of how many, by data set.

    Attributes:
        of: (how many, of how many).
        to: the same of the other side; empty where shares are compared with a number.
        rows: the entries behind it, for readers.
        places: titles of the comparisons behind it.
    """

    of: tuple[tuple[int, int], ...]
    to: tuple[tuple[int, int], ...]
    rows: tuple[str, ...]
    places: tuple[str, ...]


Measurement = Seeds | Counts


def pooled(found: Sequence[Measurement]) -> list[Measurement]:
    """One measurement of all data sets, of counts or of numbers by data set; none of none.

    Five seeds of one data set cannot decide a share, or how far seeds spread; several can.
    """
    if not found:
        return []
    rows, places = (
        tuple(dict.fromkeys(name for m in found for name in getattr(m, field)))
        for field in ("rows", "places")
    )
    counts = [m for m in found if isinstance(m, Counts)]
    if counts:
        of, to = (sum((getattr(m, side) for m in counts), ()) for side in ("of", "to"))
        return [Counts(of, to, rows, places)]
    values = {key: value for m in found if isinstance(m, Seeds) for key, value in m.values.items()}
    return [Seeds(values, rows, places, unit="data sets")]


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
    """Sums over groups for every seed that all of them have.

    A ratio of values that are not positive is none. Such seeds are not left out, which would leave
    out those that collapsed: the whole measurement says what it lacks.
    """
    seeds = [
        seed
        for seed in values[0]
        if all(math.isfinite(other.get(seed, math.nan)) for other in values)
    ]
    if not seeds:
        return None
    logs = test.scale == "log"
    signs = [1.0] * len(of) + [-1.0 if logs else -test.times] * len(to)
    bad = [seed for seed in seeds if logs and any(other[seed] <= 0 for other in values)]
    if bad:
        why = f"no ratio: a value is not positive in {len(bad)} of {len(seeds)} seeds"
        return Seeds({}, *where((*of, *to)), lacking=why)
    transform: Callable[[float], float] = math.log if logs else float
    numbers = {
        seed: sum(sign * transform(v[seed]) for sign, v in zip(signs, values, strict=True))
        for seed in seeds
    }
    return Seeds(numbers, *where((*of, *to)))


def where(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries and comparisons of groups, each once."""
    names = dict.fromkeys(group.name for group in groups)
    return tuple(names), tuple(dict.fromkeys(group.place for group in groups))
