"""Augmentation of training images that a denoiser is told of, so that none leaks into samples."""

import math

import torch
from torch import Tensor

from models.base import ShapeError
from models.layers.affine import rotation, scaling, translation, warp
from models.layers.precision import full_precision


class GeometricAugmentation:
    """Random geometric transformations, whose parameters condition the network.

    Karras et al. 2022, https://arxiv.org/abs/2206.00364, App. F.2, for CIFAR-10: isotropic scaling,
    rotation, anisotropic scaling and fractional translation, each with a probability of 12 %. In
    sampling the parameters are zero, which stands for images as they are.

    Departures: no mirroring, neither horizontal, which is a setting of the data set, nor vertical;
    images are resampled bilinearly at their own size instead of at twice the size with wavelet
    filters.

    Attributes:
        probability: of each transformation, in [0, 1].
        size: number of parameters, P.

    Raises:
        ValueError: probability is out of its range.
    """

    size = 7

    def __init__(self, probability: float = 0.12) -> None:
        if not 0 <= probability <= 1:
            raise ValueError(f"probability of an augmentation must be in [0, 1], got {probability}")
        self.probability = probability

    def require(self, data_shape: tuple[int, ...], *, clip: bool = True) -> None:
        """Raise ShapeError if samples of this shape are no images, ValueError if they are latents.

        Args:
            data_shape: shape of one sample.
            clip: whether samples lie in [-1, 1], as those of latents do not.
        """
        if len(data_shape) != 3:
            raise ShapeError(
                "data_shape must be (C, H, W) for an augmentation, which transforms images, got "
                f"{tuple(data_shape)}: leave model.build.augmentation out"
            )
        if not clip:
            raise ValueError(
                "augmentation transforms images in [-1, 1]: it needs clip=true, and latents have "
                "none"
            )

    def __call__(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Transform images, with random numbers of torch's global generator.

        Args:
            x: (B, C, H, W).

        Returns:
            Images of the same shape, float32, and the parameters, (B, P): zero for what is not
            applied.
        """
        count, (height, width) = len(x), x.shape[2:]

        def chosen() -> Tensor:
            return torch.rand(count, device=x.device) < self.probability

        with full_precision(x):
            scale = torch.randn(count, device=x.device) * chosen()
            angle = math.pi * (2 * torch.rand(count, device=x.device) - 1) * chosen()
            stretch = torch.randn(count, device=x.device) * chosen()
            axis = math.pi * (2 * torch.rand(count, device=x.device) - 1)
            axis = axis * (torch.rand(count, device=x.device) < 0.5)  # as in the authors' code
            axis = axis * (stretch != 0)  # so that the identity is exact
            shift = torch.randn(2, count, device=x.device) * chosen()

            larger, longer = (0.2 * scale).exp2(), (0.2 * stretch).exp2()
            source = scaling(1 / larger, 1 / larger) @ rotation(angle)
            source = source @ rotation(-axis) @ scaling(1 / longer, longer) @ rotation(axis)
            source = source @ translation(-0.125 * width * shift[0], -0.125 * height * shift[1])
            moved = warp(x.float(), source)
        parts = [scale, angle.cos() - 1, angle.sin(), stretch * axis.cos(), stretch * axis.sin()]
        return moved, torch.stack([*parts, *shift], dim=1)
