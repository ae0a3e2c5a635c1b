"""Loops over pixels and channels that are compiled for the processor by numba.

One pass over memory does what several of torch's operators would: normalise, scale and activate,
in float32, from and to bfloat16 or float32. Everything is passed by address: images are channels
last and contiguous, (B, P, C) with P pixels; statistics, weights and their gradients are float32.
`like` is a number of the type in which images are stored, int16 for the bits of bfloat16.

Importing this module imports numba, which takes half a second: `models.layers.kernels` does so
when a kernel is first needed. All loops are in this file: numba renews its cache only when
the file of the loop that was called changes.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import math

import numpy as np
from numba import carray, njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

Float, Int = np.float32, np.int32
LANES = {"fastmath": {"nsz", "arcp", "contract", "reassoc"}, "error_model": "numpy"}
INLINE = {**LANES, "forceinline": True}
CALLABLE = {**LANES, "nogil": True, "cache": True}


@intrinsic
def _at(typing, address, like):
    """The address as a pointer to numbers of the type of `like`."""
    pointer = types.CPointer(like)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(address, like), generate


@intrinsic
def _number(typing, bits):
    """The float32 of these bits."""
    return types.float32(
        types.int32
    ), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], context.get_value_type(types.float32)
    )


def _memory(name):
    """Functions that read and write arrays of one role, told apart from all other roles.

    The compiler vectorises a loop only if it knows that what is written is not what is read next.
    Arrays of different roles do not overlap, which these accesses state (LLVM's `noalias`). An
    array must have one role in all loops.

    Args:
        name: one of ROLES.

    Returns:
        get(array, index), the number there as float32: the bits of a bfloat16 are the upper half of
        a float32's; and put(array, index, number), which rounds to the nearest bfloat16, or to
        even. Arrays are contiguous, indices count from their first number.
    """

    def mark(builder, access):
        module = builder.module
        domain = module.add_metadata(["models.layers.compiled"])
        scopes = {role: module.add_metadata([role, domain]) for role in ROLES}
        access.set_metadata("alias.scope", module.add_metadata([scopes[name]]))
        others = [scope for role, scope in scopes.items() if role != name]
        access.set_metadata("noalias", module.add_metadata(others))

    def place(context, builder, array, values):
        data = context.make_array(array)(context, builder, values[0]).data
        return builder.gep(data, [values[1]])

    @intrinsic
    def get(typing, array, index):
        def generate(context, builder, signature, values):
            number = builder.load(place(context, builder, array, values))
            mark(builder, number)
            if array.dtype != types.int16:
                return number
            number = builder.zext(number, context.get_value_type(types.int32))
            number = builder.shl(number, context.get_constant(types.int32, 16))
            return builder.bitcast(number, context.get_value_type(types.float32))

        return types.float32(array, types.intp), generate

    @intrinsic
    def put(typing, array, index, number):
        def generate(context, builder, signature, values):
            stored = values[2]
            if array.dtype == types.int16:
                one, half = (context.get_constant(types.int32, n) for n in (1, 0x7FFF))
                shift = context.get_constant(types.int32, 16)
                bits = builder.bitcast(stored, context.get_value_type(types.int32))
                odd = builder.and_(builder.lshr(bits, shift), one)
                up = builder.add(bits, builder.add(odd, half))
                nan = builder.fcmp_unordered("uno", stored, stored)
                up = builder.lshr(builder.select(nan, bits, up), shift)
                stored = builder.trunc(up, context.get_value_type(types.int16))
            mark(builder, builder.store(stored, place(context, builder, array, values)))
            return context.get_dummy_value()

        return types.void(array, types.intp, types.float32), generate

    return get, put


ROLES = ("input", "output", "gradient", "direct", "kept", "coefficient", "sum", "dot")
get_input, _ = _memory("input")
_, put_output = _memory("output")
get_gradient, _ = _memory("gradient")
get_direct, _ = _memory("direct")
get_kept, put_kept = _memory("kept")
get_coefficient, _ = _memory("coefficient")
get_sum, put_sum = _memory("sum")
get_dot, put_dot = _memory("dot")


@njit(**INLINE)
def _sigmoid(x):
    """1 / (1 + exp(-x)), to a relative error of 1e-6, in a form that the compiler vectorises."""
    z = min(max(x * Float(-1.4426950408889634), Float(-126)), Float(126))
    whole = np.floor(z)
    f = z - whole
    # 2^f on [0, 1), the minimax polynomial of degree 5.
    p = Float(1.8775767e-3) * f + Float(8.9893397e-3)
    p = p * f + Float(5.5826318e-2)
    p = p * f + Float(2.4015361e-1)
    p = p * f + Float(6.9315308e-1)
    p = p * f + Float(9.9999994e-1)
    power = _number(Int(Int(Int(whole) + Int(127)) << Int(23)))
    return Float(1) / (Float(1) + p * power)


@njit(**INLINE)
def _moments(x, first, pivot, mean, spread):
    """Mean and sum of squared deviations over the pixels of each channel of x, (P, C).

    Sums are of differences to the first pixel, since a mean that is large would drown the spread.

    Args:
        x: pixels and channels.
        first: channel of the others where x begins.
        pivot: overwritten, (C',).
        mean: means, (C',).
        spread: sums of squared deviations, (C',).
    """
    P, C = x.shape
    for c in range(first, first + C):
        pivot[c] = get_input(x, c - first)
        mean[c] = spread[c] = Float(0)
    for p in range(P):
        for c in range(C):
            v = get_input(x, p * C + c) - get_coefficient(pivot, first + c)
            put_sum(mean, first + c, get_sum(mean, first + c) + v)
            put_dot(spread, first + c, get_dot(spread, first + c) + v * v)
    share = Float(1) / Float(P)
    for c in range(first, first + C):
        v = mean[c] * share
        spread[c] = max(spread[c] - Float(P) * v * v, Float(0))
        mean[c] = v + pivot[c]


@njit(**INLINE)
def _apply(x, first, scale, offset, silu, slope, out):
    """Compute out = activation(scale · x + offset), for channels of out from `first` on."""
    P, C = x.shape
    width = out.shape[1]
    if silu:
        for p in range(P):
            for c in range(C):
                y = get_input(x, p * C + c) * get_coefficient(scale, first + c)
                y += get_coefficient(offset, first + c)
                put_output(out, p * width + first + c, y * _sigmoid(y))
    else:
        for p in range(P):
            for c in range(C):
                y = get_input(x, p * C + c) * get_coefficient(scale, first + c)
                y += get_coefficient(offset, first + c)
                put_output(out, p * width + first + c, y if y > Float(0) else y * slope)


@njit(**INLINE)
def _copy(x, first, out):
    """Channels of out from `first` on become x."""
    P, C = x.shape
    width = out.shape[1]
    for p in range(P):
        for c in range(C):
            put_output(out, p * width + first + c, get_input(x, p * C + c))


@njit(**INLINE)
def _through_activation(x, first, grad, scale, offset, weight, bias, silu, slope, kept, sums, dots):
    """Gradients with respect to what the activation is given, and their sums over pixels.

    Args:
        x: input of the norm, (P, C).
        first: channel of all other arguments where x begins.
        grad: with respect to the output, (P, C').
        scale: with `offset` what makes the normalised value of x, (C',).
        offset: see scale.
        weight: of the norm, (C',).
        bias: of the norm, (C',).
        silu: whether the activation is SiLU.
        slope: of a leaky one.
        kept: the result, (P, C') float32.
        sums: its sums over pixels, (C',).
        dots: sums over pixels of its products with the normalised values, (C',).
    """
    P, C = x.shape
    width = grad.shape[1]
    for c in range(first, first + C):
        sums[c] = dots[c] = Float(0)
    for p in range(P):
        for c in range(C):
            k, there = first + c, p * width + first + c
            normal = get_input(x, p * C + c) * get_coefficient(scale, k)
            normal += get_coefficient(offset, k)
            y = normal * get_coefficient(weight, k) + get_coefficient(bias, k)
            d = get_gradient(grad, there)
            if silu:
                s = _sigmoid(y)
                d *= s * (Float(1) + y * (Float(1) - s))
            else:
                d = d if y > Float(0) else d * slope
            put_kept(kept, there, d)
            put_sum(sums, k, get_sum(sums, k) + d)
            put_dot(dots, k, get_dot(dots, k) + d * normal)


@njit(**INLINE)
def _through_norm(x, first, kept, direct, by_grad, by_x, constant, out, sums):
    """Gradients with respect to x, by_grad · kept + by_x · x + constant; and their sums.

    Args:
        x: input of the norm, (P, C).
        first: channel of all other arguments but `out` where x begins.
        kept: gradients with respect to what the activation is given, (P, C') float32.
        direct: gradients that reach x on another way, (P, C'), or no pixels.
        by_grad: (C',).
        by_x: (C',).
        constant: (C',).
        out: the result, with `direct` added, (P, C).
        sums: over pixels, without `direct`, (C',).
    """
    P, C = x.shape
    width = kept.shape[1]
    for c in range(first, first + C):
        sums[c] = Float(0)
    added = len(direct) > 0
    for p in range(P):
        for c in range(C):
            k, there = first + c, p * width + first + c
            d = get_kept(kept, there) * get_coefficient(by_grad, k)
            d += get_input(x, p * C + c) * get_coefficient(by_x, k)
            d += get_coefficient(constant, k)
            put_sum(sums, k, get_sum(sums, k) + d)
            if added:
                d += get_direct(direct, there)
            put_output(out, p * C + c, d)


@njit(**CALLABLE)
def group_norm(
    like,
    x,
    skip,
    shift,
    weight,
    bias,
    out,
    joined,
    mean,
    rstd,
    start,
    stop,
    sizes,
    silu,
    numbers,
):
    """Forward: activation(norm(x ∥ skip + shift)), of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C_x).
        skip: address of (B, P, C_skip).
        shift: address of (B, C) float32, or 0 for none.
        weight: address of (C,) float32.
        bias: address of (C,) float32.
        out: address of the result, (B, P, C).
        joined: address where x ∥ skip is to be written, (B, P, C), or 0.
        mean: address of the groups' means, (B, G) float32, written.
        rstd: address of the groups' inverse standard deviations, (B, G) float32, written.
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C_x, C_skip, G).
        silu: 1 for SiLU, 0 for a leaky ReLU: x for x > 0, else slope · x.
        numbers: (eps, slope), float32.
    """
    B, P, C_x, C_skip, G = sizes
    C = C_x + C_skip
    width, parts = C // G, 1 + (C_skip > 0)
    eps, slope = numbers
    x_ = carray(_at(x, like), (B, P, C_x))
    skip_ = carray(_at(skip, like), (B, P, C_skip))
    shift_ = carray(_at(shift, Float(0)), (B, C))
    weight_ = carray(_at(weight, Float(0)), (C,))
    bias_ = carray(_at(bias, Float(0)), (C,))
    out_ = carray(_at(out, like), (B, P, C))
    joined_ = carray(_at(joined, like), (B, P, C))
    mean_ = carray(_at(mean, Float(0)), (B, G))
    rstd_ = carray(_at(rstd, Float(0)), (B, G))
    means, spreads = np.empty(C, Float), np.empty(C, Float)
    scale, offset = np.empty(C, Float), np.empty(C, Float)
    for n in range(start, stop):
        for part in range(parts):
            images = x_ if part == 0 else skip_
            _moments(images[n], part * C_x, scale, means, spreads)
        if shift:
            for c in range(C):
                means[c] += shift_[n, c]
        for g in range(G):
            m, v = Float(0), Float(0)
            for c in range(g * width, (g + 1) * width):
                m += means[c]
            m /= Float(width)
            for c in range(g * width, (g + 1) * width):
                v += spreads[c] + Float(P) * (means[c] - m) * (means[c] - m)
            r = Float(1) / Float(math.sqrt(v / Float(P * width) + eps))
            mean_[n, g] = m
            rstd_[n, g] = r
            for c in range(g * width, (g + 1) * width):
                scale[c] = r * weight_[c]
                offset[c] = bias_[c] - m * scale[c]
        if shift:
            for c in range(C):
                offset[c] += shift_[n, c] * scale[c]
        for part in range(parts):
            images, first = x_ if part == 0 else skip_, part * C_x
            _apply(images[n], first, scale, offset, silu, slope, out_[n])
            if joined:
                _copy(images[n], first, joined_[n])


@njit(**CALLABLE)
def group_norm_backward(
    like, x, skip, shift, weight, bias, mean, rstd, grad, direct,
    to_x, to_skip, to_shift, to_weight, to_bias, start, stop, sizes, silu, slope
):  # fmt: skip
    """Backward of `group_norm`, of samples start to stop.

    Args:
        like: a stored number.
        x: as in the forward pass, as are skip, shift, weight and bias; mean and rstd from it.
        skip: see x.
        shift: see x.
        weight: see x.
        bias: see x.
        mean: see x.
        rstd: see x.
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
    width, parts = C // G, 1 + (C_skip > 0)
    x_ = carray(_at(x, like), (B, P, C_x))
    skip_ = carray(_at(skip, like), (B, P, C_skip))
    shift_ = carray(_at(shift, Float(0)), (B, C))
    weight_ = carray(_at(weight, Float(0)), (C,))
    bias_ = carray(_at(bias, Float(0)), (C,))
    mean_ = carray(_at(mean, Float(0)), (B, G))
    rstd_ = carray(_at(rstd, Float(0)), (B, G))
    grad_ = carray(_at(grad, like), (B, P, C))
    direct_ = carray(_at(direct, like), (B, P if direct else 0, C))
    to_x_ = carray(_at(to_x, like), (B, P, C_x))
    to_skip_ = carray(_at(to_skip, like), (B, P, C_skip))
    to_shift_ = carray(_at(to_shift, Float(0)), (B, C))
    to_weight_ = carray(_at(to_weight, Float(0)), (B, C))
    to_bias_ = carray(_at(to_bias, Float(0)), (B, C))
    kept = np.empty((P, C), Float)
    scale, offset = np.empty(C, Float), np.empty(C, Float)
    by_grad, by_x, constant = np.empty(C, Float), np.empty(C, Float), np.empty(C, Float)
    share = Float(1) / Float(P * width)
    for n in range(start, stop):
        sums, dots = to_bias_[n], to_weight_[n]
        for c in range(C):
            scale[c] = rstd_[n, c // width]
            offset[c] = -mean_[n, c // width] * scale[c]
        if shift:
            for c in range(C):
                offset[c] += shift_[n, c] * scale[c]
        for part in range(parts):
            images, first = x_ if part == 0 else skip_, part * C_x
            _through_activation(
                images[n], first, grad_[n], scale, offset, weight_, bias_, silu, slope, kept,
                sums, dots,
            )  # fmt: skip
        for g in range(G):
            mean_grad, mean_dot = Float(0), Float(0)
            for c in range(g * width, (g + 1) * width):
                mean_grad += sums[c] * weight_[c] * share
                mean_dot += dots[c] * weight_[c] * share
            for c in range(g * width, (g + 1) * width):
                # r (w d - mean_grad - mean_dot · (scale x + offset)), with r = scale
                by_grad[c] = scale[c] * weight_[c]
                by_x[c] = -scale[c] * scale[c] * mean_dot
                constant[c] = -scale[c] * (mean_grad + offset[c] * mean_dot)
        for part in range(parts):
            images, first = x_ if part == 0 else skip_, part * C_x
            into = to_x_ if part == 0 else to_skip_
            _through_norm(
                images[n], first, kept, direct_[n], by_grad, by_x, constant, into[n],
                to_shift_[n],
            )  # fmt: skip


def compile_for(like):
    """Compile all loops for images stored as `like`, or load them from numba's cache."""
    sizes, number = (0, 1, 1, 0, 1), Float(0)
    group_norm(like, *[0] * 11, sizes, 0, (number, number))
    group_norm_backward(like, *[0] * 16, sizes, 0, number)
