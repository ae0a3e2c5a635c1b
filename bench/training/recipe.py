"""Training recipe of a model, options of the trainer, and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer

Schedule = Callable[[float], float]
"""Maps a phase's progress through its span, in [0, 1], to a factor in [0, 1]."""


def constant() -> Schedule:
    """A constant learning rate."""
    return lambda progress: 1.0


def linear_to_zero(start: float = 0.0) -> Schedule:
    """Constant until `start`, then linear to zero at the end.

    Args:
        start: progress at which the decay begins, in [0, 1).

    Raises:
        ValueError: start is out of its range.
    """
    _check(start)
    return lambda progress: 1.0 - _share(progress, start)


def cosine(start: float = 0.0, floor: float = 0.0) -> Schedule:
    """Half a cosine from 1 to `floor` (Loshchilov & Hutter 2017, Eq. 5, one cycle).

    Args:
        start: progress at which the decay begins, in [0, 1).
        floor: the factor at the end, in [0, 1].

    Raises:
        ValueError: start or floor is out of its range.
    """
    _check(start)
    if not 0 <= floor <= 1:
        raise ValueError(f"floor of a cosine schedule must be in [0, 1], got {floor}")
    return lambda progress: (
        floor + (1 - floor) * (0.5 + 0.5 * math.cos(math.pi * _share(progress, start)))
    )


def _share(progress: float, start: float) -> float:
    return min(1.0, max(0.0, (progress - start) / (1.0 - start)))


def _check(start: float) -> None:
    if not 0 <= start < 1:
        raise ValueError(f"start of a learning-rate schedule must be in [0, 1), got {start}")


MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Recipe:
    """The training recipe of a model: the part of its YAML that the trainer reads.

    Attributes:
        batch_size: samples per update, over all ranks.
        optimizers: one optimizer factory per phase, by the phase's name.
        ema_decay: decay of the averaged weights that are evaluated; None evaluates the raw ones.
        clip_norm: largest gradient norm of an update; None does not clip.
        warmup_images: images of the run over which the learning rate rises linearly from zero.
        lr_schedule: factor of the learning rate at each phase's progress through its span.
    """

    batch_size: int = 64
    optimizers: Mapping[str, MakeOptimizer] = field(default_factory=dict)
    ema_decay: float | None = None
    clip_norm: float | None = None
    warmup_images: int = 0
    lr_schedule: Schedule = field(default_factory=constant)

    def __post_init__(self) -> None:
        """Refuse an invalid batch size, clipping norm or warm-up."""
        if type(self.batch_size) is not int:
            raise ValueError(f"training.batch_size must be a whole number, got {self.batch_size!r}")
        if self.batch_size < 1:
            raise ValueError(f"training.batch_size must be at least 1, got {self.batch_size}")
        if self.clip_norm is not None and not self.clip_norm > 0:
            raise ValueError(f"training.clip_norm must be positive or null, got {self.clip_norm}")
        if self.warmup_images < 0:
            raise ValueError(f"training.warmup_images must not be negative: {self.warmup_images}")


@dataclass(frozen=True)
class TrainerOptions:
    """Options of the trainer that do not change what is learned.

    Attributes:
        log_every: steps between two rows of losses.
        checkpoint_seconds: longest training time that a kill can cost.
        compile: whether losses go through torch.compile.
    """

    log_every: int = 50
    checkpoint_seconds: float = 60.0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse invalid intervals."""
        if self.log_every < 1:
            raise ValueError(f"trainer.log_every must be at least 1, got {self.log_every}")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"trainer.checkpoint_seconds must not be negative, got {self.checkpoint_seconds}"
            )
