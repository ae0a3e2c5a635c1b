"""Models without networks: held-out real data, and samples from a file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Generator, Tensor

from models.base import DataSpec, GenerativeModel, Sampler


@dataclass(frozen=True)
class Stored:
    """A finite set of samples.

    Attributes:
        gather: maps indices, (B,) int64 in [0, size), to samples, (B, *data_shape) float32 in
            [-1, 1].
        size: number of samples, N.
        hash: first 16 hex digits of SHA-256 of the content; empty if it was not computed.
    """

    gather: Callable[[Tensor], Tensor]
    size: int
    hash: str = ""


class StoredPass:
    """One pass over stored samples without replacement; successive draws continue it.

    Args:
        stored: the samples.
        device: where they are wanted.
        shuffle: whether the generator decides the order; otherwise it is the stored one.
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
            generator: shuffles the samples at the first draw of the pass, if the pass is shuffled.
            y: ignored.

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


class RealData(GenerativeModel):
    """The real-data baseline: held-out real samples, without phases or networks.

    Args:
        data: supplies the held-out samples.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data.shape)
        self.held_out = Stored(data.held_out, data.held_out_size)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A fresh pass over the held-out split, shuffled, at every access."""
        held_out_pass = StoredPass(self.held_out, self.progress.device, shuffle=True)
        return {"held-out": Sampler(held_out_pass.draw, {}, limit=self.held_out.size)}


class StoredSamples(GenerativeModel):
    """A model without phases or networks that deals out samples from a file.

    Their cost is unknown, so `nfe` is None. The sampler's name carries the content's hash, which
    alone distinguishes the scores of different files; it ends in -random if a random part is taken.

    Args:
        data: what shape the samples must have.
        read: maps that shape to the samples.
        take: None for all samples, in their order; "random" for as many as are asked for, chosen at
            random without replacement by the sampling generator, so that the run's seed decides.

    Raises:
        ValueError: take is neither.
    """

    def __init__(
        self,
        data: DataSpec,
        read: Callable[[tuple[int, ...]], Stored],
        take: str | None = None,
    ) -> None:
        super().__init__(data.shape)
        if take not in (None, "random"):
            raise ValueError(f"model.take must be random or null, got {take!r}")
        self.take = take
        self.stored = read(data.shape)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A fresh pass at every access: in stored order, or in random order."""
        at_random = self.take == "random"
        stored_pass = StoredPass(self.stored, self.progress.device, shuffle=at_random)
        name = "-".join(filter(None, ("stored", self.stored.hash[:8], self.take)))
        size = self.stored.size
        return {name: Sampler(stored_pass.draw, calls=None, limit=size, ordered=not at_random)}
