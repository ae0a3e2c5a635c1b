"""Samples made elsewhere as a model: whatever another system drew, in the order it was stored."""

from collections.abc import Callable, Mapping

from models.base import DataSpec, GenerativeModel, Sampler
from models.stored import Stored, StoredPass


class StoredSamples(GenerativeModel):
    """A model without phases or networks that deals out samples from a file.

    Nothing is known of their cost, so that `nfe` is None. The sampler's name carries the content's
    hash: it is all that tells one file's scores from another's. It ends in -random where a random
    part of the samples is taken.

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
