"""Norms prepared for inference, with fewer steps around their kernels."""

from typing import Any

import torch
from torch import Tensor

from models.layers.forms import TYPES, Form, precision
from models.layers.kernels import LEAST_WORK, available, channels_last
from models.layers.norms import GroupNorm

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
