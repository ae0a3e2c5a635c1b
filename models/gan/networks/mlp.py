"""Fully connected generator and discriminator for data of any shape, points included.

The source document does not specify the initialisation of weights. torch's default for linear
layers reduces the signal in each layer, so that initially all latents give nearly identical
samples; the discriminator then wins at once and samples stay nearly identical. He initialisation
preserves the variance of the signal, and training succeeds.
"""

import math
from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from torch import Tensor, nn


class Generator(nn.Module):
    """Latents to samples through ReLU units, tanh output."""

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        *,
        hidden: Sequence[int] = (256, 512, 1024),
    ) -> None:
        """Build the network.

        Args:
            latent_dim: length of the latents.
            data_shape: shape of one sample.
            hidden: units of the hidden layers; the document's by default.

        Raises:
            ValueError: a layer has no units.
        """
        super().__init__()
        self.data_shape = tuple(data_shape)
        widths = (latent_dim, *hidden, math.prod(self.data_shape))
        self.layers = nn.Sequential(*_stack(widths, nn.ReLU), nn.Tanh())
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents, (B, latent_dim), to samples in [-1, 1], (B, *data_shape)."""
        return self.layers(z).unflatten(1, self.data_shape)  # (B, *data_shape)


class Discriminator(nn.Module):
    """Samples to logits through LeakyReLU(0.2) units.

    The source ends in a sigmoid and uses BCELoss. Here the sigmoid is part of the loss (see
    `models.gan.objectives`), which is mathematically identical and does not overflow.
    """

    def __init__(
        self, data_shape: tuple[int, ...], *, hidden: Sequence[int] = (1024, 512, 256)
    ) -> None:
        """Build the network.

        Args:
            data_shape: shape of one sample.
            hidden: units of the hidden layers; the document's by default.

        Raises:
            ValueError: a layer has no units.
        """
        super().__init__()
        widths = (math.prod(data_shape), *hidden, 1)
        self.layers = nn.Sequential(nn.Flatten(), *_stack(widths, partial(nn.LeakyReLU, 0.2)))
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map samples, (B, *data_shape), to logits of "real", (B,)."""
        return self.layers(x).squeeze(1)  # (B,)


def _stack(widths: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    """Linear layers between these widths, with an activation after each except the last."""
    if min(widths) < 1:
        raise ValueError(f"hidden layers must have at least 1 unit each, got {widths[1:-1]}")
    layers: list[nn.Module] = []
    for width_in, width_out in pairwise(widths):
        layers += [nn.Linear(width_in, width_out), activation()]
    return layers[:-1]


def initialise(network: nn.Module) -> None:
    """Initialise weights from N(0, 2 / fan-in) and set biases to zero (He et al. 2015, Eq. 10)."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
