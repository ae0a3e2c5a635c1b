"""Seeded subsets, bootstrap weights and bootstrap intervals."""

import numpy as np
import torch
from torch import Tensor

METRICS_VERSION = 1
"""Increment it when the definition of any metric changes: rows of two versions share no table, and
cached values of older versions are not used."""

METRIC_SEED = 2020
"""torch-fidelity's default; equal for all runs, so that it does not add to their spread."""

CONFIDENCE = 0.95


def subset(features: Tensor, n: int, seed: int) -> Tensor:
    """At most n of the features (N, D), without replacement; all of them, in order, if N ≤ n."""
    if len(features) <= n:
        return features
    index = torch.randperm(len(features), generator=torch.Generator().manual_seed(seed))[:n]
    return features[index.to(features.device)]


def bootstrap_weights(n: int, resamples: int, rng: np.random.Generator) -> Tensor:
    """Counts of each of n samples in bootstrap resamples of size n (Efron 1979).

    Returns:
        (resamples, n) float64 on the CPU; every row sums to n.
    """
    draws = [np.bincount(rng.integers(0, n, n), minlength=n) for _ in range(resamples)]
    return torch.from_numpy(np.stack(draws).astype(np.float64))


def interval(point: float, replicates: Tensor) -> tuple[float, float]:
    """The central 95 % of bootstrap replicates, shifted so that their mean is the point estimate.

    Resampling adds its own bias to a biased statistic: replicates of FID lie above the FID that
    they replicate, because resamples contain fewer distinct samples. Their spread is kept and their
    shift removed, so the interval is for the metric at this number of samples, including its bias.

    Args:
        point: the metric.
        replicates: (resamples,) float64.
    """
    tail = (1 - CONFIDENCE) / 2
    quantiles = np.quantile(replicates.numpy(), [tail, 1 - tail]) - float(replicates.mean())
    return point + float(quantiles[0]), point + float(quantiles[1])
