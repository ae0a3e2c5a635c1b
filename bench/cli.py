"""The Hydra entry: thin and fast to start; torch is imported only once a job runs."""

import gc
import hashlib
import importlib.util
import logging
import os
import shlex
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from bench.command_line import (
    LAUNCHER,
    SWEEP,
    check_config_dir,
    check_names,
    expand,
    first_folder,
    is_multirun,
    values,
    with_jobs,
)
from bench.runtime import jobs
from bench.runtime.atomic_files import check_room
from bench.runtime.cores import cores
from bench.runtime.extras import check_launcher
from bench.runtime.interrupts import end_if_interrupted
from bench.runtime.jobs import Outcome
from bench.runtime.printing import PrintableFormatter, printable

log = logging.getLogger("bench")


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _job(cfg: DictConfig) -> None:
    """Run one job; in a sweep, a failure is reported and the next job starts."""
    from bench.errors import RunError
    from bench.run import run

    _log_to_stderr()
    hydra_config = HydraConfig.get()
    swept = hydra_config.mode is RunMode.MULTIRUN
    if swept and jobs.REPORT not in os.environ:
        print("bench: a file sets hydra.mode: leave it out there, and give -m", file=sys.stderr)
        sys.exit(2)
    with open_dict(cfg):
        cfg.pop(SWEEP, None)  # which other jobs there are is not of this one
    overrides = list(hydra_config.overrides.task)
    goes_on = swept and not _under_torchrun()  # other ranks wait for this one: end them all
    log.info("▶ %s", " ".join(overrides) or "defaults")
    try:
        with _share(hydra_config.launcher, int(hydra_config.job.num) if swept else 0):
            group = os.environ.get(jobs.SWEEP) if swept else None
            result = run(
                cfg, overrides, command=_command(overrides, hydra_config.runtime), group=group
            )
    except RunError as error:
        end_if_interrupted()
        left = swept and error.in_use
        log.log(logging.WARNING if left else logging.ERROR, "✗ %s", error)
        if not goes_on:
            sys.exit(2)
        jobs.tell(Outcome(str(error), left))
        return
    except Exception as error:
        end_if_interrupted()
        if not goes_on:
            raise
        log.exception("✗ %s", " ".join(overrides))  # a bug or the machine: shown whole
        jobs.tell(Outcome(f"{type(error).__name__}: {error}"))
        return
    finally:
        gc.enable()
    if result.status == "finished":
        log.info("✓ %s", result.directory)
        return
    log.error("✗ %s: %s", result.directory, result.reason)
    if not swept:
        sys.exit(1)
    jobs.tell(Outcome(result.reason))


