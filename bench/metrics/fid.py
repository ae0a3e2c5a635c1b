"""Fréchet distance between Gaussians fitted to features (Heusel et al. 2017)."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Array = NDArray[np.float64]


def statistics(features: Tensor) -> tuple[Array, Array]:
    """Fit a Gaussian to features.

    Args:
        features: (N, D), N at least 2.

    Returns:
        The mean, (D,), and the unbiased covariance, (D, D), both float64.

    Raises:
        ValueError: features that are not two-dimensional, fewer than two of them, or not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features have shape {tuple(features.shape)}; must be (N, D) with N ≥ 2")
    x = features.detach().cpu().numpy().astype(np.float64)
    if not np.isfinite(x).all():
        raise ValueError("features hold values that are not finite")
    mu = x.mean(axis=0)
    x -= mu
    return mu, x.T @ x / (len(x) - 1)


def frechet_distance(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982, Eq. 4).

    |μ₁ - μ₂|² + Tr Σ₁ + Tr Σ₂ - 2 Tr (Σ₁Σ₂)^½, where the last trace is taken over a factor
    Σ₁ = L Lᵀ: Σ₁Σ₂ has the eigenvalues of the symmetric Lᵀ Σ₂ L, so only real eigenvalues are
    computed, and rank deficiency (fewer samples than dimensions) does no harm.

    Args:
        mu1: mean of the first, (D,).
        sigma1: covariance of the first, (D, D), symmetric positive semi-definite.
        mu2: mean of the second.
        sigma2: covariance of the second.

    Returns:
        The distance, as torch-fidelity's `fid_statistics_to_metric`; rounding may leave an
        identical pair slightly below zero.

    Raises:
        ValueError: shapes that do not agree.
    """
    d = len(mu1)
    shapes = (np.shape(mu1), np.shape(sigma1), np.shape(mu2), np.shape(sigma2))
    if shapes != ((d,), (d, d), (d,), (d, d)):
        raise ValueError(f"shapes of mu1, sigma1, mu2, sigma2 do not agree: {shapes}")
    first, second = (torch.from_numpy(np.ascontiguousarray(s)) for s in (sigma1, sigma2))
    factor, failed = torch.linalg.cholesky_ex(first)
    if failed:  # singular: perhaps the other one is not, and the eigenvalues are the same
        first, second = second, first
        factor, failed = torch.linalg.cholesky_ex(first)
    if failed:
        factor = _spectral_factor(first)
    eigenvalues = torch.linalg.eigvalsh(factor.T @ second @ factor)  # (D,)
    # Zero eigenvalues come out as rounding errors, whose square roots would add up.
    eigenvalues[eigenvalues < d * np.finfo(np.float64).eps * eigenvalues[-1].abs()] = 0
    difference = mu1 - mu2
    trace = np.trace(sigma1) + np.trace(sigma2) - 2 * eigenvalues.sqrt().sum().item()
    return float(difference @ difference + trace)


def _spectral_factor(sigma: Tensor) -> Tensor:
    """A factor L, (D, D), of a singular covariance L Lᵀ."""
    values, vectors = torch.linalg.eigh(sigma)
    return vectors * values.clamp(min=0).sqrt()
