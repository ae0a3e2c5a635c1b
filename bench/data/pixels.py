"""Conversion between stored samples, uint8 images or float32 signals, and tensors of networks."""

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


def to_network(samples: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Stored samples as a network's input, (B, C, H, W) float32 in [-1, 1]; signals have one row.

    Args:
        samples: images (B, C, H, W) uint8, or signals (B, C, L) float32.
        shape: of one sample, (C, H, W) or (C, L).

    Raises:
        ValueError: samples of another shape or type.
    """
    if len(shape) == 3:
        check_images(samples, shape)
        return from_uint8(samples)
    if samples.dtype != torch.float32 or tuple(samples.shape[1:]) != shape:
        raise ValueError(
            f"signals are {samples.dtype} of shape {tuple(samples.shape[1:])}; "
            f"must be torch.float32 of shape {shape}"
        )
    return samples.unsqueeze(2)  # (B, C, 1, L)


def stored_as(shape: tuple[int, ...]) -> str:
    """How extractors describe their input: of images (C, H, W) or signals (C, L)."""
    size = "x".join(map(str, shape))
    return f"{size} uint8 to [-1,1]" if len(shape) == 3 else f"{size} float32"


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
