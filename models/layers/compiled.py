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
LANES = {"fastmath": {"nsz", "arcp", "contract"}, "error_model": "numpy"}
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
def _bits(typing, number):
    """The bits of a float32 as an int32."""
    return types.int32(
        types.float32
    ), lambda context, builder, signature, arguments: builder.bitcast(
        arguments[0], context.get_value_type(types.int32)
    )


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
        # Vectors of 512 bits, where there are any; by default the compiler prefers 256.
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
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
    """1 / (1 + exp(-x)), to a relative error of 2e-7, in a form that the compiler vectorises."""
    z = min(max(x * Float(-1.4426950408889634), Float(-126)), Float(126))
    whole = z + Float(12582912)  # 1.5 · 2^23: the sum's last bits are z, rounded
    f = z - (whole - Float(12582912))
    # 2^f on [-1/2, 1/2], a polynomial of degree 5 in the points of Chebyshev.
    p = Float(0.00133908634) * f + Float(0.00967603192)
    p = p * f + Float(0.0555035711)
    p = p * f + Float(0.240221075)
    p = p * f + Float(0.693147188)
    p = p * f + Float(1.00000008)
    power = _number(Int(_bits(p) + Int(_bits(whole) << Int(23))))  # adds to p's exponent
    return Float(1) / (Float(1) + power)


@njit(**INLINE)
def _join(x, skip, out):
    """Write x, (P, C_x), and skip, (P, C_skip), side by side, (P, C_x + C_skip)."""
    P, C = x.shape
    for p in range(P):
        out[p, :C] = x[p]
        out[p, C:] = skip[p]


@njit(**INLINE)
def _split(joined, x, skip):
    """The inverse of `_join`."""
    P, C = x.shape
    for p in range(P):
        x[p] = joined[p, :C]
        skip[p] = joined[p, C:]


@njit(**INLINE)
def _moments(x, pivot, mean, spread):
    """Mean and sum of squared deviations over the pixels of each channel of x, (P, C).

    Sums are of differences to the first pixel, since a mean that is large would drown the spread.

    Args:
        x: pixels and channels.
        pivot: overwritten, (C,).
        mean: means, (C,).
        spread: sums of squared deviations, (C,).
    """
    P, C = x.shape
    for c in range(C):
        pivot[c] = get_input(x, c)
    mean[:] = Float(0)
    spread[:] = Float(0)
    for p in range(P):
        for c in range(C):
            v = get_input(x, p * C + c) - get_coefficient(pivot, c)
            put_sum(mean, c, get_sum(mean, c) + v)
            put_dot(spread, c, get_dot(spread, c) + v * v)
    share = Float(1) / Float(P)
    for c in range(C):
        v = mean[c] * share
        spread[c] = max(spread[c] - Float(P) * v * v, Float(0))
        mean[c] = v + pivot[c]


@njit(**INLINE)
def _apply(x, scale, offset, silu, slope, out):
    """Compute out = activation(scale · x + offset), with scale and offset, (C,)."""
    P, C = x.shape
    for p in range(P):
        if silu:
            for c in range(C):
                y = get_input(x, p * C + c) * get_coefficient(scale, c)
                y += get_coefficient(offset, c)
                put_output(out, p * C + c, y * _sigmoid(y))
        else:
            for c in range(C):
                y = get_input(x, p * C + c) * get_coefficient(scale, c)
                y += get_coefficient(offset, c)
                put_output(out, p * C + c, y if y > Float(0) else y * slope)


@njit(**INLINE)
def _through_activation(x, grad, norm, silu, slope, kept, sums, dots):
    """Gradients with respect to what the activation is given, and their sums over pixels.

    Args:
        x: input of the norm, (P, C).
        grad: with respect to the output, (P, C).
        norm: scale and offset that make the normalised value of x, weight and bias of the norm,
            each (C,).
        silu: whether the activation is SiLU.
        slope: of a leaky one.
        kept: the result, (P, C) float32.
        sums: its sums over pixels, (C,).
        dots: sums over pixels of its products with the normalised values, (C,).
    """
    scale, offset, weight, bias = norm
    P, C = x.shape
    sums[:] = Float(0)
    dots[:] = Float(0)
    for p in range(P):
        for c in range(C):
            normal = get_input(x, p * C + c) * get_coefficient(scale, c)
            normal += get_coefficient(offset, c)
            y = normal * get_coefficient(weight, c) + get_coefficient(bias, c)
            d = get_gradient(grad, p * C + c)
            if silu:
                s = _sigmoid(y)
                d *= s * (Float(1) + y * (Float(1) - s))
            else:
                d = d if y > Float(0) else d * slope
            put_kept(kept, p * C + c, d)
            put_sum(sums, c, get_sum(sums, c) + d)
            put_dot(dots, c, get_dot(dots, c) + d * normal)


