"""3x3 convolutions by fewer products, where they are only evaluated: sampling on CPUs in float32.

Winograd's minimal filtering F(4x4, 3x3) (Lavin & Gray 2016, https://arxiv.org/abs/1509.09308): 36
products where the sum has 144. oneDNN does not choose it. Tiles are transformed a few images at a
time, so that they stay in the processor's cache. Relative rounding errors are about 2e-6, some four
times those of the plain sum.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.flop_counter import conv_flop_count, register_flop_formula

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


class Conv3x3(nn.Conv2d):
    """`nn.Conv2d` with a 3x3 kernel and zero padding of 1, faster where nothing is trained."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__(in_channels, out_channels, 3, padding=1)

    def forward(self, input: Tensor) -> Tensor:
        """Map (B, C_in, H, W) to (B, C_out, H, W)."""
        if self.bias is not None and pays(input, self.in_channels, self.out_channels):
            return convolve(input, self.weight, self.bias)
        return super().forward(input)


def pays(x: Tensor, *channels: int) -> bool:
    """Whether `convolve` may be used (on CPUs, in float32, without gradients) and is faster."""
    return (
        x.device.type == "cpu"
        and x.dtype == torch.float32
        and min(channels) >= FEWEST_CHANNELS
        and len(x) * x.shape[2] * x.shape[3] >= FEWEST_TILES * TILE**2
        and not torch.is_grad_enabled()
        and not torch.is_autocast_enabled("cpu")
    )


@torch.library.custom_op("models::winograd", mutates_args=())
def convolve(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    """`conv2d` with zero padding of 1, by F(4x4, 3x3). Not differentiable, on CPUs only.

    It is an operator of its own, so that its FLOPs are counted as a convolution's: what a sample
    costs must not depend on the machine.

    Args:
        x: (B, C_in, H, W) float32.
        weight: (C_out, C_in, 3, 3).
        bias: (C_out,).

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
        torch.add(outputs.permute(2, 3, 1, 4, 0, 5), bias, out=into)
    y = y[:, :height, :width].permute(0, 3, 1, 2)
    return y.contiguous(memory_format=torch.channels_last)


@convolve.register_fake
def _shaped(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    y = x.new_empty((len(x), len(weight), *x.shape[2:]))
    return y.contiguous(memory_format=torch.channels_last)


@register_flop_formula(torch.ops.models.winograd)
def _flops(x: torch.Size, weight: torch.Size, bias: torch.Size, *, out_shape: torch.Size) -> int:
    return conv_flop_count(list(x), list(weight), list(out_shape))
