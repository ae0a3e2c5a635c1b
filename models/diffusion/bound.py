"""The variational bound on the negative log-likelihood, term by term, in bits per dimension.

-log p(x_0) <= L_prior + sum of L_t over t = 1 … T - 1 + L_reconstruction (Ho et al. 2020, Eq. 5;
t is 0-based here, and t = 0 is the reconstruction). Data are 8-bit values scaled to [-1, 1].
"""

import math

import torch
from torch import Tensor

from models.diffusion.noise_path import Denoiser, Prediction
from models.diffusion.samplers import Variance
from models.diffusion.schedules import ForwardProcess

DRAWS = 4
"""Timesteps at which the divergences are estimated, per sample."""

BIN = 2.0 / 255.0
"""Distance of two neighbouring 8-bit values in [-1, 1]."""


def gaussian_kl(
    mean: Tensor, log_variance: Tensor, other_mean: Tensor, other_log_variance: Tensor
) -> Tensor:
    """KL(N(mean, exp log_variance) || N(other_mean, exp other_log_variance)), elementwise, nats."""
    return 0.5 * (
        other_log_variance
        - log_variance
        - 1.0
        + (log_variance - other_log_variance).exp()
        + (mean - other_mean).square() * (-other_log_variance).exp()
    )


def discretised_log_likelihood(x_0: Tensor, mean: Tensor, log_variance: Tensor) -> Tensor:
    """Log-probability of 8-bit values under a Gaussian cut into bins (Ho et al. 2020, Eq. 13).

    The bins at -1 and 1 reach to infinity, so that the 256 probabilities sum to one.

    Args:
        x_0: 8-bit values scaled to [-1, 1], (B, *shape) float32.
        mean: of the Gaussian, same shape.
        log_variance: of the Gaussian, broadcastable.

    Returns:
        Elementwise, nats, at most 0.
    """
    scale = (-0.5 * log_variance).exp()
    upper, lower = (x_0 - mean + BIN / 2) * scale, (x_0 - mean - BIN / 2) * scale
    below = torch.special.log_ndtr(upper)  # log P(bin or below)
    above = torch.special.log_ndtr(-lower)  # log P(bin or above)
    # P(bin) = Phi(upper) - Phi(lower), on the side of the mean where neither is close to 1.
    right = lower > 0
    large = torch.where(right, above, below)
    small = torch.where(right, torch.special.log_ndtr(-upper), torch.special.log_ndtr(lower))
    gap = (large - small).clamp(min=1e-6)
    inside = large + torch.log(-torch.expm1(-gap))
    return torch.where(
        x_0 < -1 + BIN / 2, below, torch.where(x_0 > 1 - BIN / 2, above, inside)
    ).clamp(min=-1e4)


def prior_bits(x_0: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """L_prior: what the last noise level tells about x_0, KL(q(x_T | x_0) || N(0, I)).

    Args:
        x_0: clean samples, (B, *shape).
        alpha: factor of the signal at the last timestep, broadcastable.
        sigma: factor of the noise there.

    Returns:
        Bits per dimension, (B,).
    """
    log_variance = 2.0 * sigma.log()
    zero = torch.zeros_like(log_variance)
    return bits(gaussian_kl(alpha * x_0, log_variance, zero, zero))


def bits(nats: Tensor) -> Tensor:
    """Mean over all dimensions but the first, in bits: (B, *shape) → (B,)."""
    return nats.flatten(1).mean(dim=1) / math.log(2.0)


def stratified_timesteps(
    num_timesteps: int, draws: int, batch: int, generator: torch.Generator
) -> Tensor:
    """Uniform timesteps in {1, …, T - 1}, (draws, batch) int64; a sample's are in equal strata."""
    device = generator.device
    uniform = torch.rand(draws, batch, generator=generator, device=device, dtype=torch.float64)
    stratum = torch.arange(draws, device=device)[:, None]
    share = (stratum + uniform) / draws  # (draws, batch) in [0, 1)
    return 1 + (share * (num_timesteps - 1)).long().clamp(max=num_timesteps - 2)


def terms(
    process: ForwardProcess,
    x_0: Tensor,
    x_t: Tensor,
    t: Tensor,
    prediction: Prediction,
    variance: Variance,
) -> Tensor:
    """The bound's term at each sample's own timestep (Ho et al. 2020, Eq. 5).

    Args:
        process: the forward process.
        x_0: clean samples, (B, *shape), 8-bit values in [-1, 1].
        x_t: noisy ones at t.
        t: timesteps, (B,) int64; at 0 the term is the reconstruction's.
        prediction: the denoiser's, for x_t and t.
        variance: of the reverse steps. As in Nichol & Dhariwal's code, the first step has the
            second's posterior variance where it is not learned.

    Returns:
        Bits per dimension, (B,).
    """
    dim = x_0.dim()
    fraction: Tensor | float = 0.0
    if variance == "learned" and prediction.fraction is not None:
        fraction = prediction.fraction
    elif variance == "fixed_large":
        fraction = (t > 0).float().view(-1, *(1,) * (dim - 1))
    log_variance = process.log_variance(t, dim, fraction)
    mean = process.posterior_mean(prediction.x_0, x_t, t)
    true_mean = process.posterior_mean(x_0, x_t, t)
    true_log_variance = process.log_variance(t, dim, 0.0)
    divergence = bits(gaussian_kl(true_mean, true_log_variance, mean, log_variance))
    reconstruction = bits(-discretised_log_likelihood(x_0, mean, log_variance))
    return torch.where(t == 0, reconstruction, divergence)


def estimate(
    process: ForwardProcess,
    denoiser: Denoiser,
    x_0: Tensor,
    variance: Variance,
    generator: torch.Generator,
    draws: int = DRAWS,
) -> dict[str, Tensor]:
    """Estimate the bound, without bias, from the divergences at few timesteps.

    Args:
        process: the forward process.
        denoiser: of that process.
        x_0: samples, (B, *shape), 8-bit values in [-1, 1].
        variance: of the reverse steps.
        generator: source of noise and timesteps, on the device of x_0.
        draws: timesteps per sample.

    Returns:
        "bits_per_dim" and its parts "bits_prior", "bits_kl" and "bits_reconstruction", each (B,).
    """

    def term(t: Tensor) -> Tensor:
        eps = torch.randn(x_0.shape, generator=generator, device=x_0.device)
        x_t = process.diffuse(x_0, t, eps)
        return terms(process, x_0, x_t, t, denoiser(x_t, t.float()), variance)

    steps = process.num_timesteps - 1
    last = torch.full((len(x_0),), steps, device=x_0.device)
    timesteps = stratified_timesteps(process.num_timesteps, draws, len(x_0), generator)
    parts = {
        "bits_prior": prior_bits(x_0, *process.levels(last, x_0.dim())),
        "bits_kl": steps * torch.stack([term(t) for t in timesteps]).mean(dim=0),
        "bits_reconstruction": term(torch.zeros_like(last)),
    }
    return {"bits_per_dim": torch.stack(list(parts.values())).sum(dim=0), **parts}
