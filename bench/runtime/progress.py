"""What is going on: the last line of a terminal, or a line a minute in a log file.

The line is of our own making because rich's and tqdm's leave copies of themselves behind when a
terminal is made narrower, and break what is printed above them.
"""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, TextIO

from rich.cells import cell_len, set_cell_size

from bench.runtime.printing import brief, duration, printable

REDRAWN = 0.5
"""Seconds between two states of the line on a terminal."""

LOGGED = 60.0
"""Seconds between two lines in a log file."""

SHARED = 20.0
"""Seconds between two lines of each of several jobs that share a terminal."""

SEPARATOR = " · "


@dataclass(frozen=True)
class Forecast:
    """What a run was estimated to take, in seconds; None is unknown.

    Attributes:
        training: of the whole budget.
        point: of the evaluation at a point before the last one.
        last: of the evaluation at the last point.
        points: number of evaluation points.
    """

    training: float | None = None
    point: float | None = None
    last: float | None = None
    points: int = 1

    def evaluations(self, done: int) -> float | None:
        """Seconds of the evaluation points that are left after `done` of them."""
        left = self.points - done
        if left <= 0:
            return 0.0
        if self.last is None or (left > 1 and self.point is None):
            return None
        return self.last + (left - 1) * (self.point or 0.0)


class TrainingProgress:
    """One run on the line: where it is in its sweep, what it does, and what is left.

    Args:
        label: what tells the run apart from others.
        place: where it is in its sweep, (5, 12); None outside a sweep.
        visible: whether this process writes to the terminal.

    Attributes:
        forecast: what it was estimated to take; None where nobody has estimated it.
        others: seconds of the other runs of its sweep that are left, given those of this run, which
            are None where they are unknown; the result is of the whole sweep.
    """

    def __init__(
        self, label: str, *, place: tuple[int, int] | None = None, visible: bool = True
    ) -> None:
        self.label = label
        self.place = place
        self.visible = visible
        self.forecast: Forecast | None = None
        self.others: Callable[[float | None], float | None] | None = None
        self._share = self._seconds = 0.0
        self._rate: float | None = None
        self._doing: tuple[str, ...] = ("starting",)  # until the first step or evaluation
        self._note = self._score = self._warning = ""
        self._evaluated = 0
        self._pace = 1.0  # what evaluations took, in units of the forecast
        self._since: float | None = None  # when an evaluation began

    def __enter__(self) -> "TrainingProgress":
        if self.visible:
            _board.enter(self)
        return self

    def __exit__(self, *exception: object) -> None:
        if self.visible:
            _board.leave(self)

    def step(self, share: float, images: int, seconds: float) -> None:
        """Take in the share of the budget spent, in [0, 1], images and training seconds."""
        self._doing = ()
        self._spent(share, images, seconds)

    def _spent(self, share: float, images: int, seconds: float) -> None:
        self._share, self._seconds = share, seconds
        self._rate = images / seconds if seconds > 0 else None

    def resumed(self, share: float, images: int, seconds: float, evaluated: int) -> None:
        """Take in how far an earlier call came, with its evaluation points."""
        self._spent(share, images, seconds)
        self._evaluated = evaluated

    def losses(self, losses: Mapping[str, float]) -> None:
        """Show the latest mean losses; other logged values are omitted."""
        shown = {key.removesuffix("/loss"): v for key, v in losses.items() if key.endswith("/loss")}
        self._note = ", ".join(f"{name} {value:.3g}" for name, value in shown.items())

    @contextmanager
    def evaluating(self, point: int) -> Iterator[None]:
        """Show that the model is evaluated, at a point counted from 1."""
        self._since, self._doing = time.monotonic(), ("evaluating",)
        self._evaluated = point - 1
        expected = self._expected()
        yield
        took = time.monotonic() - self._since
        if expected:
            self._pace *= took / expected
        self._since, self._doing, self._evaluated = None, (), point

    def evaluation(self, sampler: str, done: int, samples: int) -> None:
        """Show the progress of evaluation."""
        self._doing = (f"scoring {sampler}", "scoring")
        if done < samples:
            counted = f"{sampler} {done:,}/{samples:,}"
            self._doing = (f"evaluating {counted}", counted, "evaluating")
        self._note = ""  # the losses are no news any more

    def score(self, words: str) -> None:
        """Show the latest score, such as "FID (domain) 7.1"."""
        self._score = words

    def warn(self, words: str) -> None:
        """Show a warning until the next one."""
        self._warning = f"⚠ {words}"

    def _expected(self) -> float | None:
        """Seconds of the evaluation at the next point, as far as is known."""
        forecast = self.forecast or Forecast()
        last = self._evaluated + 1 >= forecast.points
        seconds = forecast.last if last else forecast.point
        return None if seconds is None else seconds * self._pace

    def left(self) -> float | None:
        """Seconds that are left of this run; None if unknown."""
        forecast = self.forecast or Forecast()
        training = forecast.training
        if self._share > 0 and self._seconds > 1:
            training = self._seconds / self._share
        evaluations = forecast.evaluations(self._evaluated)
        if training is None or evaluations is None:
            return None
        evaluations *= self._pace
        if self._since is not None:
            gone, expected = time.monotonic() - self._since, self._expected() or 0.0
            evaluations += max(-gone, gone / 10 - expected)  # never nothing, however late
        return (1 - self._share) * training + evaluations

    def parts(self) -> dict[str, tuple[str, ...]]:
        """What the line says, each from its longest form to its shortest."""
        parts: dict[str, tuple[str, ...]] = {}
        if self.place is not None:
            parts["place"] = ("run {} of {}".format(*self.place), "{}/{}".format(*self.place))
        parts["label"] = (self.label,)
        parts["share"] = (f"{self._share:.0%}",) if self._seconds else ()
        parts["doing"] = self._doing
        parts["rate"] = (f"{self._rate:,.0f} images/s" if self._rate else "", "")
        values = [part.rpartition(" ")[2] for part in self._note.split(", ")]
        parts["loss"] = (self._note, f"loss {' '.join(values)}" if self._note else "", "")
        parts["score"] = (self._score, "")
        parts["warning"] = (self._warning, self._warning[:1])
        return parts


