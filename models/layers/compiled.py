"""Loops over pixels and channels that are compiled for the processor by numba.

One pass over memory does what several of torch's operators would: normalise, scale and activate,
in float32, from and to bfloat16 or float32. Everything is passed by address: images are channels
last and contiguous, (B, P, C) with P pixels; statistics, weights and their gradients are float32.
`like` is a number of the type in which images are stored, int16 for the bits of bfloat16.

Importing this module imports numba, which takes half a second: `models.layers.kernels` does so
when a kernel is first needed.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import math

import numpy as np
from numba import carray, njit  # pyright: ignore[reportPrivateImportUsage]

from models.layers.loops import (
    LANES,
    Float,
    at,
    moments,
    over_image,
    scale_and_activate,
    through_activation,
    through_both,
    through_norm,
)

LOOPS = "e311740478d0b46e"
"""Start of the SHA-256 of loops.py. Numba renews its cache only when the file of the loop that was
called changes, so this line must change with that file."""

UNKEPT: list[str] = []
"""Loops that every process compiles anew, since numba found no folder that it can write."""


def _loop(function):
    """Compile a loop when it is called, and keep the result on disk where that is possible."""
    options = {**LANES, "nogil": True}
    try:
        return njit(**options, cache=True)(function)
    except RuntimeError:
        UNKEPT.append(function.__name__)
        return njit(**options)(function)


@_loop
def group_norm(
    like, x, skip, shift, weight, bias, out, joined, mean, rstd, start, stop, sizes, silu, numbers
):  # fmt: skip
    """Forward: activation(norm(x ∥ skip + shift)), of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C_x).
        skip: address of (B, P, C_skip).
        shift: address of (B, C) float32, or 0 for none.
        weight: address of (C,) float32.
        bias: address of (C,) float32.
        out: address of the result, (B, P, C).
        joined: address where x ∥ skip is written if there is a skip, (B, P, C).
        mean: address of the channels' means, (B, C) float32, written, with shifts.
        rstd: address of the groups' inverse standard deviations, (B, G) float32, written.
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C_x, C_skip, G).
        silu: 1 for SiLU, 0 for a leaky ReLU: x for x > 0, else slope · x.
        numbers: (eps, slope), float32.
    """
    B, P, C_x, C_skip, G = sizes
    C = C_x + C_skip
    width = C // G
    eps, slope = numbers
    x_ = carray(at(x, like), (B, P, C_x))
    skip_ = carray(at(skip, like), (B, P, C_skip))
    shift_ = carray(at(shift, Float(0)), (B, C))
    weight_ = carray(at(weight, Float(0)), (C,))
    bias_ = carray(at(bias, Float(0)), (C,))
    out_ = carray(at(out, like), (B, P, C))
    joined_ = carray(at(joined if C_skip else x, like), (B, P, C))
    mean_ = carray(at(mean, Float(0)), (B, C))
    rstd_ = carray(at(rstd, Float(0)), (B, G))
    means, spreads = np.empty(C, Float), np.empty(C, Float)
    scale, offset = np.empty(C, Float), np.empty(C, Float)
    for n in range(start, stop):
        over_image(moments, P, C_x, (x_[n], 0, means, spreads))
        over_image(moments, P, C_skip, (skip_[n], C_x, means, spreads))
        for c in range(C):
            if shift:
                means[c] += shift_[n, c]
            mean_[n, c] = means[c]
        for g in range(G):
            m, v = Float(0), Float(0)
            for c in range(g * width, (g + 1) * width):
                m += means[c]
            m /= Float(width)
            for c in range(g * width, (g + 1) * width):
                v += spreads[c] + Float(P) * (means[c] - m) * (means[c] - m)
            r = Float(1) / Float(math.sqrt(v / Float(P * width) + eps))
            rstd_[n, g] = r
            for c in range(g * width, (g + 1) * width):
                scale[c] = r * weight_[c]
                offset[c] = bias_[c] - m * scale[c]
                if shift:
                    offset[c] += shift_[n, c] * scale[c]
        others = scale, offset, silu, slope, out_[n], joined_[n, : P if C_skip else 0]
        over_image(scale_and_activate, P, C_x, (x_[n], 0, *others))
        over_image(scale_and_activate, P, C_skip, (skip_[n], C_x, *others))


@_loop
def group_norm_backward(
    like, joined, shift, weight, bias, mean, rstd, grad, direct,
    to_x, to_skip, to_shift, to_weight, to_bias, start, stop, sizes, silu, slope
):  # fmt: skip
    """Backward of `group_norm`, of samples start to stop.

    Args:
        like: a stored number.
        joined: as in the forward pass, or x where there is no skip, (B, P, C).
        shift: as in the forward pass, as are weight and bias; mean and rstd from it.
        weight: see shift.
        bias: see shift.
        mean: see shift.
        rstd: see shift.
        grad: address of the gradient with respect to the output, (B, P, C).
        direct: address of the gradient with respect to x ∥ skip, (B, P, C), or 0.
        to_x: address of the gradient with respect to x, written, (B, P, C_x).
        to_skip: address of that with respect to skip, (B, P, C_skip).
        to_shift: address of that with respect to shift, (B, C) float32.
        to_weight: address of each sample's part of that with respect to weight, (B, C) float32.
        to_bias: address of each sample's part of that with respect to bias, (B, C) float32.
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C_x, C_skip, G).
        silu: 1 for SiLU, 0 for a leaky ReLU.
        slope: of the latter, float32.
    """
    B, P, C_x, C_skip, G = sizes
    C = C_x + C_skip
    width = C // G
    joined_ = carray(at(joined, like), (B, P, C))
    shift_ = carray(at(shift, Float(0)), (B, C))
    weight_ = carray(at(weight, Float(0)), (C,))
    bias_ = carray(at(bias, Float(0)), (C,))
    mean_ = carray(at(mean, Float(0)), (B, C))
    rstd_ = carray(at(rstd, Float(0)), (B, G))
    grad_ = carray(at(grad, like), (B, P, C))
    direct_ = carray(at(direct, like), (B, P if direct else 0, C))
    to_x_ = carray(at(to_x, like), (B, P, C_x))
    to_skip_ = carray(at(to_skip, like), (B, P, C_skip))
    to_shift_ = carray(at(to_shift, Float(0)), (B, C))
    to_weight_ = carray(at(to_weight, Float(0)), (B, C))
    to_bias_ = carray(at(to_bias, Float(0)), (B, C))
    kept = np.empty((P, C), Float)
    scale, offset = np.empty(C, Float), np.empty(C, Float)
    w, b = np.empty(C, Float), np.empty(C, Float)
    sums, dots = np.empty(C, Float), np.empty(C, Float)
    by_grad, by_x, constant = np.empty(C, Float), np.empty(C, Float), np.empty(C, Float)
    for c in range(C):
        w[c], b[c] = weight_[c], bias_[c]
    share = Float(1) / Float(P * width)
    for n in range(start, stop):
        for g in range(G):
            m = Float(0)
            for c in range(g * width, (g + 1) * width):
                m += mean_[n, c]
            m /= Float(width)
            for c in range(g * width, (g + 1) * width):
                scale[c] = rstd_[n, g]
                offset[c] = -m * scale[c]
                if shift:
                    offset[c] += shift_[n, c] * scale[c]
                constant[c] = (
                    Float(P) * (mean_[n, c] - m) * scale[c]
                )  # sum of the normalised values
        norm = scale, offset, w, b
        given = joined_[n], grad_[n], norm, silu, slope, kept, sums, dots
        over_image(through_activation, P, C, given)
        for g in range(G):
            mean_grad, mean_dot = Float(0), Float(0)
            for c in range(g * width, (g + 1) * width):
                mean_grad += sums[c] * w[c] * share
                mean_dot += dots[c] * w[c] * share
            for c in range(g * width, (g + 1) * width):
                # r (w d - mean_grad - mean_dot · (scale x + offset)), with r = scale
                to_weight_[n, c], to_bias_[n, c] = dots[c], sums[c]
                by_grad[c] = scale[c] * w[c]
                by_x[c] = -scale[c] * scale[c] * mean_dot
                total = w[c] * sums[c] - Float(P) * mean_grad - mean_dot * constant[c]
                to_shift_[n, c] = scale[c] * total
                constant[c] = -scale[c] * (mean_grad + offset[c] * mean_dot)
        others = kept, direct_[n], (by_grad, by_x, constant)
        over_image(through_norm, P, C_x, (joined_[n], 0, *others, to_x_[n]))
        over_image(through_norm, P, C_skip, (joined_[n], C_x, *others, to_skip_[n]))


@_loop
def batch_moments(like, x, means, spreads, start, stop, sizes):
    """Per sample, channels' means and sums of squared deviations, of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C).
        means: address of the means, (B, C) float32, written.
        spreads: address of the sums, (B, C) float32, written.
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C).
    """
    B, P, C = sizes
    x_ = carray(at(x, like), (B, P, C))
    means_ = carray(at(means, Float(0)), (B, C))
    spreads_ = carray(at(spreads, Float(0)), (B, C))
    for n in range(start, stop):
        over_image(moments, P, C, (x_[n], 0, means_[n], spreads_[n]))


@_loop
def batch_statistics(means, spreads, weight, bias, running_mean, running_var, norm, sizes, numbers):
    """Coefficients of batch norm from `batch_moments`, and new running statistics.

    Args:
        means: address of (B, C) float32.
        spreads: address of (B, C) float32.
        weight: address of (C,) float32.
        bias: address of (C,) float32.
        running_mean: address of (C,) float32, moved towards the batch's.
        running_var: address of (C,) float32, moved towards the batch's, with Bessel's correction.
        norm: address of (6, C) float32, written: scale and offset that normalise x, weight, bias,
            scale and offset with these two included.
        sizes: (B, P, C).
        numbers: (eps, momentum), float32.
    """
    B, P, C = sizes
    eps, momentum = numbers
    means_ = carray(at(means, Float(0)), (B, C))
    spreads_ = carray(at(spreads, Float(0)), (B, C))
    weight_, bias_ = carray(at(weight, Float(0)), (C,)), carray(at(bias, Float(0)), (C,))
    running_mean_ = carray(at(running_mean, Float(0)), (C,))
    running_var_ = carray(at(running_var, Float(0)), (C,))
    norm_ = carray(at(norm, Float(0)), (6, C))
    for c in range(C):
        mean, squares = 0.0, 0.0
        for n in range(B):
            mean += means_[n, c]
        mean /= B
        for n in range(B):
            squares += spreads_[n, c] + P * (means_[n, c] - mean) ** 2
        rstd = 1 / math.sqrt(squares / (B * P) + eps)
        norm_[0, c], norm_[1, c] = rstd, -mean * rstd
        norm_[2, c], norm_[3, c] = weight_[c], bias_[c]
        norm_[4, c], norm_[5, c] = rstd * weight_[c], bias_[c] - mean * rstd * weight_[c]
        running_mean_[c] += momentum * (mean - running_mean_[c])
        running_var_[c] += momentum * (squares / (B * P - 1) - running_var_[c])


@_loop
def batch_factors(norm, sums, dots, to_bias, to_weight, factors, sizes):
    """Between the two passes of the backward pass: sums over samples, and what follows from them.

    Args:
        norm: address of that of `batch_statistics`.
        sums: address of (B, C) float32, see `batch_gradient_sums`.
        dots: address of (B, C) float32.
        to_bias: address of the gradient with respect to the bias, (C,), written.
        to_weight: address of that with respect to the weight, (C,), written.
        factors: address of by_grad, by_x and constant of `through_norm`, (3, C), written.
        sizes: (B, P, C).
    """
    B, P, C = sizes
    norm_, factors_ = carray(at(norm, Float(0)), (6, C)), carray(at(factors, Float(0)), (3, C))
    sums_, dots_ = carray(at(sums, Float(0)), (B, C)), carray(at(dots, Float(0)), (B, C))
    to_bias_ = carray(at(to_bias, Float(0)), (C,))
    to_weight_ = carray(at(to_weight, Float(0)), (C,))
    for c in range(C):
        total, products = 0.0, 0.0
        for n in range(B):
            total += sums_[n, c]
            products += dots_[n, c]
        to_bias_[c], to_weight_[c] = total, products
        by_x = -norm_[4, c] * norm_[0, c] * products / (B * P)
        factors_[0, c], factors_[1, c] = norm_[4, c], by_x
        factors_[2, c] = norm_[4, c] * (-total - norm_[1, c] * products) / (B * P)


@_loop
def activate(like, x, scale, offset, out, start, stop, sizes, slope):
    """Compute out, the leaky ReLU of scale · x + offset, of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C).
        scale: address of (C,) float32.
        offset: address of (C,) float32.
        out: address of the result, (B, P, C).
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C).
        slope: for negative values, float32.
    """
    B, P, C = sizes
    x_, out_ = carray(at(x, like), (B, P, C)), carray(at(out, like), (B, P, C))
    scale_, offset_ = carray(at(scale, Float(0)), (C,)), carray(at(offset, Float(0)), (C,))
    for n in range(start, stop):
        others = scale_, offset_, 0, slope, out_[n], x_[n, :0]
        over_image(scale_and_activate, P, C, (x_[n], 0, *others))


@_loop
def batch_gradient_sums(like, x, grad, norm, sums, dots, start, stop, sizes, slope):
    """First pass of the backward pass, of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C).
        grad: address of the gradient with respect to the output, (B, P, C).
        norm: address of scale and offset that normalise x, weight and bias, (4, C) float32, the
            beginning of that of `batch_statistics`.
        sums: address of each sample's gradient with respect to the bias, (B, C), written.
        dots: address of that with respect to the weight, (B, C), written.
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C).
        slope: for negative values, float32.
    """
    B, P, C = sizes
    x_, grad_ = carray(at(x, like), (B, P, C)), carray(at(grad, like), (B, P, C))
    norm_ = carray(at(norm, Float(0)), (4, C))
    sums_, dots_ = carray(at(sums, Float(0)), (B, C)), carray(at(dots, Float(0)), (B, C))
    parts = norm_[0], norm_[1], norm_[2], norm_[3]
    none = np.empty((0, C), Float)
    for n in range(start, stop):
        given = x_[n], grad_[n], parts, 0, slope, none, sums_[n], dots_[n]
        over_image(through_activation, P, C, given)


@_loop
def batch_gradients(like, x, grad, norm, factors, out, start, stop, sizes, slope):
    """Second pass: gradients with respect to x, of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C).
        grad: address of the gradient with respect to the output, (B, P, C).
        norm: as in the first pass.
        factors: address of by_grad, by_x and constant of `through_norm`, (3, C) float32.
        out: address of the result, (B, P, C).
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C).
        slope: for negative values, float32.
    """
    B, P, C = sizes
    x_, grad_ = carray(at(x, like), (B, P, C)), carray(at(grad, like), (B, P, C))
    out_ = carray(at(out, like), (B, P, C))
    norm_ = carray(at(norm, Float(0)), (4, C))
    factors_ = carray(at(factors, Float(0)), (3, C))
    parts = norm_[0], norm_[1], norm_[2], norm_[3]
    rows = factors_[0], factors_[1], factors_[2]
    for n in range(start, stop):
        over_image(through_both, P, C, (x_[n], grad_[n], parts, slope, rows, out_[n]))


def compile_for(like):
    """Compile all loops for images stored as `like`, or load them from numba's cache.

    Arrays without a number are never read, wherever they are.
    """
    sizes, number = (0, 1, 0, 0, 1), Float(0)
    group_norm(like, *[0] * 11, sizes, 0, (number, number))
    group_norm_backward(like, *[0] * 15, sizes, 0, number)
    sizes = (0, 1, 0)
    batch_moments(like, *[0] * 5, sizes)
    activate(like, *[0] * 6, sizes, number)
    batch_gradient_sums(like, *[0] * 7, sizes, number)
    batch_gradients(like, *[0] * 7, sizes, number)
    batch_statistics(*[0] * 7, sizes, (number, number))
    batch_factors(*[0] * 6, sizes)
