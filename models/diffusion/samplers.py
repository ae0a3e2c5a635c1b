"""Samplers of discrete-time diffusion: pure functions from pure noise x_T to x_0.

Every coefficient is a Python float computed in float64 before the loop, so that no step waits for
the device. Denoisers predict the noise, eps = denoiser(x_t, t), with t (B,) int64 in {0, …, T - 1}.
"""

from collections.abc import Callable, Sequence
from typing import Literal

import torch
from torch import Generator, Tensor

from models.diffusion.schedules import (
    cumulative_alphas,
    posterior_mean_coefficients,
    posterior_variances,
)

Denoiser = Callable[[Tensor, Tensor], Tensor]
VARIANCES = ("fixed_large", "fixed_small")


def predict_x0(x_t: Tensor, eps: Tensor, alpha_bar: float) -> Tensor:
    """Recover the clean image from predicted noise, clipped to [-1, 1] (Ho et al. 2020, Eq. 15).

    Args:
        x_t: noisy images, (B, *shape).
        eps: predicted noise, same shape.
        alpha_bar: cumulative signal power, in (0, 1].
    """
    x_0 = x_t * alpha_bar**-0.5 - eps * (1.0 / alpha_bar - 1.0) ** 0.5
    return x_0.clamp_(-1.0, 1.0)


@torch.no_grad()
def sample_ancestral(
    denoiser: Denoiser,
    x_T: Tensor,
    betas: Tensor,
    generator: Generator,
    *,
    variance: Literal["fixed_large", "fixed_small"] = "fixed_large",
) -> Tensor:
    """Draw by all T steps of the learned reverse process (Ho et al. 2020, Algorithm 2 and Eq. 7).

    The mean is computed from a clipped x_0, as in the authors' code; where nothing is clipped it
    is Eq. 11.

    Args:
        denoiser: predicts the noise.
        x_T: pure noise, (B, *shape) float32.
        betas: variances of the forward process, (T,) float64.
        generator: source of the noise of every step, on the device of x_T.
        variance: sigma_t^2, beta_t ("fixed_large") or beta~_t ("fixed_small"), Sec. 3.2.

    Returns:
        Samples, (B, *shape) float32 in [-1, 1].

    Raises:
        ValueError: if variance is unknown.
    """
    variances = {"fixed_large": betas, "fixed_small": posterior_variances(betas)}
    if variance not in variances:
        raise ValueError(f"variance must be one of {sorted(variances)}, got {variance!r}")
    sigmas = variances[variance].sqrt().tolist()
    alpha_bars = cumulative_alphas(betas).tolist()
    weights_x_0, weights_x_t = (weights.tolist() for weights in posterior_mean_coefficients(betas))

    x = x_T
    for t in reversed(range(len(sigmas))):
        eps = denoiser(x, _timestep(t, x)).to(x.dtype)
        x_0 = predict_x0(x, eps, alpha_bars[t])
        x = weights_x_0[t] * x_0 + weights_x_t[t] * x
        if t > 0:
            x += sigmas[t] * _noise_like(x, generator)
    return x.clamp_(-1.0, 1.0)


def ddim_timesteps(
    num_timesteps: int, steps: int, spacing: Literal["trailing", "leading"] = "trailing"
) -> list[int]:
    """Choose which of the T timesteps DDIM visits, in the order of sampling (descending).

    Both are named as in diffusers and Lin et al. 2024, Table 2. "trailing" starts at the last
    timestep, where x_T is the pure noise that sampling starts from; "leading" is the paper's linear
    choice (Song et al. 2021, App. D.2), which starts up to T / steps short of it.

    Args:
        num_timesteps: T.
        steps: number of timesteps to visit, in [1, T].
        spacing: "trailing", T - 1, T - 1 - T / steps, …; "leading", …, T // steps, 0.

    Returns:
        Distinct timesteps, descending.

    Raises:
        ValueError: if steps is out of range or spacing is unknown.
    """
    if not 1 <= steps <= num_timesteps:
        raise ValueError(f"DDIM steps must be in [1, {num_timesteps}], got {steps}")
    if spacing == "trailing":
        return [round(num_timesteps * (1 - k / steps)) - 1 for k in range(steps)]
    if spacing == "leading":
        return [k * (num_timesteps // steps) for k in reversed(range(steps))]
    raise ValueError(f"spacing must be 'trailing' or 'leading', got {spacing!r}")


@torch.no_grad()
def sample_ddim(
    denoiser: Denoiser,
    x_T: Tensor,
    alpha_bar: Tensor,
    timesteps: Sequence[int],
    generator: Generator,
    *,
    eta: float = 0.0,
) -> Tensor:
    """Draw by the non-Markovian process of DDIM (Song et al. 2021, Eq. 12, Eq. 16 for sigma).

    The predicted x_0 is clipped and alpha_bar behind the last timestep is 1, so that sampling ends
    on a predicted x_0.

    Args:
        denoiser: predicts the noise.
        x_T: pure noise, (B, *shape) float32.
        alpha_bar: cumulative signal power, (T,) float64.
        timesteps: timesteps to visit, descending, as from `ddim_timesteps`.
        generator: source of the noise where eta > 0, on the device of x_T.
        eta: in [0, 1]; 0 is deterministic DDIM, 1 has DDPM's posterior variance.

    Returns:
        Samples, (B, *shape) float32 in [-1, 1].

    Raises:
        ValueError: if eta is not in [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be in [0, 1], got {eta}")
    signal = alpha_bar.tolist()
    powers = [signal[t] for t in timesteps] + [1.0]

    x = x_T
    for k, t in enumerate(timesteps):
        a, a_prev = powers[k], powers[k + 1]
        sigma = eta * ((1 - a_prev) / (1 - a) * (1 - a / a_prev)) ** 0.5
        eps = denoiser(x, _timestep(t, x)).to(x.dtype)
        x_0 = predict_x0(x, eps, a)
        x = a_prev**0.5 * x_0 + (1 - a_prev - sigma**2) ** 0.5 * eps
        if sigma > 0:
            x += sigma * _noise_like(x, generator)
    return x.clamp_(-1.0, 1.0)


def _timestep(t: int, x: Tensor) -> Tensor:
    """The timestep of every image of a batch, (B,) int64."""
    return torch.full((x.shape[0],), t, device=x.device, dtype=torch.int64)


def _noise_like(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise of x's shape, type and device, drawn from the generator."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)
