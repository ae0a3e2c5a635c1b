"""Fréchet distance of Gaussians fitted to features (Heusel et al. 2017), and its bias."""

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from bench.evaluation.metrics.decompositions import eigh, eigvalsh, svdvals, to_unit
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.resampling import METRIC_SEED, subset

Array = NDArray[np.float64]

BLOCK = 4096
"""Samples held in float64 at a time: 64 MiB at 2048 dimensions."""

INFINITY_SIZES = 15

EPS = np.finfo(np.float64).eps

TOLERANCE = 1e-11
"""Estimated relative error of the Fréchet distance up to which eigenvalues replace singular values.
Errors of opposite sign may cancel in the estimate: a distance was off by 50 times as much."""


def statistics(features: Tensor) -> tuple[Array, Array]:
    """Fit a Gaussian to features.

    Args:
        features: (N, D), N at least 2.

    Returns:
        The mean, (D,), and the unbiased covariance, (D, D), both float64.

    Raises:
        ValueError: features are not two-dimensional, fewer than two, or not finite.
    """
    if features.ndim != 2 or len(features) < 2:
        raise ValueError(f"features have shape {tuple(features.shape)}; must be (N, D) with N ≥ 2")
    blocks = [block.detach().cpu().numpy() for block in features.split(BLOCK)]
    mu = np.stack([block.sum(axis=0, dtype=np.float64) for block in blocks]).sum(0) / len(features)
    if not np.isfinite(mu).all():  # one value that is not finite makes the mean so
        raise ValueError("features hold values that are not finite")
    sigma = np.zeros((len(mu), len(mu)))
    for block in blocks:
        centred = block - mu  # float64
        sigma += centred.T @ centred
    return mu, sigma / (len(features) - 1)


def frechet_distance(mu1: Array, sigma1: Array, mu2: Array, sigma2: Array) -> float:
    """Squared Fréchet distance of two Gaussians (Dowson & Landau 1982, Eq. 4).

    |μ₁ - μ₂|² + Tr Σ₁ + Tr Σ₂ - 2 Tr (Σ₁Σ₂)^½. With factors Σ₁ = L₁L₁ᵀ and Σ₂ = L₂L₂ᵀ the last
    trace is the sum of the singular values of L₁ᵀL₂. No direction of small variance is dropped, and
    covariances may be singular (fewer samples than dimensions).

    Args:
        mu1: mean of the first, (D,).
        sigma1: covariance of the first, (D, D), symmetric positive semi-definite.
        mu2: mean of the second.
        sigma2: covariance of the second.

    Returns:
        The distance, as torch-fidelity's `fid_statistics_to_metric`; rounding may leave an
        identical pair slightly below zero.

    Raises:
        ValueError: shapes do not agree.
    """
    d = len(mu1)
    shapes = (np.shape(mu1), np.shape(sigma1), np.shape(mu2), np.shape(sigma2))
    if shapes != ((d,), (d, d), (d,), (d, d)):
        raise ValueError(f"shapes of mu1, sigma1, mu2, sigma2 do not agree: {shapes}")
    factors = [_factor(torch.from_numpy(np.ascontiguousarray(each))) for each in (sigma1, sigma2)]
    product, scale = to_unit(factors[0].T @ factors[1])  # (R, R'), full rank
    difference = mu1 - mu2
    apart = float(difference @ difference + (np.trace(sigma1) + np.trace(sigma2)))
    if product.shape == (d, d):  # both factors are triangular
        determinant = sum(2 * float(each.diagonal().log().sum()) for each in factors)
        determinant -= 2 * d * math.log(scale)
        trace, error = _sum_of_roots(_lower_gram(product), determinant)
        if 2 * scale * error <= TOLERANCE * abs(apart - 2 * scale * trace):
            return apart - 2 * scale * trace
    return apart - 2 * scale * float(svdvals(product).sum())


def _lower_gram(matrix: Tensor) -> Tensor:
    """M Mᵀ, (D, D), without its upper right quarter, which is not computed."""
    gram, half = torch.zeros_like(matrix), len(matrix) // 2
    torch.mm(matrix[half:], matrix.T, out=gram[half:])
    torch.mm(matrix[:half], matrix[:half].T, out=gram[:half, :half])
    return gram


