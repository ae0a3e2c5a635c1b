"""Affine maps of the plane, one per sample, and images resampled by them."""

import torch
from torch import Tensor


def scaling(x: Tensor, y: Tensor) -> Tensor:
    """Matrices, (B, 3, 3), that multiply coordinates by x and y, (B,) each."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([x, zero, zero], [zero, y, zero], [zero, zero, one])


def rotation(angle: Tensor) -> Tensor:
    """Matrices, (B, 3, 3), that rotate by an angle in radians, (B,)."""
    cos, sin, zero, one = angle.cos(), angle.sin(), torch.zeros_like(angle), torch.ones_like(angle)
    return _matrix([cos, -sin, zero], [sin, cos, zero], [zero, zero, one])


def translation(x: Tensor, y: Tensor) -> Tensor:
    """Matrices, (B, 3, 3), that add x and y, (B,) each."""
    zero, one = torch.zeros_like(x), torch.ones_like(x)
    return _matrix([one, zero, x], [zero, one, y], [zero, zero, one])


def _matrix(*rows: list[Tensor]) -> Tensor:
    return torch.stack([torch.stack(row, dim=1) for row in rows], dim=1)


def warp(images: Tensor, source: Tensor) -> Tensor:
    """Images whose pixel at p shows what the given ones show at source · p.

    Coordinates, (x, y, 1), are in pixels from the centre of the image. Values between pixels are
    interpolated bilinearly, those beyond the border reflected (without repeating the border). The
    result is linear in the images and built from indexing, so that it can be differentiated twice,
    as gradient penalties need; torch's `grid_sample` cannot. The identity changes no bit.

    Args:
        images: (B, C, H, W) float32.
        source: (B, 3, 3) float32, affine: the last row is (0, 0, 1).

    Returns:
        (B, C, H, W).
    """
    height, width = images.shape[2:]
    y = torch.arange(height, device=images.device) - (height - 1) / 2
    x = torch.arange(width, device=images.device) - (width - 1) / 2
    y, x = y.repeat_interleave(width), x.repeat(height)  # (H W,) each
    a, b, c = source[:, 0, :, None].unbind(1)  # (B, 1) each
    d, e, f = source[:, 1, :, None].unbind(1)
    across = a * x + b * y + c + (width - 1) / 2  # (B, H W), in columns
    down = d * x + e * y + f + (height - 1) / 2  # (B, H W), in rows
    left, top = across.floor(), down.floor()
    flat = images.flatten(2)  # (B, C, H W)
    result = torch.zeros_like(flat)
    for row, share_down in ((top, 1 - (down - top)), (top + 1, down - top)):
        for column, share_across in ((left, 1 - (across - left)), (left + 1, across - left)):
            index = reflected(row.long(), height) * width + reflected(column.long(), width)
            pixels = flat.gather(2, index[:, None].expand_as(flat))
            result = result + (share_down * share_across)[:, None] * pixels
    return result.unflatten(2, (height, width))


def reflected(index: Tensor, size: int) -> Tensor:
    """Indices of any integer, brought into [0, size) by reflection at the first and the last."""
    if size == 1:
        return torch.zeros_like(index)
    return size - 1 - (size - 1 - index.remainder(2 * size - 2)).abs()
