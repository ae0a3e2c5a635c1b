"""Fully connected generator and discriminator for data of any shape, points included.

The document that they follow does not say how weights are initialised. torch's default for linear
layers shrinks the signal at each of them, so that at first all latents give nearly the same sample;
trained that way the discriminator wins at once and samples stay near-identical. He initialisation
keeps the signal's variance, and the same game learns.
"""

import math

from torch import Tensor, nn


class Generator(nn.Module):
    """Latents to samples through 256, 512 and 1024 ReLU units, tanh output."""

    def __init__(self, latent_dim: int, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.data_shape = tuple(data_shape)
        self.layers = nn.Sequential(
            nn.Linear(latent_dim, 256),
            nn.ReLU(),
            nn.Linear(256, 512),
            nn.ReLU(),
            nn.Linear(512, 1024),
            nn.ReLU(),
            nn.Linear(1024, math.prod(self.data_shape)),
            nn.Tanh(),
        )
        initialise(self)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents, (B, latent_dim), to samples in [-1, 1], (B, *data_shape)."""
        return self.layers(z).unflatten(1, self.data_shape)  # (B, *data_shape)


class Discriminator(nn.Module):
    """Samples to logits through 1024, 512 and 256 LeakyReLU(0.2) units.

    The sketch that this follows ends in a sigmoid and uses BCELoss. Here the sigmoid belongs to the
    loss (see `models.gan.objectives`), which is mathematically identical and does not overflow.
    """

    def __init__(self, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(math.prod(data_shape), 1024),
            nn.LeakyReLU(0.2),
            nn.Linear(1024, 512),
            nn.LeakyReLU(0.2),
            nn.Linear(512, 256),
            nn.LeakyReLU(0.2),
            nn.Linear(256, 1),
        )
        initialise(self)

    def forward(self, x: Tensor) -> Tensor:
        """Map samples, (B, *data_shape), to logits of being real, (B,)."""
        return self.layers(x).squeeze(1)  # (B,)


def initialise(network: nn.Module) -> None:
    """Draw weights from N(0, 2 / fan-in) and set biases to zero (He et al. 2015, Eq. 10)."""
    for layer in network.modules():
        if isinstance(layer, nn.Linear):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.zeros_(layer.bias)
