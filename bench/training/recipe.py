"""Training recipe of a model, and learning-rate schedules."""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated

from torch import nn
from torch.optim import Optimizer

from bench.config import NOT_NEGATIVE, Section, at_least, must

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
        raise ValueError(f"model.training.lr_schedule.floor must be in [0, 1], got {floor}")
    return lambda progress: (
        floor + (1 - floor) * (0.5 + 0.5 * math.cos(math.pi * _share(progress, start)))
    )


def _share(progress: float, start: float) -> float:
    return min(1.0, max(0.0, (progress - start) / (1.0 - start)))


def _check(start: float) -> None:
    if not 0 <= start < 1:
        raise ValueError(f"model.training.lr_schedule.start must be in [0, 1), got {start}")


MakeOptimizer = Callable[[Iterable[nn.Parameter]], Optimizer]


@dataclass(frozen=True)
class Recipe(Section):
    """The training recipe of a model: the part of its YAML that the trainer reads.

    Attributes:
        batch_size: samples per update, over all ranks.
        optimizers: one optimizer factory per phase, by the phase's name.
        ema_decay: decay of the averaged weights that are evaluated; None evaluates the raw ones.
        clip_norm: largest gradient norm of an update; None does not clip.
        warmup_images: images of the run over which the learning rate rises linearly from zero.
        lr_schedule: factor of the learning rate at each phase's progress through its span.

    Raises:
        ValueError: an attribute is out of its range.
    """

    prefix = "model.training."
    batch_size: Annotated[int, at_least(1)] = 64
    optimizers: Mapping[str, MakeOptimizer] = field(default_factory=dict)
    ema_decay: Annotated[float | None, must(lambda decay: 0 <= decay < 1, "be in [0, 1)")] = None
    clip_norm: Annotated[float | None, must(lambda norm: norm > 0, "be positive or null")] = None
    warmup_images: Annotated[float, NOT_NEGATIVE] = 0
    lr_schedule: Schedule = field(default_factory=constant)
