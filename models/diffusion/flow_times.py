"""Times at which flows are trained: distributions over (0, 1), 0 the data and 1 pure noise."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

Times = Callable[[int, torch.device], Tensor]
"""(n, device) → n times, (n,) float32 in [0, 1], from torch's global generator."""


def uniform() -> Times:
    """Every time equally often (Liu et al. 2023, Eq. 1; Lipman et al. 2023, Eq. 5)."""
    return lambda n, device: torch.rand(n, device=device)


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Times:
    """Times with a normal logit: most training at medium noise (Esser et al. 2024, Eq. 19).

    Args:
        mean: of log(t / (1 - t)); negative for more training near the data.
        std: its standard deviation, positive.

    Raises:
        ValueError: mean is not finite, or std not positive.
    """
    if not math.isfinite(mean) or not 0 < std < math.inf:
        raise ValueError(f"logit_normal needs a finite mean and a positive std, got {mean}, {std}")
    return lambda n, device: torch.sigmoid(mean + std * torch.randn(n, device=device))
