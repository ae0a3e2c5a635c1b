"""Real data as a model: its samples are the held-out split, the floor of every metric."""

from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from models.base import DataSpec, GenerativeModel, Sampler


class RealData(GenerativeModel):
    """A model without phases or networks that "draws" held-out real samples.

    Args:
        data: supplies the held-out samples.
    """

    def __init__(self, data: DataSpec) -> None:
        super().__init__(data.shape)
        self.held_out = data.held_out
        self.held_out_size = data.held_out_size

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """A fresh pass over the held-out split at every access."""
        held_out_pass = HeldOutPass(self.held_out, self.held_out_size, self.progress.device)
        return {"held-out": Sampler(held_out_pass.draw, nfe=0, limit=held_out_pass.size)}


class HeldOutPass:
    """One pass over the held-out split without replacement; successive draws continue it.

    Args:
        held_out: indices, (B,) int64, to samples, (B, *data_shape) float32 in [-1, 1].
        size: number of held-out samples.
        device: where the samples are wanted.
    """

    def __init__(
        self, held_out: Callable[[Tensor], Tensor], size: int, device: torch.device
    ) -> None:
        self._held_out = held_out
        self.size = size
        self._device = device
        self._order: Tensor | None = None
        self._drawn = 0

    def draw(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        """Return the next n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        Args:
            n: number of samples.
            generator: shuffles the split at the first draw of the pass; not used afterwards.
            y: ignored, the samples have whatever classes the data has.

        Raises:
            ValueError: if the pass would need more samples than are held out.
        """
        if self._drawn + n > self.size:
            raise ValueError(
                f"dataset holds out only {self.size} images, {self._drawn + n} were asked for; "
                f"set evaluator.samples to at most {self.size}"
            )
        if self._order is None:
            device = generator.device
            self._order = torch.randperm(self.size, generator=generator, device=device).cpu()
        indices = self._order[self._drawn : self._drawn + n]  # (n,)
        self._drawn += n
        return self._held_out(indices).to(self._device)
