"""The Hydra entry: thin and fast to start; torch is imported only once a job runs."""

import gc
import hashlib
import importlib.util
import logging
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from hydra.core.hydra_config import HydraConfig
from hydra.errors import HydraException
from hydra.types import RunMode
from omegaconf import DictConfig, open_dict

from bench.choices import check_choices
from bench.command_line import (
    DRY_RUN,
    LAUNCHER,
    SWEEP,
    check_config_dir,
    check_flags,
    check_names,
    expand,
    first_folder,
    is_multirun,
    key,
    only_prints,
    values,
    with_jobs,
)
from bench.runtime import jobs
from bench.runtime.atomic_files import check_room
from bench.runtime.cores import cores
from bench.runtime.extras import check_launcher
from bench.runtime.interrupts import end_if_interrupted
from bench.runtime.jobs import Outcome, Sweep
from bench.runtime.printing import PrintableFormatter, StderrHandler, duration, printable, words

if TYPE_CHECKING:
    from bench.run import RunResult
    from bench.runtime.outlook import Outlook
    from bench.runtime.progress import TrainingProgress

log = logging.getLogger("bench")


@hydra.main(version_base="1.3", config_path="pkg://conf", config_name="config")
def _job(cfg: DictConfig) -> None:
    """Run one job; in a sweep, a failure is reported and the next job starts."""
    from bench.errors import RunError
    from bench.run import run
    from bench.runs.announcements import say_once

    _log_to_stderr()
    hydra_config = HydraConfig.get()
    swept = hydra_config.mode is RunMode.MULTIRUN
    if swept and jobs.REPORT not in os.environ:
        print("bench: a file sets hydra.mode: leave it out there, and give -m", file=sys.stderr)
        sys.exit(2)
    with open_dict(cfg):
        cfg.pop(SWEEP, None)  # which other jobs there are is not of this one
    overrides = list(hydra_config.overrides.task)
    if swept:
        say_once()
    goes_on = swept and not _under_torchrun()  # other ranks wait for this one: end them all
    shown = _Shown.of(overrides, swept=swept)
    log.info("▶ %s", shown.title)
    try:
        with _share(hydra_config.launcher, int(hydra_config.job.num) if swept else 0):
            result = run(
                cfg,
                overrides,
                command=_command(overrides, hydra_config.runtime),
                group=os.environ.get(jobs.SWEEP) if swept else None,
                progress=shown.progress(),
                earlier=shown.earlier,
            )
    except RunError as error:
        end_if_interrupted()
        left = swept and error.in_use
        level = logging.WARNING if left else logging.ERROR
        log.log(level, "✗ %s", f"{shown.label}: {error}" if swept else error)
        if not goes_on:
            sys.exit(2)
        jobs.tell(Outcome(str(error), left, tuple(overrides)))
        return
    except Exception as error:
        end_if_interrupted()
        if not goes_on:
            raise
        log.exception("✗ %s", shown.label)  # a bug or the machine: shown whole
        jobs.tell(Outcome(f"{type(error).__name__}: {error}", overrides=tuple(overrides)))
        return
    finally:
        gc.enable()
    failure = "" if result.status in ("finished", "repeated") else result.reason
    told = Outcome(failure, overrides=tuple(overrides), run=str(result.directory), rest=result.rest)
    if swept and _is_main():
        jobs.tell(told)
    _say_result(result, shown.label if swept else str(result.directory))
    if swept:
        return
    if failure:
        sys.exit(1)
    if _is_main():
        _say_what_makes_its_table(result.directory)


def _say_result(result: "RunResult", label: str) -> None:
    """One line on what a run came to; nothing where it was skipped, which has been said."""
    if result.status == "failed":
        log.error("✗ %s: %s", label, result.reason)
    elif result.status == "repeated":
        log.info("✓ %s · skipped: %s", label, result.reason)
    elif result.rest:
        trained = f"{duration(result.training)} + " if result.training else ""
        seconds = f"{trained}{duration(result.rest)}"
        log.info("✓ %s", " · ".join(filter(None, (label, result.score, seconds))))


def _say_what_makes_its_table(run: Path) -> None:
    """The command that compares a run with the others of its data set."""
    command = shlex.join(["python", "-m", "bench.compare", str(run.parents[2])])
    with words():
        print(printable(f"Table and report: {command}"))


