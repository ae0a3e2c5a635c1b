"""Device, threads and precision of a run."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from bench.runtime.distributed import local_rank
from bench.runtime.jobs import GPU


def choose_device(name: str) -> torch.device:
    """The device that this process runs on, set up for it: `find_device`.

    Raises:
        ValueError: there is no such device.
    """
    device = find_device(name)
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32; for speed there is bf16
        torch.backends.cudnn.allow_tf32 = False
        torch.cuda.set_device(device)
    return device


def find_device(name: str) -> torch.device:
    """The device of a name; GPUs are assigned to ranks of torchrun and to parallel jobs.

    Args:
        name: auto, cpu, cuda or cuda:N.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}") from None
    if device.type not in ("cpu", "cuda"):
        raise ValueError(f"device must be auto, cpu, cuda or cuda:N, got {name!r}")
    if device.type == "cpu":
        return device
    if not torch.cuda.is_available():
        raise ValueError(f"device={name}, but torch sees no CUDA device: use device=cpu")
    given = int(os.environ.get(GPU, local_rank()))
    index = given if device.index is None else device.index
    if index >= torch.cuda.device_count():
        raise ValueError(f"device={name}, but torch sees {torch.cuda.device_count()} GPUs")
    if device.index is not None and "LOCAL_RANK" in os.environ:
        raise ValueError(f"device={name} under torchrun: use device=cuda, one GPU per process")
    return torch.device("cuda", index)


def set_threads(threads: int | None) -> None:
    """Limit the CPU threads of this process; None leaves it as it is."""
    if threads is not None:
        torch.set_num_threads(threads)


def keep_freed_memory() -> None:
    """Make the allocator reuse freed memory instead of returning it; glibc only.

    Otherwise every new large tensor causes a page fault per 4 KiB.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None) if sys.platform == "linux" else None
    if set_option is None:
        return
    from_heap, kept = -3, -1  # M_MMAP_THRESHOLD and M_TRIM_THRESHOLD of <malloc.h>
    if set_option(from_heap, 2**30) or set_option(from_heap, 2**25):  # older ones refuse more
        set_option(kept, 2**31 - 1)  # the largest C int


BF16_FLAGS = frozenset({"amx_bf16", "avx512_bf16", "bf16"})
"""Flags of /proc/cpuinfo for instructions that multiply bf16: two of x86, one of Arm."""


def computes_bf16(device: torch.device) -> bool:
    """Whether a device has units for bf16, without which it is slower than fp32.

    On GPUs: compute capability 8.0 or more. On CPUs: instructions that multiply bf16, where Linux
    lists them.
    """
    if device.type == "cuda":
        return torch.cuda.get_device_capability(device) >= (8, 0)
    cpuinfo = Path("/proc/cpuinfo")
    return cpuinfo.exists() and lists_bf16(cpuinfo.read_text())


def lists_bf16(cpuinfo: str) -> bool:
    """Whether the first processor of a /proc/cpuinfo has one of `BF16_FLAGS`."""
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    flags = (value for key, _, value in lines if key.strip() in ("flags", "Features"))
    return not BF16_FLAGS.isdisjoint(next(flags, "").split())


def resolve_precision(asked: str, device: torch.device) -> tuple[str, str]:
    """The precision that a run computes in, and a sentence if that is not the one asked for.

    Args:
        asked: "fp32"; "bf16"; or "auto", which is bf16 where the device has units for it.
        device: of the run.
    """
    if asked == "fp32" or computes_bf16(device):
        return "fp32" if asked == "fp32" else "bf16", ""
    said = f"precision={asked}, but this {device.type} has no units for bf16: computing in fp32"
    return "fp32", said if asked == "bf16" else ""


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Mixed precision for "bf16", nothing for "fp32".

    Raises:
        ValueError: it is neither, such as "auto" before `resolve_precision`.
    """
    if precision not in ("fp32", "bf16"):
        raise ValueError(f"precision must be fp32 or bf16 here, got {precision!r}")
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)


def to_device(x: Tensor, device: torch.device) -> Tensor:
    """Copy a tensor of the CPU to the device, without waiting for what the device is doing.

    Only from pinned memory is the copy asynchronous; torch keeps the memory until it is done.
    """
    return (x.pin_memory() if device.type == "cuda" else x).to(device, non_blocking=True)
