"""An exponential moving average of a model's weights."""

import copy

import torch

from models.base import GenerativeModel


class EMA:
    """A shadow model whose parameters follow the trained ones; its buffers are copies.

    The decay ramps up as min(decay, (1 + step) / (10 + step)), so that early averages are not
    dominated by the random initialisation.

    Attributes:
        model: the shadow, in eval mode.
    """

    def __init__(self, model: GenerativeModel, decay: float) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"training.ema_decay must be in [0, 1), got {decay}")
        self.decay = decay
        self.model = copy.deepcopy(model).eval()
        self._pairs = list(zip(self.model.parameters(), model.parameters(), strict=True))
        self._buffers = list(zip(self.model.buffers(), model.buffers(), strict=True))

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take in the weights after training step `step`, counted from 1."""
        decay = min(self.decay, (1 + step) / (10 + step))
        shadow, trained = (list(side) for side in zip(*self._pairs, strict=True))
        torch._foreach_lerp_(shadow, trained, 1 - decay)  # pyright: ignore[reportPrivateImportUsage]
        for copy_of, buffer in self._buffers:
            copy_of.copy_(buffer)
