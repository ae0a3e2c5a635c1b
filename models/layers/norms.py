"""Normalisation and activation in one layer: one pass over memory on CPUs."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.kernels import STORED, channels_last, compiled, in_parts, usable


class Activation(NamedTuple):
    """An element-wise function.

    Attributes:
        silu: whether it is x · sigmoid(x).
        slope: otherwise its slope for negative x: 0 for ReLU, 1 for none.
    """

    silu: int
    slope: float

    def __call__(self, x: Tensor) -> Tensor:
        """Apply it by torch's operators."""
        if self.silu:
            return F.silu(x)
        return x if self.slope == 1 else F.leaky_relu(x, self.slope)


SILU, RELU, NONE = Activation(1, 0.0), Activation(0, 0.0), Activation(0, 1.0)


def leaky_relu(slope: float) -> Activation:
    """LeakyReLU with this slope for negative values."""
    return Activation(0, slope)


Options = tuple[int, float, Activation]
"""Groups, eps and activation."""


class GroupNorm(nn.GroupNorm):
    """Group norm and an activation in float32; images are returned in the type they came in."""

    def __init__(
        self, groups: int, channels: int, eps: float = 1e-5, activation: Activation = NONE
    ) -> None:
        super().__init__(groups, channels, eps)
        self.activation = activation

    def forward(self, input: Tensor, shift: Tensor | None = None) -> Tensor:
        """activation(norm(input + shift)).

        Args:
            input: images, (B, C, H, W).
            shift: added to every pixel, (B, C).

        Returns:
            (B, C, H, W).
        """
        return self.joining(input, shift=shift)[0]

    def joining(
        self, x: Tensor, skip: Tensor | None = None, shift: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """activation(norm(x ∥ skip + shift)) and x ∥ skip, channels side by side.

        What else needs x should take it from here: then gradients on both ways are added in the
        same pass.

        Args:
            x: images, (B, C_x, H, W).
            skip: further channels, (B, C - C_x, H, W).
            shift: added to every pixel before the norm, (B, C).
        """
        if shift is not None:
            shift = shift.to(torch.promote_types(x.dtype, torch.float32))
        options = self.num_groups, self.eps, self.activation
        if _alike(x, skip) and usable(x, skip, shift, self.weight, self.bias):
            images = [None if t is None else channels_last(t) for t in (x, skip)]
            shift = None if shift is None else shift.contiguous()
            return _GroupNorm.apply(*images, shift, self.weight, self.bias, *options)
        joined = x if skip is None else torch.cat([x, skip], dim=1)
        return _normalise(joined, shift, self.weight, self.bias, options), joined


def _alike(x: Tensor, skip: Tensor | None) -> bool:
    """Whether both are of one type."""
    return skip is None or skip.dtype == x.dtype


def _normalise(
    x: Tensor, shift: Tensor | None, weight: Tensor, bias: Tensor, options: Options
) -> Tensor:
    """The layer by torch's operators."""
    groups, eps, activation = options
    h = x.to(torch.promote_types(x.dtype, torch.float32))
    if shift is not None:
        h = h + shift[:, :, None, None]
    return activation(F.group_norm(h, groups, weight, bias, eps)).to(x.dtype)


class _GroupNorm(torch.autograd.Function):
    """`_normalise` of x ∥ skip, and x ∥ skip."""

    @staticmethod
    def forward(ctx, x, skip, shift, weight, bias, groups, eps, activation):
        B, C, H, W = x.shape
        sizes = (B, H * W, C, 0, groups)
        joined = x.detach()
        if skip is not None:
            sizes = (B, H * W, C, skip.shape[1], groups)
            C += skip.shape[1]
            joined = _like(x, C)
        out = _like(x, C)
        mean, rstd = torch.empty(B, groups), torch.empty(B, groups)
        arguments = (
            STORED[x.dtype], *map(_address, (x, skip, shift, weight, bias, out)),
            0 if skip is None else joined.data_ptr(), mean.data_ptr(), rstd.data_ptr(),
        )  # fmt: skip
        kernel, numbers = compiled().group_norm, (np.float32(eps), np.float32(activation.slope))
        in_parts(
            lambda start, stop: kernel(*arguments, start, stop, sizes, activation.silu, numbers),
            B,
            out.numel(),
        )
        ctx.save_for_backward(x, skip, shift, weight, bias, mean, rstd)
        ctx.sizes, ctx.options = sizes, (groups, eps, activation)
        ctx.set_materialize_grads(False)
        return out, joined

    @staticmethod
    def backward(ctx, grad, direct):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, skip, shift, weight, bias, mean, rstd = ctx.saved_tensors
        if torch.is_grad_enabled():  # to be differentiated again
            return *_again(ctx, grad, direct), None, None, None
        if grad is None:
            C = x.shape[1]
            return (direct[:, :C], None if skip is None else direct[:, C:], *[None] * 6)
        sizes = ctx.sizes
        grad = channels_last(grad.to(x.dtype))
        direct = None if direct is None else channels_last(direct.to(x.dtype))
        B, C = grad.shape[:2]
        to_x = torch.empty_like(x)
        to_skip = None if skip is None else torch.empty_like(skip)
        to_shift, to_weight, to_bias = torch.empty(3, B, C).unbind()
        arguments = (
            STORED[x.dtype],
            *map(_address, (x, skip, shift, weight, bias, mean, rstd, grad, direct)),
            *map(_address, (to_x, to_skip, to_shift, to_weight, to_bias)),
        )
        kernel = compiled().group_norm_backward
        silu, slope = ctx.options[2].silu, np.float32(ctx.options[2].slope)
        in_parts(
            lambda start, stop: kernel(*arguments, start, stop, sizes, silu, slope),
            B,
            grad.numel(),
        )
        to_weight, to_bias = to_weight.sum(0), to_bias.sum(0)
        to_shift = None if shift is None else to_shift
        return to_x, to_skip, to_shift, to_weight, to_bias, None, None, None


def _again(ctx, grad: Tensor | None, direct: Tensor | None) -> list[Tensor | None]:
    """Gradients that can be differentiated again, by torch's operators."""
    x, skip, shift, weight, bias, _, _ = ctx.saved_tensors
    inputs = [x, skip, shift, weight, bias]
    wanted = [t for t, needed in zip(inputs, ctx.needs_input_grad, strict=False) if needed]
    joined = x if skip is None else torch.cat([x, skip], dim=1)
    out = _normalise(joined, shift, weight, bias, ctx.options)
    pairs = [(y, g) for y, g in ((out, grad), (joined, direct)) if g is not None]
    found = iter(
        torch.autograd.grad(
            [y for y, _ in pairs], wanted, [g for _, g in pairs], create_graph=True,
            allow_unused=True,
        )
    )  # fmt: skip
    return [next(found) if needed else None for needed in ctx.needs_input_grad[:5]]


def _like(x: Tensor, channels: int) -> Tensor:
    """Empty images of that many channels, channels last, otherwise as x."""
    B, _, H, W = x.shape
    return x.new_empty((B, H, W, channels)).permute(0, 3, 1, 2)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
