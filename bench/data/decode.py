"""Owns turning encoded images into uint8 arrays: colour modes, resizing, the decoding pool."""

import io
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from bench.data.tree import UNREADABLE, Tree
from bench.progress import shown_progress

_FORMATS = ("PNG", "JPEG", "BMP", "GIF", "TIFF", "WEBP", "PPM")
_CHUNK = 64  # images per task: one future each would cost more than decoding a small image
_MAX_THREADS = 16
_READ_ERRORS = (*UNREADABLE, Image.DecompressionBombError)


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


class WrongSizeError(ValueError):
    """An image could be read but its size is not the one required."""


def decode_image(data: bytes, target: Format) -> np.ndarray:
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
    jobs: Sequence[tuple[np.ndarray, Sequence[str]]],
    target: Format,
    advice: str | None = None,
) -> None:
    """Decode all named files into arrays, in threads, with a progress bar on a terminal.

    Args:
        tree: where the files are.
        jobs: pairs of an (N, C, H, W) uint8 array to fill and its N file names.
        target: what the images are turned into.
        advice: what to do about images of another size; None for what helps with a data set.

    Raises:
        ValueError: images cannot be read or have the wrong size; says how many and which first.
    """
    Image.init()  # registering formats is not thread-safe
    total = sum(len(names) for _, names in jobs)
    threads = min(_MAX_THREADS, os.cpu_count() or 1)
    faults: list[tuple[str, Exception]] = []
    progress = shown_progress(f"decoding {tree.path.name}", total)
    with progress as advance, ThreadPoolExecutor(threads) as pool:
        tasks = {
            pool.submit(_decode_chunk, tree, out, names, start, target): min(
                _CHUNK, len(names) - start
            )
            for out, names in jobs
            for start in range(0, len(names), _CHUNK)
        }
        try:
            for task in as_completed(tasks):
                faults += task.result()
                advance(tasks[task])
        except BaseException:  # Ctrl-C: what has not begun never does
            pool.shutdown(cancel_futures=True)
            raise
    if advice is None:
        advice = (
            "set dataset.image_size to resize all images"
            if target.resize
            else "to resize images use dataset=folder"
        )
    _report(tree, faults, jobs[0][0].shape[1:], advice)


def _decode_chunk(
    tree: Tree, out: np.ndarray, names: Sequence[str], start: int, target: Format
) -> list[tuple[str, Exception]]:
    faults: list[tuple[str, Exception]] = []
    for i in range(start, min(start + _CHUNK, len(names))):
        try:
            pixels = decode_image(tree.read(names[i]), target)
            if pixels.shape != out.shape[1:]:
                raise WrongSizeError(f"{pixels.shape[2]}x{pixels.shape[1]}")
            out[i] = pixels
        except _READ_ERRORS as error:
            faults.append((names[i], error))
    return faults


def native_shape(tree: Tree, names: Sequence[str], target: Format) -> tuple[int, ...]:
    """Return the (C, H, W) of all images: by target, else that of the first that can be read."""
    if target.image_size is not None:
        return (target.channels, target.image_size, target.image_size)
    reasons = []
    for name in names:
        try:
            return decode_image(tree.read(name), target).shape
        except _READ_ERRORS as error:
            reasons.append(str(error))  # named, with all others, once every image has been tried
    raise ValueError(
        f"{tree}: none of its {len(names)} images can be read, first: {names[0]} ({reasons[0]}): "
        "replace them."
    )


def _report(
    tree: Tree, faults: list[tuple[str, Exception]], shape: tuple[int, ...], advice: str
) -> None:
    unreadable = sorted((n, str(e)) for n, e in faults if not isinstance(e, WrongSizeError))
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
