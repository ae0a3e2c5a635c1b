"""The training clock: elapsed seconds, except those in which the process was stopped.

A process may be stopped by a signal (Ctrl-Z), a debugger or a frozen container; on Linux a
suspended machine stops the monotonic clock itself. A thread ticks ten times per second. A late tick
means that no thread could run, or that one held the interpreter lock. The gap is a pause unless the
training thread used CPU time in it, possibly a small share on a busy machine. Waiting for a device,
for data or for other processes releases the lock, so ticks continue and the time counts.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.runtime.repeated import repeated

BEAT = 0.1
"""Seconds between two ticks, and the largest part of a pause that is counted as training."""

SHORTEST_PAUSE = 1.0
"""Shortest gap that is a pause, in seconds; a busy machine delays ticks by less."""

WORKING = 0.1
"""Share of CPU time of the training thread in a gap that shows that it was not stopped."""


@dataclass
class TrainingClock:
    """Clock of training seconds; only differences between readings are meaningful.

    Attributes:
        wall: reads a monotonic clock, in seconds.
        processor: reads the CPU time of the training thread, in seconds.
        paused: total seconds in which the process was stopped.
    """

    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = lambda: 0.0
    paused: float = 0.0
    _last: tuple[float, float] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Seconds without pauses, including a pause that ends now."""
        with self._lock:
            wall, processor = self.wall(), self.processor()
            if self._last is not None:
                gap, work = wall - self._last[0], processor - self._last[1]
                pause = gap - max(work, BEAT)
                if pause >= SHORTEST_PAUSE and work < WORKING * gap:
                    self.paused += pause
                self._last = wall, processor
            return wall - self.paused

    @contextmanager
    def beating(self) -> Iterator[None]:
        """Detect pauses of the process; call it from the training thread."""
        self.processor = processor_clock()
        self._last = self.wall(), self.processor()
        try:
            with repeated(self.now, BEAT):
                yield
        finally:
            self._last = None


def processor_clock() -> Callable[[], float]:
    """CPU time of the calling thread, readable from other threads, or else of the process."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)
