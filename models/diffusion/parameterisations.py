"""What a denoiser predicts (noise, clean sample or velocity), and weights of its squared error.

Everywhere x_t = alpha · x_0 + sigma · eps with alpha² + sigma² = 1.
"""

from collections.abc import Callable
from typing import Literal

import torch
from torch import Tensor

Parameterisation = Literal["eps", "x_0", "v"]
PARAMETERISATIONS = ("eps", "x_0", "v")


def target(
    predicts: Parameterisation, x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should predict.

    Args:
        predicts: "eps" (Ho et al. 2020, Eq. 14), "x_0", or "v" (Salimans & Ho 2022, App. D).
        x_0: clean samples, (B, *shape).
        eps: the noise in x_t, same shape.
        alpha: factor of the signal, (B, 1, …).
        sigma: factor of the noise, (B, 1, …).
    """
    if predicts == "eps":
        return eps
    if predicts == "x_0":
        return x_0
    return alpha * eps - sigma * x_0


def to_x_0(
    predicts: Parameterisation, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """The clean sample that a network's output stands for.

    Args:
        predicts: what the output is.
        output: of the network, (B, *shape).
        x_t: noisy samples, same shape.
        alpha: factor of the signal, (B, 1, …), positive.
        sigma: factor of the noise, (B, 1, …).
    """
    if predicts == "eps":
        return (x_t - sigma * output) / alpha
    if predicts == "x_0":
        return output
    return alpha * x_t - sigma * output


Weighting = Callable[[Tensor, Parameterisation], Tensor]
"""(alpha_bar (T,) float64, what is predicted) → weights (T,) float64."""


def simple() -> Weighting:
    """Weight 1 at every timestep, in what is predicted: L_simple (Ho et al. 2020, Eq. 14)."""
    return lambda alpha_bar, predicts: torch.ones_like(alpha_bar)


def min_snr(gamma: float = 5.0) -> Weighting:
    """min(SNR, gamma) in x_0, which bounds the weight of little noise (Hang et al. 2023, Sec. 3.4).

    Raises:
        ValueError: gamma is not positive.
    """
    if not gamma > 0:
        raise ValueError(f"gamma of the min-SNR weighting must be positive, got {gamma}")

    def weights(alpha_bar: Tensor, predicts: Parameterisation) -> Tensor:
        return _snr(alpha_bar).clamp(max=gamma) / _x_0_errors(alpha_bar, predicts)

    return weights


def vlb() -> Weighting:
    """The variational bound's own weights, with the posterior's variance (Ho et al. 2020, Eq. 12).

    In x_0 the weight is half the SNR that a step removes (Kingma et al. 2021, Eq. 14). The first
    step, whose term is a likelihood and not a divergence, has half the SNR that is left.
    """

    def weights(alpha_bar: Tensor, predicts: Parameterisation) -> Tensor:
        snr = _snr(alpha_bar)
        removed = torch.cat([snr[:1], snr[:-1] - snr[1:]])
        return 0.5 * removed / _x_0_errors(alpha_bar, predicts)

    return weights


def _snr(alpha_bar: Tensor) -> Tensor:
    return alpha_bar / (1.0 - alpha_bar)


def _x_0_errors(alpha_bar: Tensor, predicts: Parameterisation) -> Tensor:
    """Squared errors of what is predicted per squared error of x_0, (T,)."""
    snr = _snr(alpha_bar)
    return {"eps": snr, "x_0": torch.ones_like(snr), "v": snr + 1.0}[predicts]
