"""Data sets: two splits of images, signals or points with labels, class names and a hash."""

import hashlib
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from bench.data.pixels import from_uint8, to_uint8
from models.base import Batch, DataIdentity, DataSpec


def hold_out(names: Sequence[str], labels: Sequence[int] | None, count: int) -> np.ndarray:
    """Choose a fixed, stratified test split.

    Within each class, samples are ordered by the SHA-256 of their name, which no library version
    changes; the i-th of n has the position (i + 1/2) / n, and the samples with the `count` lowest
    positions are held out. Every class thus contributes its share, up to one image.

    Args:
        names: N distinct names.
        labels: N class labels, or None for unlabelled data.
        count: how many to hold out, at most N.

    Returns:
        (N,) bool, True where held out.
    """
    classes = [0] * len(names) if labels is None else list(labels)
    sizes = Counter(classes)
    seen: defaultdict[int, int] = defaultdict(int)
    positions = []
    digests = [hashlib.sha256(name.encode()).digest() for name in names]
    for i in sorted(range(len(names)), key=lambda i: digests[i]):
        positions.append(((seen[classes[i]] + 0.5) / sizes[classes[i]], digests[i], i))
        seen[classes[i]] += 1
    mask = np.zeros(len(names), dtype=bool)
    mask[[i for _, _, i in sorted(positions)[:count]]] = True
    return mask


_HASH_CHUNK_BYTES = 1 << 26

Kind = Literal["points", "signals", "images"]
"""Kinds of samples, by the number of their axes: (D,), (C, L) and (C, H, W)."""


def kind_of(shape: tuple[int, ...]) -> Kind:
    """The kind of samples of this shape."""
    return get_args(Kind)[len(shape) - 1]


@dataclass(frozen=True, eq=False)
class Split:
    """One part of a data set.

    Attributes:
        images: (N, C, H, W) uint8, read-only, usually a memory map; or float32 in [-1, 1]: points,
            (N, D), or signals, (N, C, L), of which held-out ones may lie beyond.
        labels: (N,) int64 in [0, K), or None for unlabelled data.
    """

    images: np.ndarray
    labels: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.images)


@dataclass(frozen=True, eq=False)
class Mixture:
    """The distribution of points: Gaussians of one width, all equally likely.

    Attributes:
        centres: means of the K components, (K, D) float64.
        sigma: standard deviation of every component along every axis.
    """

    centres: np.ndarray
    sigma: float


