"""Loader of local images: a folder or zip file, as a data set of its own or a published one."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL

from bench.data.archive import Tree, open_tree
from bench.data.cache import Allocate, Decoded, load_cached
from bench.data.dataset import Dataset, Split
from bench.data.decode import (
    FITS,
    Format,
    check_channels,
    check_image_size,
    decode_into,
    native_shape,
)
from bench.data.layout import Layout, Part, arrange, keep_copies_together
from bench.data.survey import Wanted, settle


def load_folder(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "folder",
    flip: bool = False,
    image_size: int | None = 32,
    channels: int | None = None,
    fit: str = "crop",
    bits: int | None = None,
    path: str | None = None,
    check_classes: Callable[[int], None] | None = None,
) -> Dataset:
    """Load a folder or zip file of images; `bench.data.layout.arrange` defines the layouts.

    Exact duplicates, by decoded pixels, are kept on one side of the split, unless folders define
    the split. Assumptions are listed in the notes of the data set.

    Args:
        data_root: not used; every loader takes it.
        cache_root: folder of decoded arrays; None for `default_cache_root`.
        download: not used; every loader takes it.
        name: the data set's name, used in paths and tables.
        flip: whether training batches are mirrored.
        image_size: side of the squares that images are resized to; None keeps their common size.
        channels: 1 (grey) or 3 (RGB); None for 1 if all images are grey, including grey images
            saved as RGB, and 3 otherwise.
        fit: how images are made square: "crop" to the centre, "pad" with black or "stretch"
            (`Format`).
        bits: bit depth of 16-bit files, 1 to 16; None for the smallest of 8, 10, 12, 14 and 16 that
            holds the largest value.
        path: the folder or zip file.
        check_classes: called with the number of classes before the first image is decoded; refuses
            a number by raising ValueError. It is not called for data that is cached.

    Raises:
        FileNotFoundError: path is missing.
        ValueError: an argument is out of range, or images or folders are unsuitable.
    """
    del data_root, download
    if path is None:
        raise ValueError("dataset.path=null: set it to a folder or zip file of images.")
    wanted = Wanted(channels, image_size, fit=fit, bits=bits)
    _check(wanted)
    loaded = _load(name, flip, path, wanted, None, cache_root, check_classes)
    return replace(loaded, own=True)


def _check(wanted: Wanted) -> None:
    """Raise ValueError on settings out of range."""
    image_size, fit, bits = wanted.image_size, wanted.fit, wanted.bits
    check_channels(wanted.channels)
    check_image_size(image_size)
    if fit not in FITS:
        raise ValueError(f"dataset.fit={fit} must be one of {', '.join(FITS)}.")
    if bits is not None and (type(bits) is not int or not 1 <= bits <= 16):
        raise ValueError(
            f"dataset.bits={bits} must be a whole number from 1 to 16, or null to derive it "
            "from the images."
        )
    if image_size is None and fit != "crop":
        raise ValueError(
            f"dataset.fit={fit} needs a dataset.image_size: with null, images keep their size."
        )


def load_local(
    name: str,
    flip: bool,
    shape: tuple[int, int, int],
    classes: tuple[str, ...],
    path: str,
    cache_root: Path | None,
) -> Dataset:
    """Load a published data set from a folder or zip of its images instead of its own files.

    Args:
        name: the data set's name.
        flip: whether training batches are mirrored.
        shape: required (C, H, W) of all images; grey and RGB are converted.
        classes: published class names by label; class folders must be named so or "0", "1", ….
        path: the folder or zip file.
        cache_root: folder of decoded arrays; None for `default_cache_root`.

    Raises:
        FileNotFoundError: path is missing.
        ValueError: sizes or class folders are not the published ones, or images are damaged.
    """
    return _load(name, flip, path, Wanted(shape[0], shape[1], resize=False), classes, cache_root)


def _load(
    name: str,
    flip: bool,
    path: str,
    wanted: Wanted,
    classes: tuple[str, ...] | None,
    cache_root: Path | None,
    check_classes: Callable[[int], None] | None = None,
) -> Dataset:
    tree = open_tree(path)
    key = ("local", tree.key(), wanted, classes, PIL.__version__)

    def decode(allocate: Allocate) -> Decoded:
        layout = arrange(tree)
        if check_classes is not None:
            check_classes(len(layout.classes))
        if classes is not None:
            layout = _as_published(tree, layout, name, classes)
        names = (*layout.train.names, *layout.test.names)
        target, assumed = settle(tree, names, wanted)
        shape = native_shape(tree, names, target)
        images, hashes = _decode(tree, layout, target, shape, allocate)
        together = keep_copies_together(layout, hashes)
        if (together.train.names, together.test.names) != (layout.train.names, layout.test.names):
            images, _ = _decode(tree, together, target, shape, allocate)
        if classes is None:
            _check_classes(tree, together)
        train, test = (
            Split(pixels, _labels(part))
            for pixels, part in zip(images, (together.train, together.test), strict=True)
        )
        return Decoded(train, test, together.classes, (*together.notes, *assumed))

    with tree:
        return load_cached(name, flip, key, decode, cache_root)


def _check_classes(tree: Tree, layout: Layout) -> None:
    """Raise ValueError on classes that occur in held-out images only."""
    trained_on = set(layout.train.labels or ())
    empty = [name for label, name in enumerate(layout.classes) if label not in trained_on]
    if empty:
        raise ValueError(
            f"{tree}: {len(empty)} classes have no image to train on once "
            f"{len(layout.test.names)} images are held out, first: {empty[0]}: give each class at "
            "least 10 images, or leave classes away."
        )


def _decode(
    tree: Tree, layout: Layout, target: Format, shape: tuple[int, ...], allocate: Allocate
) -> tuple[Sequence[np.ndarray], dict[str, bytes]]:
    """Decode both splits, (N, C, H, W) uint8 each, and hash every file's pixels."""
    parts = {"train": layout.train, "test": layout.test}
    arrays = [allocate(name, (len(part.names), *shape)) for name, part in parts.items()]
    jobs = [(array, part.names) for array, part in zip(arrays, parts.values(), strict=True)]
    hashes = decode_into(tree, jobs, target)
    return [array.read() for array in arrays], hashes


def _as_published(tree: Tree, layout: Layout, name: str, classes: tuple[str, ...]) -> Layout:
    """Renumber labels to the published order of classes."""
    numbers = {str(i): i for i in range(len(classes))}
    for known in ({c: i for i, c in enumerate(classes)}, numbers):
        if layout.classes and set(layout.classes) <= set(known):
            order = [known[c] for c in layout.classes]
            return replace(
                layout,
                train=_renumber(layout.train, order),
                test=_renumber(layout.test, order),
                classes=classes,
            )
    raise ValueError(
        f"dataset.path={tree.path} does not have the class folders of {name}: name them "
        f"{', '.join(classes)} or 0 to {len(classes) - 1}, or use dataset=folder."
    )


def _renumber(part: Part, order: list[int]) -> Part:
    return replace(part, labels=tuple(order[label] for label in part.labels or ()))


def _labels(part: Part) -> np.ndarray | None:
    return None if part.labels is None else np.asarray(part.labels, dtype=np.int64)
