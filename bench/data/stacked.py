"""Stacked digits: three random grey digits as the channels of one image."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from bench.data.cache import Allocate, Decoded, load_cached
from bench.data.dataset import Dataset, Split
from bench.data.sources import load_digits, load_mnist

TRAIN_SIZE = 128_000
TEST_SIZE = 26_000
_CHANNELS = 3
_DATA_SEED = 0
_BLOCK = 4096  # images written at a time


def load_stacked_mnist(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "stacked_mnist",
    flip: bool = False,
) -> Dataset:
    """Stack MNIST: 128000 images of 3x28x28 from its training digits, 26000 from its test digits.

    1000 modes (Metz et al. 2017, Sec. 3.3.1; numbers of images: Lin et al. 2018). The label of the
    digits a, b, c in channels 0, 1, 2 is 100 a + 10 b + c. The arguments are those of
    `bench.data.sources.load_mnist`, but digits are not mirrored.

    Raises:
        ValueError: flip is set, or the files are damaged.
        FileNotFoundError: there are no files, and they cannot or may not be downloaded.
    """
    return _load(load_mnist, data_root, cache_root, name, download=download, flip=flip)


def load_stacked_digits(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "stacked_digits",
    flip: bool = False,
) -> Dataset:
    """Stack scikit-learn's 8x8 digits as `load_stacked_mnist` does MNIST's; no download."""
    return _load(load_digits, data_root, cache_root, name, download=download, flip=flip)


def _load(
    load_base: Callable[..., Dataset],
    data_root: Path,
    cache_root: Path | None,
    name: str,
    *,
    download: bool,
    flip: bool,
) -> Dataset:
    if flip:
        raise ValueError(
            f"dataset.flip=true: {name} holds digits, which are not mirrored: set it to false."
        )
    base = load_base(data_root=data_root, cache_root=cache_root, download=download)

    def stack(allocate: Allocate) -> Decoded:
        rng = np.random.Generator(np.random.Philox(_DATA_SEED))
        train, test = (
            _stack(split, size, base.num_classes, rng, allocate, part)
            for split, size, part in (
                (base.train, TRAIN_SIZE, "train"),
                (base.test, TEST_SIZE, "test"),
            )
        )
        digits = base.num_classes**_CHANNELS
        return Decoded(train, test, tuple(f"{label:03d}" for label in range(digits)))

    key = ("stacked", base.hash, TRAIN_SIZE, TEST_SIZE, _DATA_SEED)
    dataset = load_cached(name, False, key, stack, cache_root)
    counts = np.bincount(np.asarray(base.train.labels), minlength=base.num_classes)
    digit = counts / counts.sum()  # (10,)
    triple = np.einsum("a,b,c->abc", digit, digit, digit).reshape(-1)  # (1000,)
    return replace(dataset, stacked_from=base.name, frequencies=triple)


def _stack(
    split: Split,
    size: int,
    num_classes: int,
    rng: np.random.Generator,
    allocate: Allocate,
    part: str,
) -> Split:
    """Sample `size` triples of a split's grey images, with replacement."""
    chosen = rng.integers(len(split), size=(size, _CHANNELS))  # (N, 3)
    images = allocate(part, (size, _CHANNELS, *split.images.shape[2:]))
    digits = np.asarray(split.images)[:, 0]  # (M, H, W)
    for start in range(0, size, _BLOCK):
        images.write(start, digits[chosen[start : start + _BLOCK]])  # (B, 3, H, W)
    place = num_classes ** np.arange(_CHANNELS)[::-1]  # (3,): 100, 10, 1
    return Split(images.read(), np.asarray(split.labels)[chosen] @ place)
