"""The Hydra entry: thin and fast to start; torch is imported only once a job runs."""

import gc
import hashlib
import importlib.util
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from bench import launch
from bench.launch import Outcome
from bench.sweeps import SWEEP, expand

log = logging.getLogger("bench")


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _job(cfg: DictConfig) -> None:
    """Run one job; in a sweep, an expected failure is reported and the next job starts."""
    from bench.errors import RunError
    from bench.run import run

    _log_to_stderr()
    hydra_config = HydraConfig.get()
    swept = hydra_config.mode is RunMode.MULTIRUN
    with open_dict(cfg):
        cfg.pop(SWEEP, None)  # which other jobs there are is not of this one
    overrides = list(hydra_config.overrides.task)
    if swept:
        _take_share(hydra_config.launcher, int(hydra_config.job.num))
    log.info("▶ %s", " ".join(overrides) or "defaults")
    try:
        group = os.environ.get(launch.SWEEP) if swept else None
        result = run(cfg, overrides, command=_command(overrides), group=group)
    except RunError as error:
        left = swept and error.in_use
        log.log(logging.WARNING if left else logging.ERROR, "✗ %s", error)
        launch.tell(Outcome(str(error), left))
        if not swept or _under_torchrun():
            sys.exit(2)  # under torchrun the other ranks wait for this one and must be ended
        return
    finally:
        gc.enable()
    if result.status == "failed":
        log.error("✗ %s: %s", result.directory, result.reason)
        launch.tell(Outcome(result.reason))
    else:
        log.info("✓ %s", result.directory)


def _take_share(launcher: Mapping[str, Any], job: int) -> None:
    """Take this job's GPU and threads where several jobs run at once on this machine."""
    import torch

    gpu, threads = launch.share(
        launcher,
        job,
        gpu_count=launch.gpus(),
        cores=launch.cores(),
    )
    if gpu >= 0:
        os.environ[launch.GPU] = str(gpu)
    if threads:
        torch.set_num_threads(threads)


def _log_to_stderr() -> None:
    """Send our messages to stderr, one plain line each; Hydra has just silenced all loggers."""
    ours = logging.getLogger("bench")
    ours.handlers = [logging.StreamHandler(sys.stderr)]
    ours.setLevel(logging.INFO if os.environ.get("RANK", "0") == "0" else logging.ERROR)
    ours.propagate = False
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "bench" and isinstance(logger, logging.Logger):
            logger.disabled = False


def _under_torchrun() -> bool:
    """Whether torchrun started this process together with others."""
    return int(os.environ.get("WORLD_SIZE", "1")) > 1


def _command(overrides: list[str]) -> str:
    """The command that makes this run anywhere: where files lie is left out."""
    places = ("results_root=", "data_root=", "cache_root=")
    named = [override for override in overrides if not override.startswith(places)]
    return shlex.join(["python", "-m", "bench", *named])


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
    """Parse the command line and run its jobs; exit 1 if any of them failed."""
    gc.disable()  # until training starts: imports make much and drop little
    _check_packages()
    arguments = sys.argv[1:]
    try:
        lines = expand(arguments)
    except ValueError as error:
        sys.exit(f"bench: {error}")
    report = _open_report(arguments)
    for line in lines:
        sys.argv[1:] = launch.with_jobs(line, gpu_count=launch.gpus(), cores=launch.cores())
        _job()
    outcomes = launch.collect(report)
    if left := sum(outcome.left for outcome in outcomes):
        print(f"{left} runs were left to the processes that are at them", file=sys.stderr)
    if len(outcomes) > left:
        sys.exit(1)


def _open_report(arguments: list[str]) -> Path:
    """Name the sweep and the report of its jobs, for this process and those that it starts."""
    name = hashlib.sha256("\n".join(sorted(arguments)).encode()).hexdigest()[:8]
    os.environ.setdefault(launch.SWEEP, f"sweep-{name}")
    given = [a.partition("=")[2] for a in arguments if a.startswith("results_root=")]
    shared = any(a.startswith("hydra/launcher=") for a in arguments)  # by other machines as well
    folder = Path(given[-1] if given else "results") / "runs" if shared else None
    file = (folder or Path(tempfile.gettempdir())) / f".report-{name}-{os.getpid()}"
    os.environ[launch.REPORT] = str(file.absolute())
    return file.absolute()
