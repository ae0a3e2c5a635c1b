"""Decoding of image files to uint8 arrays: colour modes, resizing, the thread pool."""

import hashlib
import io
import os
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition
from typing import IO, Self

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from bench.data import cache
from bench.data.archive import MAX_FILE_BYTES, UNREADABLE, Tree
from bench.runtime.memory import available_bytes
from bench.runtime.progress import shown_progress

MAX_SIDE = 4096
"""Largest side of decoded images: such an RGB image takes 48 MiB."""

MAX_PIXELS = 1 << 27
"""Maximum pixels of an image file, 134 million: cameras have up to 100, decompression bombs
more."""

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_CHUNK = 64  # images per task: a future per image would cost more than decoding a small one
_MAX_THREADS = 16
_MIN_PIXELS = 1 << 20  # allowed even if little memory is free
_BYTES_PER_PIXEL = 28  # peak memory of decoding, measured: 16-bit grey and WebP; 16 for RGB
_PHOTOMETRIC = 262  # TIFF tag: 0 if zero is white, 1 if zero is black
READ_ERRORS = (
    *UNREADABLE,
    Image.DecompressionBombError,
    TypeError,  # damaged tags of a TIFF or of EXIF
    LookupError,  # a GIF that is cut, pages without a size
    ArithmeticError,
)
"""Exceptions raised by decoding a damaged image: Pillow has no single one for it."""

FITS = ("crop", "pad", "stretch")
"""Ways to make an image square."""

Admit = Callable[[Image.Image], None]
"""Called with an image whose header was read: waits for memory, or raises ValueError."""


@dataclass(frozen=True)
class Format:
    """Target format of decoded images.

    Attributes:
        channels: 1 (grey, ITU-R 601 luma) or 3 (RGB).
        image_size: side of the result; images of other sizes are resized with Pillow's antialiased
            LANCZOS. None keeps sizes.
        resize: False to refuse images that are not image_size square instead.
        fit: how images are made square. "crop": its centre square is cut out (as
            StyleGAN3's center-crop does). "pad": the image is centred between black bars.
            "stretch": both sides are scaled independently.
        bits: bit depth of 16-bit grey files, 1 to 16: 2^bits - 1 becomes 255.
    """

    channels: int
    image_size: int | None
    resize: bool = True
    fit: str = "crop"
    bits: int = 16


def check_image_size(value: object) -> None:
    """Refuse an invalid image size.

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
    """Refuse an invalid number of channels.

    Raises:
        ValueError: it is neither 1, 3 nor None.
    """
    if value is not None and (type(value) is not int or value not in (1, 3)):
        raise ValueError(
            f"dataset.channels={value} must be 1 (grey), 3 (RGB), or null to derive it from the "
            "images."
        )


Target = np.ndarray | cache.ImageFile
"""Destination of decoded images, (N, C, H, W) uint8: an array, or a file of images."""


class WrongSizeError(ValueError):
    """A readable image of the wrong size."""


class PixelBudget:
    """Limits the number of pixels that threads decode at the same time.

    Args:
        pixels: the limit, which also applies to a single image.
    """

    def __init__(self, pixels: int) -> None:
        self.pixels = pixels
        self._free = pixels
        self._changed = Condition()

    @classmethod
    def of_free_memory(cls) -> Self:
        """A limit that uses half of the free memory, at most `MAX_PIXELS`."""
        fitting = available_bytes() // 2 // _BYTES_PER_PIXEL
        return cls(max(_MIN_PIXELS, min(MAX_PIXELS, fitting)))

    @contextmanager
    def place(self, result: int = 0) -> Iterator[Admit]:
        """Reserve pixels for one image and release them on exit.

        Args:
            result: pixels of the decoded result, which may exceed those of the file.
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
    """Refuse an image that is too large to decode, according to its header.

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

    EXIF orientation is applied. 16-bit grey is scaled to 0..255 by the range of target.bits, or by
    the range that the file declares (PGM), and rounded; Pillow drops the low byte of 16-bit colour.
    Transparency is composited on white. CMYK, palettes and other colour spaces become RGB or grey.

    Raises:
        WrongSizeError: the size is not image_size and target.resize is off.
        ValueError: the image is animated, or its pixel type has no defined range.
        OSError: the file is damaged; other exceptions in READ_ERRORS.
    """
    with opened(io.BytesIO(data)) as image:
        admit(image)
        white = 2**target.bits - 1 if lacks_range(image) else 65535
        inverted = _zero_is_white(image)
        image.load()
        oriented = ImageOps.exif_transpose(image)
    converted = _to_channels(oriented, target.channels, white, inverted=inverted)
    size = target.image_size
    if size is not None and converted.size != (size, size):
        if not target.resize:
            raise WrongSizeError(f"{converted.width}x{converted.height}")
        converted = _fitted(converted, size, target.fit)
    pixels = np.asarray(converted)  # (H, W) grey or (H, W, 3)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)


