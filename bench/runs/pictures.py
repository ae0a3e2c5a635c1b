"""Pictures of samples: images as a grid, points with the data's modes, signals over real ones."""

from pathlib import Path

import numpy as np
from PIL import Image
from torch import Tensor

from bench.data.dataset import Dataset, Mixture
from bench.data.pixels import to_uint8
from bench.evaluation.metrics.modes import HIGH_QUALITY_SIGMAS
from bench.runtime.atomic_files import replacing

_INCHES, _DPI = 5.0, 110
_CURVES, _REAL_CURVES, _PANELS = 16, 64, 12


def save_samples(samples: Tensor, dataset: Dataset, path: Path) -> None:
    """Write samples as one PNG, as suits their kind.

    Args:
        samples: samples of a model in [-1, 1], (N, *shape) with N >= 1.
        dataset: the data that they are compared with.
        path: where to write; parent folders are created and the write is atomic.
    """
    if dataset.mixture is not None:
        save_scatter(samples, dataset.mixture, path)
    elif dataset.scale is not None:
        scale = dataset.scale
        real = scale.to_own(dataset.train.images[dataset.trained_on[:_REAL_CURVES]])
        save_curves(scale.to_own(samples.detach().cpu().numpy()), real, path)
    else:
        save_grid(samples, path)


def save_curves(samples: np.ndarray, real: np.ndarray, path: Path) -> None:
    """Write signals as one PNG: a panel for each channel, samples in blue over real ones in grey.

    Args:
        samples: generated signals in their own units, (N, C, L) with N >= 1; the first 16 are
            shown, and of their channels the first 12.
        real: training signals, (M, C, L).
        path: where to write; parent folders are created and the write is atomic.

    Raises:
        ValueError: samples and real ones are not signals of one shape.
    """
    if samples.ndim != 3 or len(samples) < 1 or samples.shape[1:] != real.shape[1:]:
        raise ValueError(
            "save_curves takes (N, C, L) with N >= 1 and real signals of that shape: got "
            f"{samples.shape} and {real.shape}"
        )
    from matplotlib.figure import Figure

    shown, channels = samples[:_CURVES], samples.shape[1]
    panels = min(channels, _PANELS)
    columns = min(4, panels)
    rows = -(-panels // columns)
    size = (_INCHES if panels == 1 else 2.5 * columns, max(0.6 * _INCHES, 1.9 * rows))
    figure = Figure(figsize=size, dpi=_DPI, layout="constrained")
    grid = figure.subplots(rows, columns, squeeze=False)
    for k, axes in enumerate(grid.flat):
        if k >= panels:
            axes.set_axis_off()
            continue
        axes.plot(real[:, k].T, color="0.75", linewidth=0.5)
        axes.plot(shown[:, k].T, color="tab:blue", linewidth=0.8, alpha=0.7)
        axes.tick_params(labelsize=7)
        if channels > 1:
            axes.set_title(f"channel {k + 1} of {channels}", fontsize=8)
    figure.suptitle(f"{len(shown)} samples over {len(real)} real signals (grey)", fontsize=10)
    with replacing(path) as temporary:
        figure.savefig(temporary, format="png")


def save_scatter(points: Tensor, mixture: Mixture, path: Path) -> None:
    """Write samples as one PNG: dots, with a circle of 3 sigma around every mode's centre.

    Dots within their circle are of high quality and blue, others red.

    Args:
        points: samples in [-1, 1], (N, D) with N >= 1; the first two coordinates are shown.
        mixture: distribution of the data.
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


_CELL_PIXELS = 64
_GAP_PIXELS = 2


def save_grid(x: Tensor, path: Path, columns: int = 8) -> None:
    """Write samples as one PNG, row by row; images under 64 pixels are enlarged (nearest).

    Args:
        x: samples in [-1, 1], (N, C, H, W) with N >= 1 and C = 1 (grey) or 3 (RGB).
        path: where to write; parent folders are created and the write is atomic.
        columns: images per row.

    Raises:
        ValueError: x is not a batch of grey or RGB images, or columns < 1.
    """
    if x.ndim != 4 or x.shape[0] < 1 or x.shape[1] not in (1, 3):
        raise ValueError(f"save_grid takes (N, 1 or 3, H, W) with N >= 1, got {tuple(x.shape)}.")
    if columns < 1:
        raise ValueError(f"columns={columns} must be at least 1.")
    images = to_uint8(x.detach()).cpu().permute(0, 2, 3, 1).numpy()  # (N, H, W, C)
    factor = max(1, _CELL_PIXELS // max(images.shape[1:3]))
    images = images.repeat(factor, axis=1).repeat(factor, axis=2)
    n, height, width, channels = images.shape
    columns = min(columns, n)
    rows = -(-n // columns)
    step_y, step_x = height + _GAP_PIXELS, width + _GAP_PIXELS
    canvas_shape = (rows * step_y + _GAP_PIXELS, columns * step_x + _GAP_PIXELS, channels)
    canvas = np.full(canvas_shape, 255, np.uint8)
    for i, image in enumerate(images):
        top = _GAP_PIXELS + i // columns * step_y
        left = _GAP_PIXELS + i % columns * step_x
        canvas[top : top + height, left : left + width] = image

    with replacing(Path(path)) as temporary:
        Image.fromarray(canvas.squeeze(2) if channels == 1 else canvas).save(temporary, "PNG")
