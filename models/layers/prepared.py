"""Layers of any network, prepared for inference on CPUs: weights are ordered once, not every call.

Inside `prepared(model)` a layer's weights are cast to the precision that it computes in and brought
into the order that a kernel reads, when it is first called. Small batches, for which calling an
operator costs more than what it computes, go through `models.layers.small_batches`. The function is
the same up to rounding, in the same precision.

A layer is prepared for what it is, whichever network it belongs to. With gradients, on other
devices, for other types, and while operators are counted or traced, layers compute as outside.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import product
from typing import Any, ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.autograd import forward_ad

from models.layers.convolutions import ConvTranspose2d, DoublesSides, with_bias
from models.layers.geometry import Axis, convolved, transposed
from models.layers.kernels import LEAST_WORK, available, channels_last
from models.layers.norms import BatchNorm2d, GroupNorm

SMALL = {torch.float32: 64e6, torch.bfloat16: 6e6}
"""Most FLOPs for which the kernel for small batches is faster than torch's on one thread."""

SMALL_SHARED = {torch.float32: 8e6, torch.bfloat16: 6e6}
"""The same where torch's uses several threads."""

LEAST_GROUP = 8
"""Fewest output channels of a group: with fewer, tiles would be mostly empty."""

LANES = 16
"""The norms' kernels take multiples of so many channels."""

MOST_PLANS = 64
"""Sizes of its input that a layer has plans for at a time."""


@contextmanager
def prepared(model: nn.Module) -> Iterator[None]:
    """Let every layer of the model that can be prepared compute in its prepared form.

    If weights change inside, the next call sees it. What was prepared is dropped at the end.

    Args:
        model: in eval mode.
    """
    memory, forms = Memory(), []
    for layer in model.modules():
        kind = next((kind for kind in KINDS if kind.suits(layer)), None)
        if kind is not None and kind.method not in vars(layer):
            vars(layer)[kind.method] = kind(layer, memory)
            forms.append((layer, kind.method))
    try:
        yield
    finally:
        for layer, method in forms:
            del vars(layer)[method]


class Memory(threading.local):
    """Memory that kernels work in, one piece for each thread."""

    def __init__(self) -> None:
        self.piece = torch.empty(0, dtype=torch.uint8)

    def address(self, size: int) -> int:
        """The address of so many bytes, valid until this thread asks again."""
        if len(self.piece) < size:
            self.piece = torch.empty(size, dtype=torch.uint8)
        return self.piece.data_ptr()


def precision(x: object) -> torch.dtype | None:
    """The type that a layer computes in for this input; None if it is not prepared for that.

    Anything but ordinary evaluation has its own rules: gradients, other devices, tensors that are
    more than memory, and modes in which operators are counted, traced or transformed.
    """
    if (
        type(x) is not Tensor
        or not x.is_cpu
        or torch.is_grad_enabled()
        or torch._C._len_torch_dispatch_stack()
        or torch._C._are_functorch_transforms_active()
        or forward_ad._current_level >= 0
        or torch._C._is_tracing()
        or torch.compiler.is_compiling()
        or x.numel() == 0
    ):
        return None
    dtype = x.dtype
    if torch.is_autocast_enabled("cpu"):
        cast = torch.get_autocast_dtype("cpu")
        return cast if cast is torch.bfloat16 and dtype in SMALL else None
    return dtype if dtype is torch.float32 else None


class Source(NamedTuple):
    """A parameter or buffer, and what it was when it was used."""

    holder: dict[str, Any]
    name: str
    tensor: Tensor
    address: int
    version: int


def sources(layer: nn.Module) -> list[Source] | None:
    """All parameters and buffers of a layer; None if changes of one could not be seen."""
    found = []
    for module in layer.modules():
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                if tensor is None:
                    continue
                if tensor.is_inference() or not tensor.is_cpu or tensor.dtype != torch.float32:
                    return None
                source = Source(holder, name, tensor, tensor.data_ptr(), tensor._version)
                found.append(source)
    return found


