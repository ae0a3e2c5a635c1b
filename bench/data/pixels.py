"""Conversion between uint8 images and the float tensors of models."""

import torch
from torch import Tensor


def check_images(images: Tensor, shape: tuple[int, ...]) -> None:
    """Refuse a batch of images of the wrong shape or type.

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
        ValueError: x is not floating-point, or contains NaN, which has no pixel value.
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