class _Work:
    """Other work than training: some number of items.

    Args:
        description: name of the work.
        total: number of items.
    """

    def __init__(self, description: str, total: int) -> None:
        self.description, self.total, self.done = description, total, 0
        self._started = time.monotonic()

    def advance(self, items: int) -> None:
        """Take in that some more items are done."""
        self.done += items

    def left(self) -> float | None:
        """Seconds that are left; None before the first item."""
        gone = time.monotonic() - self._started
        return gone * (self.total / self.done - 1) if self.done else None

    def words(self) -> tuple[str, ...]:
        """What it is and how far it is, in full and in short."""
        return (f"{self.description} {self.done:,} of {self.total:,}", self.description)


@contextmanager
def shown_progress(description: str, total: int) -> Iterator[Callable[[int], None]]:
    """Show other work on the line; yields a function to call with the number of new items.

    Args:
        description: name of the work.
        total: number of items.
    """
    work = _Work(description, total)
    _board.enter(work)
    try:
        yield work.advance
    finally:
        _board.leave(work)


def share_terminal() -> None:
    """Write lines instead of one that changes: other processes write to the same terminal."""
    _board.alone = False


SHORTENED = (
    *("rate", "warning", "place", "doing", "loss", "sweep", "left", "loss", "score"),
    *("sweep", "left", "doing", "share"),
)
"""Parts in the order in which each is made shorter by one form, until the line fits."""


def fitted(parts: Mapping[str, Sequence[str]], width: int) -> str:
    """Join parts to a line, shortened as far as needed.

    Args:
        parts: by name, from the longest form to the shortest; an empty form is left out.
        width: cells that the line may take.
    """
    forms = {name: list(given) for name, given in parts.items() if given}

    def line(separator: str = SEPARATOR) -> str:
        return separator.join(given[0] for given in forms.values() if given[0])

    for name in SHORTENED:
        if cell_len(line()) <= width:
            return line()
        if len(forms.get(name, ())) > 1:
            del forms[name][0]
    if cell_len(line()) <= width:
        return line()
    over = cell_len(line(" ")) - width
    if over > 0 and (label := forms.get("label")):
        label[0] = _cut(label[0], max(8, cell_len(label[0]) - over))
    return _cut(line(" "), width)


def _cut(text: str, width: int) -> str:
    """A text in at most `width` cells."""
    if cell_len(text) <= width:
        return text
    return set_cell_size(text, max(0, width - 1)).rstrip() + "…"


