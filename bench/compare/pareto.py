"""Pareto fronts: which entries no other one beats in both cost and quality."""

import numpy as np


def front(cost: np.ndarray, loss: np.ndarray) -> np.ndarray:
    """Mark the points that no other one dominates; both axes are better when lower.

    A point dominates another if it is at most as large on both axes and smaller on one; equal
    points are on the front together.

    Args:
        cost: (N,), finite.
        loss: (N,), finite.

    Returns:
        (N,) bool.
    """
    order = np.lexsort((loss, cost))
    on = np.zeros(len(cost), dtype=bool)
    best, best_cost = np.inf, np.nan
    for k in order:
        if loss[k] < best or (loss[k] == best and cost[k] == best_cost):
            on[k] = True
            best, best_cost = loss[k], cost[k]
    return on
