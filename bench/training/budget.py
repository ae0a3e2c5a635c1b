"""What a run has spent of its budget: counted by the trainer, limited by `bench.config.Budget`."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, Self

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
        cpu_seconds: CPU time of training, over all threads and ranks.
        waiting_seconds: time in which threads of training could have run, but had no core; that of
            the rank that waited most. NaN if unknown.
    """

    step: int = 0
    images: int = 0
    seconds: float = 0.0
    flops: float = 0.0
    point: int = 0
    cpu_seconds: float = 0.0
    waiting_seconds: float = 0.0

    @classmethod
    def recorded(cls, values: Mapping[str, Any]) -> Self:
        """What a checkpoint says was spent; earlier versions did not measure the use of cores."""
        return cls(**{"cpu_seconds": math.nan, "waiting_seconds": math.nan, **values})

    def share(self, budget: Budget) -> float:
        """Share of a budget that this is, in [0, 1]; 1 ends training."""
        used = asdict(self)
        return min(1.0, max(used[name] / limit for name, limit in budget.limits().items()))


@dataclass(frozen=True)
class Earlier:
    """The end of a run with a smaller budget, which a run continues.

    Attributes:
        points: its evaluation points, the first ones of this run.
        share: the share of this run's budget that was spent there.
    """

    points: int = 0
    share: float = 0.0


def shares(budget: Budget, earlier: Earlier) -> list[float]:
    """Shares of a budget at which the evaluation points after `earlier` lie; the last one is 1.

    Args:
        budget: its own points lie along the whole of it.
        earlier: what was trained before with a smaller budget.
    """
    return [share for share in budget.shares if share > earlier.share]
