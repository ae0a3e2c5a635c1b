"""The machine that a run is on: its device, its threads, its cache, the commit of its code."""

import platform
import subprocess
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch

import bench
from bench.distributed import local_rank


def choose_device(name: str) -> torch.device:
    """The device to run on; under torchrun every rank takes the GPU of its local rank.

    Raises:
        ValueError: there is no such device.
    """
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(f"device must be auto, cpu, cuda, cuda:N or mps, got {name!r}") from None
    if device.type == "cuda":
        if not torch.cuda.is_available():
            raise ValueError(f"device={name}, but torch sees no CUDA device: use device=cpu")
        index = local_rank() if device.index is None else device.index
        device = torch.device("cuda", index)
        torch.cuda.set_device(device)
    return device


def set_threads(threads: int | None) -> None:
    """Limit the CPU threads of this process; None leaves the choice to torch."""
    if threads is None:
        return
    if threads < 1:
        raise ValueError(f"threads must be at least 1 or null, got {threads}")
    torch.set_num_threads(threads)


def device_name(device: torch.device) -> str:
    """The device as a reader would name it."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{device.type}: {names[0] if names else platform.processor() or platform.machine()}"


def commit() -> str:
    """The commit of this checkout, marked if files were changed; empty where there is none."""
    root = Path(bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        described = subprocess.run(
            ["git", "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"],
            cwd=root,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return described.stdout.strip()


def default_cache() -> Path:
    """Where decoded data and reference features are kept unless cache_root says otherwise."""
    return Path.home() / ".cache" / "gan-vs-diffusion"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Mixed precision for "bf16", nothing for "fp32"."""
    if precision == "fp32":
        return nullcontext()
    return torch.autocast(device.type, dtype=torch.bfloat16)
