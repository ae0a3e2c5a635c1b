"""One run from configuration to recorded rows: what to skip, resume, train, evaluate and record."""

import gc
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from bench.build import (
    build_budget,
    build_dataset,
    build_evaluator,
    build_model,
    build_options,
    build_trainer,
    plain,
)
from bench.config import Origin, check_kinds, check_names, recipe_hash, run_directory, varied
from bench.data.dataset import Dataset
from bench.errors import RunError, one_sentence
from bench.evaluation.evaluator import check_limits, check_settings
from bench.evaluation.sampling import SamplesNotFiniteError, label_frequencies
from bench.former import ABSENT, CLASS_LABELS, FORMER, overrides_of_before, value_at
from bench.runs.directory import RunDirectory, Status, recorded_config, was_made_with
from bench.runs.provenance import provenance
from bench.runs.trust import trusting
from bench.runs.wandb_mirror import WandbLogger, check_mode, lasting_id
from bench.runs.writer import Recorder
from bench.runtime.device import check_precision, choose_device, keep_freed_memory, set_threads
from bench.runtime.distributed import World, distributed
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
from bench.training.budget import Budget
from bench.training.callbacks import Observer, SilentObserver
from bench.training.loss_log import TrainingFailedError
from bench.training.trainer import Trainer

log = logging.getLogger("bench.run")

_SHOWN_CLASSES = 5

MAY_DIFFER = ("results_root", "data_root", "cache_root", "logger")
"""Parts of the configuration that may change when a run is resumed."""

BEFORE_DATA = (*MAY_DIFFER, "data_hash", "data_notes")
"""The same, and what is not known before the data is read."""


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
    with one_sentence(), trusting(_trusted(cfg), "trust=[{}]"):
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
        path, overrides = _directory(config, overrides)
        origin = Origin(varied(overrides), command, group)
        with distributed(device) as world:
            opened = RunDirectory(path) if world.is_main else nullcontext()
            with opened as records:
                if records is not None:
                    if _classes_make_no_difference(cfg, path):
                        cfg.evaluator.class_labels = FORMER[CLASS_LABELS]
                    records.check_config(plain(cfg), BEFORE_DATA)
                done = _ended_before(path, records, world)
                return done or _train(cfg, budget, device, world, path, records, origin)


def _trusted(cfg: DictConfig) -> list[str]:
    """Take `trust` out of the configuration: it is the command's, and no run's.

    Raises:
        ValueError: it is no list of names.
    """
    with open_dict(cfg):
        trust = cfg.pop("trust", None)
    names = list(trust) if isinstance(trust, ListConfig) else [trust]
    if trust is None or all(isinstance(name, str) for name in names):
        return [] if trust is None else names
    raise ValueError(f"trust must be a list of packages, got {trust}: write trust=[my_models]")


def _directory(config: Mapping[str, Any], overrides: Sequence[str]) -> tuple[Path, Sequence[str]]:
    """The run's directory and the overrides that name it.

    Where an override asks for what an earlier version did by default, the run that this version
    made is gone on with, whose directory is named by the other overrides.
    """

    def directory(named: Sequence[str]) -> Path:
        names = (config["dataset"]["name"], config["model"]["name"])
        return run_directory(Path(config["results_root"]), *names, named, config["seed"])

    path = directory(overrides)
    if recorded_config(path) is None:
        for fewer in overrides_of_before(overrides, config):
            if was_made_with(directory(fewer), config, BEFORE_DATA):
                return directory(fewer), fewer
    return path, overrides


def _classes_make_no_difference(cfg: DictConfig, path: Path) -> bool:
    """Whether a run of before evaluator.class_labels does not depend on it.

    That is so where the data has no classes or is balanced, or no sampler takes a class.
    """
    recorded = recorded_config(path)
    if recorded is None or value_at(recorded, CLASS_LABELS) is not ABSENT:
        return False
    if not was_made_with(path, plain(cfg), (*BEFORE_DATA, CLASS_LABELS)):
        return False  # refused for something else
    dataset = build_dataset(cfg, World())
    if label_frequencies(dataset, cfg.evaluator.class_labels) is None:
        return True
    model = build_model(cfg, dataset, torch.device("cpu"))
    return not any(sampler.classes for sampler in model.samplers.values())


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
