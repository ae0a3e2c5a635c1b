"""Planes that networks for images compute on: an image is one, and a signal is one of a single row.

A signal (C, L) becomes (C, 1, L). Where kernels, strides and padding extend along the row only, a
2-D layer computes what torch's 1-D layer would, so networks for images and their CPU kernels serve
signals as well.
"""

from torch import Tensor, nn


def is_signal(data_shape: tuple[int, ...]) -> bool:
    """Whether samples are signals, (C, L), rather than images, (C, H, W), or points, (D,)."""
    return len(data_shape) == 2


def across(size: int, beyond: int, *, signals: bool) -> tuple[int, int]:
    """A kernel's, stride's or padding's extent along both axes of a plane.

    Args:
        size: along every axis of the samples.
        beyond: along the other axis of a signal's row: 1 for kernels and strides, 0 for padding.
        signals: whether samples are signals.
    """
    return (beyond if signals else size, size)


def convolution(
    before: int,
    after: int,
    kernel: int,
    *,
    signals: bool,
    stride: int = 1,
    padding: int | None = None,
    bias: bool = True,
) -> nn.Conv2d:
    """A convolution of images or, as `nn.Conv1d`, of signals.

    Args:
        before: input channels.
        after: output channels.
        kernel: its size along every axis of the samples.
        signals: whether samples are signals.
        stride: along every axis.
        padding: zeros at either end of every axis; None for those that keep the size at stride 1.
        bias: whether to add a bias.
    """
    padding = kernel // 2 if padding is None else padding
    return nn.Conv2d(
        before,
        after,
        across(kernel, 1, signals=signals),
        across(stride, 1, signals=signals),
        across(padding, 0, signals=signals),
        bias=bias,
    )


def to_planes(x: Tensor) -> Tensor:
    """Samples as planes: images, (B, C, H, W), as they are, signals, (B, C, L), as (B, C, 1, L)."""
    return x.unsqueeze(2) if x.dim() == 3 else x


def from_planes(planes: Tensor, dims: int) -> Tensor:
    """The inverse of `to_planes` for batches of `dims` dimensions."""
    return planes.squeeze(2) if dims == 3 else planes
