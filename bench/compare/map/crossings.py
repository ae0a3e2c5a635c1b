"""Where the learning curves of two families cross, with intervals by bootstrap over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.compare.map.contenders import Contender
from bench.compare.map.grid import ANY, Map, Panel, Row
from bench.compare.stats import MIN_SEEDS

RESAMPLES = 2000
"""Number of bootstrap resamples."""

SEED = 0
"""Seed of the resamples: equal runs give equal intervals."""


@dataclass(frozen=True)
class Crossover:
    """The budget from which one family stays ahead of another, up to the largest budget of a row.

    Attributes:
        first: the family that is ahead at the smallest budget.
        second: the other one.
        budget: from which the second one stays ahead; infinite if it is not ahead at the largest.
        low: lower end of its 95 % interval; 0 if the second one may be ahead from the beginning.
        high: upper end; infinite if it may never be ahead within the limit.
        seeds: number of common seeds.
        columns: number of budgets at which both have a FID.
        limit: the largest of these budgets.
    """

    first: Contender
    second: Contender
    budget: float
    low: float
    high: float
    seeds: int
    columns: int
    limit: float


def crossovers(made: Map, panel: Panel, row: Row) -> tuple[Crossover, ...]:
    """The crossovers of all pairs of families of a row, at any price of a sample.

    Pairs without three common seeds, or without two common budgets, have none.
    """
    found = []
    for a, b in combinations(made.contenders(panel, row, ANY), 2):
        if (crossover := compare(a, b, panel.columns)) is not None:
            found.append(crossover)
    return tuple(found)


def compare(a: Contender, b: Contender, columns: Sequence[float]) -> Crossover | None:
    """The crossover of two families; None with too few common seeds or budgets.

    Curves are linear between budgets in the logarithms of both axes. The estimate is that of the
    mean over seeds of log FIDs; the interval that of seeds drawn with replacement, percentiles.

    Args:
        a: one family.
        b: the other one.
        columns: budgets, ascending.
    """
    budgets, differences = _differences(a, b, columns)
    seeds = differences.shape[0]
    if seeds < MIN_SEEDS or len(budgets) < 2:
        return None
    mean = differences.mean(axis=0)
    if mean[0] > 0:
        a, b, differences, mean = b, a, -differences, -mean
    drawn = np.random.default_rng(SEED).integers(seeds, size=(RESAMPLES, seeds))
    resampled = stays_ahead(budgets, differences[drawn].mean(axis=1))  # (R,)
    low, high = np.quantile(resampled, (0.025, 0.975), method="inverted_cdf")
    (estimate,) = stays_ahead(budgets, mean[None])
    return Crossover(
        a, b, float(estimate), float(low), float(high), seeds, len(budgets), float(budgets[-1])
    )


def stays_ahead(budgets: np.ndarray, differences: np.ndarray) -> np.ndarray:
    """The budget from which differences stay positive up to the end.

    Args:
        budgets: ascending, (C,).
        differences: log FID of the first family minus that of the second, (N, C), at least two
            budgets; linear between them over the logarithm of the budget.

    Returns:
        (N,): 0 if they are positive everywhere, infinite if not at the end.
    """
    ahead = differences > 0
    last = differences.shape[1] - 1
    behind = np.where(ahead, -1, np.arange(last + 1)).max(axis=1)  # last one that is not positive
    k = np.clip(behind, 0, last - 1)
    rows = np.arange(len(differences))
    y0, y1 = differences[rows, k], differences[rows, k + 1]
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.where(y1 > y0, -y0 / (y1 - y0), 0.0)
    x = np.log(budgets)
    crossing = np.exp(x[k] + np.clip(share, 0.0, 1.0) * (x[k + 1] - x[k]))
    return np.where(behind < 0, 0.0, np.where(behind == last, math.inf, crossing))


def _differences(
    a: Contender, b: Contender, columns: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Common budgets, (C,), and log FID a - log FID b of seeds that have all of them, (S, C)."""
    at = [(budget, a.at(budget), b.at(budget)) for budget in columns]
    at = [(budget, x, y) for budget, x, y in at if x.keys() & y.keys()]
    seeds = set.intersection(*({*x} & {*y} for _, x, y in at)) if at else set()
    rows = [
        [math.log(max(x[s].fid, 1e-300) / max(y[s].fid, 1e-300)) for _, x, y in at]
        for s in sorted(seeds, key=int)
    ]
    return np.array([budget for budget, *_ in at]), np.array(rows).reshape(len(seeds), len(at))
