"""Small data sets of every kind, for the tests of extractors."""

import numpy as np

from bench.data.dataset import Dataset, Split, content_hash


def tiny_dataset(classes=("a", "b"), name="tiny", channels=1, labelled=True, side=8) -> Dataset:
    """Noise whose brightness tells the class."""
    generator = np.random.default_rng(0)
    parts = []
    for n in (48, 16):
        labels = np.arange(n, dtype=np.int64) % max(len(classes), 1)
        images = generator.integers(0, 100, (n, channels, side, side), dtype=np.uint8)
        images += (100 * labels[:, None, None, None]).astype(np.uint8)
        parts.append(Split(images, labels if labelled else None))
    return Dataset(name, *parts, classes, False, content_hash(*parts))


def unlabelled(channels: int) -> Dataset:
    return tiny_dataset(classes=(), labelled=False, channels=channels)


def tiny_points() -> Dataset:
    generator = np.random.default_rng(0)
    parts = [Split(generator.random((n, 2), dtype=np.float32) * 2 - 1) for n in (48, 16)]
    return Dataset("ring", *parts, (), False, content_hash(*parts))


def tiny_stack(num_classes=1000, base="digits", side=8) -> Dataset:
    classes = tuple(map(str, range(num_classes)))
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (12, 3, side, side), dtype=np.uint8)
    split = Split(images, np.arange(12, dtype=np.int64))
    fields = (f"stacked_{base}", split, split, classes, False, content_hash(split))
    return Dataset(*fields, stacked_from=base)
