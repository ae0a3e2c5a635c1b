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

    The cost of a step is a polynomial of the number of samples, counted in the model's
    `batch_unit`: a part that is done once per process, such as spectral normalisation, a part per
    sample, and in phases that say so (`Phase.pairwise`) a part per pair of samples of a process.

    Args:
        model: the model to train, on the device of the batch.
        batch: real data of one process.
        batch_size: samples of a step, over all processes.
        processes: number of processes.
        progress: the share of the budget at which the step is taken, in [0, 1).

    Returns:
        FLOPs of all processes together, two per multiply-add; 0 for a model without phases.
    """
    pairwise = any(phase.pairwise and phase.active(progress) for phase in model.phases)
    units = (1, 2, 3) if pairwise else (1, 2)
    sizes = [min(n * model.batch_unit, len(batch.x)) for n in units]
    counts = [
        step_flops(
            model,
            Batch(batch.x[:n], None if batch.y is None else batch.y[:n]),
            progress=progress,
        )
        for n in sizes
    ]
    if len(set(sizes)) < len(sizes):  # too small to extrapolate: this is the whole batch
        return counts[-1] * processes
    few, more = counts[:2]
    per_sample = (more - few) / (sizes[1] - sizes[0])
    once = few - sizes[0] * per_sample
    total = once * processes + per_sample * batch_size
    if not pairwise:
        return total
    of_more = (counts[2] - more) / (sizes[2] - sizes[1])
    per_pair = (of_more - per_sample) / (sizes[2] - sizes[0])  # a divided difference
    own = batch_size / processes
    return total + per_pair * (own - sizes[0]) * (own - sizes[1]) * processes