def unchanged(found: list[Source]) -> bool:
    """Whether they are what they were."""
    for holder, name, tensor, address, version in found:
        if (
            holder.get(name) is not tensor
            or tensor._version != version
            or tensor.data_ptr() != address
        ):
            return False
    return True


class Form:
    """What stands in for a method of a layer while it is prepared. A copy has nothing prepared."""

    method: ClassVar[str] = "forward"
    stands_for: ClassVar[tuple[Callable[..., Any], ...]] = ()
    """Implementations of the method that it may replace: not those of users' subclasses."""

    def __init__(self, layer: Any, memory: Memory) -> None:
        self.layer = layer
        self.memory = memory
        self.made: dict[torch.dtype, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """What copies are made of."""
        return type(self), (self.layer, Memory())

    @classmethod
    def suits(cls, layer: nn.Module) -> bool:
        """Whether it computes what this layer does."""
        return getattr(type(layer), cls.method, None) in cls.stands_for

    def plain(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes without it."""
        return getattr(type(self.layer), self.method)(self.layer, *args, **kwargs)

    def weights(self, dtype: torch.dtype) -> Any:
        """What `make` returned, for weights as they are now; None if they cannot be used."""
        made = self.made.get(dtype)
        if made is None or not unchanged(made[0]):
            found = sources(self.layer)
            if found is None:
                return None
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                made = self.made[dtype] = found, self.make(dtype)
        return made[1]

    def make(self, dtype: torch.dtype) -> Any:
        """Prepare the layer's weights."""
        raise NotImplementedError


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
                y.count, x.count, y.stride, x.stride, len(places), taps.data_ptr(), C // groups, width,
                matrices, bias, start, outputs * y.step * columns.out, outputs * x.step,
            ]
        )  # fmt: skip
    header = [B, H, W, C, rows.before, columns.before, rows.length, columns.length]
    header += [int(copied), outputs * rows.out * columns.out, len(parts)]
    numbers = torch.tensor(header + sum(parts, []))
    weights.kept.append(numbers)
    enlarged = rows.length * columns.length * C if copied else 0
    most = max(y.count * x.count for y, x in product(rows.grids, columns.grids))
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
        if C == weights.weight.shape[1] * weights.groups:
            rows, columns = self.axes(H, W, *args)
            if small(weights, B * sum(_work(rows, columns))) and min(rows.out, columns.out) > 0:
                found = plan(weights, (B, C, H, W), rows, columns)
        weights.plans[shape, args] = found
        return found


def _work(rows: Axis, columns: Axis) -> Iterator[int]:
    """Products of a channel of the input and one of the output, of each part."""
    for y, x in product(rows.grids, columns.grids):
        yield y.count * x.count * len(y.taps) * len(x.taps)


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
        return self.layer._conv_forward(x, weights.weight, weights.bias)


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
        layer, weight = self.layer, _turned(weights.weight, weights.groups)
        out = F.conv_transpose2d(
            x, weight, None, layer.stride, layer.padding, layer.output_padding, layer.groups
        )
        return with_bias(out, weights.bias)


def _turned(weight: Tensor, groups: int) -> Tensor:
    """A transposed convolution's weight as that of a convolution, and the reverse.

    (C_in, C_out / groups, h, w) becomes (C_out, C_in / groups, h, w).
    """
    return weight.unflatten(0, (groups, -1)).transpose(1, 2).flatten(0, 1)


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
            transposed(n, kernel, 2, 1, out) for n, out in zip((height, width), size, strict=True)
        )
        return rows, columns

    def large(self, x: Tensor, weights: Product, size: torch.Size) -> Tensor:  # noqa: D102
        out = F.conv_transpose2d(x, _turned(weights.weight, 1), None, 2, 1)
        return with_bias(out, weights.bias)[:, :, : size[0], : size[1]]


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


def few(numbers: int) -> bool:
    """Whether torch would not share so many numbers among threads either."""
    return numbers < 2 * LEAST_WORK or torch.get_num_threads() == 1


