"""Device, threads and precision of a run."""

import ctypes
import os
import sys
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch

from bench.runtime.distributed import local_rank
from bench.runtime.jobs import GPU


def choose_device(name: str) -> torch.device:
    """The device to run on; GPUs are assigned to ranks of torchrun and to parallel jobs.

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
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device={name}, but torch sees no CUDA device: use device=cpu")
        given = int(os.environ.get(GPU, local_rank()))
        index = given if device.index is None else device.index
        if index >= torch.cuda.device_count():
            raise ValueError(f"device={name}, but torch sees {torch.cuda.device_count()} GPUs")
        if device.index is not None and "LOCAL_RANK" in os.environ:
            raise ValueError(f"device={name} under torchrun: use device=cuda, one GPU per process")
        torch.backends.cuda.matmul.allow_tf32 = False  # fp32 means fp32; for speed there is bf16
        torch.backends.cudnn.allow_tf32 = False
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


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


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Mixed precision for "bf16", nothing for "fp32"."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