@dataclass(frozen=True, eq=False)
class Scale:
    """The map between signals in their own units and in those of models.

    Attributes:
        low: the least value of every channel in the training part, which becomes -1; (C,) float64.
        high: the greatest, which becomes 1.
    """

    low: np.ndarray
    high: np.ndarray

    @classmethod
    def of(cls, signals: np.ndarray) -> "Scale":
        """That of training signals, (N, C, L)."""
        return cls(signals.min(axis=(0, 2)), signals.max(axis=(0, 2)))

    def to_unit(self, signals: np.ndarray) -> np.ndarray:
        """Signals in their own units, (N, C, L), as float32, in [-1, 1] for training signals."""
        low, high = self.low[:, None], self.high[:, None]
        return (2 * (signals - low) / (high - low) - 1).astype(np.float32)

    def to_own(self, signals: np.ndarray) -> np.ndarray:
        """The inverse of `to_unit`, (N, C, L) float64: levels can be large beside ranges."""
        low, high = self.low[:, None], self.high[:, None]
        return low + (signals.astype(np.float64) + 1) / 2 * (high - low)

    def tensor_to_unit(self, signals: Tensor) -> Tensor:
        """`to_unit` of a tensor on the CPU."""
        return torch.from_numpy(self.to_unit(signals.numpy()))


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples to train on and held-out samples to evaluate against.

    Attributes:
        name: short name, used in paths and tables.
        train: the images that models are trained on.
        test: held-out images of the same shape.
        classes: K class names by label; empty for unlabelled data.
        flip: whether training batches are mirrored at random.
        hash: first 16 hex digits of `content_hash` of both splits.
        mixture: the distribution of points; None for other data.
        scale: the map from signals to their own units; None for other data.
        stacked_from: name of the data set whose grey images are stacked as three channels, the
            combinations of their classes being the K classes; None for other data.
        frequencies: probability of each class, (K,), if the protocol defines it; else None.
        few: indices of the training images that models are trained on, (n,) ascending, see
            `few_images`; None for all. Metrics of quality still compare with all of them.
        notes: assumptions made when the data was read, as sentences printed at the start of a run.
        own: whether this is a user's own data rather than a standard data set.
    """

    name: str
    train: Split
    test: Split
    classes: tuple[str, ...]
    flip: bool
    hash: str
    mixture: Mixture | None = None
    scale: Scale | None = None
    stacked_from: str | None = None
    frequencies: np.ndarray | None = None
    few: np.ndarray | None = None
    notes: tuple[str, ...] = ()
    own: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one sample: (C, H, W) of images, (C, L) of signals, (D,) of points."""
        return tuple(self.train.images.shape[1:])

    @property
    def num_classes(self) -> int:
        """K, the number of classes; 0 for unlabelled data."""
        return len(self.classes)

    @property
    def trained_on(self) -> np.ndarray:
        """Indices of the training images that models are trained on, (n,) int64, ascending."""
        return np.arange(len(self.train)) if self.few is None else self.few

    def spec(self) -> DataSpec:
        """Describe the data to a model; its held-out samples are the test split."""
        images = self.test.images

        # A plain function: deep copies of a model share it instead of copying the memory map.
        def held_out(indices: Tensor) -> Tensor:
            return gather(images, indices.detach().cpu().numpy())

        labelled = None
        if self.num_classes and self.train.labels is not None:
            labelled = partial(_labelled, self.train, self.trained_on, self.num_classes)
        to_unit = None if self.scale is None else self.scale.tensor_to_unit
        seen = None if self.few is None else len(self.few)
        return DataSpec(
            self.shape,
            self.num_classes,
            held_out,
            len(images),
            labelled,
            to_unit,
            DataIdentity(self.name, self.hash, seen),
        )


def few_images(dataset: Dataset, train_images: int | None) -> Dataset:
    """The same data, of whose training images models see only a part.

    The part is chosen within each class by a fixed hash of the images' indices (`hold_out`), so it
    depends on neither model, seed nor machine, and a smaller part lies in every larger one. The
    held-out data, and with it the hash of the data, stay the same.

    Args:
        dataset: the data.
        train_images: size of the part; None for all images.

    Raises:
        ValueError: there are not as many images.
    """
    n = len(dataset.train)
    if train_images is None or train_images == n:
        return dataset
    if train_images > n:
        raise ValueError(
            f"dataset.train_images={train_images}, but {dataset.name} has {n} training images: set "
            f"it to at most {n}, or to null for all"
        )
    labels = None if dataset.train.labels is None else dataset.train.labels.tolist()
    mask = hold_out([str(index) for index in range(n)], labels, train_images)
    return replace(dataset, few=np.flatnonzero(mask))


