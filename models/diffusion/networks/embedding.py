"""The embedding of timesteps: sinusoids of geometric frequencies, then two linear layers."""

import math

import torch
from torch import Tensor, nn

MAX_PERIOD = 10_000.0


class Sinusoids(nn.Module):
    """Maps t, (B,), to sines and cosines of geometric frequencies, (B, width).

    Several times of a sample, (B, T), have theirs side by side, (B, T · width).
    """

    frequencies: Tensor

    def __init__(self, width: int) -> None:
        """Build for a width that is even and at least 4.

        Raises:
            ValueError: it is not.
        """
        super().__init__()
        if width < 4 or width % 2:
            raise ValueError(f"width of a time embedding must be even and at least 4, got {width}")
        exponents = torch.arange(width // 2, dtype=torch.float64) / (width // 2 - 1)
        frequencies = torch.exp(-math.log(MAX_PERIOD) * exponents).float()  # (width / 2,)
        self.register_buffer("frequencies", frequencies, persistent=False)

    def forward(self, t: Tensor) -> Tensor:
        """Map timesteps, (B,) or (B, T), float or integer, to (B, width) or (B, T · width)."""
        angles = t.float()[..., None] * self.frequencies  # (B, …, width / 2)
        return torch.cat([angles.sin(), angles.cos()], dim=-1).flatten(1)


class TimeEmbedding(nn.Module):
    """Maps t, (B,) or (B, T), to (B, width) (Ho et al. 2020, App. B)."""

    def __init__(self, width: int, num_times: int = 1) -> None:
        """Build for a width that is even and at least 4, and for T times of each sample.

        Raises:
            ValueError: it is not.
        """
        super().__init__()
        self.sinusoids = Sinusoids(width)
        self.mlp = nn.Sequential(
            nn.Linear(num_times * width, width), nn.SiLU(), nn.Linear(width, width)
        )

    def forward(self, t: Tensor) -> Tensor:
        """Map timesteps, (B,) or (B, T), float or integer, to their embeddings, (B, width)."""
        return self.mlp(self.sinusoids(t))
