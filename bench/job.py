"""One run whose settings are checked: what it builds and takes, how it trains and is recorded."""

import gc
import logging
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import torch

from bench.build import (
    build_dataset,
    build_evaluator,
    build_options,
    build_trainer,
    cache_root,
    check_few,
    check_judges,
    check_keep,
    check_shape,
    extractor_names,
    try_extractors,
)
from bench.config import Settings, read_settings
from bench.data.dataset import Dataset
from bench.errors import RunError, bugs_are_shown
from bench.estimate import data_costs, forecast, kind_of
from bench.evaluation.evaluator import check_limits, samplers_at
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.sampling import SamplesNotFiniteError
from bench.former import CLASS_LABELS, FORMER, recipe_hash
from bench.runs.announcements import announce, warn_of_classifier, warn_of_few_samples
from bench.runs.data_record import write_data
from bench.runs.directory import RunDirectory, Status
from bench.runs.looks import Call
from bench.runs.provenance import device_name, protocol_before, provenance
from bench.runs.shorter import continue_shorter, expect_shorter
from bench.runs.wandb_mirror import WandbLogger
from bench.runs.which import (
    BEFORE_DATA,
    MAY_DIFFER,
    classes_make_no_difference,
    with_data,
)
from bench.runs.writer import Instruments, Recorder, Scoring
from bench.runtime.distributed import World
from bench.runtime.memory import PeakMemory
from bench.runtime.outlook import CONTINUED, HALF_DONE, NEW, Outlook, Planned
from bench.runtime.progress import Forecast, TrainingProgress
from bench.schema import eval_columns
from bench.training.callbacks import Observer, SilentObserver
from bench.training.loss_log import TrainingFailedError
from bench.training.trainer import Trainer
from bench.variant import Origin

log = logging.getLogger("bench.run")

SHORT = 60.0
"""Seconds of work that is done without saying before how long it takes."""


@dataclass(frozen=True)
class RunResult:
    """What a run came to.

    Attributes:
        directory: the run directory.
        status: "finished" or "failed", or "repeated" where another run stands for it.
        reason: why it failed, or which run that is; empty otherwise.
        score: the best one at the end, such as "FID (domain) 7.1"; empty where it was skipped.
        training: training seconds, also of earlier calls.
        rest: seconds of this call beside training.
    """

    directory: Path
    status: str
    reason: str = ""
    score: str = ""
    training: float = 0.0
    rest: float = 0.0


