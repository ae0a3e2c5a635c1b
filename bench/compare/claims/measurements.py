"""What the tests of claims measure: one number for every seed or data set, or counts of runs."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, product

import numpy as np

from bench.compare.claims.declaration import Criterion, Selection
from bench.compare.claims.selection import (
    Group,
    Member,
    by_seed,
    column,
    find,
    find_in,
    model_overrides,
)
from bench.compare.claims.settings import settings_share, settings_spread
from bench.compare.claims.values import (
    Counts,
    Measurement,
    Seeds,
    at_equal,
    combined,
    pooled,
    where,
)
from bench.compare.curves import Crossing, Curve, crossing
from bench.compare.pareto import front, rounded
from bench.compare.read import ENDED
from bench.compare.seeds import MIN_SEEDS
from bench.compare.statistics import Comparison
from bench.watch import shows_collapse


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measurement]:
    """Everything that the runs say about a test.

    Once for each data set and size of model; where five seeds of one could not decide, once for
    all of them together.
    """
    kind = KINDS[test.kind]
    sides = (*test.of, *test.to)
    positions = range(max(len(selection.models) for selection in sides))
    found: dict[str, list[Measurement]] = {}
    for scope, position in product(_scopes(sides, comparisons), positions):
        groups = [find_in(selection, position, scope) for selection in sides]
        if any(group is None for group in groups):
            continue
        whole = [group for group in groups if group is not None]
        of, to = whole[: len(test.of)], whole[len(test.of) :]
        measured = kind(test, of, to, scope)
        if measured is not None:
            found.setdefault(_protocol(scope[0]), []).append(measured)
    if test.kind in POOLED:
        found = {protocol: pooled(of) for protocol, of in found.items()}
    return [m for of_protocol in found.values() for m in of_protocol]


def _scopes(
    sides: Sequence[Selection], comparisons: Sequence[Comparison]
) -> Iterator[Sequence[Comparison]]:
    """The comparisons that a test looks at together: all of a protocol where it names data sets."""
    if not all(selection.dataset for selection in sides):
        yield from ([comparison] for comparison in comparisons)
        return
    for _, group in groupby(sorted(comparisons, key=_protocol), key=_protocol):
        yield list(group)


def _protocol(comparison: Comparison) -> str:
    """The values of the fields that tell a comparison from others of its data set."""
    return repr(sorted(comparison.values.items()))


def contrast(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of the selected values, of their logarithms where the scale is "log"."""
    del scope
    groups = [*of, *to]
    return combined(test, of, to, at_equal(groups, test.equal) if test.equal else by_seed(groups))


