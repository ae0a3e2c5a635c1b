"""Parts of the loops in `models.layers.compiled`, which numba puts where they are used.

Each part runs over the pixels of one image, for up to 32 channels at a time, side by side in
registers (`Lanes`), so that sums and factors of these channels stay in registers too. Images are
(P, C) with P pixels and C channels; the way in which they are stored is told in that module.
"""

# pyright: reportCallIssue=false, reportArgumentType=false, reportIndexIssue=false

import operator

import numpy as np
from llvmlite import ir
from numba import njit, types  # pyright: ignore[reportPrivateImportUsage]
from numba.extending import intrinsic, models, overload, register_model

Float = np.float32
TILE = 64
"""Pixels that are read for all channels before the next ones are: these stay in the cache."""

LANES = {"fastmath": {"nsz", "arcp", "contract"}, "error_model": "numpy"}
INLINE = {**LANES, "forceinline": True}
FLAGS = ("nsz", "arcp", "contract")


class Lanes(types.Type):
    """As many float32 numbers as `width`, in as many registers as they need."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(f"Lanes({width})")


def _vector(kind, of):
    """The LLVM type of what is stored as `of`, for one number or for all lanes."""
    return ir.VectorType(of, kind.width) if isinstance(kind, Lanes) else of


def _all(kind, number, of=None):
    """The same constant in all lanes."""
    of = of or ir.IntType(32)
    if not isinstance(kind, Lanes):
        return ir.Constant(of, number)
    return ir.Constant(_vector(kind, of), [number] * kind.width)


def _spread(builder, value, kind, wanted):
    """The number, in all lanes if these are wanted."""
    if kind == wanted:
        return value
    vector = ir.Constant(_vector(wanted, ir.FloatType()), ir.Undefined)
    one = builder.insert_element(vector, value, ir.IntType(32)(0))
    return builder.shuffle_vector(one, vector, _all(wanted, 0))


register_model(Lanes)(
    lambda manager, kind: models.PrimitiveModel(manager, kind, _vector(kind, ir.FloatType()))
)


@intrinsic
def at(typing, address, like):
    """The address as a pointer to numbers of the type of `like`."""
    pointer = types.CPointer(like)

    def generate(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(pointer))

    return pointer(address, like), generate


def _zeros(width):
    """As many zeros, which tell the parts to work on as many channels at once."""

    @intrinsic
    def zeros(typing):
        kind = Lanes(width)
        return kind(), lambda context, builder, signature, values: _all(kind, 0.0, ir.FloatType())

    return zeros


zeros_16, zeros_32 = _zeros(16), _zeros(32)


def _place(context, builder, array, values, of):
    """Pointer to element values[1] of an array, for as many as are read or written at once."""
    data = context.make_array(array)(context, builder, values[0]).data
    return builder.bitcast(builder.gep(data, [values[1]]), of.as_pointer())


def _stored(context, kind, array):
    return _vector(kind, context.get_value_type(array.dtype))


def _use_long_registers(builder):
    """Vectors of 512 bits, where there are any, and divisions by way of quick reciprocals."""
    set.add(builder.function.attributes, '"prefer-vector-width"="512"')
    set.add(builder.function.attributes, '"reciprocal-estimates"="vec-divf:1"')


@intrinsic
def get(typing, array, index, unit):
    """Numbers of a contiguous array from there on as float32, as many as `unit` has.

    The bits of a bfloat16 are the upper half of a float32's.
    """

    def generate(context, builder, signature, values):
        _use_long_registers(builder)
        stored = _stored(context, unit, array)
        number = builder.load(_place(context, builder, array, values, stored), align=2)
        if array.dtype != types.int16:
            return number
        number = builder.zext(number, _vector(unit, ir.IntType(32)))
        number = builder.shl(number, _all(unit, 16))
        return builder.bitcast(number, _vector(unit, ir.FloatType()))

    return unit(array, types.intp, unit), generate


@intrinsic
def put(typing, array, index, number):
    """Write numbers to a contiguous array, rounded to the nearest, or even, bfloat16.

    What is not a number stays so: of its bits, computing sets only the uppermost.
    """

    def generate(context, builder, signature, values):
        stored = values[2]
        if array.dtype == types.int16:
            bits = builder.bitcast(stored, _vector(number, ir.IntType(32)))
            odd = builder.and_(builder.lshr(bits, _all(number, 16)), _all(number, 1))
            up = builder.add(bits, builder.add(odd, _all(number, 0x7FFF)))
            stored = builder.trunc(
                builder.lshr(up, _all(number, 16)), _vector(number, ir.IntType(16))
            )
        place = _place(context, builder, array, values, stored.type)
        builder.store(stored, place, align=2)
        return context.get_dummy_value()

    return types.void(array, types.intp, number), generate


@intrinsic
def copy(typing, out, to, array, index, unit):
    """Write what an array stores from `index` on into another one, from `to` on."""

    def generate(context, builder, signature, values):
        stored = _stored(context, unit, array)
        read = builder.load(_place(context, builder, array, values[2:], stored), align=2)
        builder.store(read, _place(context, builder, out, values[:2], stored), align=2)
        return context.get_dummy_value()

    return types.void(out, types.intp, array, types.intp, unit), generate


def _operation(python, name):
    """Have the operator compute lanes with lanes, or with the same number for all."""

    @intrinsic
    def compute(typing, a, b):
        kind = a if isinstance(a, Lanes) else b

        def generate(context, builder, signature, values):
            both = [_spread(builder, v, k, kind) for v, k in zip(values, (a, b), strict=True)]
            return getattr(builder, name)(*both, flags=FLAGS)

        return kind(a, b), generate

    @overload(python)
    def operate(a, b):
        if isinstance(a, Lanes) or isinstance(b, Lanes):
            return lambda a, b: compute(a, b)
        return None


for _python, _name in (
    (operator.add, "fadd"),
    (operator.sub, "fsub"),
    (operator.mul, "fmul"),
):
    _operation(_python, _name)


@intrinsic
def positive(typing, condition, yes, no):
    """Where condition > 0 the one, else the other."""

    def generate(context, builder, signature, values):
        kinds = zip(values, (condition, yes, no), strict=True)
        given, a, b = (_spread(builder, v, k, condition) for v, k in kinds)
        zero = _all(condition, 0.0, ir.FloatType())
        return builder.select(builder.fcmp_ordered(">", given, zero), a, b)

    return condition(condition, yes, no), generate


@intrinsic
def _clamp(typing, x, limit):
    """Numbers x in [-limit, limit]."""

    def generate(context, builder, signature, values):
        high = _spread(builder, values[1], limit, x)
        low = builder.fneg(high)
        held = builder.select(builder.fcmp_ordered("<", values[0], high), values[0], high)
        return builder.select(builder.fcmp_ordered(">", held, low), held, low)

    return x(x, limit), generate


@intrinsic
def _reciprocal(typing, x):
    """1 / x of a number that is neither 0 nor infinite, by an estimate that is made exact."""

    def generate(context, builder, signature, values):
        one = _all(x, 1.0, ir.FloatType())
        return builder.fdiv(one, values[0], flags=("ninf", "nsz", "arcp", "contract"))

    return x(x), generate


@intrinsic
def _times_power_of_two(typing, number, whole):
    """Number · 2^n, where n is in the last bits of the float32 `whole`, the second argument."""

    def generate(context, builder, signature, values):
        a, n = (builder.bitcast(v, _vector(number, ir.IntType(32))) for v in values)
        bits = builder.add(a, builder.shl(n, _all(number, 23)))  # adds to the exponent
        return builder.bitcast(bits, _vector(number, ir.FloatType()))

    return number(number, whole), generate


@njit(**INLINE)
def _sigmoid(x):
    """1 / (1 + exp(-x)), to a relative error of 3e-7."""
    z = _clamp(x * Float(-1.4426950408889634), Float(126))
    whole = z + Float(12582912)  # 1.5 · 2^23: the sum's last bits are z, rounded
    f = z - (whole - Float(12582912))
    # 2^f on [-1/2, 1/2], a polynomial of degree 5 in the points of Chebyshev.
    p = Float(0.00133908634) * f + Float(0.00967603192)
    p = p * f + Float(0.0555035711)
    p = p * f + Float(0.240221075)
    p = p * f + Float(0.693147188)
    p = p * f + Float(1.00000008)
    return _reciprocal(_times_power_of_two(p, whole) + Float(1))


@njit(**INLINE)
def over_image(part, pixels, channels, arguments):
    """Call part((first pixel, pixel after the last), first channel, unit, …) for a whole image.

    If the number of channels is no multiple of 16, some are computed twice.
    """
    if channels % 32 == 0:
        for p in range(0, pixels, TILE):
            for c in range(0, channels, 32):
                part((p, min(p + TILE, pixels)), c, zeros_32(), *arguments)
    elif channels >= 16:
        for c in range(0, channels, 16):
            part((0, pixels), min(c, channels - 16), zeros_16(), *arguments)
    else:
        for c in range(channels):
            part((0, pixels), c, Float(0), *arguments)


@njit(**LANES)
def moments(span, c, unit, x, first, mean, spread):
    """Mean and sum of squared deviations over the pixels of channels of x, (P, C).

    Sums are of differences to the first pixel, since a mean that is large would drown the spread.
    They are complete after the last pixel, and sums before.

    Args:
        span: first pixel, and the one after the last.
        c: the first of these channels.
        unit: as many zeros as there are of them, as below.
        x: pixels and channels.
        first: where x's channels begin in what follows.
        mean: means, written.
        spread: sums of squared deviations, written.
    """
    P, C = x.shape
    pivot = get(x, c, unit)
    total, squares = unit, unit
    if span[0]:
        total, squares = get(mean, first + c, unit), get(spread, first + c, unit)
    for p in range(span[0], span[1]):
        v = get(x, p * C + c, unit) - pivot
        total = total + v
        squares = squares + v * v
    if span[1] == P:
        share = total * (Float(1) / Float(P))
        squares = squares - share * total
        squares = positive(squares, squares, Float(0))
        total = share + pivot
    put(spread, first + c, squares)
    put(mean, first + c, total)


@njit(**LANES)
def scale_and_activate(span, c, unit, x, first, scale, offset, silu, slope, out, joined):
    """Compute out = activation(scale · x + offset), of channels of x, (P, C).

    Args:
        span: see `moments`.
        c: see `moments`.
        unit: see `moments`.
        x: see `moments`.
        first: see `moments`.
        scale: one per channel.
        offset: one per channel.
        silu: whether the activation is SiLU.
        slope: of a leaky one.
        out: the result, (P, all channels).
        joined: where x is copied to, (P, all channels), or no pixels.
    """
    C, row = x.shape[1], out.shape[1]
    a, b = get(scale, first + c, unit), get(offset, first + c, unit)
    if silu:
        for p in range(span[0], span[1]):
            y = get(x, p * C + c, unit) * a + b
            put(out, p * row + first + c, y * _sigmoid(y))
    else:
        for p in range(span[0], span[1]):
            y = get(x, p * C + c, unit) * a + b
            put(out, p * row + first + c, positive(y, y, y * slope))
    if len(joined):
        for p in range(span[0], span[1]):
            copy(joined, p * row + first + c, x, p * C + c, unit)


@njit(**INLINE)
def before_activation(y, d, silu, slope):
    """Gradients with respect to what an activation is given, y, from those to its result, d."""
    if silu:
        s = _sigmoid(y)
        return d * (s * (y * (Float(1) - s) + Float(1)))
    return positive(y, d, d * slope)


@njit(**LANES)
def through_activation(span, c, unit, x, grad, norm, silu, slope, kept, sums, dots):
    """Gradients with respect to what the activation is given, and their sums over pixels.

    Args:
        span: see `moments`.
        c: see `moments`.
        unit: see `moments`.
        x: input of the norm, (P, C).
        grad: with respect to the output, (P, C).
        norm: scale and offset that make the normalised value of x, weight and bias of the norm,
            each (C,).
        silu: whether the activation is SiLU.
        slope: of a leaky one.
        kept: the result, (P, C) float32, or no pixels.
        sums: its sums over pixels, (C,).
        dots: sums over pixels of its products with the normalised values, (C,).
    """
    C = x.shape[1]
    scale, offset = get(norm[0], c, unit), get(norm[1], c, unit)
    weight, bias = get(norm[2], c, unit), get(norm[3], c, unit)
    total, products = unit, unit
    if span[0]:
        total, products = get(sums, c, unit), get(dots, c, unit)
    if silu:
        for p in range(span[0], span[1]):
            normal = get(x, p * C + c, unit) * scale + offset
            d = get(grad, p * C + c, unit)
            d = before_activation(normal * weight + bias, d, True, slope)
            put(kept, p * C + c, d)
            total = total + d
            products = products + d * normal
    else:
        keeps = len(kept) > 0
        for p in range(span[0], span[1]):
            normal = get(x, p * C + c, unit) * scale + offset
            d = get(grad, p * C + c, unit)
            d = before_activation(normal * weight + bias, d, False, slope)
            if keeps:
                put(kept, p * C + c, d)
            total = total + d
            products = products + d * normal
    put(sums, c, total)
    put(dots, c, products)


@njit(**LANES)
def through_norm(span, c, unit, x, first, kept, direct, factors, out):
    """Gradients with respect to x, factors[0] · kept + factors[1] · x + factors[2].

    Args:
        span: see `moments`.
        c: see `moments`; of `out`.
        unit: see `moments`.
        x: input of the norm, (P, all channels).
        first: where out's channels begin in the others.
        kept: gradients with respect to what the activation is given, (P, all channels) float32.
        direct: gradients that reach x on another way, (P, all channels), or no pixels.
        factors: three, of every channel each.
        out: the result, with `direct` added, (P, C).
    """
    C, row, k = out.shape[1], x.shape[1], first + c
    by_grad, by_x = get(factors[0], k, unit), get(factors[1], k, unit)
    constant = get(factors[2], k, unit)
    if len(direct):
        for p in range(span[0], span[1]):
            d = get(x, p * row + k, unit) * by_x + constant
            d = get(kept, p * row + k, unit) * by_grad + d
            put(out, p * C + c, d + get(direct, p * row + k, unit))
    else:
        for p in range(span[0], span[1]):
            d = get(x, p * row + k, unit) * by_x + constant
            put(out, p * C + c, get(kept, p * row + k, unit) * by_grad + d)


@njit(**LANES)
def through_both(span, c, unit, x, grad, norm, slope, factors, out):
    """Both of these for a leaky activation, whose gradient takes less time than to keep it."""
    C = x.shape[1]
    scale, offset = get(norm[0], c, unit), get(norm[1], c, unit)
    weight, bias = get(norm[2], c, unit), get(norm[3], c, unit)
    by_grad, by_x = get(factors[0], c, unit), get(factors[1], c, unit)
    constant = get(factors[2], c, unit)
    for p in range(span[0], span[1]):
        v = get(x, p * C + c, unit)
        y = (v * scale + offset) * weight + bias
        d = before_activation(y, get(grad, p * C + c, unit), False, slope)
        put(out, p * C + c, d * by_grad + (v * by_x + constant))
