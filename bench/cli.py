"""The Hydra entry: thin and fast to start; torch is imported only once a job runs."""

import gc
import hashlib
import importlib.util
import logging
import os
import shlex
import sys
from pathlib import Path

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from bench.sweeps import SWEEP, expand

log = logging.getLogger("bench")

SWEEP_NAME = "BENCH_SWEEP"
"""Environment variable that tells the processes of a sweep its name."""

_failures: list[str] = []


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _job(cfg: DictConfig) -> None:
    """Run one job; in a sweep, an expected failure is reported and the next job starts."""
    from bench.errors import RunError
    from bench.run import run

    _log_to_stderr()
    hydra_config = HydraConfig.get()
    with open_dict(cfg):
        cfg.pop(SWEEP, None)  # which other jobs there are is not of this one
    overrides = list(hydra_config.overrides.task)
    log.info("▶ %s", " ".join(overrides) or "defaults")
    try:
        result = run(cfg, overrides, command=_command(overrides), group=_sweep(hydra_config.mode))
    except RunError as error:
        log.error("✗ %s", error)
        _failures.append(str(error))
        if hydra_config.mode is RunMode.RUN or _under_torchrun():
            sys.exit(2)  # under torchrun the other ranks wait for this one and must be ended
        return
    finally:
        gc.enable()
    if result.status == "failed":
        log.error("✗ %s: %s", result.directory, result.reason)
        _failures.append(result.reason)
    else:
        log.info("✓ %s", result.directory)


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


def _sweep(mode: RunMode | None) -> str | None:
    """The name of the sweep, as W&B groups its runs; None outside a sweep."""
    if mode is not RunMode.MULTIRUN:
        return None
    return os.environ.get(SWEEP_NAME)


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
    os.environ.setdefault(SWEEP_NAME, _sweep_name(arguments))
    for line in lines:
        sys.argv[1:] = line
        _job()
    if _failures:
        sys.exit(1)


def _sweep_name(arguments: list[str]) -> str:
    """The same whenever the command is given, in whichever order."""
    return "sweep-" + hashlib.sha256("\n".join(sorted(arguments)).encode()).hexdigest()[:8]
