"""Pareto fronts of cost and FID, and how often an entry is on them in resamples of the seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from bench.compare.cells import NOTHING, Cell, Table, exact, spread
from bench.compare.comparison import Comparison, Entry, analysis
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.curves import learning_curves

RESAMPLES = 1000
"""Number of bootstrap resamples of the seeds."""

DIGITS = 2
"""Significant digits to which costs are compared: seconds of equal budgets differ by their last
step, and latencies vary from run to run."""

SHOWN_SHARE = 0.05
"""Share of resamples from which an entry that is not on the front is shown."""


@dataclass(frozen=True)
class Candidate:
    """One point that may be on a front.

    Attributes:
        entry: its entry.
        point: evaluation point, from 1.
        points: number of evaluation points of the run.
        costs: cost of each seed, (S,).
        fids: FID of each seed, (S,).
        on_front: whether its means are non-dominated.
        share: share of the bootstrap resamples of the seeds in which it is on the front; NaN for
            fewer than three seeds.
    """

    entry: Entry
    point: int
    points: int
    costs: np.ndarray
    fids: np.ndarray
    on_front: bool = False
    share: float = math.nan


def front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Mask of the non-dominated points; lower is better on both axes.

    A point dominates another if it is at most as large on both axes and smaller on one; equal
    points are on the front together. A point that is not finite is not on the front and dominates
    no other.

    Args:
        cost: (..., N); every row is a front of its own.
        loss: (..., N).

    Returns:
        (..., N) bool.
    """
    known = np.isfinite(cost) & np.isfinite(loss)
    cost, loss = np.where(known, cost, np.inf), np.where(known, loss, np.inf)
    order = np.lexsort((loss, cost), axis=-1)
    cost, loss = (np.take_along_axis(v, order, -1) for v in (cost, loss))
    before = np.full_like(loss, np.inf)  # lowest loss of points with at most this cost
    before[..., 1:] = np.minimum.accumulate(loss, axis=-1)[..., :-1]
    first = np.ones(cost.shape, dtype=bool)  # first of several equal points
    first[..., 1:] = (cost[..., 1:] != cost[..., :-1]) | (loss[..., 1:] != loss[..., :-1])
    positions = np.broadcast_to(np.arange(cost.shape[-1]), cost.shape)
    firsts = np.maximum.accumulate(np.where(first, positions, 0), axis=-1)
    sorted_on = np.take_along_axis(loss < before, firsts, -1)
    on = np.zeros(cost.shape, dtype=bool)
    np.put_along_axis(on, order, sorted_on, -1)
    return on & known


def rounded(cost: np.ndarray) -> np.ndarray:
    """Costs rounded to `DIGITS` significant digits; costs that are not positive are unchanged."""
    cost = np.asarray(cost, dtype=np.float64)
    positive = np.isfinite(cost) & (cost > 0)
    unit = 10.0 ** (np.floor(np.log10(cost, where=positive, out=np.ones_like(cost))) - DIGITS + 1)
    return np.where(positive, np.round(cost / unit) * unit, cost)


@analysis
def sampling_front(comparison: Comparison, cost: str) -> tuple[Candidate, ...]:
    """Candidates for the front of FID and cost per sample, at the last evaluation point.

    Args:
        comparison: the entries.
        cost: a column of eval.csv, such as latency_ms.
    """
    found = []
    for entry in comparison.entries:
        if entry.finished and entry.trained:
            costs, fids = (
                np.array([table.numbers(column)[-1] for table in entry.tables.values()])
                for column in (cost, comparison.fid)
            )
            found.append(Candidate(entry, entry.points, entry.points, costs, fids))
    return judged(found)


@analysis
def training_front(comparison: Comparison, axis: str) -> tuple[Candidate, ...]:
    """Candidates for the front of FID and training cost, at every evaluation point.

    Args:
        comparison: the entries.
        axis: train_seconds or train_flops.
    """
    found = []
    for of in learning_curves(comparison):
        costs, fids = of.stacked(axis).T, of.stacked(of.fid).T  # (P, S)
        pairs = zip(of.checkpoints, costs, fids, strict=True)
        found += [Candidate(of.entry, k, of.entry.points, *pair) for k, *pair in pairs]
    return judged(found)


