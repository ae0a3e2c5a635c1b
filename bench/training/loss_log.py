"""Running means of logged values, and detection of losses that are not finite."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bench.runtime.distributed import World

NEVER = 2**62
"""Step of the first failure of a phase that never failed."""


class TrainingFailedError(Exception):
    """A loss was not finite: the run has no result.

    Attributes:
        step: training step of the first such loss, from 1.
        phase: name of its phase.
    """

    def __init__(self, step: int, phase: str) -> None:
        super().__init__(f"the {phase} loss was not finite at step {step}")
        self.step = step
        self.phase = phase


class LossRecord:
    """Sums on the device; only reading them synchronises with the device.

    Args:
        phases: names of the phases.
        device: device of the losses.
    """

    def __init__(self, phases: Sequence[str], device: torch.device) -> None:
        self._first_failure = {name: torch.tensor(NEVER, device=device) for name in phases}
        self._sums: dict[str, Tensor] = {}
        self._counts: dict[str, int] = {}

    @torch.no_grad()
    def add(self, phase: str, values: Mapping[str, Tensor], step: int) -> None:
        """Add the values that a phase returned in a step, counted from 1."""
        for key, value in values.items():
            name, value = f"{phase}/{key}", value.detach().float()
            self._sums[name] = self._sums[name] + value if name in self._sums else value
            self._counts[name] = self._counts.get(name, 0) + 1
        failed = torch.where(torch.isfinite(values["loss"].detach()), NEVER, step)
        self._first_failure[phase] = torch.minimum(self._first_failure[phase], failed)

    def raise_failure(self, world: World) -> None:
        """Raise for the earliest loss on any rank that was not finite.

        Raises:
            TrainingFailedError: there was one.
        """
        if not self._first_failure:
            return
        steps = world.minimum(torch.stack(list(self._first_failure.values()))).tolist()
        step, phase = min(zip(steps, self._first_failure, strict=True), key=lambda found: found[0])
        if step < NEVER:
            raise TrainingFailedError(step, phase)

    def take_means(self) -> dict[str, float]:
        """Means by <phase>/<key> since the last call, over the batches of this rank."""
        means = {name: (total / self._counts[name]).item() for name, total in self._sums.items()}
        self._sums, self._counts = {}, {}
        return means

    def state_dict(self) -> dict[str, Any]:
        """Partial means, so that a resumed run logs the values of an undisturbed one."""
        return {"sums": self._sums, "counts": self._counts}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._sums, self._counts = dict(state["sums"]), dict(state["counts"])
