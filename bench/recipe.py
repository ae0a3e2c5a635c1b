"""How a model wants to be trained, and how the trainer goes about it."""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from torch import nn
from torch.optim import Optimizer

from bench.lr_schedules import Schedule, constant

MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Recipe:
    """How a model wants to be trained: the part of its YAML that the trainer reads.

    Attributes:
        batch_size: samples per update, over all ranks.
        optimizers: one optimizer factory per phase, by the phase's name.
        ema_decay: decay of the averaged weights that are evaluated; None evaluates the raw ones.
        clip_norm: largest gradient norm of an update; None does not clip.
        warmup_images: of the run, over which the learning rate rises linearly from zero.
        lr_schedule: factor of the learning rate at each phase's progress through its span.
    """

    batch_size: int = 64
    optimizers: Mapping[str, MakeOptimizer] = field(default_factory=dict)
    ema_decay: float | None = None
    clip_norm: float | None = None
    warmup_images: int = 0
    lr_schedule: Schedule = field(default_factory=constant)

    def __post_init__(self) -> None:
        """Refuse a batch size, clipping norm or warm-up that no training could use."""
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
    """How the trainer works, whatever the model: nothing here changes what is learned.

    Attributes:
        log_every: steps between two rows of losses.
        checkpoint_seconds: longest training time that a kill can cost.
        compile: whether losses go through torch.compile.
    """

    log_every: int = 50
    checkpoint_seconds: float = 60.0
    compile: bool = False

    def __post_init__(self) -> None:
        """Refuse intervals that no training could use."""
        if self.log_every < 1:
            raise ValueError(f"trainer.log_every must be at least 1, got {self.log_every}")
        if not self.checkpoint_seconds >= 0:
            raise ValueError(
                f"trainer.checkpoint_seconds must not be negative, got {self.checkpoint_seconds}"
            )
