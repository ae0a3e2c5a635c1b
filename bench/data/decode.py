"""Owns turning encoded images into uint8 arrays: colour modes, resizing, the decoding pool."""

import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import Protocol

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.data.tree import MAX_FILE_BYTES, UNREADABLE, Tree
from bench.memory import available_bytes
from bench.progress import shown_progress

MAX_SIDE = 4096
"""Largest side of decoded images: one such RGB image takes 48 MiB, no network here draws it."""

MAX_PIXELS = 1 << 27
"""Most pixels of an image file, 134 million: cameras have up to 100, decompression bombs more."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_CHUNK = 64  # images per task: one future each would cost more than decoding a small image
_MAX_THREADS = 16
_MIN_PIXELS = 1 << 20  # at once, however little memory is free
_BYTES_PER_PIXEL = 28  # peak memory of decoding, measured: 16-bit grey and WebP; 16 for RGB
_READ_ERRORS = (*UNREADABLE, Image.DecompressionBombError)

Admit = Callable[[Image.Image], None]
"""Called with an image whose header alone has been read: waits for room, or raises ValueError."""


@dataclass(frozen=True)
class Format:
    """What every image is turned into.

    Attributes:
        channels: 1 (grey, ITU-R 601 luma) or 3 (RGB).
        image_size: side of the result: the centre square is cut out and, unless it has this side
            already, resized with Pillow's antialiased LANCZOS (as StyleGAN3's center-crop does).
            None keeps sizes.
        resize: False to refuse images that are not image_size square instead.
    """

    channels: int
    image_size: int | None
    resize: bool = True


def check_image_size(value: object) -> None:
    """Refuse a setting that is no side of images.

    Raises:
        ValueError: it is neither a whole number from 1 to `MAX_SIDE` nor None.
    """
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or not 1 <= value <= MAX_SIDE:
        raise ValueError(
            f"dataset.image_size={value} must be a whole number from 1 to {MAX_SIDE}, or null."
        )


def check_channels(value: object) -> None:
    """Refuse a setting that is no number of channels.

    Raises:
        ValueError: it is neither 1 nor 3.
    """
    if isinstance(value, bool) or value not in (1, 3) or not isinstance(value, int):
        raise ValueError(f"dataset.channels={value} must be 1 (grey) or 3 (RGB).")


class WrongSizeError(ValueError):
    """An image could be read but its size is not the one required."""


class Target(Protocol):
    """What decoded images are written into: an array, or a file of them."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, C, H, W)."""
        ...

    def __setitem__(self, index: int, image: np.ndarray, /) -> None: ...


