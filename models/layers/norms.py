"""Normalisation and activation in one layer: one pass over memory on CPUs."""

from typing import NamedTuple

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers.kernels import (
    LEAST_WORK,
    STORED,
    channels_last,
    compiled,
    in_parts,
    prepare,
    usable,
)


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
            shift = shift.to(torch.promote_types(x.dtype, torch.float32)).contiguous()
        options = self.num_groups, self.eps, self.activation
        inputs = x, skip, shift, self.weight, self.bias
        if usable(*inputs) and _fit(x, skip, shift, self.num_channels):
            images = [None if t is None else channels_last(t) for t in (x, skip)]
            return _GroupNorm.apply(*images, shift, self.weight, self.bias, *options)
        joined = x if skip is None else torch.cat([x, skip], dim=1)
        return _normalise(joined, shift, self.weight, self.bias, options), joined


def compile_norms(model: nn.Module, precision: str) -> None:
    """Compile what a model's norms call in training in "fp32" or "bf16" on a CPU.

    That takes seconds once per machine. Nothing is imported for a model without norms of this
    module.
    """
    if any(isinstance(layer, GroupNorm | BatchNorm2d) for layer in model.modules()):
        prepare(precision)


def _fit(x: Tensor, skip: Tensor | None, shift: Tensor | None, channels: int) -> bool:
    """Whether types and shapes are those that the kernels take, which read memory unchecked."""
    B, C, H, W = x.shape
    joined = skip is None or (skip.dtype == x.dtype and skip.shape == (B, channels - C, H, W))
    shifted = shift is None or shift.shape == (B, channels)
    return joined and shifted and (channels == C or skip is not None)


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
    """`_normalise` of x ∥ skip, and x ∥ skip; images are channels last."""

    @staticmethod
    def forward(ctx, x, skip, shift, weight, bias, groups, eps, activation):
        B, C, H, W = x.shape
        further = 0 if skip is None else skip.shape[1]
        sizes = (B, H * W, C, further, groups)
        C += further
        joined = x.detach() if skip is None else _like(x, C)
        out, mean, rstd = _like(x, C), torch.empty(B, C), torch.empty(B, groups)
        kernel, stored = compiled().group_norm, STORED[x.dtype]
        tensors = x, skip, shift, weight, bias, out, joined, mean, rstd
        addresses = [*map(_address, tensors)]
        numbers = np.float32(eps), np.float32(activation.slope)
        in_parts(
            lambda start, stop: kernel(
                stored, *addresses, start, stop, sizes, activation.silu, numbers
            ),
            B,
            out.numel(),
        )
        ctx.save_for_backward(x if skip is None else joined, shift, weight, bias, mean, rstd)
        ctx.sizes, ctx.options = sizes, (groups, eps, activation)
        ctx.set_materialize_grads(False)
        return out, joined

    @staticmethod
    def backward(ctx, grad, direct):  # pyright: ignore[reportIncompatibleMethodOverride]
        joined, shift, weight, bias, mean, rstd = ctx.saved_tensors
        B, _, C, further, _ = sizes = ctx.sizes
        if torch.is_grad_enabled() or grad is None:
            to_joined, *others = _differentiable(ctx, grad, direct)
            to_x, to_skip = to_joined, None
            if further and to_joined is not None:
                to_x, to_skip = to_joined[:, :C], to_joined[:, C:]
            return to_x, to_skip, *others, None, None, None
        grad = channels_last(grad.to(joined.dtype))
        direct = None if direct is None else channels_last(direct.to(joined.dtype))
        to_x, to_skip = _like(joined, C), _like(joined, further) if further else None
        sums = torch.empty(3, B, C + further)
        kernel, stored = compiled().group_norm_backward, STORED[joined.dtype]
        tensors = joined, shift, weight, bias, mean, rstd, grad, direct, to_x, to_skip, *sums
        addresses = [*map(_address, tensors)]
        silu, slope = ctx.options[2].silu, np.float32(ctx.options[2].slope)
        in_parts(
            lambda start, stop: kernel(stored, *addresses, start, stop, sizes, silu, slope),
            B,
            grad.numel(),
        )
        to_shift = None if shift is None else sums[0]
        to_weight, to_bias = sums[1:].sum(dim=1)
        return to_x, to_skip, to_shift, to_weight, to_bias, None, None, None


def _differentiable(ctx, grad: Tensor | None, direct: Tensor | None) -> list[Tensor | None]:
    """Gradients with respect to x ∥ skip, shift, weight and bias, by torch's operators.

    They can be differentiated again.
    """
    inputs = joined, shift, weight, bias = ctx.saved_tensors[:4]
    if grad is None:
        return [direct, None, None, None]
    out = _normalise(joined, shift, weight, bias, ctx.options)
    wanted = [t for t in inputs if t is not None and t.requires_grad]
    found = torch.autograd.grad(out, wanted, grad, create_graph=True, allow_unused=True)
    grads = dict(zip(map(id, wanted), found, strict=True))
    to_joined, *others = [grads.get(id(t)) for t in inputs]
    if to_joined is not None and direct is not None:
        to_joined = to_joined + direct
    return [to_joined, *others]


