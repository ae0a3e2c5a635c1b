"""Diversity of samples: the Vendi score, and FID within classes."""

import math

import torch
from torch import Tensor

from bench.evaluation.metrics.decompositions import eigvalsh
from bench.evaluation.metrics.fid import BLOCK, frechet_distance, statistics

VENDI_SAMPLES = 10_000
"""Most samples that the Vendi score is computed on: the first ones."""

MIN_PER_CLASS = 30
"""Fewest samples of a class, whatever the number of features, for FID by class."""


def vendi_score(features: Tensor) -> float:
    """Effective number of different samples (Friedman & Dieng 2023, Definition 3.1).

    The exponential of the entropy of the eigenvalues of K / n, where K is the matrix of cosine
    similarities of n features, the kernel of the paper's experiments with images. Its non-zero
    eigenvalues are those of the D × D matrix Σ x xᵀ / n of features x of length 1, which is used
    for n > D. Features that are zero are as similar to each other as equal features are, and
    orthogonal to all others.

    Args:
        features: (N, D), of which the first `VENDI_SAMPLES` are used.

    Returns:
        From 1, for samples that are all the same, to the smaller of n and D, for samples that are
        mutually orthogonal.

    Raises:
        ValueError: features are not two-dimensional, none, or not finite.
    """
    if features.ndim != 2 or len(features) == 0:
        raise ValueError(f"features have shape {tuple(features.shape)}; must be (N, D) with N ≥ 1")
    features = features[:VENDI_SAMPLES].detach().cpu()
    if not torch.isfinite(features).all():
        raise ValueError("features hold values that are not finite")
    n, dimensions = features.shape
    norms = torch.linalg.vector_norm(features, dim=1, dtype=torch.float64)  # (n,)
    nonzero = norms > 0
    features, norms = features[nonzero], norms[nonzero, None]
    if n <= dimensions:
        unit = features / norms  # (n, D) float64
        gram = unit @ unit.T  # (n, n)
    else:
        gram = torch.zeros(dimensions, dimensions, dtype=torch.float64)
        for block, lengths in zip(features.split(BLOCK), norms.split(BLOCK), strict=True):
            unit = block / lengths
            gram.addmm_(unit.T, unit)
    values = eigvalsh(gram / n).clamp(min=0) if len(features) else gram.new_zeros(0)
    shares = torch.cat([values, values.new_tensor([(n - len(features)) / n])])
    return math.exp(float(torch.special.entr(shares).sum()))


def fid_by_class(
    real: Tensor, real_classes: Tensor, fake: Tensor, fake_classes: Tensor, num_classes: int
) -> Tensor:
    """FID of samples to real images within each class (Miyato & Koyama 2018, "intra FID").

    Args:
        real: features of real images, (N, D).
        real_classes: their classes, (N,) int64 in [0, K).
        fake: features of samples, (M, D).
        fake_classes: the classes that were requested, (M,) int64 in [0, K).
        num_classes: K.

    Returns:
        (K,) float64; NaN for a class with fewer than two images or samples.

    Raises:
        ValueError: features are not finite.
    """
    found = torch.full((num_classes,), math.nan, dtype=torch.float64)
    for k in range(num_classes):
        sets = real[real_classes == k], fake[fake_classes == k]
        if min(map(len, sets)) >= 2:
            found[k] = frechet_distance(*statistics(sets[0]), *statistics(sets[1]))
    return found


def enough_per_class(dimensions: int, real_counts: Tensor, expected: Tensor) -> bool:
    """Whether every class has a covariance of full rank, on both sides: else FID is mostly bias.

    Args:
        dimensions: D.
        real_counts: real images of each class, (K,).
        expected: samples of each class that the protocol asks for, (K,). Expected ones and not
            those at hand, which differ between seeds: the score must exist for all seeds or none.
    """
    least = max(dimensions + 1, MIN_PER_CLASS)
    return bool((real_counts >= least).all() and (expected >= least).all())