def _sum_of_roots(matrix: Tensor, log_determinant: float) -> tuple[float, float]:
    """Sum of the roots of a matrix's eigenvalues, and an estimate of its rounding error.

    Takes a third of the time of singular values, but each eigenvalue has a rounding error relative
    to the largest one. This error is estimated from the product of all eigenvalues, to which the
    smallest contribute as much as the largest.

    Args:
        matrix: symmetric, (D, D); its lower triangle is read.
        log_determinant: logarithm of its determinant, known to float64.

    Returns:
        The sum and its error; both NaN if an eigenvalue was rounded to zero or below.
    """
    eigenvalues = eigvalsh(matrix)
    mismatch = abs(float(eigenvalues.log().sum()) - log_determinant) + len(matrix) * EPS
    rounding = mismatch / (1 / eigenvalues).sum()  # of each, if all have equal rounding
    roots = eigenvalues.sqrt()
    return float(roots.sum()), float((rounding / (2 * roots)).sum())


def fid_infinity(
    real: Features | Tensor,
    fake: Features | Tensor,
    *,
    seed: int = METRIC_SEED,
    reference: tuple[Array, Array] | None = None,
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
        seed: seed of the subsets.
        reference: `statistics` of the reference, if already computed.

    Raises:
        ValueError: too few samples, or features are not finite.
    """
    x, y = (each.features if isinstance(each, Features) else each for each in (real, fake))
    if len(y) < 4:
        raise ValueError(f"{len(y)} fake samples; FID∞ needs at least 4")
    reference = reference or statistics(x)
    smallest = max(len(y) // 10, min(2 * y.shape[1], len(y) // 2), 2)
    sizes = np.linspace(smallest, len(y), INFINITY_SIZES).astype(int)
    distances = [
        frechet_distance(*reference, *statistics(subset(y, n, seed + i)))
        for i, n in enumerate(sizes)
    ]
    return float(np.polynomial.Polynomial.fit(1 / sizes, distances, 1)(0))


def influences(mu: Array, sigma: Array, fake: Tensor) -> Tensor:
    """Change of the Fréchet distance per unit of weight moved onto each fake sample.

    To first order a sample x moves the mean by (x - μ₂) / n and the covariance by
    (x - μ₂)(x - μ₂)ᵀ / (n - 1), minus its share of the current value. The gradient of the distance
    in μ₂ is 2 (μ₂ - μ₁), in Σ₂ it is 1 - L (Lᵀ Σ₂ L)^-½ Lᵀ, where Σ₁ = L Lᵀ. Directions that the
    fake samples do not span are dropped.

    Args:
        mu: mean of the real features, (D,).
        sigma: their covariance, (D, D).
        fake: (N, D), N at least 2.

    Returns:
        (N,) float64 with mean zero. The distance of the samples resampled with weights w is the
        distance plus Σ w_i influence_i / N, up to second order.
    """
    mean, covariance = statistics(fake)
    factor = _factor(torch.from_numpy(sigma))  # (D, R)
    product = factor.T @ torch.from_numpy(covariance) @ factor
    values, vectors = eigh(product)
    spanned = values > len(mu) * EPS * values[-1:].clamp(min=0)
    directions, scales = factor @ vectors[:, spanned], values[spanned].rsqrt()
    bias = len(fake) / (len(fake) - 1)
    effects = []
    for block in fake.detach().cpu().split(BLOCK):
        x = block - torch.from_numpy(mean)  # (B, D) float64
        quadratic = x.square().sum(1) - (x @ directions).square() @ scales
        effects.append(2 * x @ torch.from_numpy(mean - mu) + bias * quadratic)
    effect = torch.cat(effects)  # (N,)
    return effect - effect.mean()


def _factor(sigma: Tensor) -> Tensor:
    """A factor L, (D, rank), of a covariance L Lᵀ, without directions within rounding error.

    Rounding is judged for columns divided by their standard deviations, so that columns of small
    scale are treated like the others.
    """
    least = len(sigma) * EPS
    factor, failed = torch.linalg.cholesky_ex(sigma)
    if not failed and bool((factor.diagonal().square() > least * sigma.diagonal()).all()):
        return factor
    deviations = sigma.diagonal().clamp(min=0).sqrt()  # (D,)
    inverse = torch.where(deviations > 0, 1 / deviations, 0)
    values, vectors = eigh(inverse[:, None] * sigma * inverse)
    kept = values > least * values[-1]
    return deviations[:, None] * vectors[:, kept] * values[kept].sqrt()
