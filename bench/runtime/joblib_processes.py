"""Jobs of hydra/launcher=joblib in processes that do not share their fate (extra joblib)."""

import os
import re
import signal
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from contextlib import contextmanager
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any, TypeVar

from hydra.core.singleton import Singleton
from hydra.core.utils import JobReturn, JobStatus, filter_overrides, setup_globals
from hydra_plugins.hydra_joblib_launcher._core import execute_job
from hydra_plugins.hydra_joblib_launcher.joblib_launcher import JoblibLauncher
from joblib.externals.loky.backend import resource_tracker as loky_tracker
from joblib.externals.loky.process_executor import ProcessPoolExecutor, TerminatedWorkerError

from bench.runtime.cores import cores
from bench.runtime.jobs import Outcome, at_once, tell

T = TypeVar("T")

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")
"""What linear algebra asks for its number of threads."""

FEEDER = "QueueFeederThread"
"""Name of the threads by which pools give work to their processes."""

FEEDER_SECONDS = 2.0
"""Seconds in which such a thread ends after its pool."""


def use_separate_processes() -> None:
    """Have `hydra/launcher=joblib` run jobs by `launch_separately`."""
    JoblibLauncher.launch = launch_separately


def launch_separately(
    self: JoblibLauncher, job_overrides: Sequence[Sequence[str]], initial_job_idx: int
) -> Sequence[JobReturn]:
    """Run jobs in `n_jobs` pools of one process each, which serves job after job.

    A job whose process is killed is told to the sweep's report. Of the options of joblib only
    `n_jobs` has a meaning here.

    Args:
        self: Hydra's launcher, which has the sweep's configuration.
        job_overrides: the overrides of each job.
        initial_job_idx: number of the first.

    Returns:
        What Hydra wants to know of each.
    """
    setup_globals()
    assert self.config is not None  # Hydra has called `setup`
    Path(str(self.config.hydra.sweep.dir)).mkdir(parents=True, exist_ok=True)
    jobs = min(at_once(self.joblib, cores=cores()), len(job_overrides))
    context, task = self.hydra_context, self.task_function
    shared = (context, self.config, task, Singleton.get_state())
    calls = [(initial_job_idx + k, words, *shared) for k, words in enumerate(job_overrides)]
    results = dict(_run(calls, jobs))
    return [results[number] for number, *_ in calls]


def _run(calls: Sequence[tuple[Any, ...]], jobs: int) -> Iterator[tuple[int, JobReturn]]:
    """Yield the number of each call of `execute_job` and what came of it, as they end."""
    waiting = deque(calls)
    free = [_pool(jobs) for _ in range(jobs)]
    running: dict[Future[JobReturn], tuple[ProcessPoolExecutor, tuple[Any, ...]]] = {}
    try:
        while waiting or running:
            while free and waiting:
                pool, call = free.pop(), waiting.popleft()
                with _no_interrupts():  # a process that is started now has none for all its life
                    running[pool.submit(execute_job, *call)] = (pool, call)
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                pool, (number, overrides, *_) = running.pop(future)
                try:
                    yield number, future.result()
                    free.append(pool)
                except TerminatedWorkerError as error:
                    yield number, _killed(overrides, error)
                    pool.shutdown(wait=False)
                    free.append(_pool(jobs))
    finally:
        _end([*free, *(pool for pool, _ in running.values())])


def in_a_process(function: Callable[..., T], *arguments: Any, jobs: int, **named: Any) -> T:
    """Call a function in a process that ends with it, and has the share of cores of one of `jobs`.

    Raises:
        RuntimeError: the process was killed.
    """
    pool = _pool(jobs)
    try:
        with _no_interrupts():
            future = pool.submit(function, *arguments, **named)
        return future.result()
    except TerminatedWorkerError as error:
        raise RuntimeError(str(error)) from error
    finally:
        _end([pool])


def _end(pools: Sequence[ProcessPoolExecutor]) -> None:
    """Kill the processes of pools, and wait for the threads that gave them work.

    loky does not wait for these, which delete semaphores as they end. If the program is over before
    one of them has told the resource tracker, that prints warnings of a leak.
    """
    for pool in pools:
        pool.shutdown(kill_workers=True)
    until = time.monotonic() + FEEDER_SECONDS
    for thread in threading.enumerate():
        if thread.name == FEEDER:
            thread.join(max(0.0, until - time.monotonic()))


def _pool(jobs: int) -> ProcessPoolExecutor:
    """A pool of one process, which has its share of the cores."""
    share = str(max(1, cores() // jobs))
    return ProcessPoolExecutor(
        max_workers=1, env={name: os.environ.get(name, share) for name in THREADS}
    )


def _killed(overrides: Sequence[str], error: TerminatedWorkerError) -> JobReturn:
    """Say that the process of a job was killed; its place in Hydra's list."""
    signals = re.findall(r"SIG[A-Z]+|EXIT\(\d+\)", str(error))
    by = signals[0] if signals else "the system"
    why = " (was there too little memory? try a smaller hydra.launcher.n_jobs)"
    words = (
        f"{' '.join(filter_overrides(overrides))}: its process was ended by {by}"
        f"{why if by == 'SIGKILL' else ''}; the same command resumes from what is saved"
    )
    print(f"✗ {words}", file=sys.stderr, flush=True)
    tell(Outcome(words))
    return JobReturn(overrides=overrides, status=JobStatus.COMPLETED)


@contextmanager
def _no_interrupts() -> Iterator[None]:
    """Hold Ctrl-C back; processes that are started here never hear of it, and are ended by us.

    The resource trackers of multiprocessing and loky are started with the first process and let
    Ctrl-C through again, for that process as well: they are started before.
    """
    resource_tracker.ensure_running()
    loky_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
