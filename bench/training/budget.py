"""Training budgets: limits, and what has been spent."""

import math
from dataclasses import asdict, dataclass

MAX_CHECKPOINTS = 10_000
"""Maximum number of evaluation points of a run."""

MOST = {"images": "1e+15", "seconds": "31622400, a year", "flops": "1e+27"}
"""Largest accepted limits, with their text: 10 million images per second for three years, and more
operations than any model was trained with; a larger number is a typing error."""


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


@dataclass(frozen=True)
class Budget:
    """Limits on training; whichever is reached first ends it, None means unlimited.

    The step in which a limit is reached is completed, so a run overshoots by less than one step.

    Attributes:
        images: real images shown to the first phase (StyleGAN's convention, there in thousands).
        seconds: training time without evaluation and checkpoints.
        flops: floating-point operations of training.
        checkpoints: number of equidistant points along the budget at which the model is saved and
            evaluated; the last one is the end.
    """

    images: int | None = None
    seconds: float | None = None
    flops: float | None = None
    checkpoints: int = 1

    def __post_init__(self) -> None:
        """Refuse budgets under which nothing could be trained.

        Raises:
            ValueError: no limit is set, a limit is not positive or above `MOST`, or checkpoints is
                below 1 or above `MAX_CHECKPOINTS`.
        """
        limits = self.limits()
        if not limits:
            raise ValueError(
                "the budget is unlimited: set at least one of budget.images, budget.seconds, "
                "budget.flops"
            )
        for name, limit in limits.items():
            if not limit > 0:
                raise ValueError(f"budget.{name} must be positive, got {limit}")
            if limit == math.inf:
                raise ValueError(f"budget.{name} must be finite, got {limit}: null is unlimited")
            if limit > float(MOST[name].partition(",")[0]):
                raise ValueError(
                    f"budget.{name}={_short(limit)} cannot be spent by any machine: set it to at "
                    f"most {MOST[name]}"
                )
        if self.checkpoints < 1:
            raise ValueError(f"budget.checkpoints must be at least 1, got {self.checkpoints}")
        if self.checkpoints > MAX_CHECKPOINTS:
            raise ValueError(
                f"budget.checkpoints={self.checkpoints} would evaluate the model as many times, "
                f"with all its samplers: set it to at most {MAX_CHECKPOINTS}"
            )

    def check_points(self, batch_size: int) -> None:
        """Refuse more evaluation points than training steps: some would have equal weights.

        Args:
            batch_size: images of one step.

        Raises:
            ValueError: naming the number of steps.
        """
        if self.images is None:
            return
        steps = math.ceil(self.images / batch_size)
        if self.checkpoints > steps:
            raise ValueError(
                f"budget.checkpoints={self.checkpoints}, but {self.images:.12g} images in batches "
                f"of {batch_size} are {steps} steps: set it to at most {steps}"
            )

    def limits(self) -> dict[str, float]:
        """The limits that are set, by name."""
        limits = {"images": self.images, "seconds": self.seconds, "flops": self.flops}
        return {name: limit for name, limit in limits.items() if limit is not None}

    def progress(self, spent: Spent) -> float:
        """Share of the budget that is spent, in [0, 1]; 1 ends training."""
        used = asdict(spent)
        return min(1.0, max(used[name] / limit for name, limit in self.limits().items()))

    def __str__(self) -> str:
        """The limits as text, such as "seconds=120"; equal for equal budgets."""
        return ",".join(f"{name}={limit:.12g}" for name, limit in self.limits().items())


def _short(number: float) -> str:
    """A number in at most 26 characters; an integer may have thousands of digits."""
    text = str(number)
    return text if len(text) <= 26 else f"{text[:25]}…"
