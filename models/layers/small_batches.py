"""Convolutions and norms of one or a few images, where calling an operator costs more than it does.

Compiled by numba into C functions. What does not change from call to call, sizes and addresses of
weights, is written down once, in an array of int64: a plan. Everything is passed by address, as in
`models.layers.compiled`; images are channels last.

Importing this module imports numba; a function is compiled, seconds once per machine, when it is
first asked for.
"""

# pyright: reportCallIssue=false, reportArgumentType=false

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import torch
from numba import carray, cfunc, njit, types  # pyright: ignore[reportPrivateImportUsage]

from models.layers import compiled
from models.layers.kernels import STORED
from models.layers.loops import LANES as OPTIONS
from models.layers.loops import Float, at, get_input, put_kept, put_output
from models.layers.tiles import ROWS, WIDTHS, tile

HEADER = 11
"""Numbers that a convolution's plan begins with: B, H, W, C; rows above and columns to the left
that are added, height and width with all that are; whether x is copied; numbers per image of the
output; number of parts."""

PART = 13
"""Numbers of each part, which computes some channels of a grid of the output's pixels: the grid's
height and width, strides down and across, number of taps, address of the taps, channels of the
input and of the output, addresses of the weights and of the bias; and, in numbers of the output, where its first
pixel is, how far the next row and the next column are."""

SPARE = 8 + 8 * ROWS + 4 * ROWS * WIDTHS[0]
"""Bytes that a convolution needs beside those of an enlarged image."""

WIDE, MEDIUM, NARROW = WIDTHS
wide, medium, narrow = map(tile, WIDTHS)


def tiles_of(channels: int) -> list[int]:
    """Widths of the tiles that compute this many channels, in order."""
    widths = []
    while channels > 0:
        widths.append(WIDE if channels > MEDIUM else MEDIUM if channels > NARROW else NARROW)
        channels -= widths[-1]
    return widths


@cache
def _version() -> int:
    """A hash of what the functions below consist of, since numba's cache looks at this file only.

    They refer to it, so that it belongs to the key that they are cached under.
    """
    folder = Path(__file__).parent
    files = [folder / f"{name}.py" for name in ("loops", "compiled", "tiles")]
    return int(hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()[:15], 16)


@njit(**OPTIONS)
def _enlarge(x, out, sizes):
    """Copy one image into the middle of zeros, as float32."""
    H, W, C, top, left, height, width = sizes
    for y in range(height):
        row = out[y]
        if y < top or y >= top + H:
            row[:] = Float(0)
            continue
        row[: left * C] = Float(0)
        row[(left + W) * C :] = Float(0)
        for k in range(W * C):
            put_kept(row, left * C + k, get_input(x, (y - top) * W * C + k))


@njit(**OPTIONS)
def _compute(x, part, out, C, row_length, offsets, products):
    """One part of one image, of C channels and rows of this length."""
    height, width, down, across, count, taps, channels, outputs = part[:8]
    weights, bias, start, row, column = part[8:]
    by, to = offsets.ctypes.data, products.ctypes.data
    pixels = height * width
    channel = 0
    while channel < outputs:
        left = outputs - channel
        lanes = WIDE if left > MEDIUM else (MEDIUM if left > NARROW else NARROW)
        for p in range(0, pixels, ROWS):
            for r in range(ROWS):
                i = min(p + r, pixels - 1)
                offsets[r] = 4 * C * (down * (i // width) * row_length + across * (i % width))
            if lanes == WIDE:
                wide(x, by, taps, count, channels, weights, bias, to)
            elif lanes == MEDIUM:
                medium(x, by, taps, count, channels, weights, bias, to)
            else:
                narrow(x, by, taps, count, channels, weights, bias, to)
            for r in range(min(ROWS, pixels - p)):
                place = start + ((p + r) // width) * row + ((p + r) % width) * column + channel
                for c in range(min(lanes, left)):
                    put_output(out, place + c, products[r * lanes + c])
        weights += 4 * count * channels * lanes
        bias += 4 * lanes
        channel += lanes


@cache
def convolution(dtype: torch.dtype) -> Callable[[int, int, int, int], None]:
    """The C function (plan, x, out, scratch) that convolves images of this type.

    Its arguments are addresses: of the plan, see HEADER and PART; of x, (B, H, W, C); of the
    result, which is written; and of memory for one enlarged image of float32 and SPARE bytes.
    """
    like, version = STORED[dtype], _version()

    @cfunc(types.void(*[types.intp] * 4), **OPTIONS, cache=True)
    def convolve(plan, x, out, scratch):
        h = carray(at(plan, np.int64(0)), (HEADER,))
        B, H, W, C, top, left, height, width = h[0], h[1], h[2], h[3], h[4], h[5], h[6], h[7]
        copied, numbers, parts = h[8], h[9], h[10]
        described = carray(at(plan + 8 * HEADER, np.int64(0)), (parts, PART))
        enlarged = carray(at(scratch, Float(0)), (height, width * C))
        spare = scratch + 8 * ((height * width * C + 1) // 2)
        offsets = carray(at(spare, np.int64(0)), (ROWS,))
        products = carray(at(spare + 8 * ROWS, Float(0)), (ROWS * WIDE,))
        x_ = carray(at(x, like), (B, H * W * C))
        out_ = carray(at(out, like), (B, numbers))
        for n in range(B):
            source = x + 4 * n * H * W * C
            if copied:
                _enlarge(x_[n], enlarged, (H, W, C, top, left, height, width))
                source = scratch
            for k in range(parts):
                p = described[k]
                part = (
                    p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7], p[8], p[9], p[10], p[11], p[12]
                )  # fmt: skip
                _compute(source, part, out_[n], C, width, offsets, products)
        _ = version

    return convolve.ctypes


@cache
def group_norm(dtype: torch.dtype) -> Callable[[int, int, int, int, int, int], None]:
    """The C function (plan, x, skip, shift, out, joined): `compiled.group_norm` of this type.

    The plan is B, P, C_x, C_skip, groups, whether it is SiLU, the addresses of weight, bias, and of
    (eps, slope), float32.
    """
    like, version = STORED[dtype], _version()

    @cfunc(types.void(*[types.intp] * 6), **OPTIONS, cache=True)
    def norm(plan, x, skip, shift, out, joined):
        p = carray(at(plan, np.int64(0)), (9,))
        numbers = carray(at(p[8], Float(0)), (2,))
        statistics = np.empty(p[0] * (p[2] + p[3] + p[4]), Float)
        mean = statistics.ctypes.data
        rstd = mean + 4 * p[0] * (p[2] + p[3])
        compiled.group_norm(
            like, x, skip, shift, p[6], p[7], out, joined, mean, rstd, 0, p[0],
            (p[0], p[1], p[2], p[3], p[4]), p[5], (numbers[0], numbers[1]),
        )  # fmt: skip
        _ = version

    return norm.ctypes


@cache
def activation(dtype: torch.dtype) -> Callable[[int, int, int], None]:
    """The C function (plan, x, out): `compiled.activate` of this type.

    The plan is B, P, C, the addresses of scale, offset and slope, float32.
    """
    like, version = STORED[dtype], _version()

    @cfunc(types.void(*[types.intp] * 3), **OPTIONS, cache=True)
    def scale(plan, x, out):
        p = carray(at(plan, np.int64(0)), (6,))
        slope = carray(at(p[5], Float(0)), (1,))
        compiled.activate(like, x, p[3], p[4], out, 0, p[0], (p[0], p[1], p[2]), slope[0])
        _ = version

    return scale.ctypes
