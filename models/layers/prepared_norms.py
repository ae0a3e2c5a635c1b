"""Norms prepared for inference: fewer steps around kernels, statistics joined with weights."""

from typing import Any

import torch
from torch import Tensor

from models.layers.forms import TYPES, Form, precision
from models.layers.kernels import LEAST_WORK, available, channels_last
from models.layers.norms import BatchNorm2d, GroupNorm

LANES = 16
"""The norms' kernels take multiples of so many channels."""


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
        if dtype not in TYPES or not alike or not available():
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
        ready = dtype in TYPES and not self.layer.training and not self.layer.activation.silu
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
