"""What a command will do, before it does it: every job is composed, checked and timed."""

import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.plugins import Plugins
from hydra.types import RunMode
from omegaconf import DictConfig, OmegaConf, open_dict

from bench.command_line import LAUNCHER, SWEEP, key
from bench.runtime import jobs
from bench.runtime.interrupts import end_if_interrupted
from bench.runtime.outlook import DONE, ENDED, WRONG, Outlook, Planned
from bench.runtime.printing import printable
from bench.runtime.progress import Forecast

log = logging.getLogger("bench.planning")

Wrong = tuple[tuple[str, ...], str]
"""The overrides of a job that cannot run, and the reason."""


class _Collector(Protocol):
    """Takes the jobs of a command as Hydra composes them."""

    def add(self, cfg: DictConfig, overrides: tuple[str, ...], *, swept: bool) -> None:
        """Take one job."""


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
    wrong: list[Wrong] = field(default_factory=list)

    def add(self, cfg: DictConfig, overrides: tuple[str, ...], *, swept: bool) -> None:
        """Plan one job.

        Raises:
            SystemExit: the only job cannot run.
        """
        from bench.errors import RunError
        from bench.run import dry_run

        earlier = [run.run for run in self.runs if run.run]
        known = self.known if self.timed else None
        processes = int(os.environ.get("WORLD_SIZE", "1"))
        planned = Planned(overrides)
        try:
            with _left_as_it_was():
                planned = dry_run(cfg, overrides, known=known, earlier=earlier, processes=processes)
        except Exception as error:  # the job itself will say what is wrong
            end_if_interrupted()
            reason = _reason(error)
            said = any(words == reason for _, words in self.wrong)
            self.wrong.append((overrides, reason))
            in_use = isinstance(error, RunError) and error.in_use  # another process ends it
            planned = Planned(overrides, state=ENDED if in_use else WRONG)
            if self.aloud and isinstance(error, RunError) and not said:
                name = f"{' '.join(overrides)}: " if swept else ""
                print(f"✗ {printable(name)}{error}", file=sys.stderr)
            elif self.aloud and not isinstance(error, RunError):
                raise
            if self.aloud and not swept:
                sys.exit(2)
        self.runs.append(planned)


@dataclass
class _Reader:
    """Collects the jobs of a command, and reads each data set of those to run once.

    Attributes:
        reads: whether data is read; it may lie on other machines.
        jobs: the jobs so far, each with what Hydra knows of it.
        wrong: why jobs cannot run, each with its overrides.
        read: the data sets that were read, as they are configured.
    """

    reads: bool
    jobs: list[tuple[DictConfig, tuple[str, ...], Any]] = field(default_factory=list)
    wrong: list[Wrong] = field(default_factory=list)
    read: set[str] = field(default_factory=set)

    def add(self, cfg: DictConfig, overrides: tuple[str, ...], *, swept: bool) -> None:
        """Take one job."""
        from bench.run import check_data, dry_run

        self.jobs.append((cfg, overrides, HydraConfig.instance().cfg))
        if self.wrong:
            return
        try:
            with _left_as_it_was():
                planned = dry_run(deepcopy(cfg), overrides)
                data = OmegaConf.to_yaml(cfg.dataset, resolve=True)
                if self.reads and planned.state not in DONE and data not in self.read:
                    check_data(deepcopy(cfg), overrides)
                    self.read.add(data)
        except Exception as error:  # the job itself would say it
            end_if_interrupted()
            self.wrong.append((overrides, _reason(error)))


@contextmanager
def _left_as_it_was() -> Iterator[None]:
    """Give the next job the threads and the memory that this one had."""
    import torch

    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)
        if torch.cuda.is_initialized():
            torch.cuda.empty_cache()


def _reason(error: Exception) -> str:
    """Why a job cannot run; a bug is named as what it is."""
    from bench.errors import RunError

    return str(error) if isinstance(error, RunError) else f"{type(error).__name__}: {error}"


_collectors: list[_Collector] = []
"""The one at work, if any: Hydra hands nothing to the jobs that it starts."""


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _plan_job(cfg: DictConfig) -> None:
    hydra_config = HydraConfig.get()
    swept = hydra_config.mode is RunMode.MULTIRUN
    with open_dict(cfg):
        cfg.pop(SWEEP, None)
    _collectors[-1].add(cfg, tuple(hydra_config.overrides.task), swept=swept)


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
) -> tuple[list[Outlook], list[Wrong]]:
    """The jobs of each command line, timed together, or those that cannot run with the reason.

    All data sets that are needed on this machine are read before the first job is timed, and the
    first job that cannot run ends it: nobody waits for the times of a command that is refused.

    Args are those of `plan`.
    """
    reader = _Reader(reads=timed)
    ends = []
    for line in lines:
        _compose([line], reader)
        ends.append(len(reader.jobs))
    planner = _Planner(timed, aloud=False)
    with _quiet():
        for cfg, overrides, known in reader.jobs:
            if reader.wrong or planner.wrong:
                break
            HydraConfig.instance().cfg = known  # which a configuration may ask
            planner.add(cfg, overrides, swept=True)
    starts = [0, *ends[:-1]]
    runs = [planner.runs[start:end] for start, end in zip(starts, ends, strict=True)]
    return [Outlook(tuple(each), at_once) for each in runs], [*reader.wrong, *planner.wrong]


def _compose(lines: Sequence[Sequence[str]], collector: _Collector) -> None:
    """Have Hydra compose all jobs in this process, whatever launches them later."""
    before = sys.argv
    _collectors.append(collector)
    try:
        with tempfile.TemporaryDirectory(prefix="bench-plan-") as folder, _quiet():
            for line in lines:
                here = [w for w in line if not key(w).startswith((LAUNCHER, "hydra.launcher"))]
                here = [w for w in here if key(w) != "hydra.sweep.dir"]
                sys.argv = [before[0], *here, f"hydra.sweep.dir={jobs.quoted(folder)}"]
                with composed_once():
                    _plan_job()
    finally:
        _collectors.pop()
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
    every = [list(words) for words in listed]

    def batches(overrides: Sequence[Any], max_batch_size: int | None) -> list[list[list[str]]]:
        size = max_batch_size or len(every)
        return [every[start : start + size] for start in range(0, len(every), size)]

    sweeper.split_arguments = staticmethod(batches)
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
