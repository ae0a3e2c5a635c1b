"""Wide 3x3 convolutions of any model with fewer products, for evaluation on CPUs in float32.

Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016, https://arxiv.org/abs/1509.09308): 36
products where the direct sum has 144. oneDNN does not choose it. Tiles are transformed a few images
at a time, so that they stay in the processor's cache. Relative rounding errors are about 2e-6, some
four times those of the direct sum.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import TypeGuard

import torch
import torch.nn.functional as F
from torch import Tensor, nn

TILE = 4
WINDOW = TILE + 2
TILES_AT_ONCE = 256
"""Tiles whose transforms fill a second-level cache; at half or twice as many it is as fast."""

FEWEST_CHANNELS = 96
"""Below, transforming tiles costs more than the products that it saves."""

FEWEST_TILES = 64
"""Below, transforming the weights does."""

# Lavin & Gray 2016, Eq. 12 and Sec. 4.1: data, weights, output.
DATA = torch.tensor(
    [
        [4.0, 0.0, -5.0, 0.0, 1.0, 0.0],
        [0.0, -4.0, -4.0, 1.0, 1.0, 0.0],
        [0.0, 4.0, -4.0, -1.0, 1.0, 0.0],
        [0.0, -2.0, -1.0, 2.0, 1.0, 0.0],
        [0.0, 2.0, -1.0, -2.0, 1.0, 0.0],
        [0.0, 4.0, 0.0, -5.0, 0.0, 1.0],
    ]
)
WEIGHTS = torch.tensor(
    [
        [1 / 4, 0.0, 0.0],
        [-1 / 6, -1 / 6, -1 / 6],
        [-1 / 6, 1 / 6, -1 / 6],
        [1 / 24, 1 / 12, 1 / 6],
        [1 / 24, -1 / 12, 1 / 6],
        [0.0, 0.0, 1.0],
    ]
)
OUTPUT = torch.tensor(
    [
        [1.0, 1.0, 1.0, 1.0, 1.0, 0.0],
        [0.0, 1.0, -1.0, 2.0, -2.0, 0.0],
        [0.0, 1.0, 1.0, 4.0, 4.0, 0.0],
        [0.0, 1.0, -1.0, 8.0, -8.0, 1.0],
    ]
)


@contextmanager
def winograd(model: nn.Module) -> Iterator[None]:
    """Let every layer of the model that qualifies be computed by `convolve`, where that is faster.

    Whichever network it belongs to, and however it makes its weights: they are computed as usual,
    once per call. Outside, and with gradients, every layer is what it was, bit for bit.
    """
    with in_winograd([module for module in model.modules() if qualifies(module)]):
        yield


@contextmanager
def in_winograd(wide: Sequence[nn.Conv2d]) -> Iterator[None]:
    """As `winograd`, of layers of which it is known that they qualify."""
    layers = [layer for layer in wide if "_conv_forward" not in vars(layer)]
    for layer in layers:
        vars(layer)["_conv_forward"] = partial(_forward, layer)
    try:
        yield
    finally:
        for layer in layers:
            del vars(layer)["_conv_forward"]


def qualifies(layer: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a layer is a wide 3x3 convolution that keeps the size of what it is given.

    A class of its own may make its weights as it likes, but not replace the convolution itself.
    """
    return (
        isinstance(layer, nn.Conv2d)
        and type(layer)._conv_forward is nn.Conv2d._conv_forward
        and layer.kernel_size == (3, 3)
        and layer.stride == layer.dilation == (1, 1)
        and layer.padding in ((1, 1), "same")
        and layer.padding_mode == "zeros"
        and layer.groups == 1
        and min(layer.in_channels, layer.out_channels) >= FEWEST_CHANNELS
    )


def pays(x: Tensor) -> bool:
    """Whether `convolve` may be used on x, (B, C, H, W) of a wide layer, and is faster."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and x.ndim == 4
        and len(x) * x.shape[2] * x.shape[3] >= FEWEST_TILES * TILE**2
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


def _forward(layer: nn.Conv2d, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    if pays(x):
        return convolve(x, weight, bias)
    return type(layer)._conv_forward(layer, x, weight, bias)


@torch.library.custom_op("bench::winograd", mutates_args=())
def convolve(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`conv2d` with zero padding of 1, by F(4x4, 3x3). Not differentiable, on CPUs only.

    It is an operator of its own, so that its FLOPs are counted as a convolution's (see
    `bench.cost.network_calls`): what a sample costs must not depend on the machine.

    Args:
        x: (B, C_in, H, W) float32.
        weight: (C_out, C_in, 3, 3).
        bias: (C_out,), or None.

    Returns:
        (B, C_out, H, W), channels last.
    """
    batch, _, height, width = x.shape
    channels = len(weight)
    rows, columns = -(-height // TILE), -(-width // TILE)
    transformed = torch.einsum("ai,bj,ocij->baco", WEIGHTS, WEIGHTS, weight).flatten(0, 1)
    y = x.new_empty((batch, rows * TILE, columns * TILE, channels))
    tiles = y.unflatten(1, (rows, TILE)).unflatten(3, (columns, TILE))
    padding = (1, columns * TILE - width + 1, 1, rows * TILE - height + 1)
    images = max(1, TILES_AT_ONCE // (rows * columns))
    for part, into in zip(x.split(images), tiles.split(images), strict=True):
        padded = F.pad(part, padding).permute(0, 2, 3, 1)  # (b, 4 rows + 2, 4 columns + 2, C_in)
        strips = padded.unfold(1, WINDOW, TILE).permute(4, 0, 1, 2, 3)  # (6, b, rows, …, C_in)
        shape = strips.shape
        strips = (DATA @ strips.reshape(WINDOW, -1)).view(shape)
        windows = strips.unfold(3, WINDOW, TILE).permute(5, 0, 1, 2, 3, 4)
        windows = DATA @ windows.reshape(WINDOW, -1)  # (6, 6 b rows columns C_in)
        windows = windows.view(WINDOW**2, -1, shape[-1])  # (36, b rows columns, C_in)
        products = torch.bmm(windows, transformed)  # (36, b rows columns, C_out)
        halves = (OUTPUT @ products.view(WINDOW, -1)).view(TILE, WINDOW, -1)
        outputs = (OUTPUT @ halves).view(TILE, TILE, len(part), rows, columns, channels)
        outputs = outputs.permute(2, 3, 1, 4, 0, 5)  # (b, rows, 4, columns, 4, C_out)
        into.copy_(outputs) if bias is None else torch.add(outputs, bias, out=into)
    y = y[:, :height, :width].permute(0, 3, 1, 2)
    return y.contiguous(memory_format=torch.channels_last)


@convolve.register_fake
def _shaped(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    y = x.new_empty((len(x), len(weight), *x.shape[2:]))
    return y.contiguous(memory_format=torch.channels_last)
