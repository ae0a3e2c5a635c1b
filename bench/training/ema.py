"""An exponential moving average of a model's weights."""

import copy

import torch
from torch import Tensor

from models.base import GenerativeModel


class EMA:
    """A copy of the model with averaged parameters; buffers are copied.

    The decay ramps up as min(decay, (1 + step) / (10 + step)), so that early averages are not
    dominated by the random initialisation.

    Attributes:
        model: the averaged model, in eval mode.
    """

    def __init__(self, model: GenerativeModel, decay: float) -> None:
        self.decay = decay
        self.model = copy.deepcopy(model).eval()
        self._shadow: list[Tensor] = list(self.model.parameters())
        self._trained: list[Tensor] = list(model.parameters())
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Update the average after training step `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(  # pyright: ignore[reportPrivateImportUsage]
            self._shadow, self._trained, 1 - decay
        )
        for copy_of, buffer in self._buffers:
            copy_of.copy_(buffer)
