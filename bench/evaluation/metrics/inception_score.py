"""The Inception score of logits (Salimans et al. 2016), and its bootstrap replicates."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.metrics.resampling import bootstrap_weights

IS_SPLITS = 10


def inception_score(logits: Tensor, *, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over 10 splits, as torch-fidelity's `isc_features_to_metric`.

    Args:
        logits: (N, K) floating point.
        seed: seed of the order in which samples are assigned to splits.

    Raises:
        ValueError: fewer samples than splits.
    """
    scores = torch.cat([_scores(split, torch.ones(1, len(split))) for split in _deal(logits, seed)])
    return float(scores.mean()), float(scores.std(correction=0))


def inception_score_replicates(
    logits: Tensor, *, seed: int, resamples: int, rng: np.random.Generator
) -> Tensor:
    """Bootstrap replicates of the mean over splits, (resamples,) float64.

    Each split is resampled separately, so that none is empty.
    """
    scores = [
        _scores(split, bootstrap_weights(len(split), resamples, rng))
        for split in _deal(logits, seed)
    ]
    return torch.stack(scores).mean(0)


def _deal(logits: Tensor, seed: int) -> Iterator[Tensor]:
    """The logits of each split, in torch-fidelity's order."""
    n = len(logits)
    if n < IS_SPLITS:
        raise ValueError(f"{n} fake samples; IS needs at least {IS_SPLITS}, one per split")
    order = torch.from_numpy(np.random.RandomState(seed).permutation(n)).to(logits.device)
    for split in range(IS_SPLITS):
        yield logits[order[split * n // IS_SPLITS : (split + 1) * n // IS_SPLITS]]


def _scores(logits: Tensor, weights: Tensor) -> Tensor:
    """Scores exp(H(E p) - E H(p)) of one split under each row of weights (R, N): (R,) float64."""
    p = logits.double().softmax(1)  # (N, K)
    weights = weights.to(p)
    negative_entropy = torch.xlogy(p, p).sum(1)  # (N,)
    marginal = weights @ p / weights.sum(1, keepdim=True)  # (R, K)
    conditional = weights @ negative_entropy / weights.sum(1)  # (R,)
    return (conditional - torch.xlogy(marginal, marginal).sum(1)).exp().cpu()
