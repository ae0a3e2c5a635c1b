"""A fully connected denoiser with time embedding, for points and other data of few dimensions."""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.diffusion.networks.embedding import Sinusoids


class DenoiserMLP(nn.Module):
    """Predicts the noise in x_t: residual layers, each shifted by an embedding of the timestep.

    The timestep enters as in DDPM (Ho et al. 2020, App. B): sinusoids of geometric frequencies
    through two linear layers, then one projection for every layer. Coordinates enter with their
    Fourier features (Tancik et al. 2020, Sec. 4, at powers of two): at low noise the prediction is
    a sawtooth around every mode, which a network of raw coordinates learns very slowly. The last
    layer starts at zero, so that the first prediction is no noise at all.
    """

    octaves: Tensor

    def __init__(
        self,
        data_shape: tuple[int, ...],
        *,
        width: int = 256,
        layers: int = 4,
        octaves: int = 6,
        num_times: int = 1,
    ) -> None:
        """Build the network.

        Args:
            data_shape: shape of one sample; it is flattened.
            width: units of every layer, even and at least 4.
            layers: residual layers, at least 1.
            octaves: Fourier features per coordinate, of periods 2, 1, 1/2, …; 0 for none.
            num_times: T, timesteps that the network is told of each sample.

        Raises:
            ValueError: if width, layers or octaves is out of its range.
        """
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width must be even and at least 4, got {width}")
        if layers < 1:
            raise ValueError(f"layers must be at least 1, got {layers}")
        if octaves < 0:
            raise ValueError(f"octaves must not be negative, got {octaves}")
        self.sinusoids = Sinusoids(width)
        self.time_mlp = nn.Sequential(
            nn.Linear(num_times * width, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU()
        )
        dimensions = math.prod(data_shape)
        waves = math.pi * 2.0 ** torch.arange(octaves)  # (octaves,)
        self.register_buffer("octaves", waves, persistent=False)
        self.first = nn.Linear(dimensions * (1 + 2 * octaves), width)
        self.shifts = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(layers))
        self.last = nn.Linear(width, dimensions)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict the noise.

        Args:
            x_t: noisy samples, (B, *data_shape).
            t: timesteps, (B,), float or integer; (B, T) if the network is told several.

        Returns:
            The noise, (B, *data_shape).
        """
        embedding = self.time_mlp(self.sinusoids(t))  # (B, width)
        x = x_t.flatten(1)  # (B, D)
        phases = (x[:, :, None] * self.octaves).flatten(1)  # (B, D · octaves)
        h = self.first(torch.cat([x, phases.sin(), phases.cos()], dim=1))  # (B, width)
        for layer, shift in zip(self.layers, self.shifts, strict=True):
            h = h + layer(F.silu(h + shift(embedding)))  # (B, width)
        return self.last(F.silu(h)).view_as(x_t)  # (B, *data_shape)
