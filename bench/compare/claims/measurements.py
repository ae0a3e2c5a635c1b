"""What the tests of claims measure: one number for every seed, or a count of runs."""

import math
from collections.abc import Iterator, Sequence
from itertools import product

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
    Spreads,
    at_equal,
    combined,
    where,
)
from bench.compare.curves import Curve, first_reached
from bench.compare.pareto import front
from bench.compare.statistics import Comparison


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measurement]:
    """Everything that the runs say about a test: once for each data set and size of model."""
    kind = KINDS[test.kind]
    sides = (*test.of, *test.to)
    positions = range(max(len(selection.models) for selection in sides))
    found = []
    for scope, position in product(_scopes(sides, comparisons), positions):
        groups = [find_in(selection, position, scope) for selection in sides]
        if any(group is None for group in groups):
            continue
        whole = [group for group in groups if group is not None]
        of, to = whole[: len(test.of)], whole[len(test.of) :]
        found += [m for m in [kind(test, of, to, scope)] if m is not None]
    return found


def _scopes(
    sides: Sequence[Selection], comparisons: Sequence[Comparison]
) -> Iterator[Sequence[Comparison]]:
    """The comparisons that a test looks at together: all where it names its data sets."""
    if all(selection.dataset for selection in sides):
        yield comparisons
    else:
        yield from ([comparison] for comparison in comparisons)


def contrast(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of the selected values, of their logarithms where the scale is "log"."""
    del scope
    groups = [*of, *to]
    return combined(test, of, to, at_equal(groups, test.equal) if test.equal else by_seed(groups))


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
    """The largest value / best earlier value along a run, at least 1; lower values are better."""
    best = np.minimum.accumulate(values)[:-1]
    return float(max(1.0, np.max(values[1:] / best)))


def reach(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the budget until the worst final FID of any of these runs is reached.

    Every run reaches that one, so that none is censored.
    """
    del scope
    groups = (*of, *to)
    finals = [float(column(m, "fid")[-1]) for group in groups for m in group.finished]
    if not finals or not all(map(math.isfinite, finals)):
        return None
    found = []
    for group in groups:
        found.append(
            {
                m.seed: first_reached(Curve(column(m, test.cost), column(m, "fid")), max(finals))
                for m in group.finished
            }
        )
    return combined(test, of, to, found)


def seed_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Spreads | None:
    """Logarithms of the metric over seeds, of which the spread is compared."""
    del test, scope
    samples = [tuple(np.log(list(group.values().values())).tolist()) for group in (*of, *to)]
    if min(map(len, samples)) < 2:
        return None
    return Spreads(samples[0], samples[1], *where((*of, *to)))


def failures(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """Runs that failed, or whose last samples show signs of collapse."""
    del test, scope
    counts = [(sum(map(_failed, group.members)), len(group.members)) for group in (*of, *to)]
    return Counts(counts[0], counts[1] if to else None, *where((*of, *to)))


def _failed(member: Member) -> bool:
    rows = member.run.rows
    if member.run.status.status == "failed" or rows.empty:
        return member.run.status.status == "failed"
    return any(rows.loc[rows["sampler"] == member.sampler, "warning"])


def on_front(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """In how many seeds the entry is on the Pareto front of its value against the cost.

    The front is that of every sampler of the trained models whose configuration is the default.
    """
    del to
    group = of[0]
    points = _points_by_seed(test.cost, scope)
    seeds = [member.seed for member in group.finished if member.seed in points]
    if not seeds:
        return None
    on = 0
    for seed in seeds:
        names, values = zip(*points[seed].items(), strict=True)
        best = front(np.array([v[0] for v in values]), np.array([v[1] for v in values]))
        on += group.name in {name for name, b in zip(names, best, strict=True) if b}
    return Counts((on, len(seeds)), None, *where([group]))


def _points_by_seed(
    cost: str, scope: Sequence[Comparison]
) -> dict[str, dict[str, tuple[float, float]]]:
    """(cost, FID) of every sampler of models as they are configured, by seed and name."""
    points: dict[str, dict[str, tuple[float, float]]] = {}
    for comparison in scope:
        for run in comparison.runs:
            if run.rows.empty or model_overrides(run) or not run.rows["budget"].iloc[0]:
                continue
            for sampler in run.rows["sampler"].to_list():
                group = find(Selection((run.model,), sampler=sampler), 0, comparison)
                if group is None:
                    continue
                member = next((m for m in group.finished if m.seed == run.seed), None)
                if member is not None:
                    at = float(column(member, cost)[-1]), float(column(member, "fid")[-1])
                    if all(map(math.isfinite, at)):
                        points.setdefault(run.seed, {})[group.name] = at
    return points


KINDS = {
    "contrast": contrast,
    "rise": rise,
    "reach": reach,
    "settings_spread": settings_spread,
    "settings_share": settings_share,
    "seed_spread": seed_spread,
    "failures": failures,
    "front": on_front,
}
"""How each kind of test is measured; None where runs are there and do not have what it needs."""
