"""Peak memory of a stretch of work, on CUDA devices and Linux CPUs."""

import ctypes
import sys
from pathlib import Path

import torch

MIB = 2**20


class PeakMemory:
    """Peak memory since construction.

    On CUDA it is the allocator's peak, weights included. On Linux CPUs it is how far the process's
    resident set rose above its size at construction, so that the interpreter and what is already
    loaded are not counted. Elsewhere it is unknown.

    Either mark exists once per process: a second `PeakMemory` restarts it, so read the first
    before constructing the second.
    """

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._resident_before_mib: float | None = None
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
        elif device.type == "cpu" and _reset_resident_peak():
            self._resident_before_mib = _resident_mib("VmRSS")

    def mib(self) -> float | None:
        """Peak so far, in MiB; None where it cannot be had (macOS, Windows)."""
        if self._device.type == "cuda":
            return torch.cuda.max_memory_allocated(self._device) / MIB
        if self._resident_before_mib is None:
            return None
        return max(0.0, _resident_mib("VmHWM") - self._resident_before_mib)


def _reset_resident_peak() -> bool:
    """Set the process's resident high-water mark to its present size; False if impossible."""
    if sys.platform != "linux":
        return False
    release = getattr(ctypes.CDLL(None), "malloc_trim", None)  # glibc only
    if release is not None:  # else freed memory that the allocator keeps would hide a new use of it
        release(0)
    try:
        Path("/proc/self/clear_refs").write_text("5")  # proc(5): resets VmHWM
    except OSError:  # a container may forbid it
        return False
    return True


def _resident_mib(field: str) -> float:
    """A field of /proc/self/status in MiB: VmRSS, the resident set, or VmHWM, its peak."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(f"{field}:"):
            return int(line.split()[1]) / 1024  # the file counts in KiB
    raise OSError(f"/proc/self/status has no {field}")
