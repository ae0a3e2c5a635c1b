"""One run from configuration to recorded rows: what to skip, resume, train, evaluate and record."""

import gc
import logging
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from omegaconf import DictConfig, ListConfig, OmegaConf, open_dict

from bench.build import (
    build_dataset,
    build_evaluator,
    build_model,
    build_options,
    build_trainer,
    cache_root,
    check_root,
    plain,
)
from bench.config import (
    MIN_SAMPLES,
    Origin,
    Settings,
    read_settings,
    run_directory,
    varied,
)
from bench.data.dataset import Dataset
from bench.errors import RunError, one_sentence
from bench.evaluation.evaluator import check_limits, check_size
from bench.evaluation.extractors.registry import check_extractors
from bench.evaluation.sampling import SamplesNotFiniteError, label_frequencies
from bench.former import (
    ABSENT,
    CLASS_LABELS,
    FORMER,
    overrides_of_before,
    recipe_hash,
    value_at,
)
from bench.runs.directory import RunDirectory, Status, recorded_config, was_made_with
from bench.runs.provenance import provenance
from bench.runs.shorter import continue_shorter
from bench.runs.trust import trusting
from bench.runs.wandb_mirror import WandbLogger
from bench.runs.writer import Instruments, Recorder
from bench.runtime.device import choose_device, keep_freed_memory, set_threads
from bench.runtime.distributed import World, distributed
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
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
    with one_sentence(), trusting(_trusted(cfg, overrides), "trust=[{}]"):
        check_root(cfg)
        OmegaConf.resolve(cfg)
        config = plain(cfg)
        settings = read_settings(config)
        check_extractors(settings.evaluator.extractor, settings.evaluator.weights)
        check_size(settings.evaluator.samples or MIN_SAMPLES, settings.evaluator.resamples)
        device = choose_device(settings.device)
        set_threads(settings.threads)
        keep_freed_memory()
        path, overrides = _directory(settings, config, overrides)
        origin = Origin(varied(overrides), command, group)
        with distributed(device) as world:
            opened = RunDirectory(path) if world.is_main else nullcontext()
            with opened as records:
                if records is not None:
                    if _classes_make_no_difference(settings, config, path):
                        config["evaluator"]["class_labels"] = FORMER[CLASS_LABELS]
                        settings = read_settings(config)
                    records.check_config(config, BEFORE_DATA)
                if ended := _ended_before(path, records, world):
                    return ended
                return _Job(settings, config, path, origin, device, world).train(records)


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


def _directory(
    settings: Settings, config: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[Path, Sequence[str]]:
    """The run's directory and the overrides that name it.

    Where an override asks for what an earlier version did by default, the run that this version
    made is continued, whose directory is named by the other overrides.
    """

    def directory(named: Sequence[str]) -> Path:
        names = (settings.dataset.name, settings.model.name)
        return run_directory(settings.results_root, *names, named, settings.seed)

    path = directory(overrides)
    if recorded_config(path) is None:
        for fewer in overrides_of_before(overrides, config):
            if was_made_with(directory(fewer), config, BEFORE_DATA):
                return directory(fewer), fewer
    return path, overrides


def _classes_make_no_difference(settings: Settings, config: Mapping[str, Any], path: Path) -> bool:
    """Whether a run made before evaluator.class_labels existed does not depend on it.

    That is so where the data has no classes or is balanced, or no sampler takes a class.
    """
    recorded = recorded_config(path)
    if recorded is None or value_at(recorded, CLASS_LABELS) is not ABSENT:
        return False
    if not was_made_with(path, config, (*BEFORE_DATA, CLASS_LABELS)):
        return False  # refused for something else
    dataset = build_dataset(settings, World())
    if label_frequencies(dataset, settings.evaluator.class_labels) is None:
        return True
    model = build_model(settings.model, dataset, torch.device("cpu"), seed=settings.seed)
    return not any(sampler.classes for sampler in model.samplers.values())


@dataclass(frozen=True)
class _Job:
    """A run that is to be trained.

    Attributes:
        settings: checked.
        config: the plain values that they were read from, for the record.
        path: the run directory.
        origin: where the run came from.
        device: where it is trained.
        world: this process among others.
    """

    settings: Settings
    config: Mapping[str, Any]
    path: Path
    origin: Origin
    device: torch.device
    world: World

    def train(self, records: RunDirectory | None) -> RunResult:
        """Build everything, train, evaluate and record how it ended."""
        dataset = build_dataset(self.settings, self.world)
        memory = PeakMemory(self.device)
        checkpoints = self.path / "checkpoints"
        trainer = build_trainer(self.settings, dataset, self.device, self.world, checkpoints)
        _announce(dataset, trained=bool(trainer.phases))
        trainer.resume()
        gc.enable()  # bench.cli disables it for a quicker start
        progress = TrainingProgress(self.path.as_posix(), visible=self.world.is_main)
        observer: Observer = SilentObserver()
        if records is None:
            self._resume_copied(trainer)
        else:
            options = build_options(self.settings.evaluator, dataset)
            check_limits(trainer.model, options.samples)
            with memory.excluding():
                cache = cache_root(self.settings)
                evaluator = build_evaluator(options, dataset, self.device, cache)
            of_data: dict[str, object] = {"data_hash": dataset.hash}
            if dataset.notes:
                of_data["data_notes"] = list(dataset.notes)
            records.write_config({**self.config, **of_data}, (*MAY_DIFFER, "data_notes"))
            constants = self._identity() | provenance(evaluator, trainer)
            with memory.excluding():
                continue_shorter(records, trainer, self.config, BEFORE_DATA, constants)
            self._resume_copied(trainer)
            instruments = Instruments(self._wandb(), progress, memory)
            command = self.origin.command
            observer = Recorder(records, trainer, evaluator, constants, instruments, command)
        status = _fit(trainer, observer, progress, self.origin.command)
        if records is not None:
            records.write_status(status)
        if status.phase == "evaluation" and self.world.size > 1:
            raise RunError(status.reason)  # the other ranks wait for this one: end them all
        return RunResult(self.path, status.status, status.reason)

    def _resume_copied(self, trainer: Trainer) -> None:
        """Resume, on every rank, from what the first one has copied of a shorter run, if it has."""
        self.world.barrier()
        if not trainer.spent.step:
            trainer.resume()

    def _identity(self) -> dict[str, str | int]:
        """The columns that say which run a row is of."""
        return {
            "dataset": self.settings.dataset.name,
            "model": self.settings.model.name,
            "variant": self.path.parent.name,
            "seed": self.settings.seed,
            "overrides": " ".join(self.origin.overrides),
            "recipe": recipe_hash(self.config["model"], flip=self.settings.dataset.flip),
        }

    def _wandb(self) -> WandbLogger:
        logger = self.settings.logger
        logger = replace(logger, group=logger.group or self.origin.group)
        names = (self.settings.dataset.name, self.settings.model.name)
        name = "/".join((*names, self.path.parent.name, self.path.name))
        return WandbLogger(logger, self.path, name, dict(self.config))


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
