"""CPU cores: how many this process may use, and whether its threads got them."""

import math
import os
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

CONTROLLERS = {"cpu.max": "", "cpu.cfs_quota_us": "cpu"}
"""The file of a control group that limits its CPU time, in versions 2 and 1 of control groups, and
the folder of its hierarchy."""


def cores() -> int:
    """CPU cores that this process may use: those it may run on, or fewer if its time is limited.

    A container that may use 1.5 cores at a time has one: a second thread would be stopped for half
    of the time.
    """
    allowed = os.cpu_count() or 1
    if hasattr(os, "sched_getaffinity"):
        allowed = len(os.sched_getaffinity(0))
    return max(1, math.floor(min(allowed, quota())))


def quota(proc: Path = Path("/proc/self"), mount: Path = Path("/sys/fs/cgroup")) -> float:
    """CPU seconds per second that the control groups of this process allow; infinite if unlimited.

    Args:
        proc: what the system says of this process.
        mount: where control groups are mounted.
    """
    try:
        lines = (proc / "cgroup").read_text().splitlines()
    except OSError:  # not Linux
        return math.inf
    least = math.inf
    for _, controllers, name in (line.split(":", 2) for line in lines if line.count(":") > 1):
        for file, controller in CONTROLLERS.items():
            if controller in controllers.split(","):
                own = mount / controller / name.lstrip("/")
                top = mount / controller
                groups = [own, *(g for g in own.parents if g.is_relative_to(top))]
                least = min(least, *(_limit(group, file) for group in groups))
    return least


def _limit(group: Path, file: str) -> float:
    """CPU seconds per second of one control group; infinite if it sets no limit."""
    try:
        words = (group / file).read_text().split()
        if file == "cpu.cfs_quota_us":
            words += (group / "cpu.cfs_period_us").read_text().split()
        allowed, period = map(float, words)
    except (OSError, ValueError):  # no such group, or "max"
        return math.inf
    return allowed / period if allowed > 0 and period > 0 else math.inf


Waits = Mapping[str, float]
"""Seconds that each thread has waited for a core since it started."""


def waits(tasks: Path = Path("/proc/self/task")) -> Waits:
    """How long every thread of this process was ready to run without a core; empty if unknown.

    Linux counts it (schedstat: nanoseconds on a core, nanoseconds in a run queue, turns). Where a
    kernel was built without the counter, all values are 0, also the time on a core.
    """
    found, ran = {}, 0
    for thread in tasks.glob("*") if tasks.is_dir() else ():
        try:
            on_core, waited, *_ = map(int, (thread / "schedstat").read_text().split())
        except (OSError, ValueError):  # it has ended
            continue
        found[thread.name] = waited / 1e9
        ran += on_core
    return found if ran else {}


@dataclass
class CoreMeter:
    """CPU time that this process uses, and time that its threads wait for a core.

    Waiting is summed over threads, since a step waits for each of them in turn. What a hypervisor
    takes from a virtual machine, and cores shared by two hyperthreads, do not show.

    Attributes:
        cpu: CPU seconds of all threads.
        waiting: seconds in which threads could have run, but had no core; NaN if unknown.
    """

    cpu: float = 0.0
    waiting: float = 0.0
    _since: tuple[float, Waits] | None = field(default=None, repr=False)

    def start(self) -> None:
        """Measure from now on."""
        self._since = time.process_time(), waits()

    def stop(self) -> None:
        """Add what was used since `start`; nothing if it was not called."""
        if self._since is None:
            return
        (cpu, before), now = self._since, waits()
        self.cpu += time.process_time() - cpu
        more = (max(0.0, waited - before.get(thread, 0.0)) for thread, waited in now.items())
        self.waiting += sum(more) if now else math.nan
        self._since = None

    @contextmanager
    def stopped(self) -> Iterator[None]:
        """Leave out what is done inside, if it is measuring."""
        measuring = self._since is not None
        self.stop()
        try:
            yield
        finally:
            if measuring:
                self.start()
