"""Which input pixels a convolution's outputs are sums over, along one axis of an image."""

from collections.abc import Sequence
from typing import NamedTuple


class Grid(NamedTuple):
    """Outputs that are sums over the same taps, at equal distances.

    Attributes:
        first: index of the first output.
        step: distance of the outputs.
        outputs: how many there are.
        stride: distance of the inputs that belong to two neighbouring outputs of the grid.
        taps: index of the kernel's tap, and index of the enlarged input that it is multiplied with
            for the first output.
    """

    first: int
    step: int
    outputs: int
    stride: int
    taps: tuple[tuple[int, int], ...]


class Axis(NamedTuple):
    """One axis of a convolution.

    Attributes:
        before: zeros before the first input.
        length: of the input with zeros on both sides.
        out: number of outputs.
        grids: all outputs.
    """

    before: int
    length: int
    out: int
    grids: tuple[Grid, ...]


def convolved(
    size: int, kernel: int, stride: int, padding: Sequence[int], dilation: int = 1
) -> Axis:
    """A convolution's axis: one grid.

    Args:
        size: number of inputs.
        kernel: number of taps.
        stride: distance of the outputs.
        padding: zeros before and after.
        dilation: distance of the taps.
    """
    length = size + sum(padding)
    out = (length - dilation * (kernel - 1) - 1) // stride + 1
    taps = tuple((k, dilation * k) for k in range(kernel))
    return Axis(padding[0], length, out, (Grid(0, 1, out, stride, taps),))


def transposed(size: int, kernel: int, stride: int, padding: int, out: int) -> Axis:
    """A transposed convolution's axis: a grid for every output index modulo the stride.

    Args:
        size: number of inputs.
        kernel: number of taps.
        stride: distance of the inputs, in outputs.
        padding: outputs that are left out at the beginning.
        out: number of outputs.
    """
    grids = []
    for first in range(min(stride, out)):
        tap = (first + padding) % stride
        nearest = (first + padding) // stride  # input that this tap belongs to
        taps = tuple((k, nearest - j) for j, k in enumerate(range(tap, kernel, stride)))
        grids.append(Grid(first, stride, -(-(out - first) // stride), 1, taps))
    reached = [(g.outputs - 1 + i, i) for g in grids for _, i in g.taps]
    before = max(0, *(-i for _, i in reached)) if reached else 0
    after = max(0, *(last - size + 1 for last, _ in reached)) if reached else 0
    moved = (
        g._replace(taps=tuple((k, i + before) for k, i in g.taps)) for g in grids
    )  # indices of the enlarged input
    return Axis(before, size + before + after, out, tuple(moved))
