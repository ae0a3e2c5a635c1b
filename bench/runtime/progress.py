"""Progress line on a terminal: rate, loss and remaining time."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

UPDATE_SHARE = 1e-3
"""Minimum share of the budget between two updates of the line."""


class TrainingProgress:
    """One line on the terminal while a model trains.

    Args:
        description: what is being trained.
        visible: whether this process writes to the terminal.
    """

    def __init__(self, description: str, *, visible: bool = True) -> None:
        console = Console(stderr=True)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TaskProgressColumn(),
            TextColumn("{task.fields[rate]:,.0f} images/s"),
            TextColumn("{task.fields[note]}"),
            TextColumn("[yellow]{task.fields[warning]}"),
            TimeRemainingColumn(),
            console=console,
            disable=not (visible and console.is_terminal),
            transient=True,
        )
        self._task = self._bar.add_task(description, total=1.0, rate=0.0, note="", warning="")
        self._shown = -1.0

    def __enter__(self) -> "TrainingProgress":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def step(self, share: float, images_per_second: float) -> None:
        """Show the share of the budget spent, in [0, 1], and the rate."""
        if self._bar.disable or share - self._shown < UPDATE_SHARE:
            return
        self._shown = share
        self._bar.update(self._task, completed=share, rate=images_per_second)

    def losses(self, losses: dict[str, float]) -> None:
        """Show the latest mean losses; other logged values are omitted."""
        if self._bar.disable:
            return
        shown = {key.removesuffix("/loss"): v for key, v in losses.items() if key.endswith("/loss")}
        self._bar.update(
            self._task, note=" ".join(f"{name} {value:.3g}" for name, value in shown.items())
        )

    def evaluation(self, sampler: str, done: int, samples: int) -> None:
        """Show the progress of evaluation."""
        if not self._bar.disable:
            self._bar.update(self._task, note=f"evaluating {sampler}: {done:,} of {samples:,}")

    def warn(self, words: str) -> None:
        """Show a warning until the next one."""
        if not self._bar.disable:
            self._bar.update(self._task, warning=f"⚠ {words}")


@contextmanager
def shown_progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """A progress line for other work; yields a function to call with the number of new items.

    Args:
        description: name of the work.
        total: number of items.
    """
    console = Console(stderr=True)
    with Progress(console=console, disable=not console.is_terminal, transient=True) as bar:
        task = bar.add_task(description, total=total)
        yield lambda done: bar.advance(task, done)
