"""What a denoiser predicts: the noise, the clean sample or the velocity; and how they convert.

With x_t = alpha · x_0 + sigma · eps and alpha² + sigma² = 1.
"""

from typing import Literal

from torch import Tensor

Parameterisation = Literal["eps", "x_0", "v"]
PARAMETERISATIONS = ("eps", "x_0", "v")


def target(
    predicts: Parameterisation, x_0: Tensor, eps: Tensor, alpha: Tensor, sigma: Tensor
) -> Tensor:
    """What the network should give.

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
