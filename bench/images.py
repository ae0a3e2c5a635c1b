"""Owns the conversion between uint8 images and the float tensors of models, and the grid writer."""

from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from bench.files import replacing

_CELL_PIXELS = 64
_GAP_PIXELS = 2


def check_images(images: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a batch of other images than a network was made for.

    Args:
        images: a batch, (B, *shape) uint8.
        shape: of one image, (C, H, W).

    Raises:
        ValueError: images of another shape or type.
    """
    if images.dtype != torch.uint8 or tuple(images.shape[1:]) != shape:
        raise ValueError(
            f"images are {images.dtype} of shape {tuple(images.shape[1:])}; "
            f"must be torch.uint8 of shape {shape}"
        )


def to_uint8(x: Tensor) -> Tensor:
    """Quantise samples: clamp to [-1, 1], scale to [0, 255], round to nearest (ties to even).

    Args:
        x: floating-point samples of any shape; values outside [-1, 1] are clamped.

    Returns:
        uint8 tensor of the same shape and device.

    Raises:
        ValueError: x is not floating-point, or holds NaN, which no pixel value stands for.
    """
    if not x.is_floating_point():
        raise ValueError(f"to_uint8 takes a floating-point tensor in [-1, 1], got {x.dtype}.")
    if torch.isnan(x).any():
        raise ValueError("to_uint8 got samples that hold NaN: the model that drew them diverged.")
    return x.float().clamp(-1, 1).add(1).mul(127.5).round().to(torch.uint8)


def from_uint8(x: Tensor) -> Tensor:
    """Map pixel values 0..255 to float32 in [-1, 1]; `to_uint8` is its exact inverse.

    Args:
        x: uint8 tensor of any shape; its memory format is kept.

    Raises:
        ValueError: x is not uint8.
    """
    if x.dtype != torch.uint8:
        raise ValueError(f"from_uint8 takes a uint8 tensor, got {x.dtype}.")
    return x.to(torch.float32).div_(127.5).sub_(1)


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