@njit(**INLINE)
def _through_norm(x, kept, direct, by_grad, by_x, constant, out):
    """Gradients with respect to x, by_grad · kept + by_x · x + constant.

    Args:
        x: input of the norm, (P, C).
        kept: gradients with respect to what the activation is given, (P, C) float32.
        direct: gradients that reach x on another way, (P, C), or no pixels.
        by_grad: (C,).
        by_x: (C,).
        constant: (C,).
        out: the result, with `direct` added, (P, C).
    """
    P, C = x.shape
    added = len(direct) > 0
    for p in range(P):
        for c in range(C):
            d = get_kept(kept, p * C + c) * get_coefficient(by_grad, c)
            d += get_input(x, p * C + c) * get_coefficient(by_x, c) + get_coefficient(constant, c)
            if added:
                d += get_direct(direct, p * C + c)
            put_output(out, p * C + c, d)


@njit(**CALLABLE)
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
    x_ = carray(_at(x, like), (B, P, C_x))
    skip_ = carray(_at(skip, like), (B, P, C_skip))
    shift_ = carray(_at(shift, Float(0)), (B, C))
    weight_ = carray(_at(weight, Float(0)), (C,))
    bias_ = carray(_at(bias, Float(0)), (C,))
    out_ = carray(_at(out, like), (B, P, C))
    joined_ = carray(_at(joined if C_skip else x, like), (B, P, C))
    mean_ = carray(_at(mean, Float(0)), (B, C))
    rstd_ = carray(_at(rstd, Float(0)), (B, G))
    means, spreads = np.empty(C, Float), np.empty(C, Float)
    scale, offset = np.empty(C, Float), np.empty(C, Float)
    for n in range(start, stop):
        if C_skip:
            _join(x_[n], skip_[n], joined_[n])
        _moments(joined_[n], scale, means, spreads)
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
        _apply(joined_[n], scale, offset, silu, slope, out_[n])


@njit(**CALLABLE)
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
    joined_ = carray(_at(joined, like), (B, P, C))
    shift_ = carray(_at(shift, Float(0)), (B, C))
    weight_ = carray(_at(weight, Float(0)), (C,))
    bias_ = carray(_at(bias, Float(0)), (C,))
    mean_ = carray(_at(mean, Float(0)), (B, C))
    rstd_ = carray(_at(rstd, Float(0)), (B, G))
    grad_ = carray(_at(grad, like), (B, P, C))
    direct_ = carray(_at(direct, like), (B, P if direct else 0, C))
    to_x_ = carray(_at(to_x, like), (B, P, C_x))
    to_skip_ = carray(_at(to_skip, like), (B, P, C_skip))
    to_shift_ = carray(_at(to_shift, Float(0)), (B, C))
    to_weight_ = carray(_at(to_weight, Float(0)), (B, C))
    to_bias_ = carray(_at(to_bias, Float(0)), (B, C))
    kept = np.empty((P, C), Float)
    both = np.empty_like(joined_[0])
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
        _through_activation(joined_[n], grad_[n], norm, silu, slope, kept, sums, dots)
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
        into = both if C_skip else to_x_[n]
        _through_norm(joined_[n], kept, direct_[n], by_grad, by_x, constant, into)
        if C_skip:
            _split(into, to_x_[n], to_skip_[n])


@njit(**CALLABLE)
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
    x_ = carray(_at(x, like), (B, P, C))
    means_ = carray(_at(means, Float(0)), (B, C))
    spreads_ = carray(_at(spreads, Float(0)), (B, C))
    pivot = np.empty(C, Float)
    for n in range(start, stop):
        _moments(x_[n], pivot, means_[n], spreads_[n])


@njit(**CALLABLE)
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
    means_ = carray(_at(means, Float(0)), (B, C))
    spreads_ = carray(_at(spreads, Float(0)), (B, C))
    weight_, bias_ = carray(_at(weight, Float(0)), (C,)), carray(_at(bias, Float(0)), (C,))
    running_mean_ = carray(_at(running_mean, Float(0)), (C,))
    running_var_ = carray(_at(running_var, Float(0)), (C,))
    norm_ = carray(_at(norm, Float(0)), (6, C))
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


