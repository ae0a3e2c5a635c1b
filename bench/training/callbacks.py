"""Who is told of training as it happens."""

from typing import Protocol


class Observer(Protocol):
    """Who is told of training as it happens; of its time only `on_step` counts as training."""

    def on_step(self) -> None:
        """A step is done."""

    def on_log(self, values: dict[str, float]) -> None:
        """Means of every logged value, <phase>/<key>, since the last call."""

    def on_save(self) -> None:
        """A checkpoint is about to be written."""

    def on_point(self) -> None:
        """An evaluation point is reached and its checkpoint safe.

        Called again for the last point reached when a run resumes, so it must not repeat work.
        """

    def close(self) -> None:
        """Training is over, however it ended."""


class SilentObserver:
    """The observer of the ranks that do not write."""

    def on_step(self) -> None:
        """Ignore."""

    def on_log(self, values: dict[str, float]) -> None:
        """Ignore."""

    def on_save(self) -> None:
        """Ignore."""

    def on_point(self) -> None:
        """Wait: the trainer meets rank 0 after its evaluation."""

    def close(self) -> None:
        """Ignore."""
