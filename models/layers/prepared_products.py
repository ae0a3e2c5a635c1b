"""Convolutions and linear maps prepared for inference: weights in the order that kernels read."""

# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

from collections.abc import Callable, Iterator
from functools import cache
from itertools import chain, product
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.convolutions import ConvTranspose2d, DoublesSides, with_bias
from models.layers.forms import Form, precision
from models.layers.geometry import Axis, convolved, transposed
from models.layers.kernels import available, channels_last

SMALL = {torch.float32: 64e6, torch.bfloat16: 4e6}
"""Most FLOPs for which the kernel for small batches is faster than torch's on one thread."""

SMALL_SHARED = {torch.float32: 8e6, torch.bfloat16: 4e6}
"""The same where torch's uses several threads."""

LEAST_GROUP = 8
"""Fewest output channels of a group: with fewer, tiles would be mostly empty."""

MOST_PLANS = 64
"""Sizes of its input that a layer has plans for at a time."""


@cache
def orders_weights(dtype: torch.dtype) -> bool:
    """Whether torch has operators whose weights are in oneDNN's own order, for this processor.

    Those of bf16 refuse processors without AVX-512 or the like.
    """
    names = "_convolution_pointwise", "_convolution_transpose_pointwise"
    names += ("_reorder_convolution_transpose_weight",)
    return (
        torch.backends.mkldnn.is_available()
        and hasattr(torch._C._nn, "mkldnn_reorder_conv2d_weight")  # pyright: ignore[reportAttributeAccessIssue]
        and all(hasattr(torch.ops.mkldnn, name) for name in names)
        and (dtype != torch.bfloat16 or torch.ops.mkldnn._is_mkldnn_bf16_supported())
    )


class Product:
    """A layer's weights as its kernels read them.

    Args:
        weight: (C_out, C_in / groups, h, w) float32.
        bias: (C_out,), or None.
        groups: of channels.
        dtype: that the layer computes in; weights are rounded to it.
    """

    def __init__(
        self, weight: Tensor, bias: Tensor | None, groups: int, dtype: torch.dtype
    ) -> None:
        self.groups, self.dtype = groups, dtype
        self.weight = weight.to(dtype)
        self.bias = None if bias is None else bias.to(dtype)
        self.ordered: Tensor | None = None  # the weight as oneDNN wants it
        self.plans: dict[Any, Any] = {}
        self.kept: list[Tensor] = []  # what addresses in plans refer to
        self.packed: dict[Any, tuple[int, int]] = {}

    def addresses(self, rows: tuple[int, ...], columns: tuple[int, ...], group: int):
        """Where the tiles' weights for these taps, and biases, of one group are in memory."""
        from models.layers.small_batches import tiles_of

        key = rows, columns, group
        if key not in self.packed:
            some = self.weight.float().chunk(self.groups)[group]  # (C_out / g, C_in / g, h, w)
            some = some[:, :, list(rows)][:, :, :, list(columns)].permute(2, 3, 1, 0).flatten(0, 1)
            widths = tiles_of(some.shape[-1])
            filled = F.pad(some, (0, sum(widths) - some.shape[-1]))  # (taps, C_in / g, all lanes)
            tiles = torch.cat([tile.flatten() for tile in filled.split(widths, dim=2)])
            bias = torch.zeros(sum(widths))
            if self.bias is not None:
                bias[: some.shape[-1]] = self.bias.float().chunk(self.groups)[group]
            tiles = tiles.to(self.dtype)
            self.kept += [tiles, bias]
            self.packed[key] = tiles.data_ptr(), bias.data_ptr()
        return self.packed[key]


class Plan(NamedTuple):
    """How a small batch is computed.

    Attributes:
        shape: of the result.
        address: of the plan, see `small_batches`.
        scratch: bytes of memory that the kernel works in.
        run: the kernel.
    """

    shape: tuple[int, ...]
    address: int
    scratch: int
    run: Callable[[int, int, int, int], None]