class Norm(Form):
    """`GroupNorm`, with fewer steps around its kernel."""

    method = "joining"
    stands_for = (GroupNorm.joining,)

    def make(self, dtype: torch.dtype) -> Any:  # noqa: D102
        layer, activation = self.layer, self.layer.activation
        numbers = torch.tensor([layer.eps, activation.slope])
        return {"numbers": numbers}

    def __call__(
        self, x: Tensor, skip: Tensor | None = None, shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """As `GroupNorm.joining`."""
        dtype = x.dtype if precision(x) is not None and x.ndim == 4 else None
        alike = skip is None or (skip.dtype is dtype and type(skip) is Tensor)
        if dtype not in SMALL or not alike or not available():
            return self.plain(x, skip, shift)
        B, C, H, W = x.shape
        further = 0 if skip is None else skip.shape[1]
        if not few(B * (C + further) * H * W):
            return self.plain(x, skip, shift)
        made = self.weights(dtype)
        if made is None or C + further != self.layer.num_channels or C % LANES or further % LANES:
            return self.plain(x, skip, shift)
        key = B, C, further, H * W
        found = made.get(key)
        if found is None:
            found = made[key] = self.planned(made, dtype, key)
        x = channels_last(x)
        shape = B, C + further, H, W
        out = torch.empty(shape, dtype=dtype, memory_format=torch.channels_last)
        joined, second = x, 0
        if skip is not None:
            joined = torch.empty_like(out)
            skip = channels_last(skip)
            second = skip.data_ptr()
        third = 0
        if shift is not None:
            shift = shift.float().contiguous()
            third = shift.data_ptr()
        run, address = found[:2]
        run(address, x.data_ptr(), second, third, out.data_ptr(), joined.data_ptr())
        return out, joined

    def planned(self, made: Any, dtype: torch.dtype, key: tuple[int, ...]) -> Any:
        """The kernel, the address of its plan, and the plan."""
        from models.layers import small_batches

        B, C, further, pixels = key
        layer, numbers = self.layer, made["numbers"]
        addresses = [t.data_ptr() for t in (layer.weight, layer.bias, numbers)]
        sizes = [B, pixels, C, further, layer.num_groups, layer.activation.silu]
        p = torch.tensor([*sizes, *addresses])
        return small_batches.group_norm(dtype), p.data_ptr(), p


class Scaling(Form):
    """`BatchNorm2d` in eval mode, its statistics and weights joined before."""

    stands_for = (BatchNorm2d.forward,)

    def make(self, dtype: torch.dtype) -> Any:  # noqa: D102
        layer = self.layer
        scale = (layer.running_var + layer.eps).rsqrt()
        if layer.weight is not None:
            scale = layer.weight * scale
        offset = -layer.running_mean * scale
        if layer.bias is not None:
            offset = offset + layer.bias
        return {"tensors": (scale, offset, torch.tensor([layer.activation.slope]))}

    def __call__(self, input: Tensor) -> Tensor:
        """The layer's result, (B, C, H, W)."""
        dtype = input.dtype if precision(input) is not None and input.ndim == 4 else None
        ready = dtype in SMALL and not self.layer.training and not self.layer.activation.silu
        if not ready or not few(input.numel()) or not available():
            return self.plain(input)
        made = self.weights(dtype)  # pyright: ignore[reportArgumentType]
        if made is None or input.shape[1] != self.layer.num_features or input.shape[1] % LANES:
            return self.plain(input)
        B, C, H, W = input.shape
        found = made.get((B, H * W))
        if found is None:
            from models.layers import small_batches

            p = torch.tensor([B * H * W, C, *(t.data_ptr() for t in made["tensors"])])
            run = small_batches.activation(dtype)  # pyright: ignore[reportArgumentType]
            found = made[B, H * W] = run, p.data_ptr(), p
        x = channels_last(input)
        out = torch.empty_like(x)
        found[0](found[1], x.data_ptr(), out.data_ptr())
        return out


KINDS: tuple[type[Form], ...] = (Convolution, Transposed, Upsampling, Linear, Norm, Scaling)
"""All forms; the first that suits a layer is used."""