@dataclass(frozen=True)
class Job:
    """A run that is asked for.

    Attributes:
        settings: checked.
        config: the plain values that they were read from, for the record.
        path: the run directory.
        origin: where the run came from.
        device: where it is trained.
        warning: what is said of its precision; empty for nothing.
    """

    settings: Settings
    config: Mapping[str, Any]
    path: Path
    origin: Origin
    device: torch.device
    warning: str = ""

    def of_record(self, records: RunDirectory | None) -> "Job":
        """The job as the run on record needs it.

        Raises:
            ValueError: that run was made with another configuration.
        """
        job = self
        if records is None:
            return job
        if classes_make_no_difference(self.settings, self.config, self.path):
            evaluator = {**self.config["evaluator"], "class_labels": FORMER[CLASS_LABELS]}
            config = {**self.config, "evaluator": evaluator}
            job = replace(self, config=config, settings=read_settings(config))
        records.check_config(job.config, BEFORE_DATA)
        return job

    def train(
        self,
        records: RunDirectory | None,
        world: World,
        progress: TrainingProgress,
        start: float,
    ) -> RunResult:
        """Build everything, train, evaluate and record how it ended.

        Args:
            records: the run directory; None on ranks that do not write.
            world: this process among others.
            progress: what shows the run.
            start: `time.perf_counter` at the start of the call.
        """
        if self.warning:
            log.warning("⚠ %s", self.warning)
        progress.label = progress.label or "{} {} seed={}".format(*self.names())
        device = device_name(self.device)
        call = Call.after(records and records.status, self.origin.command, start, device)
        with progress:
            dataset = self.dataset(world)
            memory = PeakMemory(self.device)
            trainer = self._trainer(dataset, world)
            announce(dataset, trained=bool(trainer.phases))
            gc.enable()  # bench.cli disables it for a quicker start
            recorder = None
            if records is None:
                self._resume_copied(trainer, world)
            else:
                recorder = self._recorder(records, dataset, trainer, progress, memory, world, call)
            before = trainer.spent.seconds
            status = _fit(trainer, recorder, call)
        if records is not None:
            records.write_status(status)
        if status.phase == "evaluation" and world.size > 1:
            raise RunError(status.reason)  # the other ranks wait for this one: end them all
        score = "" if recorder is None else recorder.score
        seconds = trainer.spent.seconds
        rest = max(0.0, time.perf_counter() - start - (seconds - before))
        return RunResult(self.path, status.status, status.reason, score, seconds, rest)

    def plan(
        self,
        records: RunDirectory,
        planned: Planned,
        known: dict[str, Forecast],
        processes: int,
    ) -> Planned:
        """What the run takes; arguments are those of `dry_run`."""
        dataset = self.dataset(World())
        trainer = self._trainer(dataset, World())
        options = build_options(self.settings.evaluator, dataset)
        check_limits(trainer.model, options.samples)
        check_judges(trainer.model, options, dataset)
        records.check_config(self._with_data(dataset), (*MAY_DIFFER, "data_notes"))
        named = self.settings.evaluator.extractor is not None or not dataset.own
        names = extractor_names(self.settings.evaluator, dataset) if named else ()
        columns = eval_columns(tuple(names)) if names else None
        records.check_files(
            trainer.spent.step,
            trainer.spent.point,
            columns,
            samplers_at(trainer.model, last=False, every=options.every_sampler),
        )
        built = try_extractors(options, dataset, self.device, cache_root(self.settings))
        planned = replace(
            planned,
            state=HALF_DONE if trainer.spent.step else NEW,
            protocol=self._protocol(dataset, options, trainer, names, built),
        )
        if expect_shorter(self.path, trainer, self.config, BEFORE_DATA):
            planned = replace(planned, state=CONTINUED)
        return self._with_times(planned, trainer, dataset, options, built, known, processes)

    def _protocol(
        self,
        dataset: Dataset,
        options: EvaluatorOptions,
        trainer: Trainer,
        names: Collection[str],
        built: Mapping[str, Extractor],
    ) -> dict[str, str]:
        """The protocol of the rows to come, as far as it does not depend on what starts the run."""
        known = protocol_before(dataset, options, trainer)
        if names and built.keys() >= set(names):
            known["extractors"] = " ".join(f"{name}:{built[name].hash}" for name in names)
        chosen = {"processes"} if self.settings.threads else {"processes", "threads"}
        return {key: str(value) for key, value in known.items() if key not in chosen}

    def _with_times(
        self,
        planned: Planned,
        trainer: Trainer,
        dataset: Dataset,
        options: EvaluatorOptions,
        built: Mapping[str, Extractor],
        known: dict[str, Forecast],
        processes: int,
    ) -> Planned:
        """The plan with what the run takes, as far as it is not spent."""
        kind, cache = kind_of(self.config), cache_root(self.settings)
        costs = data_costs(dataset, options, self.device, cache, built)
        if kind not in known:
            with bugs_are_shown(str(self.path)):
                given = {"processes": processes}
                known[kind] = forecast(trainer, costs.extractions, dataset, options, **given)
        return replace(
            planned,
            kind=kind,
            forecast=replace(known[kind], points=trainer.points),
            exact=list(trainer.budget.limits()) == ["seconds"],
            share=trainer.progress if trainer.phases else 0.0,
            evaluated=trainer.spent.point,
            once=costs.once,
            shared=f"features of {dataset.name}",
            class_conditional=any(s.classes for s in trainer.model.samplers.values()),
        )

    def dataset(self, world: World) -> Dataset:
        """The data, once the model is known to be one for samples of its size."""
        check_keep(self.settings)
        check_few(self.settings)
        check_shape(self.settings)
        return build_dataset(self.settings, world)

    def _trainer(self, dataset: Dataset, world: World) -> Trainer:
        """The trainer, where its last checkpoint left off."""
        checkpoints = self.path / "checkpoints"
        trainer = build_trainer(self.settings, dataset, self.device, world, checkpoints)
        trainer.resume()
        return trainer

    def _recorder(
        self,
        records: RunDirectory,
        dataset: Dataset,
        trainer: Trainer,
        progress: TrainingProgress,
        memory: PeakMemory,
        world: World,
        call: Call,
    ) -> Recorder:
        """What records the run; extractors that cannot be used are refused at once.

        What is to come is said before the first long work, if it was not yet.
        """
        options = build_options(self.settings.evaluator, dataset)
        check_limits(trainer.model, options.samples)
        check_judges(trainer.model, options, dataset)
        warn_of_few_samples(dataset, options.samples)
        root = cache_root(self.settings)
        with memory.excluding():
            built = try_extractors(options, dataset, self.device, root)
        records.write_config(self._with_data(dataset), (*MAY_DIFFER, "data_notes"))
        write_data(records.path, dataset)

        @cache
        def scoring() -> Scoring:
            evaluator = build_evaluator(options, dataset, self.device, root, built)
            warn_of_classifier(evaluator.reference)
            return Scoring(evaluator, self._identity() | provenance(evaluator, trainer))

        with memory.excluding():
            continue_shorter(
                records, trainer, self.config, BEFORE_DATA, lambda: scoring().constants
            )
            self._resume_copied(trainer, world)
            if progress.visible and progress.forecast is None:
                self._say_what_is_to_come(dataset, trainer, options, built, progress, world.size)
        spent = trainer.spent
        progress.resumed(trainer.progress, spent.images, spent.seconds, spent.point)
        instruments = Instruments(self._wandb(), progress, memory)
        every = self.settings.evaluator.every_sampler
        return Recorder(records, trainer, scoring, instruments, call, every_sampler=every)

    def _say_what_is_to_come(
        self,
        dataset: Dataset,
        trainer: Trainer,
        options: EvaluatorOptions,
        built: Mapping[str, Extractor],
        progress: TrainingProgress,
        processes: int,
    ) -> None:
        """Time a step and batches; what goes wrong in this is for the run itself to say."""
        planned = Planned(self.origin.overrides, str(self.path), *self.names())
        try:
            planned = self._with_times(planned, trainer, dataset, options, built, {}, processes)
        except Exception as error:
            log.debug("no forecast: %s", error)
            return
        progress.forecast = planned.forecast
        outlook = Outlook((planned,))
        if (outlook.seconds() or 0.0) > SHORT:
            for line in outlook.text().splitlines():
                log.info("  %s", line)

    def _with_data(self, dataset: Dataset) -> dict[str, Any]:
        return with_data(self.config, self.settings, dataset)

    def names(self) -> tuple[str, str, str]:
        """Data set, model and seed."""
        names = (self.settings.dataset.name, self.settings.model.name)
        return *names, str(self.settings.seed)

    def _resume_copied(self, trainer: Trainer, world: World) -> None:
        """Resume, on every rank, from what the first one has copied of a shorter run, if it has."""
        world.barrier()
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
            "recipe": recipe_hash(
                self.config["model"],
                flip=self.settings.dataset.flip,
                overrides=self.origin.overrides,
            ),
        }

    def _wandb(self) -> WandbLogger:
        logger = self.settings.logger
        logger = replace(logger, group=logger.group or self.origin.group)
        names = (self.settings.dataset.name, self.settings.model.name)
        name = "/".join((*names, self.path.parent.name, self.path.name))
        return WandbLogger(logger, self.path, name, dict(self.config))


def _fit(trainer: Trainer, recorder: Recorder | None, call: Call) -> Status:
    """Train and evaluate; how it ended."""
    observer: Observer = recorder or SilentObserver()
    try:
        with bugs_are_shown(str(trainer.checkpoints.parent)):
            trainer.fit(observer)
    except TrainingFailedError as error:
        return call.status("failed", str(error), error.step, error.phase)
    except SamplesNotFiniteError as error:
        return call.status("failed", str(error), trainer.spent.step, "evaluation")
    except KeyboardInterrupt:
        if recorder is not None:
            recorder.write_running()  # with the seconds that it took
        raise
    finally:
        observer.close()
    return call.status("finished", step=trainer.spent.step)