@contextmanager
def opened(file: IO[bytes]) -> Iterator[ImageFile.ImageFile]:
    """Open one image and read its header, not its pixels.

    Raises:
        ValueError: the image is animated.
        OSError: not an image; other exceptions in READ_ERRORS.
    """
    try:
        image = Image.open(file, formats=_FORMATS)
    except UnidentifiedImageError as error:  # its message names an object in memory
        raise OSError("not an image, or damaged at its beginning") from error
    with image:
        # A JPEG with several pictures (MPO, from phones and stereo cameras) is not an animation.
        if image.format != "MPO" and getattr(image, "is_animated", False):
            raise ValueError(f"animated, {getattr(image, 'n_frames', 'several')} frames")
        yield image


def lacks_range(image: ImageFile.ImageFile) -> bool:
    """Whether an opened, not yet loaded image has 16 bits and does not declare its white value.

    PGM and PPM declare their largest value, and Pillow scales by it; most programs declare 65535
    whatever the values are.
    """
    deep_grey = image.mode.startswith("I") and not any(
        codec.startswith("ppm") and 65535 not in args for codec, args in _encodings(image)
    )
    return deep_grey or is_deep_colour(image)


def is_deep_colour(image: ImageFile.ImageFile) -> bool:
    """Whether an opened, not yet loaded image has 16 bits per colour, of which Pillow keeps 8."""
    return not image.mode.startswith("I") and any(
        65535 in args if codec.startswith("ppm") else ";16" in str(args[0])
        for codec, args in _encodings(image)
    )


def _zero_is_white(image: ImageFile.ImageFile) -> bool:
    """Whether 0 is white in an opened 16-bit TIFF; Pillow inverts those of fewer bits itself."""
    tags = getattr(image, "tag_v2", {})
    return image.mode.startswith("I") and tags.get(_PHOTOMETRIC) == 0


def _encodings(image: ImageFile.ImageFile) -> Iterator[tuple[str, tuple[object, ...]]]:
    """Codecs and their arguments: first the raw mode, then the largest value of PGM and PPM."""
    for codec, _, _, args in image.tile:
        yield codec, args if isinstance(args, tuple) else (args,)


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


