"""Survey of a data set's images: colour, bit depth, sizes, and the resulting format and notes."""

import io
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from statistics import median

import numpy as np
from PIL import Image

from bench.data.archive import Tree
from bench.data.decode import (
    READ_ERRORS,
    Format,
    PixelBudget,
    bombs_refused_here,
    decode_image,
    is_deep_colour,
    lacks_range,
    opened,
)

_GREY_MODES = ("1", "L", "LA", "La", "I", "I;16", "I;16L", "I;16B", "I;16N")
_USUAL_BITS = (8, 10, 12, 14, 16)
_AT_ONCE = 256  # files inspected before deciding whether to inspect more
_MAX_THREADS = 16


@dataclass(frozen=True)
class Wanted:
    """Requested image format; `settle` decides what is left open.

    Attributes:
        channels: 1 (grey) or 3 (RGB); None for grey if all images are grey, RGB otherwise.
        image_size: see `Format`.
        resize: see `Format`.
        fit: see `Format`.
        bits: bit depth of 16-bit files, 1 to 16; None to derive it from the largest value.
    """

    channels: int | None
    image_size: int | None
    resize: bool = True
    fit: str = "crop"
    bits: int | None = None


@dataclass(frozen=True)
class _Header:
    """Header of one file.

    Attributes:
        name: of the file.
        size: width and height in either order, because EXIF orientation is ignored.
        grey: whether its mode has no colours.
        lacks_range: see `bench.data.decode.lacks_range`.
        deep_colour: see `bench.data.decode.is_deep_colour`.
    """

    name: str
    size: tuple[int, int]
    grey: bool
    lacks_range: bool
    deep_colour: bool


def settle(tree: Tree, names: Sequence[str], wanted: Wanted) -> tuple[Format, tuple[str, ...]]:
    """Inspect all images and decide what the settings leave open.

    Unreadable files are skipped here and reported by decoding.

    Returns:
        The target format, and sentences on what was assumed or is lost.

    Raises:
        ValueError: values exceed dataset.bits, or their range is undefined.
    """
    Image.init()  # registering formats is not thread-safe
    budget = PixelBudget.of_free_memory()
    with bombs_refused_here(), ThreadPoolExecutor(min(_MAX_THREADS, os.cpu_count() or 1)) as pool:
        headers = [
            header
            for batch in _batches(names)
            for header in pool.map(lambda name: _header(tree, name), batch)
            if header is not None
        ]
        bits, bits_notes = _settle_bits(tree, headers, wanted, pool, budget)
        channels = wanted.channels
        channel_notes: list[str] = []
        if channels is None:
            grey = bool(headers) and _all_grey(tree, headers, pool, budget)
            channels = 1 if grey else 3
            if grey:
                channel_notes = [
                    "all images are grey and have one channel (dataset.channels=3 makes three)"
                ]
    target = Format(channels, wanted.image_size, wanted.resize, wanted.fit, bits)
    return target, (*channel_notes, *bits_notes, *_size_notes(headers, wanted))


def _batches(names: Sequence[str]) -> Iterator[Sequence[str]]:
    return (names[start : start + _AT_ONCE] for start in range(0, len(names), _AT_ONCE))


def _header(tree: Tree, name: str) -> _Header | None:
    try:
        with tree.open(name) as file, opened(file) as image:
            return _Header(
                name,
                image.size,
                image.mode in _GREY_MODES,
                lacks_range(image),
                is_deep_colour(image),
            )
    except READ_ERRORS:
        return None


def _all_grey(
    tree: Tree, headers: Sequence[_Header], pool: ThreadPoolExecutor, budget: PixelBudget
) -> bool:
    """Whether red, green and blue are equal in all pixels of all images; stops early."""

    def is_grey(name: str) -> bool:
        try:
            with budget.place() as admit:
                red, green, blue = decode_image(tree.read(name), Format(3, None), admit)
        except READ_ERRORS:
            return True
        return bool((red == green).all() and (green == blue).all())

    unsure = [header.name for header in headers if not header.grey]
    batches = [unsure[:1], *_batches(unsure[1:])]  # often the first image is already in colour
    return all(all(pool.map(is_grey, batch)) for batch in batches)