def plan(weights: Product, sizes: tuple[int, int, int, int], rows: Axis, columns: Axis) -> Plan:
    """Write down how images of these sizes, (B, C, H, W), are convolved."""
    from models.layers import small_batches

    B, C, H, W = sizes
    groups, outputs = weights.groups, len(weights.weight)
    shape = B, outputs, rows.out, columns.out
    copied = weights.dtype != torch.float32 or (rows.length, columns.length) != (H, W)
    parts = []
    for (y, x), group in product(product(rows.grids, columns.grids), range(groups)):
        places = [
            4 * (C * (i * columns.length + j) + group * (C // groups))
            for (_, i), (_, j) in product(y.taps, x.taps)
        ]
        taps = torch.tensor(places or [0])
        weights.kept.append(taps)
        matrices, bias = weights.addresses(
            tuple(k for k, _ in y.taps), tuple(k for k, _ in x.taps), group
        )
        width = outputs // groups
        start = outputs * (y.first * columns.out + x.first) + group * width
        parts.append(
            [
                y.outputs, x.outputs, y.stride, x.stride, len(places), taps.data_ptr(),
                C // groups, width, matrices, bias, start,
                outputs * y.step * columns.out, outputs * x.step,
            ]
        )  # fmt: skip
    header = [B, H, W, C, rows.before, columns.before, rows.length, columns.length]
    header += [int(copied), outputs * rows.out * columns.out, len(parts)]
    numbers = torch.tensor([*header, *chain.from_iterable(parts)])
    weights.kept.append(numbers)
    enlarged = rows.length * columns.length * C if copied else 0
    most = max(y.outputs * x.outputs for y, x in product(rows.grids, columns.grids))
    scratch = small_batches.scratch_bytes(enlarged, most)
    run = small_batches.convolution(weights.dtype)
    return Plan(shape, numbers.data_ptr(), scratch, run)


class Linearity(Form):
    """Convolutions of all kinds, of images, (B, C, H, W)."""

    def axes(self, height: int, width: int, *args: Any) -> tuple[Axis, Axis]:
        """Both axes, for images of this size."""
        raise NotImplementedError

    def large(self, x: Tensor, weights: Product, *args: Any) -> Tensor:
        """Compute it by torch's operators, with prepared weights."""
        raise NotImplementedError

    def __call__(self, input: Tensor, *args: Any) -> Tensor:
        """The layer's result."""
        dtype = precision(input)
        weights = None if dtype is None else self.weights(dtype)
        if dtype is None or weights is None or input.ndim != 4:
            return self.plain(input, *args)
        key = input.shape, args
        found = weights.plans.get(key, 0)
        if found == 0:
            found = self.planned(weights, input.shape, args)
        if found is None and dtype is torch.float32:
            return self.plain(input, *args)
        x = input if input.dtype is dtype else input.to(dtype)
        if found is None:
            return self.large(x, weights, *args)
        if not x.is_contiguous(memory_format=torch.channels_last):
            x = x.contiguous(memory_format=torch.channels_last)
        shape, address, scratch, run = found
        out = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        run(address, x.data_ptr(), out.data_ptr(), self.memory.address(scratch))
        return out

    def planned(self, weights: Product, shape: torch.Size, args: tuple[Any, ...]) -> Plan | None:
        """The plan for an input, kept for the next one; None if it is not for small batches."""
        if len(weights.plans) >= MOST_PLANS:
            weights.plans.clear()
        B, C, H, W = shape
        found = None
        if weights.weight.shape[1] * weights.groups == C:
            rows, columns = self.axes(H, W, *args)
            if small(weights, B * sum(_work(rows, columns))) and min(rows.out, columns.out) > 0:
                found = plan(weights, (B, C, H, W), rows, columns)
        weights.plans[shape, args] = found
        return found


def _work(rows: Axis, columns: Axis) -> Iterator[int]:
    """Products of a channel of the input and one of the output, of each part."""
    for y, x in product(rows.grids, columns.grids):
        yield y.outputs * x.outputs * len(y.taps) * len(x.taps)


def small(weights: Product, pixels: int) -> bool:
    """Whether products of so many pixels with weights are for the kernels of small batches."""
    limits = SMALL if torch.get_num_threads() == 1 else SMALL_SHARED
    outputs, inputs = weights.weight.shape[:2]
    wide = weights.groups == 1 or outputs // weights.groups >= LEAST_GROUP
    return wide and available() and 2 * pixels * inputs * outputs <= limits[weights.dtype]


class Convolution(Linearity):
    """`nn.Conv2d`."""

    stands_for = (nn.Conv2d.forward,)

    @classmethod
    def suits(cls, layer: nn.Module) -> bool:
        """Zeros around images, and no convolution of its own."""
        own = getattr(type(layer), "_conv_forward", None)
        plain = own is nn.Conv2d._conv_forward
        return super().suits(layer) and plain and getattr(layer, "padding_mode", "") == "zeros"

    def make(self, dtype: torch.dtype) -> Product:  # noqa: D102
        return Product(self.layer.weight, self.layer.bias, self.layer.groups, dtype)

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:  # noqa: D102
        layer = self.layer
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        (h, w), (y, x), (v, u) = layer.kernel_size, layer.stride, layer.dilation
        return convolved(height, h, y, (top, bottom), v), convolved(width, w, x, (left, right), u)

    def large(self, x: Tensor, weights: Product) -> Tensor:  # noqa: D102
        layer = self.layer
        left, right, top, bottom = layer._reversed_padding_repeated_twice
        if not orders_weights(weights.weight.dtype) or (left, top) != (right, bottom):
            return layer._conv_forward(x, weights.weight, weights.bias)
        options = (top, left), layer.stride, layer.dilation, layer.groups
        if weights.ordered is None:
            weight = weights.weight.to_mkldnn()
            weights.ordered = torch._C._nn.mkldnn_reorder_conv2d_weight(weight, *options, x.shape)  # pyright: ignore[reportAttributeAccessIssue]
        run = torch.ops.mkldnn._convolution_pointwise.default
        return run(channels_last(x), weights.ordered, weights.bias, *options, "none", [], "")


class Transposed(Linearity):
    """`nn.ConvTranspose2d`, without dilation."""

    stands_for = (nn.ConvTranspose2d.forward, ConvTranspose2d.forward)

    @classmethod
    def suits(cls, layer: nn.Module) -> bool:  # noqa: D102
        return super().suits(layer) and getattr(layer, "dilation", None) == (1, 1)

    def make(self, dtype: torch.dtype) -> Product:  # noqa: D102
        return Product(
            _turned(self.layer.weight, self.layer.groups), self.layer.bias, self.layer.groups, dtype
        )

    def axes(self, height: int, width: int) -> tuple[Axis, Axis]:  # noqa: D102
        layer = self.layer
        each = zip(
            (height, width), layer.kernel_size, layer.stride, layer.padding, layer.output_padding,
            strict=True,
        )  # fmt: skip
        rows, columns = (
            transposed(
                size, kernel, stride, padding, (size - 1) * stride + kernel - 2 * padding + more
            )
            for size, kernel, stride, padding, more in each
        )
        return rows, columns

    def large(self, x: Tensor, weights: Product) -> Tensor:  # noqa: D102
        layer = self.layer
        return _transposed(x, weights, layer.padding, layer.output_padding, layer.stride)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """A transposed convolution's weight as that of a convolution, and the reverse.

    (C_in, C_out / groups, h, w) becomes (C_out, C_in / groups, h, w).
    """
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


def _transposed(x: Tensor, weights: Product, *options: tuple[int, ...]) -> Tensor:
    """A transposed convolution by torch's operator; options are padding, output padding, stride."""
    padding, output_padding, stride = options
    if not orders_weights(weights.weight.dtype):
        weight = _turned(weights.weight, weights.groups)
        out = F.conv_transpose2d(x, weight, None, stride, padding, output_padding, weights.groups)
        return with_bias(out, weights.bias)
    further = (1, 1), weights.groups  # dilation
    if weights.ordered is None:
        weight = _turned(weights.weight, weights.groups).contiguous()
        order = torch.ops.mkldnn._reorder_convolution_transpose_weight
        weights.ordered = order(weight, *options, *further, x.shape)
    run = torch.ops.mkldnn._convolution_transpose_pointwise.default
    x = channels_last(x)
    return run(x, weights.ordered, weights.bias, *options, *further, "none", [], "")


class Upsampling(Linearity):
    """A layer that says by `transposed` which transposed convolution it computes."""

    @classmethod
    def suits(cls, layer: nn.Module) -> bool:  # noqa: D102
        return isinstance(layer, DoublesSides)

    def make(self, dtype: torch.dtype) -> Product:  # noqa: D102
        weight, bias = self.layer.transposed()
        return Product(_turned(weight, 1), bias, 1, dtype)

    def axes(self, height: int, width: int, size: torch.Size) -> tuple[Axis, Axis]:  # noqa: D102
        kernel = self.layer.KERNEL
        rows, columns = (
            transposed(n, kernel, 2, 1, out) if doubled else transposed(n, 1, 1, 0, out)
            for n, out, doubled in zip((height, width), size, self.layer.doubled, strict=True)
        )
        return rows, columns

    def large(self, x: Tensor, weights: Product, size: torch.Size) -> Tensor:  # noqa: D102
        rows, columns = self.layer.doubled
        out = _transposed(x, weights, (int(rows), int(columns)), (0, 0), (1 + rows, 1 + columns))
        return out[:, :, : size[0], : size[1]]


class Linear(Form):
    """`nn.Linear`, of small batches in bfloat16 and of larger ones with weights cast before.

    In float32 torch's operator is fast.
    """

    stands_for = (nn.Linear.forward,)

    def make(self, dtype: torch.dtype) -> Product:  # noqa: D102
        return Product(self.layer.weight[:, :, None, None], self.layer.bias, 1, dtype)

    def __call__(self, input: Tensor) -> Tensor:
        """The layer's result, (…, D)."""
        dtype = precision(input)
        if dtype is not torch.bfloat16 or input.ndim < 1:
            return self.plain(input)
        weights = self.weights(dtype)
        if weights is None:
            return self.plain(input)
        x = input if input.dtype is dtype else input.to(dtype)
        rows = x.numel() // x.shape[-1]
        found = weights.plans.get(rows, 0)
        if found == 0:
            found = self.planned(weights, rows)
        if found is None or x.shape[-1] != weights.weight.shape[1]:
            return F.linear(x, weights.weight.flatten(1), weights.bias)
        x = x.contiguous()
        _, address, scratch, run = found
        out = torch.empty((*x.shape[:-1], len(weights.weight)), dtype=dtype)
        run(address, x.data_ptr(), out.data_ptr(), self.memory.address(scratch))
        return out

    def planned(self, weights: Product, rows: int) -> Plan | None:
        """The plan for so many rows, kept; None if these are no small batch."""
        if len(weights.plans) >= MOST_PLANS:
            weights.plans.clear()
        found = None
        if small(weights, rows):
            one = convolved(1, 1, 1, (0, 0)), convolved(rows, 1, 1, (0, 0))
            found = plan(weights, (1, weights.weight.shape[1], 1, rows), *one)
        weights.plans[rows] = found
        return found
