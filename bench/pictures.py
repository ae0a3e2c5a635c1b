"""Owns how samples are shown: images as a grid, points over the modes that they should hit."""

from pathlib import Path

from torch import Tensor

from bench.data.dataset import Mixture
from bench.images import save_grid
from bench.scatter import save_scatter


def save_picture(x: Tensor, path: Path, mixture: Mixture | None) -> None:
    """Write samples as one PNG.

    Args:
        x: images, (N, C, H, W), or points, (N, D), in [-1, 1].
        path: where to write, atomically.
        mixture: what points should be drawn from; None for images.

    Raises:
        ValueError: there is nothing to show.
    """
    if mixture is None:
        save_grid(x, path)
    else:
        save_scatter(x, mixture, path)
