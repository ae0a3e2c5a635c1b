"""Training batches: batch k of rank r is a pure function of (seed, k, r)."""

import numpy as np
import torch

from bench.data.dataset import Split, to_float
from bench.runtime.distributed import World
from models.base import Batch

_ORDER, _FLIPS = 0, 1  # keys of the two independent random streams


class BatchStream:
    """Infinite shuffled, optionally mirrored batches, addressed by number.

    The data is an infinite concatenation of permutations of the images, one per epoch, keyed by
    (seed, epoch). Joint batch k covers positions k·B … (k + 1)·B - 1 of it, whatever the number of
    ranks; rank r holds the r-th contiguous part. Flips are keyed by (seed, k) and decided for the
    joint batch. No batch depends on which batches were requested before.
    """

    def __init__(
        self,
        split: Split,
        batch_size: int,
        seed: int,
        *,
        flip: bool,
        world: World | None = None,
        trained_on: np.ndarray | None = None,
    ) -> None:
        """Check that the batch can be shared; no data is read yet.

        Args:
            split: the data, N >= 1 images; N may be smaller than batch_size.
            batch_size: B, images in a joint batch over all ranks.
            seed: non-negative key of order and flips.
            flip: whether each image is mirrored left to right with probability 1/2.
            world: this process among those that share a joint batch, whose number must divide
                batch_size; None for one alone.
            trained_on: indices of the images that batches are made of, (n,); None for all.

        Raises:
            ValueError: there are no images, or the number of processes does not divide batch_size.
        """
        if len(split) < 1:
            raise ValueError("split holds no images: a batch stream needs at least one.")
        self.world = world or World()
        rank, size = self.world.rank, self.world.size
        if batch_size % size:
            raise ValueError(
                f"batch_size={batch_size} must be a multiple of the number of processes, {size}."
            )
        self._split = split
        self._images = np.asarray(split.images)  # a view: indexing is faster than that of memmap
        self._trained_on = np.arange(len(split)) if trained_on is None else trained_on  # (n,)
        self._batch_size = batch_size
        self._seed = seed
        self._flip = flip
        part = batch_size // size
        self._slice = slice(rank * part, (rank + 1) * part)
        self._orders: dict[int, np.ndarray] = {}  # permutations of the epochs last touched

    def __call__(self, k: int) -> Batch:
        """Return this rank's part of joint batch k, k >= 0, on the CPU.

        Returns:
            x (B / world, C, H, W) float32 in [-1, 1], contiguous in channels_last, and y
            (B / world,) int64, or None for unlabelled data.
        """
        indices = self.indices(k)
        pixels = self._images[indices]  # (B / world, C, H, W) uint8
        if self._flip:
            mirrored = self._generator(_FLIPS, k).random(self._batch_size)[self._slice] < 0.5
            pixels[mirrored] = pixels[mirrored][..., ::-1]
        labels = self._split.labels
        return Batch(
            to_float(pixels), None if labels is None else torch.from_numpy(labels[indices])
        )

    def indices(self, k: int) -> np.ndarray:
        """Return which images this rank's part of joint batch k holds, (B / world,) int64."""
        if k < 0:
            raise ValueError(f"k={k} must not be negative.")
        n = len(self._trained_on)
        first = k * self._batch_size
        start, stop = first + self._slice.start, first + self._slice.stop
        epochs = range(start // n, (stop - 1) // n + 1)
        self._orders = {e: self._order(e) for e in epochs}
        parts = [self._orders[e][max(start - e * n, 0) : stop - e * n] for e in epochs]
        return self._trained_on[np.concatenate(parts)]

    def _order(self, epoch: int) -> np.ndarray:
        """Permutation of the images in this epoch, (n,) int64."""
        if epoch in self._orders:
            return self._orders[epoch]
        return self._generator(_ORDER, epoch).permutation(len(self._trained_on))

    def _generator(self, stream: int, number: int) -> np.random.Generator:
        key = np.random.SeedSequence(self._seed, spawn_key=(stream, number))
        return np.random.Generator(np.random.Philox(key))