@dataclass(frozen=True)
class _Shown:
    """How one job is shown, and what its sweep knows of it.

    Attributes:
        overrides: of its command line.
        label: what tells it apart from others.
        outlook: all jobs of the sweep; None outside one.
    """

    overrides: tuple[str, ...]
    label: str
    outlook: "Outlook | None" = None

    @classmethod
    def of(cls, overrides: Sequence[str], *, swept: bool) -> "_Shown":
        """What is known of a job in this process."""
        from bench.runtime.outlook import labels, read

        mine = tuple(overrides)
        report = os.environ.get(jobs.REPORT)
        outlook = read(jobs.plan_file(Path(report))) if swept and report else None
        if outlook is None or outlook.place(mine) is None:
            return cls(mine, " ".join(overrides) or "defaults")
        place = outlook.place(mine)
        assert place is not None
        return cls(mine, labels(outlook.runs)[place[0] - 1], outlook)

    @property
    def place(self) -> tuple[int, int] | None:
        """Where it is among all, counted from 1."""
        return None if self.outlook is None else self.outlook.place(self.overrides)

    @property
    def title(self) -> str:
        """What is said as it starts."""
        where = "" if self.place is None else "run {} of {}: ".format(*self.place)
        return f"{where}{self.label}"

    @property
    def earlier(self) -> list[str]:
        """Directories of the runs before it."""
        if self.outlook is None or self.place is None:
            return []
        return [run.run for run in self.outlook.runs[: self.place[0] - 1] if run.run]

    def progress(self) -> "TrainingProgress":
        """The line of the run."""
        from bench.runtime.progress import TrainingProgress

        outlook = self.outlook
        label = "" if outlook is None else self.label  # a run alone has a shorter name
        progress = TrainingProgress(label, place=self.place, visible=_is_main())
        if outlook is not None and self.place is not None:
            progress.forecast = outlook.runs[self.place[0] - 1].forecast
            report = Path(os.environ[jobs.REPORT])
            progress.others = lambda own: outlook.left(self.overrides, own, jobs.told(report))
        return progress