class BatchNorm2d(nn.BatchNorm2d):
    """Batch norm and a (leaky) ReLU, or none, in float32; images keep their type."""

    def __init__(
        self, channels: int, *, affine: bool = True, activation: Activation = NONE
    ) -> None:
        super().__init__(channels, affine=affine)
        self.activation = activation

    def forward(self, input: Tensor) -> Tensor:
        """activation(norm(input)), of images, (B, C, H, W)."""
        weight, bias = self.weight, self.bias
        small = input.numel() < LEAST_WORK and not self.training
        if small and not torch.is_grad_enabled():  # less work than calling a kernel
            mean, variance = self.running_mean, self.running_var
            options = False, 0.0, self.eps, torch.backends.cudnn.enabled
            return self.activation(torch.batch_norm(input, weight, bias, mean, variance, *options))
        if weight is None:
            ones = torch.ones_like(self.get_buffer("running_mean"))
            weight, bias = ones, torch.zeros_like(ones)
        gradients = torch.is_grad_enabled() and not self.training
        single = self.training and input.numel() == input.shape[1]  # torch refuses it
        fit = usable(input, None, weight, bias, self.running_mean) and len(weight) == input.shape[1]
        if gradients or single or not fit:
            return self.activation(super().forward(input))
        x = channels_last(input)
        if self.training:
            self.num_batches_tracked.add_(1)  # pyright: ignore[reportOptionalMemberAccess]
            running = self.running_mean, self.running_var
            options = self.eps, self.momentum, self.activation.slope
            return _BatchNorm.apply(x, weight, bias, *running, *options)
        mean, variance = self.get_buffer("running_mean"), self.get_buffer("running_var")
        scale = weight * (variance + self.eps).rsqrt()
        offset = bias - mean * scale
        return _activate(x, scale.data_ptr(), offset.data_ptr(), self.activation.slope)


class _BatchNorm(torch.autograd.Function):
    """Batch norm by a batch's statistics and a leaky ReLU; images are channels last."""

    @staticmethod
    def forward(ctx, x, weight, bias, running_mean, running_var, eps, momentum, slope):
        B, C, H, W = x.shape
        sizes, stored, code = (B, H * W, C), STORED[x.dtype], compiled()
        moments, norm = torch.empty(2, B, C), torch.empty(6, C)
        inputs = x.data_ptr(), *_rows(moments)
        in_parts(lambda *part: code.batch_moments(stored, *inputs, *part, sizes), B, x.numel())
        others = map(_address, (weight, bias, running_mean, running_var, norm))
        numbers = np.float32(eps), np.float32(momentum)
        code.batch_statistics(*inputs[1:], *others, sizes, numbers)
        ctx.save_for_backward(x, weight, bias, norm)
        ctx.options = eps, slope
        scale, offset = _rows(norm)[4:]
        return _activate(x, scale, offset, slope)

    @staticmethod
    def backward(ctx, grad):  # pyright: ignore[reportIncompatibleMethodOverride]
        x, weight, _, norm = ctx.saved_tensors
        if torch.is_grad_enabled():
            return *_batch_norm_gradients(ctx, grad), *[None] * 5
        B, C, H, W = x.shape
        sizes, stored, code = (B, H * W, C), STORED[x.dtype], compiled()
        slope = np.float32(ctx.options[1])
        grad, out = channels_last(grad.to(x.dtype)), torch.empty_like(x)
        sums, factors = torch.empty(2, B, C), torch.empty(3, C)
        to_weight, to_bias = torch.empty_like(weight), torch.empty_like(weight)
        inputs = x.data_ptr(), grad.data_ptr(), norm.data_ptr()
        first, second = (*inputs, *_rows(sums)), (*inputs, factors.data_ptr(), out.data_ptr())
        in_parts(
            lambda *part: code.batch_gradient_sums(stored, *first, *part, sizes, slope),
            B,
            x.numel(),
        )
        code.batch_factors(*first[2:], *map(_address, (to_bias, to_weight, factors)), sizes)
        in_parts(
            lambda *part: code.batch_gradients(stored, *second, *part, sizes, slope), B, x.numel()
        )
        return out, to_weight, to_bias, *[None] * 5


def _batch_norm_gradients(ctx, grad: Tensor) -> list[Tensor | None]:
    """Gradients with respect to x, weight and bias that can be differentiated again."""
    x, weight, bias = inputs = ctx.saved_tensors[:3]
    eps, slope = ctx.options
    h = F.batch_norm(x.float(), None, None, weight, bias, True, 0.0, eps)
    out = Activation(0, slope)(h).to(x.dtype)
    wanted = [t for t in inputs if t.requires_grad]
    found = iter(torch.autograd.grad(out, wanted, grad, create_graph=True))
    return [next(found) if t.requires_grad else None for t in inputs]


def _activate(x: Tensor, scale: int, offset: int, slope: float) -> Tensor:
    """The leaky ReLU of scale · x + offset, given the addresses of one number per channel each."""
    B, C, H, W = x.shape
    out, stored, code = torch.empty_like(x), STORED[x.dtype], compiled()
    addresses = x.data_ptr(), scale, offset, out.data_ptr()
    sizes, number = (B, H * W, C), np.float32(slope)
    in_parts(lambda *part: code.activate(stored, *addresses, *part, sizes, number), B, x.numel())
    return out


def _rows(matrix: Tensor) -> list[int]:
    """Addresses of the rows of a contiguous float32 matrix."""
    start, step = matrix.data_ptr(), 4 * matrix[0].numel()
    return [start + step * k for k in range(len(matrix))]


def _like(x: Tensor, channels: int) -> Tensor:
    """Empty images of that many channels, channels last, otherwise as x."""
    B, _, H, W = x.shape
    return x.new_empty((B, H, W, channels)).permute(0, 3, 1, 2)


def _address(x: Tensor | None) -> int:
    return 0 if x is None else x.data_ptr()
