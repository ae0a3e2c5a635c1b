"""The training clock: seconds that pass while the process runs, without those while it is stopped.

A process may be stopped by a signal (Ctrl-Z), a debugger or a container that is frozen; on Linux a
suspended machine stops the monotonic clock itself. A thread beats ten times a second. A beat that
comes late means that no thread could run, or that one kept the interpreter's lock. The gap is a
pause unless the training thread had a share of processor time in it, which on a busy machine may be
small. Waiting for a device, for data or for other processes releases the lock, so that beats go on
and the time counts.
"""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

BEAT = 0.1
"""Seconds between two beats, and the most of a pause that is taken for training."""

SHORTEST_PAUSE = 1.0
"""Seconds from which a gap is a pause; a busy machine delays beats by less."""

WORKING = 0.1
"""Share of a gap from which processor time of the training thread shows that it was not stopped."""


@dataclass
class TrainingClock:
    """Seconds of training; only differences of its readings have a meaning.

    Attributes:
        wall: reads a monotonic clock, in seconds.
        processor: reads the processor time of the thread that trains, in seconds.
        paused: seconds in which the process was stopped so far.
    """

    wall: Callable[[], float] = time.perf_counter
    processor: Callable[[], float] = lambda: 0.0
    paused: float = 0.0
    _last: tuple[float, float] | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def now(self) -> float:
        """Seconds without pauses, those that end now included."""
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
        """Watch for pauses of the process; the calling thread is the one that trains."""
        stopped = threading.Event()
        self.processor = processor_clock()
        self._last = self.wall(), self.processor()

        def beat() -> None:
            while not stopped.wait(BEAT):
                self.now()

        thread = threading.Thread(target=beat, name="training-clock", daemon=True)
        thread.start()
        try:
            yield
        finally:
            stopped.set()
            thread.join()
            self._last = None


def processor_clock() -> Callable[[], float]:
    """Processor time of the calling thread, readable by others; of the process where it is not."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.process_time
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)
