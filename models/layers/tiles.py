"""Loops of small batches' kernels as vector instructions, which numba puts where they are called.

Vectors are of 16 float32; where processors have shorter ones, the compiler splits them. All
arguments of the functions made here are integers, most of them addresses. `half` is whether images
are stored as bfloat16, otherwise they are float32.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

from llvmlite import binding, ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

LANES = 16
ROWS = 6
"""Pixels per tile: with 4 vectors of channels they fill 24 of 32 registers."""

WIDTHS = (64, 32, 16) if binding.get_host_cpu_features().get("avx512f") else (16, 16, 16)
"""Channels per tile: the greatest first, for as long as there are more than the next."""

FLOAT, INT, SHORT, ADDRESS = ir.FloatType(), ir.IntType(32), ir.IntType(16), ir.IntType(64)
VECTOR, INTS, SHORTS = (ir.VectorType(kind, LANES) for kind in (FLOAT, INT, SHORT))
CONTRACT = ("contract",)
"""Lets a product and a sum become one instruction, where the processor has it."""


class _Writer:
    """Writes instructions on vectors."""

    def __init__(self, builder) -> None:
        set.add(builder.function.attributes, '"prefer-vector-width"="512"')
        self.builder = builder

    def at(self, address, index, size):
        """The address of a number, index · size bytes further."""
        size = ir.Constant(ADDRESS, size) if isinstance(size, int) else size
        index = ir.Constant(ADDRESS, index) if isinstance(index, int) else index
        return self.builder.add(address, self.builder.mul(index, size))

    def load(self, address, kind, align=4):
        loaded = self.builder.load(self.builder.inttoptr(address, kind.as_pointer()))
        loaded.align = align
        return loaded

    def store(self, value, address, align=4):
        place = self.builder.inttoptr(address, value.type.as_pointer())
        self.builder.store(value, place).align = align

    def spread(self, value):
        """A vector of copies of a number."""
        kind = ir.VectorType(value.type, LANES)
        none = ir.Constant(kind, ir.Undefined)
        first = self.builder.insert_element(none, value, ir.Constant(INT, 0))
        return self.builder.shuffle_vector(first, none, ir.Constant(INTS, [0] * LANES))

    def floats(self, number):
        return ir.Constant(VECTOR, [number] * LANES)

    def integers(self, number):
        return ir.Constant(INTS, [number] * LANES)

    def sum_of(self, a, b, c):
        """The vector a · b + c."""
        product = self.builder.fmul(a, b, flags=CONTRACT)
        return self.builder.fadd(product, c, flags=CONTRACT)

    def load_image(self, address, half):
        """16 numbers of an image: the bits of a bfloat16 are the upper half of a float32's."""
        if not half:
            return self.load(address, VECTOR)
        bits = self.builder.zext(self.load(address, SHORTS, align=2), INTS)
        return self.builder.bitcast(self.builder.shl(bits, self.integers(16)), VECTOR)

    def store_image(self, value, address, half):
        """Store 16 numbers in an image, rounded to the nearest, or to even."""
        if not half:
            self.store(value, address)
            return
        builder = self.builder
        bits = builder.bitcast(value, INTS)
        odd = builder.and_(builder.lshr(bits, self.integers(16)), self.integers(1))
        up = builder.add(bits, builder.add(odd, self.integers(0x7FFF)))
        bits = builder.select(builder.fcmp_unordered("uno", value, value), bits, up)
        bits = builder.lshr(bits, self.integers(16))
        self.store(builder.trunc(bits, SHORTS), address, align=2)

    def sigmoid(self, x):
        """1 / (1 + exp(-x)), by the formulas of `loops._sigmoid`."""
        builder, number = self.builder, self.floats
        z = builder.fmul(x, number(-1.4426950408889634))
        for limit, sign in ((-126.0, ">"), (126.0, "<")):
            z = builder.select(builder.fcmp_unordered(sign, z, number(limit)), z, number(limit))
        whole = builder.fadd(z, number(12582912.0))  # 1.5 · 2^23: the last bits are z, rounded
        f = builder.fsub(z, builder.fsub(whole, number(12582912.0)))
        p = number(_single(0.00133908634))
        for c in (0.00967603192, 0.0555035711, 0.240221075, 0.693147188, 1.00000008):
            p = self.sum_of(p, f, number(_single(c)))
        exponent = builder.shl(builder.bitcast(whole, INTS), self.integers(23))
        power = builder.bitcast(builder.add(builder.bitcast(p, INTS), exponent), VECTOR)
        return builder.fdiv(number(1.0), builder.fadd(number(1.0), power))


def _single(number):
    """The nearest float32, which is how LLVM wants constants of that type."""
    return ir.Constant(FLOAT, number).constant