class _Board:
    """Everything that this process is at, and the thread that shows the latest of it.

    Attributes:
        alone: whether the terminal is this process's.
    """

    def __init__(self) -> None:
        self.alone = True
        self._shown: list[TrainingProgress | _Work] = []
        self._lock = threading.Lock()
        self._stop: threading.Event | None = None
        self._thread: threading.Thread | None = None

    def enter(self, item: TrainingProgress | _Work) -> None:
        """Show an item, and start the thread with the first one."""
        with self._lock:
            self._shown.append(item)
            if self._thread is None:
                self._stop = threading.Event()
                line = StatusLine(sys.stderr) if self.alone and is_terminal(sys.stderr) else None
                arguments = (line, self._stop, sys.stderr)
                self._thread = threading.Thread(
                    target=self._keep_showing, args=arguments, name="progress", daemon=True
                )
                self._thread.start()

    def leave(self, item: TrainingProgress | _Work) -> None:
        """Show an item no more; the thread ends with the last one."""
        with self._lock:
            self._shown.remove(item)
            if self._shown or self._thread is None or self._stop is None:
                return
            thread, self._thread = self._thread, None
            self._stop.set()
        thread.join()

    def _keep_showing(self, line: "StatusLine | None", stop: threading.Event, log: TextIO) -> None:
        if line is None:
            between = SHARED if is_terminal(log) else LOGGED
            while not stop.wait(between):
                with suppress(OSError, ValueError):  # a full disk ends no training
                    print(f"  {self.words(width=200)}", file=log, flush=True)
            return
        with line:
            while not stop.wait(REDRAWN):
                line.show(self.words(line.width - 1))

    def words(self, width: int) -> str:
        """The line as it stands, in at most `width` cells."""
        shown = list(self._shown)
        runs = [item for item in shown if isinstance(item, TrainingProgress)]
        works = [item for item in shown if isinstance(item, _Work)]
        if not shown:
            return ""
        parts = runs[-1].parts() if runs else {}
        more = 0.0
        left = runs[-1].left() if runs else None
        if works:
            parts["doing"] = works[-1].words()
            more = works[-1].left() or 0.0
            left = works[-1].left() if not runs else left
        if runs and left is not None:
            left += more
        parts["left"] = _left(left)
        if runs and runs[-1].others is not None:
            parts["sweep"] = _left_of_sweep(runs[-1].others(left))
        return fitted({name: [printable(f) for f in forms] for name, forms in parts.items()}, width)


def _left(seconds: float | None) -> tuple[str, ...]:
    if seconds is None:
        return ()
    return (f"{duration(seconds)} left", f"{brief(seconds)} left", brief(seconds))


def _left_of_sweep(seconds: float | None) -> tuple[str, ...]:
    if seconds is None:
        return ()
    short = brief(seconds)
    return (f"sweep {duration(seconds)} left", f"sweep {short}", f"/{short}")


def is_terminal(stream: TextIO) -> bool:
    """Whether a stream is a terminal that can move its cursor."""
    return stream.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class StatusLine:
    """The last line of a terminal, below all that is printed while it is shown; a context manager.

    Args:
        terminal: what it is written to.
    """

    def __init__(self, terminal: TextIO) -> None:
        self._terminal = terminal
        self._lock = threading.RLock()
        self._text = ""
        self._drawn = (0, 0)  # cells on the terminal, and its width when they were written
        self._broken = False  # whether something was printed that has no end of its line yet
        self._before: list[tuple[str, TextIO]] = []

    def __enter__(self) -> "StatusLine":
        for name in ("stderr", "stdout"):
            stream = getattr(sys, name)
            if stream is self._terminal or stream.isatty():
                self._before.append((name, stream))
                setattr(sys, name, _Above(stream, self))
        return self

    def __exit__(self, *exception: object) -> None:
        self.show("")
        for name, stream in self._before:
            if isinstance(getattr(sys, name), _Above):  # else somebody has put another one there
                setattr(sys, name, stream)
        self._before = []

    @property
    def width(self) -> int:
        """Columns of the terminal."""
        try:
            return os.get_terminal_size(self._terminal.fileno()).columns or 80
        except (OSError, ValueError):
            return 80

    def show(self, text: str) -> None:
        """Replace the line; an empty text removes it."""
        with self._lock:
            self._text = text
            if not self._broken:
                self._write(self._erase() + self._line())

    def print_above(self, stream: TextIO, text: str) -> int:
        """Write to a stream that is the same terminal, and show the line again below."""
        with self._lock:
            self._write(self._erase())
            written = stream.write(text)
            stream.flush()
            self._broken = not text.endswith("\n") if text else self._broken
            if not self._broken:
                self._write(self._line())
            return written

    def _line(self) -> str:
        """The line as it is written; it ends before the last column, so that it never wraps."""
        encoding = getattr(self._terminal, "encoding", None) or "utf-8"
        text = self._text.encode(encoding, "replace").decode(encoding)
        self._drawn = (cell_len(text), self.width)
        return text

    def _erase(self) -> str:
        """Remove what is on the terminal; a narrower one has broken it into several rows."""
        cells, before = self._drawn
        self._drawn = (0, 0)
        if not cells:
            return ""
        rows = -(-cells // self.width) if self.width < before else 1
        up = f"\x1b[{rows - 1}A" if rows > 1 else ""
        return f"\r{up}\x1b[J"

    def _write(self, text: str) -> None:
        with suppress(OSError, ValueError):  # a terminal that was closed ends no training
            self._terminal.write(text)
            self._terminal.flush()


class _Above:
    """A stream whose text is printed above the line.

    Args:
        stream: the terminal.
        line: what is shown on it.
    """

    def __init__(self, stream: TextIO, line: StatusLine) -> None:
        self._stream, self._line = stream, line

    def write(self, text: str) -> int:
        """Print above the line."""
        return self._line.print_above(self._stream, text)

    def writelines(self, lines: Sequence[str]) -> None:
        """Print above the line."""
        self.write("".join(lines))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


_board = _Board()