@contextmanager
def _share(launcher: Mapping[str, Any], job: int) -> Iterator[None]:
    """Have this job's GPU and threads where several jobs run at once on this machine."""
    import torch

    at_once, gpu_count = jobs.at_once(launcher, cores=cores()), jobs.gpus()
    together = at_once * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = max(1, cores() // together)
    if at_once == 1:
        torch.set_num_threads(min(share, torch.get_num_threads()))
        yield
        return
    torch.set_num_threads(share)
    with jobs.free_gpu(job, gpu_count) as gpu:
        if gpu is not None:
            os.environ[jobs.GPU] = str(gpu)
        yield


def _log_to_stderr() -> None:
    """Send our messages to stderr, one plain line each; Hydra has just silenced all loggers."""
    ours = logging.getLogger("bench")
    ours.handlers = [logging.StreamHandler(sys.stderr)]
    ours.handlers[0].setFormatter(PrintableFormatter())
    ours.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    ours.propagate = False
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "bench" and isinstance(logger, logging.Logger):
            logger.disabled = False


def _under_torchrun() -> bool:
    """Whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _command(overrides: list[str], runtime: Any) -> str:
    """The command that makes this run: where data and results lie is left out.

    Args:
        overrides: the command line's.
        runtime: what Hydra knows of this call: the working directory, and where configurations are.
    """
    places = ("results_root=", "data_root=", "cache_root=")
    named = [override for override in overrides if not override.startswith(places)]
    more = [
        f"--config-dir={os.path.relpath(source.path, runtime.cwd)}"
        for source in runtime.config_sources
        if source.provider == "command-line"
    ]
    return shlex.join(["python", "-m", "bench", *more, *named])


def _check_packages() -> None:
    """Stop if Python finds other packages under our names.

    Raises:
        SystemExit: another `models` or `conf` shadows ours.
    """
    root = Path(__file__).resolve().parent.parent
    for name in ("models", "conf"):
        spec = importlib.util.find_spec(name)
        found = Path(spec.origin).resolve().parent.parent if spec and spec.origin else None
        if found != root:
            where = spec.origin if spec else "nowhere"
            sys.exit(
                f"bench needs its own package `{name}` in {root}, but Python finds {where}: "
                "run from another directory or remove the other package from PYTHONPATH"
            )


def main() -> None:
    """Parse the command line and run its jobs.

    Exit 1 if a job of a sweep failed, or Hydra takes the line for none; 2 if a run cannot start.
    """
    gc.disable()  # until training starts: imports make much and drop little
    _check_packages()
    arguments = sys.argv[1:]
    try:
        check_names(arguments)
        check_config_dir(arguments)
        check_launcher(arguments)
        machine = {"gpu_count": jobs.gpus(), "cores": cores()}
        lines = [with_jobs(line, **machine) for line in expand(arguments)]
        sweep = _open_sweep(arguments, lines[0]) if is_multirun(arguments) else None
    except (ValueError, OSError) as error:
        print(f"bench: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    if sweep is None:
        (sys.argv[1:],) = lines
        _job()
        _part()
        return
    with sweep:
        broken = [line for line in lines if not _run_jobs(line, sweep)]
        _part()
        outcomes = jobs.collect(sweep.report)
    if left := sum(outcome.left for outcome in outcomes):
        print(f"{left} runs were left to the processes that are at them", file=sys.stderr)
    if broken or len(outcomes) > left:
        sys.exit(1)


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
        self.report.unlink(missing_ok=True)  # of a sweep that was killed
        os.environ[jobs.REPORT] = str(self.report)

    def __exit__(self, *exception: object) -> None:
        self.report.unlink(missing_ok=True)
        if not self.shared:
            shutil.rmtree(self.folder, ignore_errors=True)


def _run_jobs(line: list[str], sweep: Sweep) -> bool:
    """Run the jobs of one sweeping command line; whether its launcher came to the end of them.

    Raises:
        SystemExit: Hydra does not accept the line; no other line of the sweep would fix that.
    """
    words = jobs.with_environment(line)
    if "joblib" in values(line, LAUNCHER):
        from bench.runtime.joblib_processes import use_separate_processes

        use_separate_processes()
    if not values(line, "hydra.sweep.dir"):
        words.append(f"hydra.sweep.dir={jobs.quoted(str(sweep.folder))}")
    sys.argv[1:] = words
    try:
        _job()
    except SystemExit as error:  # Hydra has shown what it was
        if _under_torchrun() or isinstance(error.__context__, HydraException):
            raise
        return False
    return True


def _part() -> None:
    """Shut down torch.distributed, if it was initialised."""
    if _under_torchrun():
        from bench.runtime.distributed import leave

        leave()


def _open_sweep(arguments: list[str], line: list[str]) -> Sweep:
    """Name the sweep, for this process and those that it starts, and find it a place.

    Args:
        arguments: the command line.
        line: the first that it stands for.

    Raises:
        OSError: there is no room for results, or for the report.
        ValueError: other machines would not know where the results are.
    """
    name = hashlib.sha256("\n".join(sorted(arguments)).encode()).hexdigest()[:8]
    os.environ.setdefault(jobs.SWEEP, f"sweep-{name}")
    root = first_folder(line)
    if root is not None:
        check_room(Path(root) / "runs")
    if set(values(line, LAUNCHER)) <= set(jobs.LOCAL):
        folder = Path(tempfile.mkdtemp(prefix=f"bench-sweep-{name}-"))
        return Sweep(folder, folder / "report", shared=False)
    if root is None:
        raise ValueError(
            f"{LAUNCHER} starts jobs elsewhere, which must know before the first one where "
            "results are: give results_root a value that depends on no job"
        )
    folder = (Path(root) / "runs").absolute()
    return Sweep(folder, folder / f".report-{name}-{os.getpid()}", shared=True)
