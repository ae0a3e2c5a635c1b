"""What a command will do, before it does it: every job is composed, checked and timed."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from bench.command_line import LAUNCHER, SWEEP, key
from bench.runtime import jobs
from bench.runtime.interrupts import end_if_interrupted
from bench.runtime.outlook import ENDED, WRONG, Outlook, Planned
from bench.runtime.printing import printable
from bench.runtime.progress import Forecast

log = logging.getLogger("bench.planning")


@dataclass
class _Planner:
    """Collects the jobs of a command.

    Attributes:
        timed: whether steps and batches are timed.
        aloud: whether errors are said, and end a single run.
        runs: the jobs so far.
        known: what runs of each kind take.
        wrong: why jobs cannot run, each with its overrides.
    """

    timed: bool
    aloud: bool
    runs: list[Planned] = field(default_factory=list)
    known: dict[str, Forecast] = field(default_factory=dict)
    wrong: list[tuple[tuple[str, ...], str]] = field(default_factory=list)

    def add(self, cfg: DictConfig, overrides: tuple[str, ...], *, swept: bool) -> None:
        """Plan one job.

        Raises:
            SystemExit: the only job cannot run.
        """
        import torch

        from bench.errors import RunError
        from bench.run import dry_run

        threads = torch.get_num_threads()
        earlier = [run.run for run in self.runs if run.run]
        known = self.known if self.timed else None
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        planned = Planned(overrides)
        try:
            planned = dry_run(cfg, overrides, known=known, earlier=earlier, processes=processes)
        except Exception as error:  # the job itself will say what is wrong
            end_if_interrupted()
            kind = "" if isinstance(error, RunError) else f"{type(error).__name__}: "
            said = any(words == f"{kind}{error}" for _, words in self.wrong)
            self.wrong.append((overrides, f"{kind}{error}"))
            in_use = isinstance(error, RunError) and error.in_use  # another process ends it
            planned = Planned(overrides, state=ENDED if in_use else WRONG)
            if self.aloud and isinstance(error, RunError) and not said:
                name = f"{' '.join(overrides)}: " if swept else ""
                print(f"✗ {printable(name)}{error}", file=sys.stderr)
            elif self.aloud and not isinstance(error, RunError):
                raise
            if self.aloud and not swept:
                sys.exit(2)
        finally:
            torch.set_num_threads(threads)  # those of this job are not those of the next
            if torch.cuda.is_initialized():
                torch.cuda.empty_cache()
        self.runs.append(planned)


_planners: list[_Planner] = []
"""The one at work, if any: Hydra hands nothing to the jobs that it starts."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _plan_job(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    swept = hydra_config.mode is RunMode.MULTIRUN
    with open_dict(cfg):
        cfg.pop(SWEEP, None)
    _planners[-1].add(cfg, tuple(hydra_config.overrides.task), swept=swept)


def plan(lines: Sequence[Sequence[str]], *, at_once: int, timed: bool) -> Outlook:
    """The jobs of a sweep; one that cannot run is unknown.

    Args:
        lines: command lines, one for each grid.
        at_once: how many jobs will run at a time.
        timed: whether steps and batches are timed.
    """
    planner = _Planner(timed, aloud=False)
    _compose(lines, planner)
    return Outlook(tuple(planner.runs), at_once)


def dry_run(lines: Sequence[Sequence[str]], *, at_once: int) -> int:
    """Say what a command would do; the exit code.

    Raises:
        SystemExit: Hydra takes the line for none, or the only job cannot run.
    """
    planner = _Planner(timed=True, aloud=True)
    _compose(lines, planner)
    if planner.runs:
        print(printable(Outlook(tuple(planner.runs), at_once).text(), kept="\n"))
    return 1 if planner.wrong else 0


def survey(
    lines: Sequence[Sequence[str]], *, at_once: int, timed: bool
) -> tuple[list[Outlook], list[tuple[tuple[str, ...], str]]]:
    """The jobs of each command line, timed together, and those that cannot run with the reason.

    Args are those of `plan`.
    """
    planner = _Planner(timed, aloud=False)
    found = []
    for line in lines:
        before = len(planner.runs)
        _compose([line], planner)
        found.append(Outlook(tuple(planner.runs[before:]), at_once))
    return found, planner.wrong


def _compose(lines: Sequence[Sequence[str]], planner: _Planner) -> None:
    """Have Hydra compose all jobs in this process, whatever launches them later."""
    before = sys.argv
    _planners.append(planner)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder, _quiet():
            for line in lines:
                here = [w for w in line if not key(w).startswith((LAUNCHER, "hydra.launcher"))]
                here = [w for w in here if key(w) != "hydra.sweep.dir"]
                sys.argv = [before[0], *here, f"hydra.sweep.dir={jobs.quoted(folder)}"]
                with composed_once():
                    _plan_job()
    finally:
        _planners.pop()
        sys.argv = before


@contextmanager
def composed_once() -> Iterator[None]:
    """Have Hydra compose each job when it comes to it, and not all of them before as well.

    The plan has composed all jobs before the first one starts, so that nothing is delayed by it.
    """
    sweeper = _sweeper()
    validate = sweeper.validate_batch_is_legal
    sweeper.validate_batch_is_legal = lambda self, batch: None
    try:
        yield
    finally:
        sweeper.validate_batch_is_legal = validate


def _sweeper() -> Any:
    """The class of Hydra's sweeper.

    Hydra runs the modules of its plugins again when it looks for them, which makes another class
    than that of an earlier import.
    """
    Plugins.instance()
    return import_module("hydra._internal.core_plugins.basic_sweeper").BasicSweeper


@contextmanager
def listed_jobs(listed: Sequence[Sequence[str]]) -> Iterator[None]:
    """Have Hydra's sweep run these jobs, whatever its command line would sweep over.

    Args:
        listed: the overrides of each job.
    """
    sweeper = _sweeper()
    split = sweeper.__dict__["split_arguments"]
    batch = [list(words) for words in listed]
    sweeper.split_arguments = staticmethod(lambda overrides, max_batch_size: [batch])
    try:
        yield
    finally:
        sweeper.split_arguments = split


@contextmanager
def _quiet() -> Iterator[None]:
    """Say only what a user has to act on: the runs themselves will say the rest."""
    ours = logging.getLogger("bench")
    before = ours.level
    ours.setLevel(logging.ERROR)
    try:
        yield
    finally:
        ours.setLevel(before)
