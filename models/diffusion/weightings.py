"""Weights of the squared error at each timestep, for what the network predicts.

An error in x_0 is an error in eps times 1/SNR and an error in v times 1/(SNR + 1), where SNR =
alpha_bar / (1 - alpha_bar). Weights are defined in x_0 and converted.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from models.diffusion.parameterisations import Parameterisation

Weighting = Callable[[Tensor, Parameterisation], Tensor]
"""(alpha_bar (T,) float64, what is predicted) → weights (T,) float64."""


def simple() -> Weighting:
    """Every timestep counts alike in what is predicted: L_simple (Ho et al. 2020, Eq. 14)."""
    return lambda alpha_bar, predicts: torch.ones_like(alpha_bar)


def min_snr(gamma: float = 5.0) -> Weighting:
    """min(SNR, gamma) in x_0 (Hang et al. 2023, Sec. 3.4): little noise counts no more than gamma.

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

    In x_0 they are half the SNR that a step removes (Kingma et al. 2021, Eq. 14). The first step,
    whose term is a likelihood and not a divergence, gets half the SNR that is left.
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
