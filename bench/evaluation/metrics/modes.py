"""Coverage of classes or modes, and the scores of a perfect sampler."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

HIGH_QUALITY_SIGMAS = 3.0
"""Points within this number of standard deviations of their mode's centre are of high quality."""


def class_histogram(logits: Tensor, reference: Tensor | Sequence[int | float]) -> dict[str, float]:
    """Compare the predicted classes of samples with the class frequencies of the data.

    Args:
        logits: of the samples under the domain classifier, (N, K).
        reference: frequency of each class in the data, (K,), positive, on any scale.

    Returns:
        modes, the number of classes predicted for at least one sample; class_kl, KL(samples ‖
        reference) in nats; class_tv, the total variation distance, in [0, 1]; reverse_kl,
        KL(samples ‖ uniform) in nats, the score of stacked MNIST (Lin et al. 2018).

    Raises:
        ValueError: no samples, or the reference is not K positive numbers.
    """
    if logits.ndim != 2 or len(logits) == 0:
        raise ValueError(f"logits have shape {tuple(logits.shape)}; must be (N, K) with N ≥ 1")
    target = torch.as_tensor(reference, dtype=torch.float64)
    if target.shape != logits.shape[1:] or not (target > 0).all():
        raise ValueError(
            f"reference has shape {tuple(target.shape)}; must be {logits.shape[1]} positive numbers"
        )
    counts = torch.bincount(logits.argmax(1).cpu(), minlength=len(target))  # (K,)
    return {"modes": float((counts > 0).sum())} | _divergences(counts, target)


def conditional_accuracy(logits: Tensor, classes: Tensor) -> float:
    """Class-conditional accuracy: share of samples classified as the class asked for, in [0, 1].

    The accuracy of a fixed classifier of real data on the samples of a conditional generator (Odena
    et al. 2017, Sec. 4.1, there an Inception network); the classifier's own error bounds it. Not
    the classification accuracy score of Ravuri & Vinyals 2019, which trains on samples.

    Args:
        logits: of the samples under the domain classifier, (N, K).
        classes: those asked for, (N,) in [0, K).

    Raises:
        ValueError: not one class for every sample, or none at all.
    """
    if logits.ndim != 2 or len(logits) == 0 or classes.shape != logits.shape[:1]:
        raise ValueError(
            f"logits {tuple(logits.shape)} and classes {tuple(classes.shape)} must be (N, K) and "
            "(N,) with N ≥ 1"
        )
    return float((logits.argmax(1).cpu() == classes.cpu()).double().mean())


def mixture_modes(points: Tensor, centres: Tensor, sigma: float) -> dict[str, float]:
    """Coverage of the Gaussians of a mixture (Lin et al. 2018, Sec. 4.1).

    Every point is assigned to the nearest mode, however far away. Components are assumed to be
    equally probable.

    Args:
        points: samples, (N, D).
        centres: means of the components, (K, D), in the points' units.
        sigma: their common standard deviation along every axis.

    Returns:
        modes, the number of modes with at least one point of high quality; high_quality, the share
        of points within 3 sigma of their mode's centre; class_kl and reverse_kl, both KL(samples ‖
        uniform) over the modes in nats; class_tv, the total variation distance, in [0, 1].

    Raises:
        ValueError: no points, or dimensions differ from those of the centres.
    """
    if points.ndim != 2 or len(points) == 0 or points.shape[1:] != centres.shape[1:]:
        raise ValueError(
            f"points have shape {tuple(points.shape)}; must be (N, {centres.shape[1]}) with N ≥ 1"
        )
    distances, nearest = torch.cdist(
        points.double(), centres.double(), compute_mode="donot_use_mm_for_euclid_dist"
    ).min(1)  # both (N,)
    good = distances <= HIGH_QUALITY_SIGMAS * sigma  # (N,)
    counts = torch.bincount(nearest, minlength=len(centres))  # (K,)
    return {
        "modes": float(nearest[good].unique().numel()),
        "high_quality": float(good.double().mean()),
        **_divergences(counts, torch.ones(len(centres), dtype=torch.float64)),
    }


def perfect_sampler(
    frequencies: np.ndarray, samples: int, *, dimensions: int | None = None
) -> dict[str, float]:
    """Expected scores of independent samples from the distribution of the data.

    Exact, not simulated: reverse KL is the mean of the plug-in entropy over binomial counts, which
    is above KL(frequencies ‖ uniform) because n is finite, to first order by (K - 1) / 2n.

    Args:
        frequencies: probability of each mode, (K,).
        samples: n, at least 1.
        dimensions: D, if the modes are Gaussians in D dimensions; None for classes.

    Returns:
        modes_perfect, the mean number of modes hit; reverse_kl_perfect, the mean of KL(samples ‖
        uniform) in nats; and for Gaussians high_quality_perfect, the probability that a point lies
        within 3 sigma, 98.89 % in two dimensions.
    """
    p = np.asarray(frequencies, dtype=np.float64)
    good = 1.0 if dimensions is None else _within_sphere(dimensions)
    values, multiplicity = np.unique(p, return_counts=True)
    negative_entropy = sum(
        m * _mean_of_c_log_c(samples, q) / samples
        for m, q in zip(multiplicity, values, strict=True)
    )
    scores = {
        "modes_perfect": float((1 - (1 - p * good) ** samples).sum()),
        "reverse_kl_perfect": float(negative_entropy - math.log(samples) + math.log(len(p))),
    }
    return scores if dimensions is None else scores | {"high_quality_perfect": good}


def _within_sphere(dimensions: int) -> float:
    """P(|z| ≤ 3) for z ~ N(0, I) in D dimensions: the chi-square distribution function."""
    half = torch.tensor(dimensions / 2, dtype=torch.float64)
    squared = torch.tensor(HIGH_QUALITY_SIGMAS**2 / 2, dtype=torch.float64)
    return float(torch.special.gammainc(half, squared))


def _mean_of_c_log_c(n: int, p: float) -> float:
    """E[c ln c] for a binomial count c of n trials with probability p."""
    c = torch.arange(1, n + 1, dtype=torch.float64)  # (n,); c = 0 adds nothing
    log_pmf = (
        math.lgamma(n + 1)
        - torch.lgamma(c + 1)
        - torch.lgamma(n - c + 1)
        + c * math.log(p)
        + torch.xlogy(n - c, torch.tensor(1 - p, dtype=torch.float64))
    )
    return float((log_pmf.exp() * c * c.log()).sum())


def _divergences(counts: Tensor, target: Tensor) -> dict[str, float]:
    """Compare a histogram of samples, (K,), with the data's frequencies, (K,) on any scale."""
    sampled, target = counts.double() / counts.sum(), target / target.sum()
    return {
        "class_kl": float(torch.xlogy(sampled, sampled / target).sum()),
        "class_tv": float((sampled - target).abs().sum() / 2),
        "reverse_kl": float(torch.xlogy(sampled, sampled * len(target)).sum()),
    }
