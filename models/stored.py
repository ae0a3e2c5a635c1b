"""Samples that exist already, and one pass over them as a model without networks draws it."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Generator, Tensor


@dataclass(frozen=True)
class Stored:
    """A finite set of samples.

    Attributes:
        gather: maps indices, (B,) int64 in [0, size), to samples, (B, *data_shape) float32 in
            [-1, 1].
        size: number of samples, N.
        hash: first 16 hex digits of SHA-256 of the content; empty where nobody computed it.
    """

    gather: Callable[[Tensor], Tensor]
    size: int
    hash: str = ""


class StoredPass:
    """One pass over stored samples without replacement; successive draws continue it.

    Args:
        stored: the samples.
        device: where they are wanted.
        shuffle: whether the generator decides the order; else they are dealt out as stored.
    """

    def __init__(self, stored: Stored, device: torch.device, *, shuffle: bool) -> None:
        self._stored = stored
        self._device = device
        self._order = None if shuffle else torch.arange(stored.size)  # (N,)
        self._drawn = 0

    def draw(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        """Return the next n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        Args:
            n: number of samples.
            generator: shuffles the samples at the first draw of the pass, where that is wanted; not
                used otherwise.
            y: ignored, the samples have whatever classes they have.

        Raises:
            ValueError: if the pass would need more samples than are stored.
        """
        size = self._stored.size
        if self._drawn + n > size:
            raise ValueError(
                f"there are only {size} samples, {self._drawn + n} were asked for; set "
                f"evaluator.samples to at most {size}"
            )
        if self._order is None:
            self._order = torch.randperm(size, generator=generator, device=generator.device).cpu()
        indices = self._order[self._drawn : self._drawn + n]  # (n,)
        self._drawn += n
        return self._stored.gather(indices).to(self._device)
