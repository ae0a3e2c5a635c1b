"""When and how the loops of `models.layers.compiled` run: on which tensors, on how many threads.

They run on CPUs, on float32 and bfloat16, wherever gradients are those of ordinary training. On
other devices and types, under `torch.func`, forward-mode differentiation or compilation, and where
numba cannot be imported, torch's operators compute the same function.
"""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.autograd import forward_ad

STORED = {torch.float32: np.float32(0), torch.bfloat16: np.int16(0)}
"""Types of images that the kernels take, and a number of the type in which each is stored."""

PLAIN = (Tensor, torch.nn.Parameter)
"""Types of tensors that are memory and nothing else."""

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16}

LEAST_WORK = 1 << 15
"""Numbers per thread; with fewer, handing them over costs more than it saves."""


@cache
def available() -> bool:
    """Whether the loops can be compiled."""
    try:
        compiled()
    except (ImportError, OSError):
        return False
    return True


@cache
def compiled() -> Any:
    """The module of the loops; importing it takes half a second.

    Raises:
        ImportError: numba is not installed, or cannot be loaded.
    """
    from models.layers import compiled

    if compiled.UNKEPT:
        warnings.warn(
            "numba can write no folder for its cache, so every process compiles its kernels anew, "
            "for about 20 s: set NUMBA_CACHE_DIR to a folder that can be written",
            stacklevel=2,
        )
    return compiled


def prepare(precision: str) -> None:
    """Compile what training in "fp32" or "bf16" on a CPU calls, seconds once per machine."""
    if available():
        compiled().compile_for(STORED[PRECISIONS[precision]])


def usable(*tensors: Tensor | None) -> bool:
    """Whether the kernels can take these tensors, of which the first is a batch of images."""
    x = tensors[0]
    return (
        x is not None
        and x.ndim == 4
        and x.dtype in STORED
        and x.numel() > 0
        and all(type(t) in PLAIN and t.device.type == "cpu" for t in tensors if t is not None)
        and forward_ad._current_level < 0
        and not torch._C._are_functorch_transforms_active()
        and not torch.compiler.is_compiling()
        and not torch._C._is_tracing()
        and all(t is None or (t.dtype == torch.float32 and t.is_contiguous()) for t in tensors[2:])
        and available()
    )


def channels_last(x: Tensor) -> Tensor:
    """The images, (B, C, H, W), with their channels last in memory."""
    return x.contiguous(memory_format=torch.channels_last)


def in_parts(run: Callable[[int, int], None], samples: int, numbers: int) -> None:
    """Call run(start, stop) for all samples, shared among as many threads as torch uses.

    Every sample's result is the same on any number of threads.

    Args:
        run: computes samples start to stop; it must release the interpreter.
        samples: B.
        numbers: how many numbers they are, which decides how many threads are worth it.
    """
    threads = min(torch.get_num_threads(), samples, numbers // LEAST_WORK)
    if threads < 2:
        run(0, samples)
        return
    ends = [samples * k // threads for k in range(threads + 1)]
    workers = _pool(os.getpid(), torch.get_num_threads())
    others = [workers.submit(run, *part) for part in pairwise(ends[1:])]
    run(ends[0], ends[1])
    for other in others:
        other.result()


@cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    """Threads of this process; one that was forked has none of its parent's."""
    return ThreadPoolExecutor(threads - 1, "kernels")
