"""One run from configuration to recorded rows: what to skip, resume, train, evaluate and record."""

import gc
import logging
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from omegaconf import DictConfig, OmegaConf

from bench.budget import Budget
from bench.build import (
    build_budget,
    build_dataset,
    build_evaluator,
    build_options,
    build_trainer,
    plain,
)
from bench.data.dataset import Dataset
from bench.distributed import World, distributed
from bench.drawing import SamplesNotFiniteError
from bench.errors import RunError, one_sentence
from bench.evaluator import check_limits, check_settings
from bench.identity import Origin, check_names, recipe_hash, run_directory, varied
from bench.loggers import WandbLogger, check_mode, lasting_id
from bench.losses import TrainingFailedError
from bench.machine import check_precision, choose_device, keep_freed_memory, set_threads
from bench.memory import PeakMemory
from bench.observer import Observer, SilentObserver
from bench.progress import TrainingProgress
from bench.provenance import provenance
from bench.recorder import Recorder
from bench.records import RunDirectory, Status
from bench.settings import check_kinds
from bench.trainer import Trainer

log = logging.getLogger("bench.run")

_SHOWN_CLASSES = 5

MAY_DIFFER = ("results_root", "data_root", "cache_root", "logger")
"""Parts of the configuration that may change when a run is resumed."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        directory: the run directory.
        status: "finished" or "failed".
        reason: why it failed; empty otherwise.
    """

    directory: Path
    status: str
    reason: str = ""


def run(
    cfg: DictConfig, overrides: Sequence[str] = (), *, command: str = "", group: str | None = None
) -> RunResult:
    """Train and evaluate the configured model, or go on where an earlier call was interrupted.

    Args:
        cfg: the composed configuration, conf/config.yaml.
        overrides: the command line's overrides, which name the variant.
        command: the command line, for the record.
        group: name of the sweep that the run belongs to.

    Raises:
        RunError: the configuration, the data or the machine does not allow the run.
    """
    origin = Origin(varied(overrides), command, group)
    with one_sentence():
        OmegaConf.resolve(cfg)
        config = plain(cfg)
        check_kinds(config)
        check_names(config)
        check_precision(cfg.precision)
        check_mode(cfg.logger.wandb)
        device = choose_device(cfg.device)
        budget = build_budget(cfg.budget)
        set_threads(cfg.threads)
        keep_freed_memory()
        check_settings(
            cfg.evaluator.samples,
            cfg.evaluator.batch_size,
            cfg.evaluator.cost_seconds,
            cfg.evaluator.resamples,
            cfg.evaluator.class_labels,
        )
        path = run_directory(
            Path(cfg.results_root), cfg.dataset.name, cfg.model.name, overrides, cfg.seed
        )
        with distributed(device) as world:
            opened = RunDirectory(path) if world.is_main else nullcontext()
            with opened as records:
                if records is not None:
                    records.check_config(plain(cfg), (*MAY_DIFFER, "data_hash", "data_notes"))
                done = _ended_before(path, records, world)
                return done or _train(cfg, budget, device, world, path, records, origin)


def _train(
    cfg: DictConfig,
    budget: Budget,
    device: torch.device,
    world: World,
    path: Path,
    records: RunDirectory | None,
    origin: Origin,
) -> RunResult:
    """Build everything, train, evaluate and record how it ended."""
    dataset = build_dataset(cfg, world)
    memory = PeakMemory(device)
    trainer = build_trainer(cfg, budget, dataset, device, world, path / "checkpoints")
    _announce(dataset, trained=bool(trainer.phases))
    trainer.resume()
    gc.enable()  # bench.cli disables it for a quicker start
    progress = TrainingProgress(path.as_posix(), visible=world.is_main)
    observer: Observer = SilentObserver()
    if records is not None:
        options = build_options(cfg, dataset)
        check_limits(trainer.model, options.samples)
        with memory.excluding():
            evaluator = build_evaluator(cfg, dataset, options, device)
        of_data: dict[str, object] = {"data_hash": dataset.hash}
        if dataset.notes:
            of_data["data_notes"] = list(dataset.notes)
        records.write_config(plain(cfg) | of_data, (*MAY_DIFFER, "data_notes"))
        observer = Recorder(
            records,
            trainer,
            evaluator,
            _identity(cfg, path, origin) | provenance(evaluator, trainer),
            _wandb(cfg, path, origin.group),
            progress,
            memory,
            origin.command,
        )
    status = _fit(trainer, observer, progress, origin.command)
    if records is not None:
        records.write_status(status)
    if status.phase == "evaluation" and world.size > 1:
        raise RunError(status.reason)  # the other ranks wait for this one: end them all
    return RunResult(path, status.status, status.reason)


