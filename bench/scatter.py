"""Owns the picture of points: samples over the modes that they should hit."""

from pathlib import Path

from torch import Tensor

from bench.data.dataset import Mixture
from bench.files import replacing
from bench.metrics.modes import HIGH_QUALITY_SIGMAS

_INCHES, _DPI = 5.0, 110


def save_scatter(points: Tensor, mixture: Mixture, path: Path) -> None:
    """Write samples as one PNG: dots, with a circle of 3 sigma around every mode's centre.

    Dots within their circle are of high quality and blue, others red.

    Args:
        points: samples in [-1, 1], (N, D) with N >= 1; the first two coordinates are shown.
        mixture: what the points should be drawn from.
        path: where to write; parent folders are created and the write is atomic.

    Raises:
        ValueError: points are not (N, D) with N >= 1 and D >= 2.
    """
    if points.ndim != 2 or len(points) < 1 or points.shape[1] < 2:
        raise ValueError(f"save_scatter takes (N, D), N >= 1 and D >= 2: got {tuple(points.shape)}")
    import numpy as np
    from matplotlib.collections import EllipseCollection
    from matplotlib.figure import Figure

    x = points.detach().cpu().double().numpy()  # (N, D)
    radius = HIGH_QUALITY_SIGMAS * mixture.sigma
    distances = np.linalg.norm(x[:, None] - mixture.centres, axis=2).min(1)  # (N,)
    good = distances <= radius

    figure = Figure(figsize=(_INCHES, _INCHES), dpi=_DPI)
    axes = figure.add_axes((0.12, 0.08, 0.86, 0.86))
    for chosen, colour in ((~good, "tab:red"), (good, "tab:blue")):
        axes.scatter(x[chosen, 0], x[chosen, 1], s=3, c=colour, alpha=0.35, linewidths=0)
    circles = EllipseCollection(
        [2 * radius],
        [2 * radius],
        [0.0],
        units="xy",
        offsets=mixture.centres[:, :2],
        offset_transform=axes.transData,
        facecolors="none",
        edgecolors="black",
        linewidths=0.6,
    )
    axes.add_collection(circles)
    axes.set(xlim=(-1.05, 1.05), ylim=(-1.05, 1.05), aspect="equal")
    axes.set_title(f"{len(x):,} samples, {good.mean():.1%} within 3σ of a mode", fontsize=10)

    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")
