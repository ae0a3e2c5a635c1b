"""Learning-rate schedules: factors of the learning rate as functions of a phase's progress.

A function of progress alone, like everything that changes during training: there is no counter to
save, and a run under a budget of seconds decays over exactly those seconds.
"""

import math
from collections.abc import Callable

Schedule = Callable[[float], float]
"""Maps a phase's progress through its span, in [0, 1], to a factor in [0, 1]."""


def constant() -> Schedule:
    """The learning rate of the optimizer throughout."""
    return lambda progress: 1.0


def linear_to_zero(start: float = 0.0) -> Schedule:
    """Constant until `start`, then a straight line that reaches zero at the end.

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
