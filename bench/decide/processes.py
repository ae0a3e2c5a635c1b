"""The processes that time and run jobs for bench.decide, which holds no model or GPU itself."""

import hashlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.decide.loop import Ran
from bench.decide.request import Grid, Request
from bench.runs.looks import ENVIRONMENT, Look
from bench.runtime import jobs
from bench.runtime.outlook import Outlook, Planned, read

BY_ITSELF = 3.0
"""Seconds in which a process ends that has had the same Ctrl-C."""

PATIENCE = 60.0
"""Seconds in which an interrupted process must have closed its files."""

START = 30.0
"""Seconds that a block may take longer than its limit: Python and torch start in them."""

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
"""Environment variables of the number of threads of linear algebra."""


@dataclass(frozen=True)
class Processes:
    """Starts processes that time or run jobs.

    Attributes:
        request: the command.
        shared: flags and overrides of hydra of all jobs.
        at_once: number of jobs that run at a time.
        local: whether they run on this machine, where they can be timed.
        cores: number of cores to use.
    """

    request: Request
    shared: tuple[str, ...]
    at_once: int
    local: bool
    cores: int

    def survey(self, grids: Sequence[Grid]) -> list[tuple[Planned, ...]]:
        """The jobs of each grid, with what they take.

        Raises:
            ValueError: a job cannot run.
            ChildProcessError: the process ended early, and has said why.
        """
        given = {
            "lines": [grid.words for grid in grids],
            "at_once": self.at_once,
            "timed": self.local,
        }
        threads = {}
        if self.at_once > 1:  # a job will have its share of the cores
            share = str(max(1, self.cores // self.at_once))
            threads = {name: os.environ.get(name, share) for name in THREADS}
        with tempfile.TemporaryDirectory(prefix="bench-decide-") as folder:
            code = _run(Path(folder), {"survey": given}, threads, None)
            wrong = Path(folder, "wrong.json")
            if code != 0 or not wrong.exists():
                raise ChildProcessError
            refuse_wrong(json.loads(wrong.read_text(encoding="utf-8")))
            plans = [read(Path(folder, f"{k}.json")) for k in range(len(grids))]
        return [plan.runs for plan in plans if plan is not None]

    def run(self, planned: Sequence[Planned], look: Look, seconds: float) -> Ran:
        """Run jobs, as their sweep does, for at most these seconds and `START`."""
        name = hashlib.sha256("\n".join(sorted(self.request.arguments)).encode()).hexdigest()[:8]
        more = {
            ENVIRONMENT: look.text,
            jobs.SWEEP: os.environ.get(jobs.SWEEP, f"decide-{name}"),
        }
        with tempfile.TemporaryDirectory(prefix="bench-decide-") as folder:
            outlook = Path(folder, "outlook.json")
            Outlook(tuple(planned), self.at_once).write(outlook)
            given = {"jobs": [job.overrides for job in planned], "words": self.shared}
            code = _run(Path(folder), {"run": given}, more, seconds + START)
        if code is None:
            return "out of time"
        return "ended" if code in (0, 1) else "died"


def refuse_wrong(wrong: Sequence[tuple[Sequence[str], str]]) -> None:
    """Refuse a command of which a job cannot run.

    Args:
        wrong: the overrides of such jobs, each with the reason.

    Raises:
        ValueError: there is one.
    """
    for overrides, said in wrong:
        words = [word for word in overrides if not word.startswith("seed=")]
        raise ValueError(f"{' '.join(words)}: {said}")


def _run(
    folder: Path, given: dict[str, object], more: dict[str, str], seconds: float | None
) -> int | None:
    """Run `bench.decide.work`: its exit code, or None if it was stopped after these seconds."""
    file = folder / "request.json"
    file.write_text(json.dumps(given), encoding="utf-8")
    flags = ["-P"] if sys.flags.safe_path else []
    command = [sys.executable, *flags, "-m", "bench.decide.work", str(file)]
    with _ended(subprocess.Popen(command, stdin=subprocess.PIPE, env=os.environ | more)) as process:
        try:
            return process.wait(seconds)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
            _wait(process, PATIENCE)
            return None


@contextmanager
def _ended(process: subprocess.Popen[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """Have a process that has not ended at the exit close its files, and end.

    It also ends when its standard input, a pipe, is closed because this process was killed.
    """
    try:
        yield process
    finally:
        if not _wait(process, BY_ITSELF if process.poll() is None else 0.0):
            process.send_signal(signal.SIGINT)
            if not _wait(process, PATIENCE):
                process.kill()
        process.wait()
        if process.stdin is not None:
            process.stdin.close()


def _wait(process: subprocess.Popen[bytes], seconds: float) -> bool:
    """Whether a process has ended after these seconds."""
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True