def _settle_bits(
    tree: Tree,
    headers: Sequence[_Header],
    wanted: Wanted,
    pool: ThreadPoolExecutor,
    budget: PixelBudget,
) -> tuple[int, tuple[str, ...]]:
    """Bit depth of 16-bit files, and notes on it."""
    unsure = [header for header in headers if header.lacks_range]
    if not unsure:
        unused = (
            f"dataset.bits={wanted.bits} changes nothing: no image has 16 bits of unknown range"
        )
        return 16, (unused,) if wanted.bits is not None else ()
    largest = dict(zip(unsure, pool.map(lambda h: _largest(tree, h, budget), unsure), strict=True))
    grey = {h.name: value for h, value in largest.items() if not h.deep_colour}
    colour = {h.name: value for h, value in largest.items() if h.deep_colour}
    if colour:
        _check_deep_colour(tree, colour, wanted.bits)
    if not grey:
        return 16, ()
    most = max(grey.values())
    if wanted.bits is not None:
        above = sorted(name for name, value in grey.items() if value >= 2**wanted.bits)
        if above:
            raise ValueError(
                f"{tree}: {len(above)} images hold values above {2**wanted.bits - 1}, the largest "
                f"of dataset.bits={wanted.bits}, first: {above[0]} ({grey[above[0]]}): set "
                f"dataset.bits={most.bit_length()} or null."
            )
        return wanted.bits, ()
    bits = _bits_of(most)
    said = (
        f"{len(grey)} images of 16 bits are read as {bits}-bit, 0 to {2**bits - 1} from black to "
        f"white, as their largest value is {most} (dataset.bits= sets it)"
    )
    return bits, (said + _dark_note(list(grey.values()), bits),)


def _dark_note(largest: Sequence[int], bits: int) -> str:
    """Note for the case that a few images decide the range and most others need four bits less.

    Args:
        largest: value of each image.
        bits: of the range.
    """
    most = 2 ** (bits - 4) - 1
    dark = sum(value <= most for value in largest)
    if bits <= _USUAL_BITS[0] or 2 * dark <= len(largest):
        return ""
    return (
        f"; {dark} of them have no value above {most} and become nearly black: give those that "
        "are brighter the same range, or remove them"
    )


def _bits_of(most: int) -> int:
    """The smallest usual bit depth that holds a value; 16 if all images are black."""
    return next(bits for bits in _USUAL_BITS if most < 2**bits) if most else 16


def _largest(tree: Tree, header: _Header, budget: PixelBudget) -> int:
    """The largest value of an image, for colours up to 255; 0 if decoding will refuse it."""
    try:
        with budget.place() as admit, opened(io.BytesIO(tree.read(header.name))) as image:
            admit(image)
            values = np.asarray(image)  # getextrema() fails for I;16B
    except READ_ERRORS:
        return 0
    if header.deep_colour:  # Pillow keeps the high bytes; the fourth band is transparency
        high = int(values[..., :3].max())
        return 256 * high + 255 if high else 0
    most = int(values.max())
    return most if most < 65536 else 0


def _check_deep_colour(tree: Tree, largest: dict[str, int], bits: int | None) -> None:
    """Refuse 16-bit colours that do not use their full range: Pillow keeps only the high bytes.

    Raises:
        ValueError: the images would be dark, or dataset.bits cannot be honoured.
    """
    first, most = min(largest), max(largest.values())
    if bits is not None and bits < 16:
        raise ValueError(
            f"{tree}: dataset.bits={bits} cannot be applied to {len(largest)} images of 16-bit "
            f"colour, first: {first}: save them with 8 bits, or set dataset.bits=null."
        )
    if bits is None and _bits_of(most) < 16:
        raise ValueError(
            f"{tree}: {len(largest)} images of 16-bit colour use values up to {most} of 65535, "
            f"first: {first}: they would be dark, save them with 8 bits."
        )


def _size_notes(headers: Sequence[_Header], wanted: Wanted) -> list[str]:
    """Notes on the effect of resizing."""
    size = wanted.image_size
    if size is None or not wanted.resize:
        return []
    notes = []
    ratios = [min(h.size) / max(h.size) for h in headers if h.size[0] != h.size[1]]
    if ratios:
        middle, least = 1 - median(ratios), 1 - min(ratios)
        what = {
            "crop": f"are cropped to their centre square and lose {middle:.1%} of their area "
            f"(median), at most {least:.1%}; dataset.fit=pad or stretch keeps all of it",
            "pad": f"get black bars on {middle:.1%} of the square (median), at most {least:.1%}",
            "stretch": f"are squeezed along their longer side by {middle:.1%} (median), at most "
            f"{least:.1%}",
        }
        count = f"{len(ratios)} of {len(headers)} images are not square and "
        notes.append(count + what[wanted.fit])
    side = max if wanted.fit == "pad" else min
    small = sum(side(h.size) < size for h in headers)
    if small:
        notes.append(
            f"{small} of {len(headers)} images are smaller than {size}x{size} and are enlarged"
        )
    return notes
