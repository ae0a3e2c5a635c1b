"""Real data as a model: its samples are the held-out split, the floor of every metric."""

from collections.abc import Mapping

from models.base import DataSpec, GenerativeModel, Sampler
from models.stored import Stored, StoredPass


class RealData(GenerativeModel):
    """A model without phases or networks that "draws" held-out real samples.

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
