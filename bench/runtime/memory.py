"""Peak memory on CUDA devices and Linux CPUs; memory of the machine."""

import ctypes
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

MIB = 2**20
GIB = 2**30

CPU_ALLOCATOR = "DefaultCPUAllocator"
"""Part of torch's message for failed CPU allocations, which are plain RuntimeErrors."""


def machine_memory() -> int | None:
    """Memory of this machine in bytes, or the limit of its control groups; None if unknown."""
    try:
        total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None
    return min([total, *(limit for limit, _ in _control_groups())])


def check_fits(setting: str, value: int, each: int, what: str) -> None:
    """Refuse a number of items that does not fit into memory, before any is created.

    Args:
        setting: the setting of the number.
        value: the number.
        each: minimum bytes per item.
        what: name of an item, for the message.

    Raises:
        ValueError: with required and available memory, and the largest number that fits.
    """
    memory = machine_memory()
    if memory is None or value * each <= memory:
        return
    raise ValueError(
        f"{setting}={value} would take at least {max(1, value * each // GIB)} GiB of memory, "
        f"{each} bytes for {what}, and there are {memory / GIB:.3g} GiB: set it to at most "
        f"{memory // each}"
    )


@contextmanager
def must_fit(what: str) -> Iterator[None]:
    """Turn failed allocations into one sentence.

    Raises:
        ValueError: torch could not allocate memory.
    """
    try:
        yield
    except RuntimeError as error:
        if not (isinstance(error, torch.OutOfMemoryError) or CPU_ALLOCATOR in str(error)):
            raise
        raise ValueError(
            f"{what} needs more memory than is available: make the model smaller"
        ) from error


class PeakMemory:
    """Peak memory since construction or the last `restart`.

    It is counted relative to the memory at construction. On CUDA it is the allocator's peak; on
    Linux CPUs the peak of the process's anonymous memory (the kernel keeps the peak of all resident
    memory; mapped files are subtracted). Elsewhere it is unknown.

    Both counters exist once per process: a second `PeakMemory` restarts them, so read the first
    before constructing the second.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._before_mib: float | None = None
        if self.restart():
            self._before_mib = self._now_mib()

    @contextmanager
    def excluding(self) -> Iterator[None]:
        """Exclude memory that is allocated inside and kept."""
        before = self._now_mib()
        yield
        if self._before_mib is not None and self.restart():
            self._before_mib += self._now_mib() - before

    def _now_mib(self) -> float:
        if self._device.type == "cuda":
            return torch.cuda.memory_allocated(self._device) / MIB
        return _resident_mib("RssAnon") if sys.platform == "linux" else 0.0

    def restart(self) -> bool:
        """Reset the peak, not the baseline; False if there is no peak counter."""
        if self._device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(self._device)
            return True
        return self._device.type == "cpu" and _reset_resident_peak()

    def mib(self) -> float | None:
        """Peak so far, in MiB; None if unavailable (macOS, Windows)."""
        if self._before_mib is None:
            return None
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MIB - self._before_mib
        mapped = _resident_mib("RssFile") + _resident_mib("RssShmem")
        return max(0.0, _resident_mib("VmHWM") - mapped - self._before_mib)


def _reset_resident_peak() -> bool:
    """Reset the peak of the resident set to its current size; False if impossible."""
    if sys.platform != "linux":
        return False
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if release is not None:  # otherwise freed memory that the allocator keeps would hide its reuse
        release(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:  # a container may forbid it
        return False
    return True


def _resident_mib(field: str) -> float:
    """A field of /proc/self/status in MiB, such as VmHWM, the peak of the resident set."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024  # in KiB
    raise OSError(f"/proc/self/status has no {field}")


def available_bytes() -> int:
    """Memory that this process can still allocate: free or reclaimable, within control groups.

    Half of the machine's memory if unknown (macOS, Windows).
    """
    try:
        lines = Path("/proc/meminfo").read_text().splitlines()
        free = next(1024 * int(n.split()[1]) for n in lines if n.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError, IndexError):
        return (machine_memory() or 4 * GIB) // 2
    return min([free, *(left for _, left in _control_groups())])


def _control_groups(root: Path = Path("/sys/fs/cgroup")) -> Iterator[tuple[int, int]]:
    """Limit and remaining memory of each control group of this process with a limit, in bytes.

    Page cache counts as free.
    """
    try:
        groups = [line.split(":", 2) for line in Path("/proc/self/cgroup").read_text().splitlines()]
    except OSError:
        return
    for _, controllers, path in groups:
        if controllers and "memory" not in controllers.split(","):
            continue
        mount, limit, used, cache = _CONTROL_GROUPS[1 if controllers else 2]
        own = root / mount / path.lstrip("/")
        for folder in (own, *own.parents):  # limits of all parents apply
            if not folder.is_relative_to(root / mount):
                break
            try:
                values = [(folder / name).read_text() for name in (limit, used, "memory.stat")]
                stat = dict(line.split() for line in values[2].splitlines())
                most = int(values[0])
                free = most - int(values[1]) + sum(int(stat[name]) for name in cache)
            except (OSError, ValueError, KeyError):  # "max": no limit; or no such group
                continue
            yield most, max(0, free)


_CONTROL_GROUPS = {
    1: (
        "memory",
        "memory.limit_in_bytes",
        "memory.usage_in_bytes",
        ("total_inactive_file", "total_active_file"),
    ),
    2: ("", "memory.max", "memory.current", ("inactive_file", "active_file")),
}
"""By version: mount, files of limit and usage, and field of the page cache in memory.stat."""
