"""Products of a few pixels with a convolution's weights, written as vector instructions for numba.

The heart of `models.layers.small_batches`: `tile(width)` keeps the sums of ROWS pixels and 16, 32
or 64 channels in registers while it goes through all taps and input channels. The vectors are of 16
float32; where processors have shorter ones, the compiler splits them.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

ROWS = 6
"""Pixels per tile: with 4 vectors of channels they fill 24 of 32 registers."""

LANES = 16
WIDTHS = (64, 32, 16) if binding.get_host_cpu_features().get("avx512f") else (16, 16, 16)
"""Channels per tile: the greatest first, for as long as there are more than the next."""

VECTOR = ir.VectorType(ir.FloatType(), LANES)
CONTRACT = ("contract",)
"""Lets a product and a sum become one instruction, where the processor has it."""


def tile(width):
    """The function (x, offsets, taps, count, channels, weights, bias, out), for this width.

    out[r, o] = bias[o] + Σ_t Σ_c x[(offsets[r] + taps[t]) / 4 + c] · weights[t, c, o].

    All arguments are integers; x, offsets, taps, weights, bias and out are addresses.

    Args of that function:
        x: of float32 numbers.
        offsets: of ROWS int64, bytes from x to a pixel.
        taps: of int64, bytes from a pixel to what a tap is multiplied with.
        count: number of taps.
        channels: of the input, C.
        weights: of (count, C, width) float32.
        bias: of (width,) float32.
        out: of (ROWS, width) float32, written.
    """
    vectors = range(width // LANES)

    @intrinsic
    def products(typing, x, offsets, taps, count, channels, weights, bias, out):
        def generate(context, builder, signature, arguments):
            set.add(builder.function.attributes, '"prefer-vector-width"="512"')
            x, offsets, taps, count, channels, weights, bias, out = arguments
            integer = context.get_value_type(types.intp)

            def number(n):
                return ir.Constant(integer, n)

            def place(address, kind):
                return builder.inttoptr(address, kind.as_pointer())

            def load(address, kind):
                loaded = builder.load(place(address, kind))
                loaded.align = 4
                return loaded

            sums = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(ROWS)]
            for v in vectors:
                start = load(builder.add(bias, number(4 * LANES * v)), VECTOR)
                for row in sums:
                    builder.store(start, row[v])
            next_weights = cgutils.alloca_once_value(builder, weights)
            pixels = [
                builder.add(x, load(builder.add(offsets, number(8 * r)), integer))
                for r in range(ROWS)
            ]
            with cgutils.for_range(builder, count) as t:
                by = load(builder.add(taps, builder.mul(t.index, number(8))), integer)
                starts = [builder.add(pixel, by) for pixel in pixels]
                with cgutils.for_range(builder, channels) as c:
                    at = builder.load(next_weights)
                    factors = [
                        load(builder.add(at, number(4 * LANES * v)), VECTOR) for v in vectors
                    ]
                    builder.store(builder.add(at, number(4 * width)), next_weights)
                    step = builder.mul(c.index, number(4))
                    for row, begin in zip(sums, starts, strict=True):
                        value = _spread(builder, load(builder.add(begin, step), ir.FloatType()))
                        for v in vectors:
                            product = builder.fmul(value, factors[v], flags=CONTRACT)
                            total = builder.fadd(builder.load(row[v]), product, flags=CONTRACT)
                            builder.store(total, row[v])
            for r, row in enumerate(sums):
                for v in vectors:
                    address = builder.add(out, number(4 * (r * width + LANES * v)))
                    builder.store(builder.load(row[v]), place(address, VECTOR)).align = 4
            return context.get_dummy_value()

        return types.void(*[types.intp] * 8), generate

    return products


def _spread(builder, value):
    """A vector of copies of a number."""
    none = ir.Constant(VECTOR, ir.Undefined)
    first = builder.insert_element(none, value, ir.Constant(ir.IntType(32), 0))
    lanes = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
    return builder.shuffle_vector(first, none, lanes)
