"""Where the learning curves of two families cross, with intervals by Student's t over seeds."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.compare.map.contenders import Contender, has_fault
from bench.compare.map.grid import ANY, Map, Panel, Row
from bench.compare.stats import MIN_SEEDS

LEVEL = 0.95
"""Confidence of intervals."""

EQUAL = 1e-9
"""Difference of logarithms up to which two FIDs are equal."""

FINE = 512
"""Number of budgets between those of two columns at which the curves are compared."""


@dataclass(frozen=True)
class Crossover:
    """The budget from which one family stays ahead of another, up to the largest budget of a row.

    Budgets at which one of them collapsed or has no sample near real data are left out.

    Attributes:
        first: the family that is ahead at the smallest budget.
        second: the other one.
        budget: from which the second one stays ahead; infinite if it is not ahead at the largest.
        low: lower end of its interval; 0 if the second one may be ahead from the beginning.
        high: upper end; infinite if it may never be ahead within the limit.
        between: whether the second one is ahead at some budget, and not at the largest.
        seeds: number of common seeds.
        start: the smallest of the common budgets.
        limit: the largest of them.
    """

    first: Contender
    second: Contender
    budget: float
    low: float
    high: float
    between: bool
    seeds: int
    start: float
    limit: float

    @property
    def known(self) -> bool:
        """Whether the interval says anything: its ends are not "from the beginning" and "never"."""
        return self.low > 0 or math.isfinite(self.high)


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
    mean over seeds of log FIDs; the interval has the budgets around it at which Student's t over
    the seeds does not tell the two apart.

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
    (estimate,) = stays_ahead(budgets, mean[None])
    low, high = interval(budgets, differences, float(estimate))
    return Crossover(
        first=a,
        second=b,
        budget=float(estimate),
        low=low,
        high=high,
        between=bool(math.isinf(estimate) and (mean > 0).any()),
        seeds=seeds,
        start=float(budgets[0]),
        limit=float(budgets[-1]),
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


def interval(budgets: np.ndarray, differences: np.ndarray, estimate: float) -> tuple[float, float]:
    """The 95 % interval of the budget from which the second family stays ahead.

    Where the expected curves cross, the expected difference is 0, so that a test of that rejects
    the budget in 5 % of cases: the budgets that it does not reject are a confidence set (Fieller
    1954, Some problems in interval estimation). Of these the interval has all that lie around the
    estimate.

    Args:
        budgets: ascending, (C,), at least two.
        differences: log FID of the first family minus that of the second by seed, (S, C), at least
            two seeds; linear between budgets over the logarithm of the budget.
        estimate: of the budget, between the first and the last one or infinite.

    Returns:
        Both ends. The lower one is 0 where the first budget is not rejected, the upper one infinite
        where the last one is not.
    """
    from scipy.special import stdtrit  # slow to import

    x, seeds = np.log(budgets), len(differences)
    at = math.log(estimate) if math.isfinite(estimate) else x[-1]
    fine = np.unique(
        [at, *np.interp(np.arange(0, len(x) - 1 + 1e-9, 1 / FINE), np.arange(len(x)), x)]
    )
    along = np.array([np.interp(fine, x, row) for row in differences])  # (S, F)
    half = stdtrit(seeds - 1, (1 + LEVEL) / 2) * along.std(axis=0, ddof=1) / math.sqrt(seeds)
    unsure = np.abs(along.mean(axis=0)) <= half + EQUAL
    place = int(np.searchsorted(fine, at))
    if not unsure[place]:  # the first family is shown to be ahead at the end
        return math.inf, math.inf
    sure = np.flatnonzero(~unsure)
    before, after = sure[sure < place], sure[sure > place]
    low = math.exp(fine[before[-1] + 1]) if len(before) else 0.0
    high = math.exp(fine[after[0] - 1]) if len(after) else math.inf
    return low, high


def _differences(
    a: Contender, b: Contender, columns: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Common budgets, (C,), and log FID a - log FID b of seeds that have all of them, (S, C)."""
    found = []
    for budget in columns:
        x, y = a.at(budget), b.at(budget)
        able = not has_fault(x) and not has_fault(y)
        common = {s for s in x.keys() & y.keys() if x[s].fid > 0 and y[s].fid > 0}
        if able and len(common) >= MIN_SEEDS:
            found.append((budget, x, y, common))
    seeds = set.intersection(*(common for *_, common in found)) if found else set()
    rows = [
        [math.log(x[seed].fid / y[seed].fid) for _, x, y, _ in found]
        for seed in sorted(seeds, key=int)
    ]
    shape = len(seeds), len(found)
    return np.array([budget for budget, *_ in found]), np.array(rows).reshape(shape)
