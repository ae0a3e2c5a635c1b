"""What the tests of claims measure: one number for every seed, or a count of runs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import numpy as np

from bench.compare.claims.declaration import Criterion, Selection
from bench.compare.claims.selection import (
    Group,
    Member,
    by_seed,
    column,
    find,
    model_overrides,
)
from bench.compare.curves import Curve, first_reached
from bench.compare.pareto import front
from bench.compare.statistics import Comparison

GOOD = 2.0
"""A setting counts as good whose FID is at most so many times that of the better default."""


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


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measurement]:
    """Everything that the runs say about a test: once for each data set and size of model."""
    kind = KINDS[test.kind]
    sides = (*test.of, *test.to)
    positions = range(max(len(selection.models) for selection in sides))
    found = []
    for scope, position in product(_scopes(sides, comparisons), positions):
        groups = [_find(selection, position, scope) for selection in sides]
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


def _find(selection: Selection, position: int, scope: Sequence[Comparison]) -> Group | None:
    """The group of a selection; a selection of one model means it at every position."""
    at = 0 if len(selection.models) == 1 else position
    found = (find(selection, at, comparison) for comparison in scope)
    return next((group for group in found if group is not None), None)


def contrast(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of the selected values, of their logarithms where the scale is "log"."""
    del scope
    return _combined(test, of, to, by_seed([*of, *to]))


def rise(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the largest rise of the metric along a run: value over best value before it."""
    del scope
    found = []
    for group in (*of, *to):
        courses = {m.seed: column(m, group.selection.column) for m in group.finished}
        found.append({seed: largest_rise(c) for seed, c in courses.items() if len(c) > 1})
    return _combined(test, of, to, found)


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
    return _combined(test, of, to, found)


def settings_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the standard deviation of log FID over settings, one varied at a time."""
    found = [_over_settings(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    return _combined(
        test, of, to, [{s: float(np.std(v, ddof=1)) for s, v in f.items()} for f in found]
    )


def settings_share(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the share of settings whose FID is near that of the better default."""
    found = [_over_settings(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    default = min(float(np.mean([values[0] for values in f.values()])) for f in found)
    limit = default + math.log(GOOD)
    return _combined(
        test, of, to, [{s: float(np.mean(v <= limit)) for s, v in f.items()} for f in found]
    )


def _over_settings(
    test: Criterion, default: Group, scope: Sequence[Comparison]
) -> dict[str, np.ndarray]:
    """Log FID by seed: of the default first, then of every setting that varies one listed key."""
    found = [default]
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    for overrides in sorted(variants):
        keys = {override.partition("=")[0] for override in overrides}
        if len(keys) == 1 and any(key.endswith(name) for key in keys for name in test.settings):
            selection = replace(default.selection, models=(model,), overrides=overrides)
            group = _find(selection, 0, scope)
            if group is not None and group.finished:
                found.append(group)
    values = by_seed(found)
    return {seed: np.log([v[seed] for v in values]) for seed in values[0]}


def _alike(found: Sequence[Mapping[str, np.ndarray]]) -> bool:
    """Whether both sides have as many settings, and more than the default."""
    sizes = {len(values) for f in found for values in f.values()}
    return len(sizes) == 1 and min(sizes) > 2 and all(found)


def seed_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Spreads | None:
    """Logarithms of the metric over seeds, of which the spread is compared."""
    del test, scope
    samples = [tuple(np.log(list(group.values().values())).tolist()) for group in (*of, *to)]
    if min(map(len, samples)) < 2:
        return None
    return Spreads(samples[0], samples[1], *_where((*of, *to)))


def failures(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Counts | None:
    """Runs that failed, or whose last samples show signs of collapse."""
    del test, scope
    counts = [(sum(map(_failed, group.members)), len(group.members)) for group in (*of, *to)]
    return Counts(counts[0], counts[1] if to else None, *_where((*of, *to)))


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
    return Counts((on, len(seeds)), None, *_where([group]))


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


def _combined(
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
    return Seeds(numbers, *_where((*of, *to))) if numbers else None


def _log(value: float) -> float:
    return math.log(value) if value > 0 else math.nan


def _where(groups: Sequence[Group]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The entries and data sets of groups, each once."""
    names = dict.fromkeys(group.name for group in groups)
    datasets = dict.fromkeys(group.members[0].run.dataset for group in groups)
    return tuple(names), tuple(datasets)


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