def judged(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Fill in `on_front` and `share` of every candidate.

    Seeds are resampled per model, jointly for all samplers and evaluation points of a model.
    """
    if not candidates:
        return ()
    costs = rounded(np.array([c.costs.mean() for c in candidates]))
    on = front(costs, np.array([c.fids.mean() for c in candidates]))
    shares = _shares(candidates)
    return tuple(
        replace(c, on_front=bool(o), share=s if len(c.fids) >= MIN_SEEDS else math.nan)
        for c, o, s in zip(candidates, on, shares.tolist(), strict=True)
    )


def _shares(candidates: Sequence[Candidate]) -> np.ndarray:
    """Share of the bootstrap resamples in which each candidate is on the front, (N,)."""
    shares = np.zeros(len(candidates))
    able = np.flatnonzero(_able(candidates)).tolist()
    rng = np.random.default_rng(0)
    weights: dict[tuple[str, str, int], np.ndarray] = {}
    costs, fids = np.empty((2, RESAMPLES, len(able)))
    for column, k in enumerate(able):
        candidate = candidates[k]
        n = len(candidate.fids)
        key = (*candidate.entry.key, n)
        if key not in weights:
            weights[key] = rng.multinomial(n, np.full(n, 1 / n), size=RESAMPLES) / n  # (R, S)
        costs[:, column] = weights[key] @ candidate.costs
        fids[:, column] = weights[key] @ candidate.fids
    shares[able] = front(rounded(costs), fids).mean(axis=0)
    return shares


def _able(candidates: Sequence[Candidate]) -> np.ndarray:
    """Mask of the candidates that can be on the front in some resample, (N,) bool.

    A mean of resampled seeds lies between their minimum and maximum. A candidate whose minima are
    dominated by the maxima of another one is dominated in every resample. Leaving it out changes no
    result and saves most of the work.
    """
    low, high = (
        [np.array([end(getattr(c, name)) for c in candidates]) for name in ("costs", "fids")]
        for end in (np.min, np.max)
    )
    order = np.argsort(rounded(high[0]), kind="stable")
    ends = np.minimum.accumulate(np.fmin(high[1][order], np.inf))
    cheaper = np.searchsorted(rounded(high[0])[order], rounded(low[0]), side="right")
    beaten_by = np.append(np.inf, ends)[cheaper]  # lowest FID of those that never cost more
    return np.isfinite(low[0]) & np.isfinite(low[1]) & ~(beaten_by < low[1])


def front_table(
    comparison: Comparison, candidates: Sequence[Candidate], heading: str, size: float = 1.0
) -> Table | None:
    """The candidates on or near the front, by cost; None if there are none.

    Args:
        comparison: names the entries.
        candidates: as returned by `judged`.
        heading: heading of the cost column, with its unit.
        size: this unit, in the unit of the costs.
    """
    shown = [c for c in candidates if c.on_front or c.share >= SHOWN_SHARE]
    if not shown:
        return None
    along = any(c.point != c.points for c in candidates)
    extractor = comparison.extractors[0]
    places = ("evaluation point",) if along else ()
    measured = (heading, f"FID ({extractor}) ↓", "on the front", "in resamples of the seeds")
    rows = []
    for c in sorted(shown, key=lambda c: float(c.costs.mean())):
        cells = [comparison.label(c.entry), c.entry.sampler]
        cells += [f"{c.point} of {c.points}"] if along else []
        cells += [exact(float(c.costs.mean()) / size), _fid(c), "yes" if c.on_front else NOTHING]
        cells.append(NOTHING if math.isnan(c.share) else f"{c.share:.0%}")
        rows.append(tuple(map(Cell, cells)))
    labels = ("model", "sampler", *places)
    return Table((*labels, *measured), tuple(rows), labels=len(labels))


def _fid(candidate: Candidate) -> str:
    fids = candidate.fids
    return spread(float(fids.mean()), float(fids.std(ddof=1)) if len(fids) > 1 else math.nan)
