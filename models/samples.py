"""Samples made elsewhere as a model: whatever another system drew, in the order it was stored."""

from collections.abc import Callable, Mapping

from models.base import DataSpec, GenerativeModel, Sampler
from models.stored import Stored, StoredPass


class StoredSamples(GenerativeModel):
    """A model without phases or networks that deals out samples from a file.

    Nothing is known of their cost, so that `nfe` is None. The sampler's name carries the content's
    hash: it is all that tells one file's scores from another's.

    Args:
        data: what shape the samples must have.
        read: maps that shape to the samples.
    """

    def __init__(self, data: DataSpec, read: Callable[[tuple[int, ...]], Stored]) -> None:
        super().__init__(data.shape)
        self.stored = read(data.shape)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A fresh pass in stored order at every access."""
        stored_pass = StoredPass(self.stored, self.progress.device, shuffle=False)
        name = "-".join(filter(None, ("stored", self.stored.hash[:8])))
        size = self.stored.size
        return {name: Sampler(stored_pass.draw, calls=None, limit=size, ordered=True)}
