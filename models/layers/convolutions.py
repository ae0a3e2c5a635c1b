"""Convolutions and other linear maps of images that compute what torch's do in less time."""

from abc import abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor, nn


class ConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution that adds its bias afterwards.

    Inside torch's operator, a bias's gradient takes CPUs twice as long as all other gradients.
    """

    def forward(self, input: Tensor, output_size: None = None) -> Tensor:  # pyright: ignore
        """Map images, (B, C_in, H, W), to (B, C_out, H', W')."""
        out = F.conv_transpose2d(
            input, self.weight, None, self.stride, self.padding,  # pyright: ignore[reportArgumentType]
            self.output_padding, self.groups, self.dilation,
        )  # fmt: skip
        return with_bias(out, self.bias)


class FlatLinear(nn.Linear):
    """A linear map of flattened images, (C, H, W) each, that reorders its weights instead of them.

    Images are channels last in memory. Flattening them, and bringing gradients back into the order
    that other layers work in, would copy whole batches.
    """

    def forward(self, input: Tensor) -> Tensor:
        """Map images, (B, C, H, W), flattened ones, (B, C · H · W), too, to (B, D)."""
        if input.ndim == 2:
            return super().forward(input)
        weight = self.weight.unflatten(1, input.shape[1:]).permute(0, 2, 3, 1)  # (D, H, W, C)
        return F.linear(input.permute(0, 2, 3, 1).flatten(1), weight.flatten(1), self.bias)


class DoublesSides(nn.Module):
    """A layer that is a transposed convolution of stride 2 and padding 1, cropped to a size.

    Called with images, (B, C, h, w), and the size, (H, W).
    """

    KERNEL: ClassVar[int] = 4

    @property
    def doubled(self) -> tuple[bool, bool]:
        """Whether the height and the width are doubled; along others kernel and stride are 1."""
        return True, True

    @abstractmethod
    def transposed(self) -> tuple[Tensor, Tensor | None]:
        """That convolution's weight, (C_in, C_out, KERNEL or 1, KERNEL or 1), and (C_out,) bias."""


def with_bias(out: Tensor, bias: Tensor | None) -> Tensor:
    """Add a bias, (C,), to what a convolution returned, (B, C, H, W), in its place."""
    return out if bias is None else out.add_(bias.to(out.dtype)[:, None, None])