@contextmanager
def _share(launcher: Mapping[str, Any], job: int) -> Iterator[None]:
    """Have this job's GPU and threads where several jobs run at once on this machine."""
    import torch

    from bench.runtime.progress import share_terminal

    at_once, gpu_count = jobs.at_once(launcher, cores=cores()), jobs.gpus()
    together = at_once * int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    share = max(1, cores() // together)
    if at_once == 1:
        torch.set_num_threads(min(share, torch.get_num_threads()))
        yield
        return
    share_terminal()
    torch.set_num_threads(share)
    with jobs.free_gpu(job, gpu_count) as gpu:
        if gpu is not None:
            os.environ[jobs.GPU] = str(gpu)
        yield


def _log_to_stderr() -> None:
    """Send our messages to stderr, one plain line each; Hydra has just silenced all loggers."""
    ours = logging.getLogger("bench")
    ours.handlers = [StderrHandler()]
    ours.handlers[0].setFormatter(PrintableFormatter())
    ours.setLevel(logging.INFO if _is_main() else logging.ERROR)
    ours.propagate = False
    for name, logger in logging.root.manager.loggerDict.items():
        if name.partition(".")[0] == "bench" and isinstance(logger, logging.Logger):
            logger.disabled = False


def _is_main() -> bool:
    """Whether this process speaks for all of its run."""
    return os.environ.get("RANK", "0") == "0"


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
    arguments = [word for word in sys.argv[1:] if word != DRY_RUN]
    dry = len(arguments) < len(sys.argv) - 1
    try:
        check_arguments(arguments)
        lines = checked_lines(expand(arguments))
        swept = is_multirun(arguments)
        sweep = _open_sweep(arguments, lines[0]) if swept and not dry else None
    except (ValueError, OSError) as error:
        print(f"bench: {printable(str(error))}", file=sys.stderr)
        sys.exit(2)
    if dry:
        from bench.planning import dry_run

        sys.exit(dry_run(lines, at_once=at_once(arguments)) if _is_main() else 0)
    if sweep is None:
        (sys.argv[1:],) = lines
        with words() if only_prints(arguments) else nullcontext():
            _job()
        _part()
        return
    with sweep, _planned(arguments, lines, sweep) as outlook:
        broken = not _run_lines(lines, sweep, outlook)
        _part()
        outcomes = jobs.collect(sweep.report)
    _say_what_became(outcomes)
    if broken or any(outcome.failed for outcome in outcomes):
        sys.exit(1)


def check_arguments(arguments: Sequence[str]) -> None:
    """Refuse what no command can take.

    Raises:
        ValueError: names, flags, a folder of configurations, a launcher or a choice is wrong.
    """
    check_names(arguments)
    check_flags(arguments)
    check_config_dir(arguments)
    check_launcher(arguments)
    check_choices([argument for argument in arguments if key(argument) != SWEEP])


def checked_lines(lines: Sequence[Sequence[str]]) -> list[list[str]]:
    """Command lines, each with the number of jobs that run at once.

    Raises:
        ValueError: a choice or setting is unknown, or more threads than cores are asked for.
    """
    machine = {"gpu_count": jobs.gpus(), "cores": cores()}
    found = [with_jobs(line, **machine) for line in lines]
    for line in found:
        check_choices(line)
    return found


def run_listed(listed: Sequence[Sequence[str]], words: Sequence[str], outlook: "Outlook") -> None:
    """Run jobs that are listed one by one as a sweep, by whatever launcher (bench.decide).

    Args:
        listed: the overrides of each job.
        words: flags and overrides of hydra that all of them share.
        outlook: the jobs, in order.

    Raises:
        OSError: there is no room for results.
        ValueError: other machines would not know where the results are.
        SystemExit: Hydra does not accept the words, or a launcher broke off.
    """
    from bench.planning import composed_once, listed_jobs

    gc.disable()  # until training starts
    line = ["-m", *words]
    sweep = _open_sweep(line, [*words, *listed[0]])
    with sweep, composed_once(), listed_jobs(listed):
        outlook.write(jobs.plan_file(sweep.report))
        if not _run_jobs(line, sweep):
            sys.exit(1)


@contextmanager
def _planned(
    arguments: Sequence[str], lines: Sequence[Sequence[str]], sweep: Sweep
) -> "Iterator[Outlook | None]":
    """Say what is to come, and leave it to the processes of the jobs; None in ranks above 0.

    Jobs of other machines are not timed here, and those of joblib in a process of their own, whose
    GPU and threads are free when the first of them starts.
    """
    if not _is_main():
        yield None
        return
    from bench.planning import composed_once, plan

    launchers, together = set(values(arguments, LAUNCHER)), at_once(arguments)
    given = {"at_once": together, "timed": launchers <= set(jobs.LOCAL)}
    if "joblib" in launchers:
        from bench.runtime.joblib_processes import in_a_process

        outlook = in_a_process(plan, lines, jobs=together, **given)
    else:
        outlook = plan(lines, **given)
    outlook.write(jobs.plan_file(sweep.report))
    _log_to_stderr()
    for line in outlook.text().splitlines():
        log.info("  %s", line)
    with composed_once():
        yield outlook


def at_once(arguments: Sequence[str]) -> int:
    """How many jobs of a command run at a time on this machine."""
    words = with_jobs(arguments, gpu_count=jobs.gpus(), cores=cores())
    if "joblib" not in values(words, LAUNCHER):
        return 1
    return jobs.at_once({"n_jobs": values(words, "hydra.launcher.n_jobs")[-1]}, cores=cores())


def _say_what_became(outcomes: Sequence[Outcome]) -> None:
    """The table of a sweep, and how many runs have none."""
    if left := sum(outcome.left for outcome in outcomes):
        print(f"{left} runs were left to the processes that are at them", file=sys.stderr)
    runs = list(dict.fromkeys(Path(outcome.run) for outcome in outcomes if outcome.run))
    if runs and _is_main():
        from bench.compare.cli import show_runs

        show_runs([run for run in runs if run.exists()])


def _run_lines(lines: list[list[str]], sweep: Sweep, outlook: "Outlook | None") -> bool:
    """Run the jobs of all command lines; whether their launchers came to the end of them.

    Joblib is given the jobs of all grids at once: cores would idle while the last ones of a grid
    end. Lines whose experiments or words of Hydra differ are run one after the other, as other
    launchers run all.

    Raises:
        SystemExit: Hydra does not accept a line.
    """
    given = {
        tuple(sorted(w for w in line if key(w).startswith(("hydra", "experiment"))))
        for line in lines
    }
    joblib = values(lines[0], LAUNCHER) == ["joblib"]
    alike = len(lines) > 1 and len(given) == 1
    if outlook is None or _under_torchrun() or not alike or not joblib:
        ended = [_run_jobs(line, sweep) for line in lines]  # all of them, whatever one says
        return all(ended)
    from bench.planning import listed_jobs

    once = {frozenset(run.overrides): run.overrides for run in outlook.runs}
    with listed_jobs(list(once.values())):
        return _run_jobs(lines[0], sweep)


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
