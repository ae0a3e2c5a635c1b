"""A job's share of the machine, and what the processes of a sweep tell the one that started them.

Hydra's launchers run jobs in other processes, perhaps on other machines, and hand nothing back.
What these must know comes to them by environment variables; whose run failed comes back through a
file that they append to.
"""

import fcntl
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

SWEEP = "BENCH_SWEEP"
"""Environment variable: the sweep's name."""

REPORT = "BENCH_REPORT"
"""Environment variable: the file that jobs append to."""

LOOK = "BENCH_LOOK"
"""Environment variable: how bench.decide makes the runs, for their record (bench/runs/looks.py)."""

GPU = "BENCH_GPU"
"""Environment variable: the GPU of a job, where several share a machine."""

LOCAL = ("basic", "joblib")
"""Values of hydra/launcher whose jobs all run on this machine."""


@dataclass(frozen=True)
class Outcome:
    """What became of a job.

    Attributes:
        words: why it has no result; empty where it has one.
        left: whether another process is at it, so that it is no failure.
        overrides: of its command line.
        run: its directory; empty where it has none.
        rest: seconds that it took beside training.
    """

    words: str = ""
    left: bool = False
    overrides: tuple[str, ...] = ()
    run: str = ""
    rest: float = 0.0

    @property
    def failed(self) -> bool:
        """Whether it has no result, and nobody is at it."""
        return bool(self.words) and not self.left


def plan_file(report: Path) -> Path:
    """Where a sweep says what is to come, beside its report."""
    return report.with_name(f"{report.name}.plan")


@dataclass(frozen=True)
class Sweep:
    """Where a sweep keeps what is no run's; a context manager that leaves nothing of it.

    Attributes:
        folder: where Hydra writes what it wants to keep of a sweep.
        report: the file that jobs append to.
        shared: whether the folder is one of the results', for launchers that keep logs there.
    """

    folder: Path
    report: Path
    shared: bool

    def __enter__(self) -> None:
        self._remove()  # of a sweep that was killed
        os.environ[REPORT] = str(self.report)

    def __exit__(self, *exception: object) -> None:
        self._remove()
        if not self.shared:
            shutil.rmtree(self.folder, ignore_errors=True)

    def _remove(self) -> None:
        """Remove what the processes of the jobs read and write."""
        for file in (self.report, plan_file(self.report)):
            file.unlink(missing_ok=True)


def tell(outcome: Outcome) -> None:
    """Append an outcome to the sweep's report: one write, so that no two lines mix.

    Outside a sweep there is no report, and nothing is done.
    """
    if REPORT not in os.environ:
        return
    line = json.dumps(asdict(outcome)) + "\n"
    file = Path(os.environ[REPORT])
    file.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        os.write(descriptor, line.encode())
    finally:
        os.close(descriptor)


def told(file: Path) -> list[Outcome]:
    """Read the report; empty if no job had anything to tell yet.

    A line that is damaged stands for a job without a result.
    """
    try:
        content = file.read_bytes()
    except FileNotFoundError:
        return []
    return [_read(line) for line in content.split(b"\n") if line]


def collect(file: Path) -> list[Outcome]:
    """Read the report and remove it."""
    outcomes = told(file)
    file.unlink(missing_ok=True)
    return outcomes


def _read(line: bytes) -> Outcome:
    try:
        outcome = Outcome(**json.loads(line))
        return replace(outcome, overrides=tuple(outcome.overrides))
    except (TypeError, ValueError):
        return Outcome("what a job told of itself is damaged")


def gpus(driver: Path = Path("/proc/driver/nvidia/gpus")) -> int:
    """How many GPUs this process may use, without importing torch."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return len([name for name in visible.split(",") if name.strip()])
    return len(list(driver.iterdir())) if driver.is_dir() else 0


def with_environment(arguments: Sequence[str]) -> list[str]:
    """Have Hydra hand the sweep's name and report to its jobs, also where these inherit nothing."""
    keys = (SWEEP, REPORT, *([LOOK] if LOOK in os.environ else []))
    told = (f"+hydra.job.env_set.{key}={quoted(os.environ[key])}" for key in keys)
    return [*arguments, *told]


def quoted(text: str) -> str:
    """Any text as a value in one of Hydra's overrides: a backslash counts before a special sign."""
    plain = re.sub(r"(\\*)\$\{", r"\1\1\\${", text)  # no reference to another value
    return "'" + re.sub(r"(\\*)('|\Z)", lambda m: 2 * m[1] + (m[2] and "\\'"), plain) + "'"


def at_once(launcher: Mapping[str, Any], *, cores: int) -> int:
    """How many jobs of a sweep run at once on this machine.

    Args:
        launcher: Hydra's launcher configuration; `n_jobs` as joblib has it.
        cores: of the machine.
    """
    jobs = int(launcher.get("n_jobs") or 1)
    return jobs if jobs > 0 else max(1, cores + 1 + jobs)  # joblib counts down from all cores


@contextmanager
def free_gpu(job: int, count: int, folder: Path | None = None) -> Iterator[int | None]:
    """A GPU that no other job of this machine has: the job's turn, or the next free one.

    A job that ends early leaves its GPU to the next job, whatever that one's number. Where all are
    taken, because there are more jobs than GPUs, it is the job's turn.

    Args:
        job: number of the job in its sweep.
        count: GPUs of the machine.
        folder: of the locks, which end with the process.

    Yields:
        The GPU's number; None where there is none.
    """
    if not count:
        yield None
        return
    folder = folder or Path(tempfile.gettempdir())
    visible = os.environ.get("CUDA_VISIBLE_DEVICES", "all").replace(",", "-")
    for gpu in ((job + k) % count for k in range(count)):
        with (folder / f".bench-{os.getuid()}-gpu-{visible}-{gpu}").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                continue
            yield gpu
            return
    yield job % count
