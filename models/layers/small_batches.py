"""Convolutions and norms of one or a few images, where calling an operator costs more than it does.

Compiled by numba into C functions. What does not change from call to call, sizes and addresses of
weights, is written down once, in an array of int64: a plan. Everything is passed by address, as in
`models.layers.compiled`; images are channels last.

Importing this module imports numba; a function is compiled, seconds once per machine, when it is
first asked for.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import hashlib
import math
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]

from models.layers.kernels import STORED
from models.layers.loops import LANES as OPTIONS
from models.layers.loops import Float, at, get, put
from models.layers.tiles import LANES, ROWS, WIDTHS, activated, copied, moments, tile

HEADER = 11
"""Numbers that a convolution's plan begins with: B, H, W, C; rows above and columns to the left
that are added, height and width with all that are; whether x is copied; numbers per image of the
output; number of parts."""

PART = 13
"""Numbers of each part, which computes some channels of a grid of the output's pixels: the grid's
height and width, strides down and across, number of taps, address of the taps, channels of the
input and of the output, addresses of the weights and of the bias; and, in numbers of the output,
where its first pixel is, how far the next row and the next column are."""

PANEL = 128
"""Most input channels, of one or several taps, that a tile is multiplied with at a time: their
weights stay in the first-level cache while all pixels pass."""

WIDE, MEDIUM, NARROW = WIDTHS
wide, medium, narrow = map(tile, WIDTHS)
copy, from_half, to_half, halves = (
    copied(half, into)
    for half, into in ((False, False), (True, False), (False, True), (True, True))
)
sums_of_floats, sums_of_halves = moments(False), moments(True)
silu_of_floats, silu_of_halves = activated(False, True), activated(True, True)
leaky_of_floats, leaky_of_halves = activated(False, False), activated(True, False)


def tiles_of(channels: int) -> list[int]:
    """Widths of the tiles that compute this many channels, in order."""
    widths = []
    while channels > 0:
        widths.append(WIDE if channels > MEDIUM else MEDIUM if channels > NARROW else NARROW)
        channels -= widths[-1]
    return widths


def scratch_bytes(enlarged: int, pixels: int) -> int:
    """Bytes of memory that a convolution works in.

    Args:
        enlarged: numbers of an image with the zeros around it, 0 if it is not copied.
        pixels: most pixels of a part.
    """
    rows = pixels + ROWS
    return 8 * (rows + 2) + 4 * (enlarged + rows * WIDE + PANEL * WIDE)


@cache
def _version() -> int:
    """A hash of what the functions below consist of, since numba's cache looks at this file only.

    They refer to it, so that it belongs to the key that they are cached under.
    """
    folder = Path(__file__).parent
    files = [folder / f"{name}.py" for name in ("loops", "tiles")]
    return int(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:15], 16)


@njit(**OPTIONS)
def _to_floats(like, size, x, out, numbers):
    """Copy so many stored numbers, given their addresses, to float32."""
    vectors = numbers // LANES
    if size == 4:
        copy(x, out, vectors, 4 * LANES, 4 * LANES)
    else:
        from_half(x, out, vectors, 2 * LANES, 4 * LANES)
    x_, out_ = carray(at(x, like), (numbers,)), carray(at(out, Float(0)), (numbers,))
    for k in range(vectors * LANES, numbers):
        out_[k] = get(x_, k, Float(0))


@njit(**OPTIONS)
def _from_floats(like, size, x, out, numbers):
    """Copy so many float32, given their addresses, to stored numbers."""
    vectors = numbers // LANES
    if size == 4:
        copy(x, out, vectors, 4 * LANES, 4 * LANES)
    else:
        to_half(x, out, vectors, 4 * LANES, 2 * LANES)
    x_, out_ = carray(at(x, Float(0)), (numbers,)), carray(at(out, like), (numbers,))
    for k in range(vectors * LANES, numbers):
        put(out_, k, x_[k])


@njit(**OPTIONS)
def _enlarge(like, size, x, out, sizes):
    """Copy one image, given its address, into the middle of zeros, as float32."""
    H, W, C, top, left, height, _ = sizes
    for y in range(height):
        row = out[y]
        if y < top or y >= top + H:
            row[:] = Float(0)
            continue
        row[: left * C] = Float(0)
        row[(left + W) * C :] = Float(0)
        here = row.ctypes.data + 4 * left * C
        _to_floats(like, size, x + size * (y - top) * W * C, here, W * C)


@njit(**OPTIONS)
def _multiply(lanes, x, offsets, taps, count, channels, weights, sums, pixels):
    """Add the products of all pixels with the weights of some taps and channels to their sums."""
    for p in range(0, pixels, ROWS):
        by, to = offsets + 8 * p, sums + 4 * p * lanes
        if lanes == WIDE:
            wide(x, by, taps, count, channels, weights, to)
        elif lanes == MEDIUM:
            medium(x, by, taps, count, channels, weights, to)
        else:
            narrow(x, by, taps, count, channels, weights, to)


@njit(**OPTIONS)
def _weights_at(size, address, numbers, panel):
    """The address of so many weights as float32: of a copy, if they are stored as bfloat16."""
    if size == 4:
        return address
    from_half(address, panel, numbers // LANES, 2 * LANES, 4 * LANES)
    return panel


@njit(**OPTIONS)
def _compute(like, size, x, part, out, C, row_length, offsets, sums, panel):
    """One part of one image, of C channels and rows of this length."""
    height, width, down, across, count, taps, channels, outputs = part[:8]
    weights, bias, start, row, column = part[8:]
    pixels = height * width
    for p in range(pixels + ROWS):
        i = min(p, pixels - 1)
        offsets[p] = 4 * C * (down * (i // width) * row_length + across * (i % width))
    channel = 0
    while channel < outputs:
        left = outputs - channel
        lanes = WIDE if left > MEDIUM else (MEDIUM if left > NARROW else NARROW)
        to = sums.ctypes.data
        for c in range(0, lanes, LANES):
            copy(bias + 4 * c, to + 4 * c, pixels + ROWS, 0, 4 * lanes)
        together = max(1, PANEL // channels)
        for t in range(0, count, together):
            n = min(together, count - t)
            for c in range(0, channels, PANEL):
                some = min(PANEL, channels - c)
                here = _weights_at(size, weights, n * some * lanes, panel)
                where = x + 4 * c, offsets.ctypes.data, taps + 8 * t
                _multiply(lanes, *where, n, some, here, to, pixels)
                weights += size * n * some * lanes
        for p in range(pixels):
            place = start + (p // width) * row + (p % width) * column + channel
            here = to + 4 * p * lanes
            _from_floats(like, size, here, out + size * place, min(lanes, left))
        bias += 4 * lanes
        channel += lanes


@cache
def convolution(dtype: torch.dtype) -> Callable[[int, int, int, int], None]:
    """The C function (plan, x, out, scratch) that convolves images of this type.

    Its arguments are addresses: of the plan, see HEADER and PART; of x, (B, H, W, C); of the
    result, which is written; and of memory to work in, see `scratch_bytes`.
    """
    like, size, version = STORED[dtype], dtype.itemsize, _version()

    @cfunc(types.void(*[types.intp] * 4), **OPTIONS, cache=True)
    def convolve(plan, x, out, scratch):
        h = carray(at(plan, np.int64(0)), (HEADER,))
        B, H, W, C, top, left, height, width = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
        enlarges, numbers, parts = h[8], h[9], h[10]
        described = carray(at(plan + 8 * HEADER, np.int64(0)), (parts, PART))
        most = 0
        for k in range(parts):
            most = max(most, described[k, 0] * described[k, 1])
        offsets = carray(at(scratch, np.int64(0)), (most + ROWS,))
        panel = scratch + 8 * (most + ROWS)
        sums = carray(at(panel + 4 * PANEL * WIDE, Float(0)), ((most + ROWS) * WIDE,))
        place = panel + 4 * (PANEL + most + ROWS) * WIDE
        enlarged = carray(at(place, Float(0)), (height if enlarges else 0, width * C))
        for n in range(B):
            source = x + size * n * H * W * C
            if enlarges:
                _enlarge(like, size, source, enlarged, (H, W, C, top, left, height, width))
                source = place
            for k in range(parts):
                p = described[k]
                part = (
                    p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12]
                )  # fmt: skip
                _compute(
                    like,
                    size,
                    source,
                    part,
                    out + size * n * numbers,
                    C,
                    width,
                    offsets,
                    sums,
                    panel,
                )
        _ = version

    return convolve.ctypes


@njit(**OPTIONS)
def _sums(size, x, pixels, step, sums, squares):
    """Sums over pixels of 16 channels, see `models.layers.tiles.moments`."""
    if size == 4:
        sums_of_floats(x, pixels, step, sums, squares)
    else:
        sums_of_halves(x, pixels, step, sums, squares)


@njit(**OPTIONS)
def _activate(size, silu, x, out, pixels, step, scale, offset, slope):
    """Scale, shift and activate 16 channels, see `models.layers.tiles.activated`."""
    if size == 4 and silu:
        silu_of_floats(x, out, pixels, step, scale, offset, slope)
    elif size == 4:
        leaky_of_floats(x, out, pixels, step, scale, offset, slope)
    elif silu:
        silu_of_halves(x, out, pixels, step, scale, offset, slope)
    else:
        leaky_of_halves(x, out, pixels, step, scale, offset, slope)


@njit(**OPTIONS)
def _copy(size, x, out, count, step, out_step):
    """Copy vectors of 16 stored numbers, see `models.layers.tiles.copied`."""
    if size == 4:
        copy(x, out, count, step, out_step)
    else:
        halves(x, out, count, step, out_step)


@cache
def group_norm(dtype: torch.dtype) -> Callable[[int, int, int, int, int, int], None]:
    """The C function (plan, x, skip, shift, out, joined): `compiled.group_norm` of this type.

    The plan is B, P, C_x, C_skip, groups, whether it is SiLU, the addresses of weight, bias, and of
    (eps, slope), float32. C_x and C_skip are multiples of LANES.
    """
    like, size, version = STORED[dtype], dtype.itemsize, _version()

    @cfunc(types.void(*[types.intp] * 6), **OPTIONS, cache=True)
    def norm(plan, x, skip, shift, out, joined):
        p = carray(at(plan, np.int64(0)), (9,))
        B, P, C_x, C_skip, G, silu = p[0], p[1], p[2], p[3], p[4], p[5]
        C = C_x + C_skip
        width, step = C // G, size * C
        numbers = carray(at(p[8], Float(0)), (2,))
        weight, bias = carray(at(p[6], Float(0)), (C,)), carray(at(p[7], Float(0)), (C,))
        shift_ = carray(at(shift, Float(0)), (B, C))
        joined_ = carray(at(joined, like), (B, P, C))
        scale, offset = np.empty(C, Float), np.empty(C, Float)
        means, spreads = scale.ctypes.data, offset.ctypes.data
        for n in range(B):
            image = joined + n * P * step
            if C_skip:
                for c in range(0, C, LANES):
                    own = size * C_x if c < C_x else size * C_skip
                    source = x + n * P * own + size * c
                    if c >= C_x:
                        source = skip + n * P * own + size * (c - C_x)
                    _copy(size, source, image + size * c, P, own, step)
            for c in range(0, C, LANES):
                _sums(size, image + size * c, P, step, means + 4 * c, spreads + 4 * c)
            for c in range(C):
                v = scale[c] / Float(P)
                offset[c] = max(offset[c] - Float(P) * v * v, Float(0))
                scale[c] = v + get(joined_[n], c, Float(0))
                if shift:
                    scale[c] += shift_[n, c]
            for g in range(G):
                m, v = Float(0), Float(0)
                for c in range(g * width, (g + 1) * width):
                    m += scale[c]
                m /= Float(width)
                for c in range(g * width, (g + 1) * width):
                    v += offset[c] + Float(P) * (scale[c] - m) * (scale[c] - m)
                r = Float(1) / Float(math.sqrt(v / Float(P * width) + numbers[0]))
                for c in range(g * width, (g + 1) * width):
                    scale[c] = r * weight[c]
                    offset[c] = bias[c] - m * scale[c]
                    if shift:
                        offset[c] += shift_[n, c] * scale[c]
            for c in range(0, C, LANES):
                by, coefficients = size * c, 4 * c
                to = out + n * P * step + by
                slope = p[8] if silu else p[8] + 4
                at_scale, at_offset = means + coefficients, spreads + coefficients
                _activate(size, silu, image + by, to, P, step, at_scale, at_offset, slope)
        _ = version

    return norm.ctypes
