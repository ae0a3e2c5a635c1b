"""Seeded subsets, bootstrap weights and the intervals that they give."""

import numpy as np
import torch
from torch import Tensor

METRICS_VERSION = 1
"""Raise it when the definition of any metric changes: rows of two versions share no table, and
what was computed before is not read again."""

METRIC_SEED = 2020
"""torch-fidelity's default. One for all runs, so that their spread is not that of the metrics."""

CONFIDENCE = 0.95


def subset(features: Tensor, n: int, seed: int) -> Tensor:
    """At most n of the features (N, D), without replacement; all of them, in order, if N ≤ n."""
    if len(features) <= n:
        return features
    index = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:n]
    return features[index.to(features.device)]


def bootstrap_weights(n: int, resamples: int, rng: np.random.Generator) -> Tensor:
    """How often each of n samples is drawn when n are drawn with replacement (Efron 1979).

    Returns:
        (resamples, n) float64 on the CPU; every row sums to n.
    """
    draws = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)]
    return torch.from_numpy(np.stack(draws).astype(np.float64))


def interval(point: float, replicates: Tensor) -> tuple[float, float]:
    """The central 95 % of bootstrap replicates, moved so that their mean is the point.

    Resampling lays its own bias on top of a biased statistic: replicates of FID lie above the FID
    that they replicate, as drawing again loses samples. Their spread is kept and their shift is
    not, so the interval is about the metric at this number of samples, its bias included.

    Args:
        point: the metric.
        replicates: (resamples,) float64.
    """
    tail = (1 - CONFIDENCE) / 2
    quantiles = np.quantile(replicates.numpy(), [tail, 1 - tail]) - float(replicates.mean())
    return point + float(quantiles[0]), point + float(quantiles[1])