@njit(**CALLABLE)
def batch_factors(norm, sums, dots, to_bias, to_weight, factors, sizes):
    """Between the two passes of the backward pass: sums over samples, and what follows from them.

    Args:
        norm: address of that of `batch_statistics`.
        sums: address of (B, C) float32, see `batch_gradient_sums`.
        dots: address of (B, C) float32.
        to_bias: address of the gradient with respect to the bias, (C,), written.
        to_weight: address of that with respect to the weight, (C,), written.
        factors: address of by_grad, by_x and constant of `_through_norm`, (3, C), written.
        sizes: (B, P, C).
    """
    B, P, C = sizes
    norm_, factors_ = carray(_at(norm, Float(0)), (6, C)), carray(_at(factors, Float(0)), (3, C))
    sums_, dots_ = carray(_at(sums, Float(0)), (B, C)), carray(_at(dots, Float(0)), (B, C))
    to_bias_ = carray(_at(to_bias, Float(0)), (C,))
    to_weight_ = carray(_at(to_weight, Float(0)), (C,))
    for c in range(C):
        total, products = 0.0, 0.0
        for n in range(B):
            total += sums_[n, c]
            products += dots_[n, c]
        to_bias_[c], to_weight_[c] = total, products
        by_x = -norm_[4, c] * norm_[0, c] * products / (B * P)
        factors_[0, c], factors_[1, c] = norm_[4, c], by_x
        factors_[2, c] = norm_[4, c] * (-total - norm_[1, c] * products) / (B * P)


@njit(**CALLABLE)
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
    x_, out_ = carray(_at(x, like), (B, P, C)), carray(_at(out, like), (B, P, C))
    scale_, offset_ = carray(_at(scale, Float(0)), (C,)), carray(_at(offset, Float(0)), (C,))
    for n in range(start, stop):
        _apply(x_[n], scale_, offset_, 0, slope, out_[n])


@njit(**CALLABLE)
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
    x_, grad_ = carray(_at(x, like), (B, P, C)), carray(_at(grad, like), (B, P, C))
    norm_ = carray(_at(norm, Float(0)), (4, C))
    sums_, dots_ = carray(_at(sums, Float(0)), (B, C)), carray(_at(dots, Float(0)), (B, C))
    parts = norm_[0], norm_[1], norm_[2], norm_[3]
    kept = np.empty((P, C), Float)
    for n in range(start, stop):
        _through_activation(x_[n], grad_[n], parts, 0, slope, kept, sums_[n], dots_[n])


@njit(**CALLABLE)
def batch_gradients(like, x, grad, norm, factors, out, start, stop, sizes, slope):
    """Second pass: gradients with respect to x, of samples start to stop.

    Args:
        like: a stored number.
        x: address of (B, P, C).
        grad: address of the gradient with respect to the output, (B, P, C).
        norm: as in the first pass.
        factors: address of by_grad, by_x and constant of `_through_norm`, (3, C) float32.
        out: address of the result, (B, P, C).
        start: first sample.
        stop: sample after the last one.
        sizes: (B, P, C).
        slope: for negative values, float32.
    """
    B, P, C = sizes
    x_, grad_ = carray(_at(x, like), (B, P, C)), carray(_at(grad, like), (B, P, C))
    out_ = carray(_at(out, like), (B, P, C))
    norm_, factors_ = carray(_at(norm, Float(0)), (4, C)), carray(_at(factors, Float(0)), (3, C))
    parts = norm_[0], norm_[1], norm_[2], norm_[3]
    kept, unused = np.empty((P, C), Float), np.empty((2, C), Float)
    for n in range(start, stop):
        _through_activation(x_[n], grad_[n], parts, 0, slope, kept, unused[0], unused[1])
        _through_norm(x_[n], kept, x_[n, :0], factors_[0], factors_[1], factors_[2], out_[n])


def compile_for(like):
    """Compile all loops for images stored as `like`, or load them from numba's cache."""
    sizes, number = (0, 1, 1, 0, 1), Float(0)
    group_norm(like, *[0] * 11, sizes, 0, (number, number))
    group_norm_backward(like, *[0] * 15, sizes, 0, number)
    sizes = (0, 1, 1)
    batch_moments(like, *[0] * 5, sizes)
    activate(like, *[0] * 6, sizes, number)
    batch_gradient_sums(like, *[0] * 7, sizes, number)
    batch_gradients(like, *[0] * 7, sizes, number)
    batch_statistics(*[0] * 7, (0, 1, 0), (number, number))
    batch_factors(*[0] * 6, (0, 1, 0))
