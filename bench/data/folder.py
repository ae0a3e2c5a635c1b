"""Owns the loader of local images: a folder or zip file, as its own or as a published data set."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import PIL

from bench.data.cache import Allocate, Decoded, load_cached
from bench.data.dataset import Dataset, Split
from bench.data.decode import Format, decode_into, native_shape
from bench.data.layout import Layout, Part, arrange
from bench.data.tree import Tree, open_tree


def load_folder(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    name: str = "folder",
    flip: bool = True,
    image_size: int | None = 32,
    channels: int = 3,
    path: str | None = None,
) -> Dataset:
    """Load a folder or zip file of images; `bench.data.layout.arrange` says which layouts.

    Args:
        data_root: not used; every loader takes it.
        cache_root: folder of decoded arrays; None for `default_cache_root`.
        name: the data set's name, used in paths and tables.
        flip: whether training batches are mirrored.
        image_size: side to which images are resized and centre-cropped (`Format`); None if all
            have the same size and shall keep it.
        channels: 1 (grey) or 3 (RGB).
        path: the folder or zip file.

    Raises:
        FileNotFoundError: path is missing.
        ValueError: an argument is out of range, or images or folders are not as they should be.
    """
    del data_root
    if path is None:
        raise ValueError("dataset.path=null: set it to a folder or zip file of images.")
    if channels not in (1, 3):
        raise ValueError(f"dataset.channels={channels} must be 1 (grey) or 3 (RGB).")
    if image_size is not None and image_size < 1:
        raise ValueError(f"dataset.image_size={image_size} must be at least 1, or null.")
    dataset = _load(name, flip, path, Format(channels, image_size), None, cache_root)
    return replace(dataset, own=True)


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
        shape: (C, H, W) that all images must have; grey and RGB are converted.
        classes: published class names by label; class folders must be named so or "0", "1", ….
        path: the folder or zip file.
        cache_root: folder of decoded arrays; None for `default_cache_root`.

    Raises:
        FileNotFoundError: path is missing.
        ValueError: sizes or class folders are not the published ones, or images are damaged.
    """
    return _load(name, flip, path, Format(shape[0], shape[1], resize=False), classes, cache_root)


def _load(
    name: str,
    flip: bool,
    path: str,
    target: Format,
    classes: tuple[str, ...] | None,
    cache_root: Path | None,
) -> Dataset:
    tree = open_tree(path)
    key = ("local", tree.key(), target, classes, PIL.__version__)

    def decode(allocate: Allocate) -> Decoded:
        layout = arrange(tree)
        if classes is not None:
            layout = _as_published(tree, layout, name, classes)
        names = (*layout.train.names, *layout.test.names)
        shape = native_shape(tree, names, target)
        parts = {"train": layout.train, "test": layout.test}
        arrays = {part: allocate(part, (len(p.names), *shape)) for part, p in parts.items()}
        decode_into(tree, [(arrays[part], p.names) for part, p in parts.items()], target)
        splits = {part: Split(arrays[part], _labels(p)) for part, p in parts.items()}
        return Decoded(splits["train"], splits["test"], layout.classes)

    with tree:
        return load_cached(name, flip, key, decode, cache_root)


def _as_published(tree: Tree, layout: Layout, name: str, classes: tuple[str, ...]) -> Layout:
    """Renumber labels so that they are the published ones, whatever the folders' order."""
    numbers = {str(i): i for i in range(len(classes))}
    for known in ({c: i for i, c in enumerate(classes)}, numbers):
        if layout.classes and set(layout.classes) <= set(known):
            order = [known[c] for c in layout.classes]
            return Layout(_renumber(layout.train, order), _renumber(layout.test, order), classes)
    raise ValueError(
        f"dataset.path={tree.path} does not have the class folders of {name}: name them "
        f"{', '.join(classes)} or 0 to {len(classes) - 1}, or use dataset=folder."
    )


def _renumber(part: Part, order: list[int]) -> Part:
    return replace(part, labels=tuple(order[label] for label in part.labels or ()))


def _labels(part: Part) -> np.ndarray | None:
    return None if part.labels is None else np.asarray(part.labels, dtype=np.int64)
