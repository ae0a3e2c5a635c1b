"""One run from its configuration: checked, skipped if it has ended, else begun or gone on with."""

import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from bench.build import check_keys, plain
from bench.config import MIN_SAMPLES, read_settings
from bench.errors import one_sentence
from bench.evaluation.extractors.registry import check_extractors
from bench.evaluation.options import check_size
from bench.evaluation.published import check_published
from bench.job import Job, RunResult
from bench.runs.directory import RunDirectory
from bench.runs.trust import trusting
from bench.runs.which import place_of, precision_of, standing_for
from bench.runtime.device import choose_device, keep_freed_memory, set_threads
from bench.runtime.distributed import World, distributed
from bench.runtime.outlook import ENDED, REPEATED, Planned
from bench.runtime.progress import Forecast, TrainingProgress
from bench.variant import Origin, varied

log = logging.getLogger("bench.run")


def run(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    *,
    command: str = "",
    group: str | None = None,
    progress: TrainingProgress | None = None,
    earlier: Collection[str] = (),
) -> RunResult:
    """Train and evaluate the configured model, or go on where an earlier call was interrupted.

    Args:
        cfg: the composed configuration, conf/config.yaml.
        overrides: the command line's overrides, which name the variant.
        command: the command line, for the record.
        group: name of the sweep that the run belongs to.
        progress: what shows the run; None for nothing.
        earlier: directories of the runs that come before this one in its sweep.

    Raises:
        RunError: the configuration, the data or the machine does not allow the run.
    """
    progress = progress or TrainingProgress("", visible=False)
    start = time.perf_counter()
    with _checked(cfg, overrides, command, group) as job, distributed(job.device) as world:
        stands = (
            standing_for(job.settings, job.config, job.path, earlier) if world.is_main else None
        )
        if world.any(stands is not None):
            words = "" if stands is None else f"its scores do not depend on the seed: see {stands}"
            return RunResult(job.path, "repeated", words)
        opened = RunDirectory(job.path) if world.is_main else nullcontext()
        with opened as records:
            job = job.of_record(records)
            if ended := _ended_before(job.path, records, world):
                return ended
            return job.train(records, world, progress, start)


def dry_run(
    cfg: DictConfig,
    overrides: Sequence[str] = (),
    *,
    known: dict[str, Forecast] | None = None,
    earlier: Collection[str] = (),
    processes: int = 1,
) -> Planned:
    """Check all that a run would check, time a step and batches, and leave no result.

    Data is read, and kept in the cache, as a run would do.

    Args:
        cfg: the composed configuration, conf/config.yaml.
        overrides: the command line's overrides, which name the variant.
        known: what runs of some kinds take, which is added to; None for not timing anything.
        earlier: directories of the runs that come before this one in its sweep.
        processes: that will share each batch.

    Raises:
        RunError: the configuration, the data or the machine does not allow the run.
    """
    with _checked(cfg, overrides) as job:
        planned = Planned(tuple(overrides), str(job.path), *job.names())
        if standing_for(job.settings, job.config, job.path, earlier) is not None:
            return replace(planned, state=REPEATED)
        records = RunDirectory(job.path, reading=True)
        records.close()  # to keep nobody from it
        job = job.of_record(records)
        if _ended_before(job.path, records, World()):
            return replace(planned, state=ENDED)
        return planned if known is None else job.plan(records, planned, known, processes)


def check_data(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Check the settings of a run, and that its data can be read; it is kept in the cache.

    Args are those of `dry_run`.

    Raises:
        RunError: they cannot.
    """
    with _checked(cfg, overrides) as job:
        job.dataset(World())


@contextmanager
def _checked(
    cfg: DictConfig, overrides: Sequence[str], command: str = "", group: str | None = None
) -> Iterator["Job"]:
    """The run that a configuration asks for; errors inside become a `RunError`."""
    with one_sentence(), trusting(_trusted(cfg, overrides), "trust=[{}]"):
        check_keys(cfg, overrides)
        OmegaConf.resolve(cfg)
        config = plain(cfg)
        settings = read_settings(config)
        check_extractors(settings.evaluator.extractor, settings.evaluator.weights)
        check_published(settings.evaluator.reference)
        check_size(settings.evaluator.samples or MIN_SAMPLES, settings.evaluator.resamples)
        device = choose_device(settings.device)
        set_threads(settings.threads)
        keep_freed_memory()
        path, overrides = place_of(settings, config, overrides)
        config["precision"], said = precision_of(settings.precision, device, path)
        settings = read_settings(config)
        yield Job(settings, config, path, Origin(varied(overrides), command, group), device, said)


def _trusted(cfg: DictConfig, overrides: Sequence[str]) -> list[str]:
    """Take `trust` out of the configuration: it is the command's, and no run's.

    Raises:
        ValueError: it is no list of names, or a file gives it.
    """
    with open_dict(cfg):
        trust = cfg.pop("trust", None)
    names = list(trust) if isinstance(trust, ListConfig) else [] if trust is None else [trust]
    if not all(isinstance(name, str) for name in names):
        raise ValueError(f"trust must be a list of packages, got {trust}: write trust=[my_models]")
    given = (override.lstrip("+").partition("=")[0] for override in overrides)
    if names and "trust" not in given:
        raise ValueError(
            f"trust is [{', '.join(names)}] in a configuration file: only the command line can "
            f"name packages to trust, give trust=[{','.join(names)}]"
        )
    return names


def _ended_before(path: Path, records: RunDirectory | None, world: World) -> RunResult | None:
    """What an earlier call came to, where it came to an end; the same on every rank."""
    status = records.status if records is not None else None
    ended = status is not None and status.status != "running"
    if records is not None and status is not None and status.status == "finished":
        ended = records.has_every_point()
        if not ended:
            log.warning("⚠ %s is finished, but rows of its eval.csv are missing", path)
    if not world.any(ended):
        return None
    if status is None:
        return RunResult(path, "finished")
    log.info("%s already %s: skipped (delete it to run again)", path, status.status)
    return RunResult(path, status.status, status.reason)
