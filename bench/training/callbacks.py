"""Training-loop callbacks."""

from typing import Protocol


class Observer(Protocol):
    """Callbacks of the training loop; only the time of `on_step` counts as training."""

    def on_step(self) -> None:
        """After every training step."""

    def on_log(self, values: dict[str, float]) -> None:
        """With the mean of every logged value, <phase>/<key>, since the last call."""

    def on_save(self) -> None:
        """Before a checkpoint is written."""

    def on_point(self) -> None:
        """At an evaluation point, after its checkpoint was written.

        Called again for the last point reached when a run resumes, so it must not repeat work.
        """

    def close(self) -> None:
        """After training, however it ended."""


class SilentObserver(Observer):
    """Callbacks of the ranks that do not write: all do nothing."""