def _announce(dataset: Dataset, *, trained: bool) -> None:
    """Say what the data is, how training augments it, and what was assumed when it was read."""
    shape = "x".join(map(str, dataset.shape))
    words = f"{len(dataset.train):,} training and {len(dataset.test):,} held-out samples of {shape}"
    if dataset.classes:
        more = ", …" if dataset.num_classes > _SHOWN_CLASSES else ""
        shown = ", ".join(dataset.classes[:_SHOWN_CLASSES])
        words += f", {dataset.num_classes} classes ({shown}{more})"
    if trained:
        words += "; augmentation: " + ("horizontal flips" if dataset.flip else "none")
    log.info("  %s: %s", dataset.name, words)
    for note in dataset.notes:
        log.info("  %s: %s", dataset.name, note)


def _fit(trainer: Trainer, observer: Observer, progress: TrainingProgress, command: str) -> Status:
    """Train and evaluate; how it ended.

    Raises:
        RuntimeError: from a ValueError, which can only be a bug once everything is built, and is
            not to be taken for the user's.
    """
    try:
        with progress:
            trainer.fit(observer)
    except TrainingFailedError as error:
        return Status("failed", str(error), error.step, error.phase, command)
    except SamplesNotFiniteError as error:
        return Status("failed", str(error), trainer.spent.step, "evaluation", command)
    except ValueError as error:
        run = trainer.checkpoints.parent
        raise RuntimeError(f"{run}: a bug, in the model or in bench: {error}") from error
    finally:
        observer.close()
    return Status("finished", step=trainer.spent.step, command=command)


def _identity(cfg: DictConfig, path: Path, origin: Origin) -> dict[str, str | int]:
    """The columns that say which run a row is of."""
    return {
        "dataset": cfg.dataset.name,
        "model": cfg.model.name,
        "variant": path.parent.name,
        "seed": cfg.seed,
        "overrides": " ".join(origin.overrides),
        "recipe": recipe_hash(plain(cfg.model), flip=cfg.dataset.flip),
    }


def _ended_before(path: Path, records: RunDirectory | None, world: World) -> RunResult | None:
    """What an earlier call came to, where it came to an end; the same on every rank."""
    status = records.status if records is not None else None
    ended = status is not None and status.status != "running"
    if ended and records is not None and status is not None and status.status == "finished":
        ended = records.has_every_point()
        if not ended:
            log.warning("⚠ %s is finished, but rows of its eval.csv are missing", path)
    if not world.any(ended):
        return None
    if status is None:
        return RunResult(path, "finished")
    log.info("%s already %s: skipped (delete it to run again)", path, status.status)
    return RunResult(path, status.status, status.reason)


def _wandb(cfg: DictConfig, path: Path, group: str | None) -> WandbLogger:
    return WandbLogger(
        cfg.logger.wandb,
        path,
        project=cfg.logger.project,
        group=cfg.logger.group or group,
        name=f"{cfg.dataset.name}/{cfg.model.name}/{path.parent.name}/{path.name}",
        run_id="" if cfg.logger.wandb == "disabled" else lasting_id(path),
        config=plain(cfg),
    )