def _fitted(image: Image.Image, size: int, fit: str) -> Image.Image:
    """Resize to a square of this side by `Format.fit`."""
    width, height = image.size
    if fit == "stretch":
        return image.resize((size, size), Image.Resampling.LANCZOS)
    if fit == "pad":
        longest = max(width, height)
        inner = tuple(max(1, round(side * size / longest)) for side in (width, height))
        if inner != image.size:
            image = image.resize((inner[0], inner[1]), Image.Resampling.LANCZOS)
        square = Image.new(image.mode, (size, size))  # black
        square.paste(image, ((size - inner[0]) // 2, (size - inner[1]) // 2))
        return square
    # Cut out before resizing: whole pixels, and an extreme aspect ratio cannot blow up memory.
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = image.crop((left, top, left + side, top + side))
    return square if side == size else square.resize((size, size), Image.Resampling.LANCZOS)


def _to_channels(image: Image.Image, channels: int, white: int, *, inverted: bool) -> Image.Image:
    """Convert to 8-bit grey or RGB.

    Args:
        image: in any mode.
        channels: 1 or 3.
        white: the value of 16-bit grey that becomes 255, or 0 if inverted.
        inverted: whether 0 is white in 16-bit grey.
    """
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64)
        if values.min() < 0 or values.max() > 65535:
            raise ValueError("32-bit integer pixels: save it with 8 or 16 bits")
        if values.max() > white:
            raise ValueError(f"value {values.max()} exceeds {white}")
        values = white - values if inverted else values
        image = Image.fromarray(np.rint(values / (white / 255)).astype(np.uint8))
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
) -> dict[str, bytes]:
    """Decode all named files into arrays, in threads, with a progress bar on a terminal.

    Images are decoded in parallel as far as half of the free memory allows.

    Args:
        tree: where the files are.
        jobs: pairs of an (N, C, H, W) uint8 array, or file of one, to fill and its N file names.
        target: format of the results.
        advice: remedy for images of the wrong size, for the message; None for that of data sets.

    Returns:
        A hash of each file's decoded pixels, by name; equal for equal images.

    Raises:
        ValueError: images cannot be read or have the wrong size; says how many and which first.
        OSError: there is no space to write them.
    """
    Image.init()  # registering formats is not thread-safe
    total = sum(len(names) for _, names in jobs)
    memory = available_bytes() // 2
    threads = max(1, min(_MAX_THREADS, os.cpu_count() or 1, memory // MAX_FILE_BYTES))
    budget = PixelBudget.of_free_memory()
    faults: list[tuple[str, Exception]] = []
    hashes: dict[str, bytes] = {}
    progress = shown_progress(f"decoding {tree.path.name}", total)
    with progress as advance, bombs_refused_here(), ThreadPoolExecutor(threads) as pool:
        tasks = {
            pool.submit(_decode_chunk, tree, out, names, start, target, budget): min(
                _CHUNK, len(names) - start
            )
            for out, names in jobs
            for start in range(0, len(names), _CHUNK)
        }
        try:
            for task in as_completed(tasks):
                chunk_faults, chunk_hashes = task.result()
                faults += chunk_faults
                hashes |= chunk_hashes
                advance(tasks[task])
        except BaseException:  # Ctrl-C: cancel what has not started
            pool.shutdown(cancel_futures=True)
            raise
    if advice is None:
        advice = (
            "set dataset.image_size to resize all images"
            if target.resize
            else "to resize images use dataset=folder"
        )
    _report(tree, faults, jobs[0][0].shape[1:], advice)
    return hashes


def _decode_chunk(
    tree: Tree,
    out: Target,
    names: Sequence[str],
    start: int,
    target: Format,
    budget: PixelBudget,
) -> tuple[list[tuple[str, Exception]], dict[str, bytes]]:
    faults: list[tuple[str, Exception]] = []
    hashes: dict[str, bytes] = {}
    for i in range(start, min(start + _CHUNK, len(names))):
        try:
            with budget.place((target.image_size or 0) ** 2) as admit:
                pixels = decode_image(tree.read(names[i]), target, admit)
            if pixels.shape != out.shape[1:]:
                raise WrongSizeError(f"{pixels.shape[2]}x{pixels.shape[1]}")
        except READ_ERRORS as error:
            faults.append((names[i], error))
        else:
            out[i] = pixels  # outside the try: a full disk is not an image error
            hashes[names[i]] = hashlib.blake2b(pixels.tobytes(), digest_size=16).digest()
    return faults, hashes


@contextmanager
def bombs_refused_here() -> Iterator[None]:
    """Silence Pillow's warning about large images; `check_pixels` decides about them.

    Enter and exit from one thread, around the decoding threads.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)
        yield


def native_shape(tree: Tree, names: Sequence[str], target: Format) -> tuple[int, ...]:
    """Return the (C, H, W) of all images: from target, else from the first readable image."""
    if target.image_size is not None:
        return (target.channels, target.image_size, target.image_size)
    reasons = []
    for name in names:
        try:
            with bombs_refused_here():
                shape = decode_image(tree.read(name), target).shape
        except READ_ERRORS as error:
            reasons.append(_reason(error))  # reported together once all have been tried
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
    """Reason why an image was refused, with its number of pixels if Pillow's own limit did."""
    if isinstance(error, Image.DecompressionBombError) and (found := re.search(r"\d+", str(error))):
        return f"{found[0]} pixels, {_beyond(int(found[0]), MAX_PIXELS)}"
    return str(error) or type(error).__name__
