"""What a run has spent of its budget: counted by the trainer, limited by `bench.config.Budget`."""

from dataclasses import asdict, dataclass

from bench.config import Budget


@dataclass
class Spent:
    """Resources that training has consumed.

    Attributes:
        step: passes over the model's phases.
        images: real images shown to the first phase, over all ranks.
        seconds: wall-clock training time, without evaluation, checkpoints and time in which the
            process was stopped.
        flops: floating-point operations of all training steps, over all ranks.
        point: evaluation points reached.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    point: int = 0

    def share(self, budget: Budget) -> float:
        """Share of a budget that this is, in [0, 1]; 1 ends training."""
        used = asdict(self)
        return min(1.0, max(used[name] / limit for name, limit in budget.limits().items()))