def _labelled(
    split: Split, trained_on: np.ndarray, num_classes: int, n: int, *, uniform: bool
) -> Batch:
    """The first samples of every class, in the order of the split; n in all.

    Args:
        split: the training split.
        trained_on: indices of the samples to choose from, ascending.
        num_classes: K.
        n: a positive multiple of K.
        uniform: whether every class gives n / K samples; otherwise classes give samples in
            proportion to their own number, each at least one (`proportional`).

    Raises:
        ValueError: n is not a positive multiple of K, or a class has too few samples.
    """
    labels = split.labels
    if labels is None or n < 1 or n % num_classes:
        raise ValueError(
            f"labels must be a positive multiple of the number of classes, {num_classes}, got {n}"
        )
    classes = labels[trained_on]
    available = np.bincount(classes, minlength=num_classes)  # (K,)
    wanted = np.full(num_classes, n // num_classes)  # (K,)
    if not uniform and available.min() > 0 and n <= len(classes):
        wanted = proportional(available, n)
    if (available < wanted).any():
        raise ValueError(
            f"labels={n} needs {wanted[np.argmin(available)]} images of every class, and one has "
            f"{available.min()}: ask for fewer labels"
        )
    chosen = [trained_on[classes == k][: wanted[k]] for k in range(num_classes)]
    indices = np.sort(np.concatenate(chosen))
    return Batch(gather(split.images, indices), torch.from_numpy(labels[indices]))


def proportional(counts: np.ndarray, n: int) -> np.ndarray:
    """Allot n places to classes in proportion to their counts, at least one to each (Webster).

    Each place after the first goes to the class with the largest count / (2 · places + 1), so that
    more places never take one away from a class.

    Args:
        counts: samples of each class, (K,), all positive.
        n: places, K ≤ n ≤ sum of the counts.

    Returns:
        Places of each class, (K,) int64, none above its count.
    """
    places = np.ones(len(counts), np.int64)
    for _ in range(n - len(counts)):
        quotients = np.where(places < counts, counts / (2 * places + 1), 0)
        places[np.argmax(quotients)] += 1
    return places


def class_frequencies(dataset: Dataset) -> np.ndarray:
    """Class frequencies, (K,) float64, sum 1: of the protocol, else of the training split.

    Raises:
        ValueError: a class has no training images to compare with.
    """
    if dataset.frequencies is not None:
        return dataset.frequencies
    counts = np.bincount(np.asarray(dataset.train.labels), minlength=dataset.num_classes)
    if empty := [name for name, n in zip(dataset.classes, counts, strict=True) if n == 0]:
        raise ValueError(
            f"{dataset.name} has no training images of {', '.join(empty)}: use dataset=folder "
            "for a part of its classes"
        )
    return counts / counts.sum()


def gather(images: np.ndarray, indices: np.ndarray) -> Tensor:
    """Read samples by index as float32 in [-1, 1].

    Args:
        images: (N, C, H, W) uint8, possibly a memory map, or points or signals, float32.
        indices: (B,) integers in [0, N).

    Returns:
        (B, C, H, W) float32, contiguous in channels_last, or points or signals, float32.
    """
    return to_float(np.asarray(images)[indices])


def to_float(pixels: np.ndarray) -> Tensor:
    """Convert a batch (B, C, H, W) uint8 to float32 in [-1, 1], contiguous in channels_last.

    Points, (B, D) float32, and signals, (B, C, L) float32, or float64 in their own units, are
    returned unchanged.
    """
    x = torch.from_numpy(pixels)
    if x.is_floating_point():
        return x
    if x.ndim == 4:
        # Reordered while still one byte per value: four times less memory to move.
        x = x.contiguous(memory_format=torch.channels_last)
    return from_uint8(x)


def as_stored(x: Tensor) -> Tensor:
    """Convert samples of a model to the stored form, on the CPU; the inverse of `to_float`.

    Args:
        x: images (B, C, H, W), which become uint8; points (B, D) and signals (B, C, L) stay
            float32.
    """
    return (to_uint8(x) if x.ndim == 4 else x.float()).cpu()


def from_stored(stored: Tensor) -> Tensor:
    """Convert stored samples, uint8 images or float32 points or signals, to float32 in [-1, 1]."""
    return from_uint8(stored) if stored.dtype == torch.uint8 else stored


def content_hash(*splits: Split) -> str:
    """Return 16 hex digits of SHA-256 over the shapes, pixels and labels of the splits."""
    digest = hashlib.sha256()
    for split in splits:
        digest.update(repr(("images", *split.images.shape)).encode())
        rows = max(1, _HASH_CHUNK_BYTES // max(1, int(np.prod(split.images.shape[1:]))))
        for start in range(0, len(split), rows):
            digest.update(np.ascontiguousarray(split.images[start : start + rows]).data)
        digest.update(b"labels" if split.labels is not None else b"unlabelled")
        if split.labels is not None:
            digest.update(np.ascontiguousarray(split.labels, dtype="<i8").data)
    return digest.hexdigest()[:16]
