"""What the tests of claims measure: one number for every seed or data set, or counts of runs."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
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
from bench.compare.comparison import Comparison
from bench.compare.read import ENDED
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.curves import Crossing, Curve, at, crossing
from bench.compare.topics.pareto import front, rounded
from bench.evaluation.collapse import shows_collapse


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


GOOD = 1.5
"""A setting counts as good whose FID is at most so many times that of the default."""


Moves = tuple[tuple[str, ...], dict[str, np.ndarray]]
"""Names of the settings, and log(FID / default FID) of each by seed, infinite where it failed."""


def settings_spread(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """Σ of − Σ to of how far settings move FID: root mean square of log(setting / default).

    Each setting is compared with the default at the same number of images.
    """
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    failed = sum(int(np.isinf(v).any()) for _, f in found for v in f.values())
    if failed:
        rows, places = where((*of, *to))
        return Seeds({}, rows, places, lacking=f"no ratio: a setting failed in {failed} seeds")
    values = [{s: math.sqrt(float(np.mean(v**2))) for s, v in f.items()} for _, f in found]
    return combined(test, of, to, values)


def settings_share(
    test: Criterion, of: Sequence[Group], to: Sequence[Group], scope: Sequence[Comparison]
) -> Seeds | None:
    """The same of the share of settings whose FID is near the default's at the same images.

    A setting whose training failed is not near it.
    """
    found = [_moves(test, group, scope) for group in (*of, *to)]
    if not _alike(found):
        return None
    limit = math.log(GOOD)
    values = [{s: float(np.mean(v <= limit)) for s, v in f.items()} for _, f in found]
    return combined(test, of, to, values)


def _moves(test: Criterion, default: Group, scope: Sequence[Comparison]) -> Moves:
    """How every setting of a listed key moves FID."""
    model = default.members[0].run.model
    variants = {
        tuple(sorted(set(model_overrides(run))))
        for comparison in scope
        for run in comparison.runs
        if run.model == model
    }
    names: list[str] = []
    moves: list[dict[str, float]] = []
    for overrides in sorted(variants):
        keys = {override.partition("=")[0].rpartition(".")[2] for override in overrides}
        if len(keys) == 1 and keys <= set(test.settings):
            wanted = (" ".join(overrides),)
            selection = replace(default.selection, models=(model,), overrides=wanted)
            group = find_in(selection, 0, scope)
            if group is not None:
                names += keys
                moves.append(_move(group, default))
    seeds = [s for s in (moves[0] if moves else ()) if all(s in of for of in moves)]
    found = {seed: np.array([of[seed] for of in moves]) for seed in seeds}
    return tuple(names), {seed: v for seed, v in found.items() if not np.isnan(v).any()}


def _move(setting: Group, default: Group) -> dict[str, float]:
    """log(FID of a setting / FID of the default) by seed."""
    ours, theirs = at_equal([setting, default], "images")
    found = {s: _log_ratio(ours[s], theirs[s]) for s in ours if s in theirs}
    failed = [m.seed for m in setting.members if m.run.state == "failed"]
    return found | dict.fromkeys(failed, math.inf)


def _log_ratio(a: float, b: float) -> float:
    return math.log(a / b) if a > 0 and b > 0 else math.nan


def _alike(found: Sequence[Moves]) -> bool:
    """Whether all sides have the same settings as often, and at least two."""
    names = {tuple(sorted(settings)) for settings, _ in found}
    return len(names) == 1 and len(found[0][0]) > 1 and all(f for _, f in found)


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
