"""Parts of the loops in `models.layers.compiled`, which numba puts where they are used.

Each is for one image, (P, C) with P pixels and C channels, or for single numbers; `like` and the
way in which arrays are passed are those of that module.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import numpy as np
from numba import njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic

Float, Int = np.float32, np.int32
LANES = {"fastmath": {"nsz", "arcp", "contract"}, "error_model": "numpy"}
INLINE = {**LANES, "forceinline": True}


@intrinsic
def at(typing, address, like):
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
def join_channels(x, skip, out):
    """Write x, (P, C_x), and skip, (P, C_skip), side by side, (P, C_x + C_skip)."""
    P, C = x.shape
    for p in range(P):
        out[p, :C] = x[p]
        out[p, C:] = skip[p]


@njit(**INLINE)
def split_channels(joined, x, skip):
    """The inverse of `join_channels`."""
    P, C = x.shape
    for p in range(P):
        x[p] = joined[p, :C]
        skip[p] = joined[p, C:]


@njit(**INLINE)
def channel_moments(x, pivot, mean, spread):
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
def scale_and_activate(x, scale, offset, silu, slope, out):
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
def through_activation(x, grad, norm, silu, slope, kept, sums, dots):
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
def through_norm(x, kept, direct, by_grad, by_x, constant, out):
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
