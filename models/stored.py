"""Models that return stored samples: held-out data, and samples of other systems."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

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
        hash: first 16 hex digits of SHA-256 of the content; empty if not computed.
        labels: maps indices to classes, (B,) int64; None if they are not known.
    """

    gather: Callable[[Tensor], Tensor]
    size: int
    hash: str = ""
    labels: Callable[[Tensor], Tensor] | None = None


class StoredPass:
    """One pass over stored samples without replacement, continued by successive calls.

    Args:
        stored: the samples.
        device: device of the returned samples.
        shuffle: whether the generator shuffles them; otherwise they keep their stored order.
    """

    def __init__(self, stored: Stored, device: torch.device, *, shuffle: bool) -> None:
        self._stored = stored
        self._device = device
        self._order = None if shuffle else torch.arange(stored.size)  # (N,)
        self._returned = 0

    def generate(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        """Return the next n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        Args:
            n: number of samples.
            generator: shuffles the samples at the first call, if `shuffle`; otherwise not used.
            y: ignored.

        Raises:
            ValueError: the pass would need more samples than are stored.
        """
        size = self._stored.size
        if self._returned + n > size:
            raise ValueError(
                f"there are only {size} samples, {self._returned + n} were asked for; set "
                f"evaluator.samples to at most {size}"
            )
        if self._order is None:
            self._order = torch.randperm(size, generator=generator, device=generator.device).cpu()
        indices = self._order[self._returned : self._returned + n]  # (n,)
        self._returned += n
        return self._stored.gather(indices).to(self._device)

    @property
    def labels(self) -> Callable[[], Tensor] | None:
        """Returns the classes of the samples returned so far, (N,) int64; None if unknown."""
        labels = self._stored.labels
        if labels is None:
            return None
        return lambda: labels(
            torch.arange(0) if self._order is None else self._order[: self._returned]
        )


class RealData(GenerativeModel):
    """A model without phases or networks that returns held-out real samples.

    Args:
        data: supplies the held-out samples.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data.shape)
        self.held_out = Stored(data.held_out, data.held_out_size, labels=data.held_out_labels)

    @property
    def depends_on_seed(self) -> bool:
        """No: the real-data baseline is one for all seeds, which choose at most a part of it."""
        return False

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A new shuffled pass over the held-out split at every access."""
        held_out_pass = StoredPass(self.held_out, self.progress.device, shuffle=True)
        size, labels = self.held_out.size, held_out_pass.labels
        return {"held-out": Sampler(held_out_pass.generate, {}, limit=size, labels=labels)}


class StoredSamples(GenerativeModel):
    """A model without phases or networks that returns samples from a file, in the data's own units.

    Their cost is unknown, so `nfe` is None. The name of the sampler contains the hash of the
    content, which identifies the file in results. It ends in -random if a random subset is used.

    Args:
        data: supplies the required shape, and the map to the units of models.
        read: maps that shape to the samples.
        take: None for all samples, in their order; "random" for a random subset without
            replacement, chosen by the sampling generator and thus by the run's seed.

    Raises:
        ValueError: take is unknown.
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
        stored, to_unit = read(data.shape), data.to_unit
        if to_unit is not None:
            read_own = stored.gather
            stored = replace(stored, gather=lambda indices: to_unit(read_own(indices)))
        self.stored = stored

    @property
    def depends_on_seed(self) -> bool:
        """Whether the seed chooses the part that is scored."""
        return self.take == "random"

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A new pass at every access, in stored or in random order."""
        at_random = self.take == "random"
        stored_pass = StoredPass(self.stored, self.progress.device, shuffle=at_random)
        name = "-".join(filter(None, ("stored", self.stored.hash[:8], self.take)))
        size = self.stored.size
        return {name: Sampler(stored_pass.generate, calls=None, limit=size, ordered=not at_random)}