def tile(width):
    """The function (x, offsets, taps, count, channels, weights, sums), for this width.

    sums[r, o] += Σ_t Σ_c x[(offsets[r] + taps[t]) / 4 + c] · weights[t, c, o].

    Args of that function:
        x: of float32 numbers.
        offsets: of ROWS int64, bytes from x to a pixel.
        taps: of int64, bytes from a pixel to what a tap is multiplied with.
        count: number of taps.
        channels: number of channels of the input, C.
        weights: of (count, C, width) float32.
        sums: of (ROWS, width) float32.
    """
    vectors = range(width // LANES)

    @intrinsic
    def products(typing, x, offsets, taps, count, channels, weights, sums):
        def generate(context, builder, signature, arguments):
            write = _Writer(builder)
            x, offsets, taps, count, channels, weights, sums = arguments
            kept = [[cgutils.alloca_once(builder, VECTOR) for _ in vectors] for _ in range(ROWS)]

            def place(r, v):
                return write.at(sums, r * width + LANES * v, 4)

            for r, row in enumerate(kept):
                for v in vectors:
                    builder.store(write.load(place(r, v), VECTOR), row[v])
            following = cgutils.alloca_once_value(builder, weights)
            pixels = [
                builder.add(x, write.load(write.at(offsets, r, 8), ADDRESS)) for r in range(ROWS)
            ]
            with cgutils.for_range(builder, count) as t:
                by = write.load(write.at(taps, t.index, 8), ADDRESS)
                starts = [builder.add(pixel, by) for pixel in pixels]
                with cgutils.for_range(builder, channels) as c:
                    here = builder.load(following)
                    factors = [write.load(write.at(here, LANES * v, 4), VECTOR) for v in vectors]
                    builder.store(write.at(here, width, 4), following)
                    for row, start in zip(kept, starts, strict=True):
                        value = write.spread(write.load(write.at(start, c.index, 4), FLOAT))
                        for v in vectors:
                            total = write.sum_of(value, factors[v], builder.load(row[v]))
                            builder.store(total, row[v])
            for r, row in enumerate(kept):
                for v in vectors:
                    write.store(builder.load(row[v]), place(r, v))
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    return products


def moments(half):
    """The function (x, pixels, step, sums, squares), of 16 channels.

    Sums over pixels of differences to the first pixel, and of their squares.

    Args of that function:
        x: of the first pixel's 16 numbers.
        pixels: their number.
        step: bytes from a pixel to the next.
        sums: of 16 float32, written.
        squares: of 16 float32, written.
    """

    @intrinsic
    def moments_of(typing, x, pixels, step, sums, squares):
        def generate(context, builder, signature, arguments):
            write = _Writer(builder)
            x, pixels, step, sums, squares = arguments
            first = write.load_image(x, half)
            zero = write.floats(0.0)
            pairs = [[cgutils.alloca_once_value(builder, zero) for _ in range(2)] for _ in range(4)]

            def add(pair, pixel):
                d = builder.fsub(write.load_image(write.at(x, pixel, step), half), first)
                total, square = map(builder.load, pair)
                builder.store(builder.fadd(total, d), pair[0])
                builder.store(write.sum_of(d, d, square), pair[1])

            four = ir.Constant(ADDRESS, 4)
            whole = builder.udiv(pixels, four)
            with cgutils.for_range(builder, whole) as group:  # four sums at a time wait less
                for k, pair in enumerate(pairs):
                    pixel = builder.add(builder.mul(group.index, four), ir.Constant(ADDRESS, k))
                    add(pair, pixel)
            begin = builder.mul(whole, four)
            with cgutils.for_range(builder, builder.sub(pixels, begin)) as rest:
                add(pairs[0], builder.add(begin, rest.index))
            for k, address in enumerate((sums, squares)):
                a, b, c, d = (builder.load(pair[k]) for pair in pairs)
                write.store(builder.fadd(builder.fadd(a, b), builder.fadd(c, d)), address)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), generate

    return moments_of


def activated(half, silu):
    """The function (x, out, pixels, step, scale, offset, slope), of 16 channels.

    out = activation(scale · x + offset), SiLU or a leaky ReLU.

    Args of that function:
        x: of the first pixel's 16 numbers.
        out: of those of the result.
        pixels: their number.
        step: bytes from a pixel to the next.
        scale: of 16 float32.
        offset: of 16 float32.
        slope: of one float32, for negative values.
    """

    @intrinsic
    def activate(typing, x, out, pixels, step, scale, offset, slope):
        def generate(context, builder, signature, arguments):
            write = _Writer(builder)
            x, out, pixels, step, scale, offset, slope = arguments
            scale, offset = write.load(scale, VECTOR), write.load(offset, VECTOR)
            slope = write.spread(write.load(slope, FLOAT))
            with cgutils.for_range(builder, pixels) as p:
                value = write.load_image(write.at(x, p.index, step), half)
                y = write.sum_of(value, scale, offset)
                if silu:
                    y = builder.fmul(y, write.sigmoid(y))
                else:
                    positive = builder.fcmp_ordered(">", y, write.floats(0.0))
                    y = builder.select(positive, y, builder.fmul(y, slope))
                write.store_image(y, write.at(out, p.index, step), half)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 7), generate

    return activate


def copied(half, to_half):
    """The function (x, out, count, step, out_step): copy vectors from one type to another.

    Args of that function:
        x: of the first 16 numbers, stored as bfloat16 if `half`.
        out: of those of the result, stored as bfloat16 if `to_half`.
        count: number of vectors.
        step: bytes from a vector to the next.
        out_step: bytes from a vector of the result to the next.
    """

    @intrinsic
    def copy(typing, x, out, count, step, out_step):
        def generate(context, builder, signature, arguments):
            write = _Writer(builder)
            x, out, count, step, out_step = arguments
            with cgutils.for_range(builder, count) as k:
                value = write.load_image(write.at(x, k.index, step), half)
                write.store_image(value, write.at(out, k.index, out_step), to_half)
            return context.get_dummy_value()

        return types.void(*[types.intp] * 5), generate

    return copy
