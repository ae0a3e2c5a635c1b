"""Fréchet distance of Gaussians fitted to features (Heusel et al. 2017), and what biases it."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.metrics.features import Features
from bench.metrics.resampling import METRIC_SEED, subset

Array = NDArray[np.float64]

BLOCK = 4096
"""Samples held in float64 at a time: 64 MiB at 2048 dimensions."""

INFINITY_SIZES = 15


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
    blocks = [block.detach().cpu().numpy() for block in features.split(BLOCK)]
    mu = np.stack([block.sum(axis=0, dtype=np.float64) for block in blocks]).sum(0) / len(features)
    if not np.isfinite(mu).all():  # one value that is not makes its mean so
        raise ValueError("features hold values that are not finite")
    sigma = np.zeros((len(mu), len(mu)))
    for block in blocks:
        centred = block - mu  # float64
        sigma += centred.T @ centred
    return mu, sigma / (len(features) - 1)


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


def fid_infinity(
    real: Features | Tensor, fake: Features | Tensor, *, seed: int = METRIC_SEED
) -> float:
    """FID that infinitely many fake samples would have (Chong & Forsyth 2020, Sec. 4).

    FID of n fake samples exceeds its limit by nearly c / n. It is measured on random subsets of 15
    evenly spaced sizes, a line is fitted to it over 1 / n, and the intercept is returned. All real
    samples are used at every size. The smallest size is a tenth of the samples, as in the paper,
    but twice the dimensions (or half the samples, if that is less): below, covariances are
    singular and the bias is no longer linear in 1 / n.

    Args:
        real: the reference, N samples.
        fake: generated samples, at least four.
        seed: of the subsets.

    Raises:
        ValueError: too few samples, or features that are not finite.
    """
    x, y = (each.features if isinstance(each, Features) else each for each in (real, fake))
    if len(y) < 4:
        raise ValueError(f"{len(y)} fake samples; FID∞ needs at least 4")
    reference = statistics(x)
    smallest = max(len(y) // 10, min(2 * y.shape[1], len(y) // 2), 2)
    sizes = np.linspace(smallest, len(y), INFINITY_SIZES).astype(int)
    distances = [
        frechet_distance(*reference, *statistics(subset(y, n, seed + i)))
        for i, n in enumerate(sizes)
    ]
    return float(np.polynomial.Polynomial.fit(1 / sizes, distances, 1)(0))


def influences(mu: Array, sigma: Array, fake: Tensor) -> Tensor:
    """How much the Fréchet distance changes per unit of weight moved onto each fake sample.

    To first order a sample x moves the mean by (x - μ₂) / n and the covariance by
    (x - μ₂)(x - μ₂)ᵀ / (n - 1), less its share of what is there. The gradient of the distance in μ₂
    is 2 (μ₂ - μ₁), in Σ₂ it is 1 - L (Lᵀ Σ₂ L)^-½ Lᵀ, where Σ₁ = L Lᵀ. Directions that the fake
    samples do not span are left out.

    Args:
        mu: mean of the real features, (D,).
        sigma: their covariance, (D, D).
        fake: (N, D), N at least 2.

    Returns:
        (N,) float64 with mean zero. The distance of the samples resampled with weights w is the
        distance plus Σ w_i influence_i / N, but for terms of second order.
    """
    mean, covariance = statistics(fake)
    factor, failed = torch.linalg.cholesky_ex(torch.from_numpy(sigma))
    if failed:
        factor = _spectral_factor(torch.from_numpy(sigma))
    product = factor.T @ torch.from_numpy(covariance) @ factor
    values, vectors = torch.linalg.eigh(product)
    spanned = values > len(mu) * np.finfo(np.float64).eps * values[-1]
    directions, scales = factor @ vectors[:, spanned], values[spanned].rsqrt()
    bias = len(fake) / (len(fake) - 1)
    effects = []
    for block in fake.detach().cpu().split(BLOCK):
        x = block - torch.from_numpy(mean)  # (B, D) float64
        quadratic = x.square().sum(1) - (x @ directions).square() @ scales
        effects.append(2 * x @ torch.from_numpy(mean - mu) + bias * quadratic)
    effect = torch.cat(effects)  # (N,)
    return effect - effect.mean()


def _spectral_factor(sigma: Tensor) -> Tensor:
    """A factor L, (D, D), of a singular covariance L Lᵀ."""
    values, vectors = torch.linalg.eigh(sigma)
    return vectors * values.clamp(min=0).sqrt()
