"""A job's share of the machine, and what the processes of a sweep tell the one that started them.

Hydra's launchers run jobs in other processes, perhaps on other machines, and hand nothing back.
What these must know comes to them by environment variables; whose run failed comes back through a
file that they append to.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

SWEEP = "BENCH_SWEEP"
"""Environment variable: the sweep's name."""

REPORT = "BENCH_REPORT"
"""Environment variable: the file that jobs append to."""

GPU = "BENCH_GPU"
"""Environment variable: the GPU of a job, where several share a machine."""

JOBLIB = "hydra/launcher=joblib"


@dataclass(frozen=True)
class Outcome:
    """What became of a job that has no result.

    Attributes:
        words: why.
        left: whether another process is at it, so that it is no failure.
    """

    words: str
    left: bool = False


def tell(outcome: Outcome) -> None:
    """Append an outcome to the sweep's report: one write, so that no two lines mix."""
    line = json.dumps(asdict(outcome), ensure_ascii=False) + "\n"
    file = Path(os.environ[REPORT])
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def collect(file: Path) -> list[Outcome]:
    """Read the report and remove it; empty if no job had anything to tell."""
    if not file.exists():
        return []
    lines = file.read_text(encoding="utf-8").splitlines()
    file.unlink()
    return [Outcome(**json.loads(line)) for line in lines]


def gpus(driver: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """How many GPUs this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(list(driver.iterdir())) if driver.is_dir() else 0


def with_jobs(arguments: Sequence[str], *, gpu_count: int, cores: int) -> list[str]:
    """Say how many jobs joblib runs at once, unless the command line does: one per GPU, or core."""
    named = any(
        a.startswith(("hydra.launcher.n_jobs=", "+hydra.launcher.n_jobs=")) for a in arguments
    )
    if JOBLIB not in arguments or named:
        return list(arguments)
    return [*arguments, f"hydra.launcher.n_jobs={gpu_count or cores}"]


def share(launcher: Mapping[str, Any], job: int, *, gpu_count: int, cores: int) -> tuple[int, int]:
    """The GPU and the CPU threads of a job among those that run at once on this machine.

    Args:
        launcher: Hydra's launcher configuration; `n_jobs` as joblib has it.
        job: number of the job in its sweep.
        gpu_count: of the machine.
        cores: of the machine.

    Returns:
        The GPU, dealt out in turns, or -1 where all may be used; the threads, or 0 for as many
        as torch likes.
    """
    jobs = int(launcher.get("n_jobs") or 1)
    if jobs < 0:  # joblib counts down from all cores
        jobs = max(1, cores + 1 + jobs)
    if jobs == 1:
        return -1, 0
    return (job % gpu_count if gpu_count else -1), max(1, cores // jobs)


def cores() -> int:
    """CPU cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