class PixelBudget:
    """Bounds the pixels that are decoded at once, by threads that wait for each other.

    Args:
        pixels: most of them, which is also the most of a single image.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._free = pixels
        self._changed = Condition()

    @contextmanager
    def place(self, result: int = 0) -> Iterator[Admit]:
        """A place for one image, whose pixels are given back on leaving.

        Args:
            result: pixels of what it becomes, which may be more than it has.
        """
        taken = 0

        def admit(image: Image.Image) -> None:
            nonlocal taken
            check_pixels(image, self.pixels)
            needed = min(max(image.width * image.height, result), self.pixels)
            with self._changed:
                self._changed.wait_for(lambda: self._free >= needed)
                self._free -= needed
                taken = needed

        try:
            yield admit
        finally:
            with self._changed:
                self._free += taken
                self._changed.notify_all()


def check_pixels(image: Image.Image, limit: int = MAX_PIXELS) -> None:
    """Refuse an image whose header says that it is too large to be decoded.

    Raises:
        ValueError: it has more pixels than the limit.
    """
    pixels = image.width * image.height
    if pixels > limit:
        raise ValueError(f"{image.width}x{image.height} pixels, {_beyond(pixels, limit)}")


def _beyond(pixels: int, limit: int) -> str:
    why = "" if limit == MAX_PIXELS else " by the free memory"
    return f"{pixels / 1e6:.0f} million, and the limit is {limit / 1e6:.0f} million{why}"


def decode_image(data: bytes, target: Format, admit: Admit = check_pixels) -> np.ndarray:
    """Decode one file to (C, H, W) uint8.

    EXIF orientation is applied. 16-bit grey is scaled by 1/257 and rounded; 16-bit colour loses its
    low byte (Pillow). Transparency is composited on white. CMYK, palettes and other colour spaces
    become RGB or grey.

    Raises:
        WrongSizeError: the size is not image_size and target.resize is off.
        ValueError: animated, or a kind of pixel that has no defined range.
        OSError: the file is damaged; other exceptions in _READ_ERRORS likewise.
    """
    try:
        opened = Image.open(io.BytesIO(data), formats=_FORMATS)
    except UnidentifiedImageError as error:  # its message names an object in memory
        raise OSError("not an image, or damaged at its beginning") from error
    with opened as image:
        # A JPEG with several pictures (MPO, from phones and stereo cameras) is not an animation.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ValueError(f"animated, {getattr(image, 'n_frames', 'several')} frames")
        admit(image)
        image.load()
        oriented = ImageOps.exif_transpose(image)
    converted = _to_channels(oriented, target.channels)
    size = target.image_size
    if size is not None and converted.size != (size, size):
        if not target.resize:
            raise WrongSizeError(f"{converted.width}x{converted.height}")
        converted = _centre_square(converted, size)
    pixels = np.asarray(converted)  # (H, W) grey or (H, W, 3)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


def shrink(images: np.ndarray, size: int) -> np.ndarray:
    """Resize square images as `decode_image` does.

    Args:
        images: (N, C, H, H) uint8, C 1 or 3.
        size: of the result, (N, C, size, size).
    """
    shrunk = np.empty((*images.shape[:2], size, size), dtype=np.uint8)
    for image, small in zip(images, shrunk, strict=True):
        for channel, pixels in zip(image, small, strict=True):
            picture = Image.fromarray(channel)
            pixels[:] = np.asarray(picture.resize((size, size), Image.Resampling.LANCZOS))
    return shrunk


def _centre_square(image: Image.Image, size: int) -> Image.Image:
    # Cut out before resizing: whole pixels, and an extreme aspect ratio cannot blow up memory.
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)


def _to_channels(image: Image.Image, channels: int) -> Image.Image:
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integer pixels: save it with 8 or 16 bits")
        image = Image.fromarray(np.rint(values / 257).astype(np.uint8))
    elif image.mode == "F":
        raise ValueError("floating-point pixels: save it with 8 or 16 bits")
    elif image.has_transparency_data:
        rgba = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", rgba.size, "white"), rgba)
    return image.convert("L" if channels == 1 else "RGB")


def decode_into(
    tree: Tree,
    jobs: Sequence[tuple[Target, Sequence[str]]],
    target: Format,
    advice: str | None = None,
) -> None:
    """Decode all named files into arrays, in threads, with a progress bar on a terminal.

    As many images are decoded at once as half of the free memory has room for.

    Args:
        tree: where the files are.
        jobs: pairs of an (N, C, H, W) uint8 array, or file of one, to fill and its N file names.
        target: what the images are turned into.
        advice: what to do about images of another size; None for what helps with a data set.

    Raises:
        ValueError: images cannot be read or have the wrong size; says how many and which first.
        OSError: there is no room to write them.
    """
    Image.init()  # registering formats is not thread-safe
    total = sum(len(names) for _, names in jobs)
    memory = available_bytes() // 2
    threads = max(1, min(_MAX_THREADS, os.cpu_count() or 1, memory // MAX_FILE_BYTES))
    budget = PixelBudget(max(_MIN_PIXELS, min(MAX_PIXELS, memory // _BYTES_PER_PIXEL)))
    faults: list[tuple[str, Exception]] = []
    progress = shown_progress(f"decoding {tree.path.name}", total)
    with progress as advance, _bombs_refused_here(), ThreadPoolExecutor(threads) as pool:
        tasks = {
            pool.submit(_decode_chunk, tree, out, names, start, target, budget): min(
                _CHUNK, len(names) - start
            )
            for out, names in jobs
            for start in range(0, len(names), _CHUNK)
        }
        try:
            for task in as_completed(tasks):
                faults += task.result()
                advance(tasks[task])
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    if advice is None:
        advice = (
            "set dataset.image_size to resize all images"
            if target.resize
            else "to resize images use dataset=folder"
        )
    _report(tree, faults, jobs[0][0].shape[1:], advice)


def _decode_chunk(
    tree: Tree,
    out: Target,
    names: Sequence[str],
    start: int,
    target: Format,
    budget: PixelBudget,
) -> list[tuple[str, Exception]]:
    faults: list[tuple[str, Exception]] = []
    for i in range(start, min(start + _CHUNK, len(names))):
        try:
            with budget.place((target.image_size or 0) ** 2) as admit:
                pixels = decode_image(tree.read(names[i]), target, admit)
            if pixels.shape != out.shape[1:]:
                raise WrongSizeError(f"{pixels.shape[2]}x{pixels.shape[1]}")
        except _READ_ERRORS as error:
            faults.append((names[i], error))
        else:
            out[i] = pixels  # outside: a full disk is not the image's fault
    return faults


@contextmanager
def _bombs_refused_here() -> Iterator[None]:
    """Keep Pillow's warning of large images off the terminal; `check_pixels` decides about them.

    To be entered and left by one thread, around those that decode.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def native_shape(tree: Tree, names: Sequence[str], target: Format) -> tuple[int, ...]:
    """Return the (C, H, W) of all images: by target, else that of the first that can be read."""
    if target.image_size is not None:
        return (target.channels, target.image_size, target.image_size)
    reasons = []
    for name in names:
        try:
            with _bombs_refused_here():
                shape = decode_image(tree.read(name), target).shape
        except _READ_ERRORS as error:
            reasons.append(_reason(error))  # named, with all others, once all have been tried
        else:
            if max(shape) > MAX_SIDE:
                raise ValueError(
                    f"{tree} holds images of {shape[2]}x{shape[1]} pixels, first: {name}, and "
                    f"dataset.image_size=null keeps that size: set it to {MAX_SIDE} at most."
                )
            return shape
    raise ValueError(
        f"{tree}: none of its {len(names)} images can be read, first: {names[0]} ({reasons[0]}): "
        "replace them."
    )


def _report(
    tree: Tree, faults: list[tuple[str, Exception]], shape: tuple[int, ...], advice: str
) -> None:
    unreadable = sorted((n, _reason(e)) for n, e in faults if not isinstance(e, WrongSizeError))
    if unreadable:
        name, error = unreadable[0]
        raise ValueError(
            f"{tree}: {len(unreadable)} images cannot be read, first: {name} ({error}): replace or "
            "remove them."
        )
    if faults:
        name, error = min((n, str(e)) for n, e in faults)
        raise ValueError(
            f"{tree}: {len(faults)} images are not {shape[2]}x{shape[1]} pixels, "
            f"first: {name} ({error}): {advice}."
        )


def _reason(error: Exception) -> str:
    """What is wrong with an image; where Pillow's own limit refused it, the number of pixels."""
    if isinstance(error, Image.DecompressionBombError) and (found := re.search(r"\d+", str(error))):
        return f"{found[0]} pixels, {_beyond(int(found[0]), MAX_PIXELS)}"
    return str(error) or type(error).__name__
