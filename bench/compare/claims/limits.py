"""What is known of the values of a sum of columns beforehand: possible ends, and common errors."""

import math
from collections.abc import Sequence

from bench.columns import FINITE, SHARE
from bench.compare.claims.selection import Group, Member, column
from bench.schema import INTERVAL_METRICS, MEASURED

NORMAL_QUANTILE = 1.959963984540054
"""Half the length of a 95 % interval in standard errors."""

Weighted = Sequence[tuple[Group, float]]
"""The terms of a sum: groups with their factors."""


def limits(terms: Weighted) -> tuple[float, float] | None:
    """The smallest and the largest sum that the ranges of the columns allow; None if unlimited."""
    groups = [group for group, _ in terms]
    low = high = 0.0
    for group, factor in terms:
        ends = _range(group, groups) if group.trained else tuple(group.values().values())[:1]
        if not ends:
            return None
        low, high = low + min(factor * e for e in ends), high + max(factor * e for e in ends)
    return low, high


def _range(group: Group, groups: Sequence[Group]) -> tuple[float, ...]:
    """The ends of the possible values of a group's column; empty if it has not both."""
    name = group.selection.column
    if group.selection.curve is not None:
        return ()
    if name == "modes":  # the data has as many as a perfect sampler hits, or as anybody does
        perfect = [column(m, "modes_perfect")[-1] for g in groups for m in g.finished]
        hit = [value for g in groups for value in g.values().values()]
        known = (math.ceil(value) for value in perfect if math.isfinite(value))
        return 0.0, max([*hit, *known], default=0.0)
    allowed = MEASURED[name].range
    return () if allowed.high == FINITE.high else (max(0.0, allowed.low), allowed.high)


def common_error(terms: Weighted) -> float:
    """Standard error of a sum from terms that are not trained, and so equal for every seed.

    Zero if nothing is trained: then there are no seeds that share it.
    """
    if not any(group.trained for group, _ in terms):
        return 0.0
    constants = [(g, factor) for g, factor in terms if not g.trained and g.finished]
    return math.hypot(*(factor * standard_error(g.finished[0], g) for g, factor in constants))


def standard_error(member: Member, group: Group) -> float:
    """Standard error of a score over samples, as far as its row tells it, else 0.

    That of the bootstrap interval if there is one, else of a share of the samples (binomial).
    """
    name = group.selection.column
    if group.selection.curve is not None:
        return 0.0
    if name in INTERVAL_METRICS:
        low, high = (float(column(member, f"{name}_{side}")[-1]) for side in ("low", "high"))
        if math.isfinite(high - low):
            return (high - low) / (2 * NORMAL_QUANTILE)
    samples = [int(n) for n in member.run.last.texts("samples")[:1] if n.isdigit() and int(n)]
    if MEASURED[name].range != SHARE or not samples:
        return 0.0
    share = float(column(member, name)[-1])
    return math.sqrt(share * (1 - share) / samples[0])