def holds(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """In how many seeds the same is not negative: where all are alike, t has nothing to go by."""
    m = contrast(test, of, to, scope)
    if m is None or m.lacking:
        return None
    return Counts(((sum(v >= 0 for v in m.values.values()), len(m.values)),), (), m.rows, m.places)


def rise(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the largest rise of the metric along a run: value over best value before it."""
    del scope
    found = []
    for group in (*of, *to):
        courses = {m.seed: column(m, group.selection.column) for m in group.finished}
        found.append({seed: largest_rise(c) for seed, c in courses.items() if len(c) > 1})
    return combined(test, of, to, found)


def largest_rise(values: np.ndarray) -> float:
    """The largest value / best earlier value along a run, at least 1; lower values are better.

    NaN where a value is not positive or not known.
    """
    if not (np.isfinite(values) & (values > 0)).all():
        return math.nan
    best = np.minimum.accumulate(values)[:-1]
    return float(max(1.0, np.max(values[1:] / best)))


def reach(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """log(budget of `of` / budget of `to`) until both had the worse of their final FIDs, by seed.

    A side that had it at its first evaluation point had it then or before. Such a seed counts only
    where knowing more would make the ratio larger still, or smaller still: as a bound.
    """
    del scope
    sides = [{m.seed: _course(m, test.cost) for m in group.finished} for group in (of[0], to[0])]
    found, bounds = {}, False
    for seed in (seed for seed in sides[0] if seed in sides[1]):
        ours, theirs = sides[0][seed], sides[1][seed]
        if len(ours.y) and len(theirs.y):
            level = float(max(ours.y[-1], theirs.y[-1]))
            crossings = (crossing(ours, level), crossing(theirs, level))
            ratio = _time_ratio(*crossings)
            if ratio is not None:
                found[seed] = ratio
                bounds |= any(c.low != c.high for c in crossings)
    return Seeds(found, *where((*of, *to)), bounds=bounds) if found else None


def later(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """In how many seeds `of` needed more of the budget until then, of those that tell."""
    m = reach(test, of, to, scope)
    if m is None:
        return None
    return Counts(((sum(v > 0 for v in m.values.values()), len(m.values)),), (), m.rows, m.places)


def _course(member: Member, cost: str) -> Curve:
    """The FID of a member along a cost, where both are known."""
    x, y = column(member, cost), column(member, "fid")
    known = np.isfinite(x) & np.isfinite(y)
    return Curve(x[known], y[known])


def _time_ratio(of: Crossing, to: Crossing) -> float | None:
    """log(of / to), or the bound of it that is nearer to 0; None where it may be on either side."""
    ratio = math.log(of.high / to.high)
    exact_of, exact_to = of.low == of.high, to.low == to.high
    known = (exact_of or ratio < 0) and (exact_to or ratio > 0)
    return ratio if known else None


def seed_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """log(standard deviation of log FID over seeds, of `of` over that of `to`), of a data set.

    Over the seeds that both have, that one number is symmetric about 0 if both spread alike,
    whatever their distribution, where a test of variances on one data set takes one collapsed seed
    for a difference.
    """
    del test, scope
    spreads = [_log_spread(list(values.values())) for values in by_seed((of[0], to[0]))]
    if not all(map(math.isfinite, spreads)):
        return None
    rows, places = where((*of, *to))
    return Seeds({f"{places[0]}: {of[0].name}": spreads[0] - spreads[1]}, rows, places)


def _log_spread(values: Sequence[float]) -> float:
    """Logarithm of the standard deviation of logarithms; NaN of too few, or of equal ones."""
    if len(values) < MIN_SEEDS or min(values) <= 0:
        return math.nan
    deviation = float(np.std(np.log(values), ddof=1))
    return math.log(deviation) if deviation > 0 else math.nan


def failures(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """Runs that failed, or whose last samples show signs of collapse, of those that ended."""
    del test, scope
    counts = []
    for group in (*of, *to):
        ended = [m for m in group.members if m.run.state in ENDED]
        if not ended:
            return None
        counts.append((sum(map(_failed, ended)), len(ended)))
    return Counts((counts[0],), tuple(counts[1:2]), *where((*of, *to)))


def _failed(member: Member) -> bool:
    """Whether a run failed, or its last samples by this sampler show signs of collapse."""
    if member.run.state == "failed":
        return True
    last = member.run.last
    pairs = zip(last.texts("sampler"), last.texts("warning"), strict=True)
    return any(shows_collapse(warning) for sampler, warning in pairs if sampler == member.sampler)


def on_front(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """In how many seeds the entry is on the Pareto front of its value against the cost.

    The front is that of every sampler of the trained models whose configuration is the default,
    without those whose samples show signs of collapse; an entry that does is not on it.
    """
    del to
    group = of[0]
    points = _points_by_seed(test.cost, scope)
    ended = [m for m in group.members if m.run.state in ENDED]
    members = [member for member in ended if member.seed in points]
    if not members:
        return None
    on = 0
    for member in members:
        names, values = zip(*points[member.seed].items(), strict=True)
        costs, fids = np.array(values).T
        best = front(rounded(costs), fids)
        on += group.name in {name for name, b in zip(names, best, strict=True) if b}
    return Counts(((on, len(members)),), (), *where([group]))


def _points_by_seed(
    cost: str, scope: Sequence[Comparison]
) -> Mapping[str, Mapping[str, tuple[float, float]]]:
    """(cost, FID) of every sampler of models as they are configured, by seed and name."""
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for comparison in scope:
        for run in comparison.runs:
            if not len(run.last) or model_overrides(run) or not run.last.texts("budget")[0]:
                continue
            for sampler in run.last.texts("sampler"):
                group = find(Selection((run.model,), sampler=sampler), 0, comparison)
                if group is None:
                    continue
                member = next((m for m in group.finished if m.seed == run.seed), None)
                if member is not None and not _failed(member):
                    at = float(column(member, cost)[-1]), float(column(member, "fid")[-1])
                    if all(map(math.isfinite, at)):
                        points.setdefault(run.seed, {})[group.name] = at
    return points


KINDS = {
    "contrast": contrast,
    "holds": holds,
    "rise": rise,
    "reach": reach,
    "later": later,
    "settings_spread": settings_spread,
    "settings_share": settings_share,
    "seed_spread": seed_spread,
    "failures": failures,
    "front": on_front,
}
"""How each kind of test is measured; None where runs are there and do not have what it needs."""

POOLED = ("holds", "later", "seed_spread", "failures", "front")
"""Kinds that take all data sets together."""
