"""FLOPs of training, whose steps may differ in cost."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from bench.cost.measure import step_flops
from models.base import Batch, GenerativeModel


@dataclass
class _Kind:
    """Steps of equal cost: their name, first step, and the FLOPs of one step once counted."""

    name: str = ""
    since: int = 0
    progress: float = 0.0
    before: float = 0.0
    per_step: float | None = None


class TrainingFlops:
    """Counts the FLOPs of one step of every kind and sums over all steps.

    Steps are of one kind while the set of active phases and the stage of the model do not change.
    Nothing is counted before a total is requested, so that training starts immediately.

    Args:
        count: FLOPs of one step at a given progress, over all ranks.
    """

    def __init__(self, count: Callable[[float], float]) -> None:
        self._count = count
        self._kind = _Kind()

    def enter(self, name: str, step: int, progress: float) -> None:
        """Set the kind of the next step, after `step` steps and at this progress."""
        if name != self._kind.name:
            self._kind = _Kind(name, step, progress, before=self.total(step))

    def total(self, step: int) -> float:
        """FLOPs of the first `step` steps, the last of which were of the current kind."""
        kind = self._kind
        if step == kind.since:
            return kind.before
        if kind.per_step is None:
            kind.per_step = self._count(kind.progress)
        return kind.before + (step - kind.since) * kind.per_step

    def state_dict(self) -> dict[str, Any]:
        """The current kind, in plain containers."""
        return asdict(self._kind)

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Continue from a `state_dict`."""
        self._kind = _Kind(**state)


def count_step(
    model: GenerativeModel, batch: Batch, *, batch_size: int, processes: int, progress: float
) -> float:
    """FLOPs of one training step, extrapolated from few samples to save time.

    The cost of a step is assumed to be linear in the number of samples, counted in the model's
    `batch_unit`, apart from work that is done once per process, such as spectral normalisation.

    Args:
        model: the model to train, on the device of the batch.
        batch: real data of one process.
        batch_size: samples of a step, over all processes.
        processes: number of processes.
        progress: the share of the budget at which the step is taken, in [0, 1).

    Returns:
        FLOPs of all processes together, two per multiply-add; 0 for a model without phases.
    """
    sizes = [min(n * model.batch_unit, len(batch.x)) for n in (1, 2)]
    few, more = (
        step_flops(
            model,
            Batch(batch.x[:n], None if batch.y is None else batch.y[:n]),
            progress=progress,
        )
        for n in sizes
    )
    if sizes[0] == sizes[1]:  # too small to extrapolate: this is the whole batch
        return few * processes
    per_sample = (more - few) / (sizes[1] - sizes[0])
    once = few - sizes[0] * per_sample
    return once * processes + per_sample * batch_size
