"""Recording of a run: log rows, evaluation rows, pictures, and the W&B mirror."""

import logging
import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from bench.cost.measure import parameters
from bench.errors import one_sentence
from bench.evaluation.classifier_error import error_note
from bench.evaluation.collapse import PREFIX, SEPARATOR, Sign, collapse_signs, copying_signs
from bench.evaluation.evaluator import Evaluation, Evaluator, samplers_at
from bench.runs.best import Best
from bench.runs.directory import RunDirectory
from bench.runs.looks import Call
from bench.runs.pictures import save_grid, save_samples
from bench.runs.wandb_mirror import WandbLogger
from bench.runtime.atomic_files import csv_text, write_atomically
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
from bench.runtime.repeated import repeated
from bench.schema import CURVE_COLUMNS, eval_columns, of_held_out
from bench.training.budget import Spent
from bench.training.trainer import Trainer

log = logging.getLogger(__name__)

SIGN_OF_LIFE = 10.0
"""Seconds between two signs of life during an evaluation, which writes nothing until its end."""


@dataclass(frozen=True)
class Instruments:
    """Progress display, W&B mirror and memory meter of a run.

    Attributes:
        wandb: the mirror.
        progress: the progress line on the terminal.
        memory: peak memory since before the model was built.
    """

    wandb: WandbLogger
    progress: TrainingProgress
    memory: PeakMemory


class Scoring:
    """What all evaluations of a run need.

    Args:
        evaluator: scores the model at every evaluation point.
        constants: values of eval.csv that are equal in all rows: identity and protocol.

    Attributes:
        columns: all columns of eval.csv, in order.
        ranked_by: the extractor whose FID ranks models.
        blind: metrics of that extractor that do not tell known bad samples from real data.
        expected_modes: see `Reference.expected_modes`.
    """

    def __init__(self, evaluator: Evaluator, constants: Mapping[str, Any]) -> None:
        self.evaluator = evaluator
        self.constants = constants
        reference = evaluator.reference
        names = tuple(extractor.name for extractor in reference.extractors)
        self.columns = eval_columns(names)
        self.ranked_by = names[0]
        self.blind = {s.metric for s in reference.blind_spots(reference.extractors[0]) or ()}
        self.expected_modes = reference.expected_modes(evaluator.options.samples)


class Recorder:
    """Training callbacks of the main process: evaluate the model and record the results.

    Args:
        records: the run directory, open for writing.
        trainer: the trainer to record.
        scoring: prepares what evaluations need, which takes time; called at the first evaluation
            point, so that training comes first.
        instruments: progress display, W&B mirror and memory meter.
        call: this call of the run, for status.json.
        every_sampler: whether all samplers are scored before the last evaluation point.
    """

    def __init__(
        self,
        records: RunDirectory,
        trainer: Trainer,
        scoring: Callable[[], Scoring],
        instruments: Instruments,
        call: Call,
        *,
        every_sampler: bool = False,
    ) -> None:
        self.records = records
        self.trainer = trainer
        self._prepare = scoring
        self.wandb = instruments.wandb
        self.progress = instruments.progress
        self.memory = instruments.memory
        self.call = call
        self._points = trainer.points
        self._every_sampler = every_sampler
        self._train_memory_mib: float | None = None
        self.score = ""  # the best of the last evaluation, in words
        if records.eval_rows():  # scored before: what that takes is in the cache
            records.truncate_eval(trainer.spent.point, self.scoring.columns)
        self.best = Best(records, trainer) if trainer.settings.keep == "best" else None
        followed = samplers_at(trainer.model, last=False, every=every_sampler)
        records.check_points(trainer.spent.point, followed)
        redone = None if self._is_evaluated(records.eval_rows()) else PREFIX
        records.train.truncate_after(trainer.spent.step, redone=redone)
        records.write_status(call.status("running", step=trainer.spent.step))

    @cached_property
    def scoring(self) -> Scoring:
        """What evaluations need.

        Raises:
            RunError: it cannot be prepared, because of the data, the extractors or the cache.
        """
        with one_sentence(), self.memory.excluding():
            return self._prepare()

    def on_step(self) -> None:
        """Update the progress line."""
        spent = self.trainer.spent
        self.progress.step(self.trainer.progress, spent.images, spent.seconds)

    def on_log(self, values: dict[str, float]) -> None:
        """Add rows to train.csv."""
        spent = self.trainer.spent
        self.records.train.log(
            values, step=spent.step, images=spent.images, train_seconds=self.trainer.seconds
        )
        self.progress.losses(values)
        self.wandb.log(values, images=spent.images)

    def on_save(self) -> None:
        """Write pending log rows and the status before a checkpoint is written."""
        self.records.train.flush()
        self.write_running()

    def write_running(self) -> None:
        """Write the status of a run that has not ended."""
        self.records.write_status(self.call.status("running", step=self.trainer.spent.step))

    def on_point(self) -> None:
        """Evaluate and add rows to eval.csv, unless this point already has its rows."""
        spent = self.trainer.spent
        earlier = self.records.eval_rows()
        if self._is_evaluated(earlier):
            now = [row for row in earlier if int(row["checkpoint"]) == spent.point]
            self._show_score([row for row in now if row["weights"] == self.trainer.weights])
            return
        with self.progress.evaluating(spent.point), repeated(self._show_life, SIGN_OF_LIFE):
            self._evaluate(spent, earlier)

    def _show_life(self) -> None:
        """Set the time of the lock file, by which `bench.compare --watch` sees that all is well."""
        with suppress(OSError):  # a run does not end for this
            os.utime(self.records.path / ".lock")

    def _evaluate(self, spent: Spent, earlier: Sequence[Mapping[str, str]]) -> None:
        """Evaluate at a point; `earlier` are the rows of the points before."""
        self._read_memory()
        last = spent.point == self._points
        evaluator = self.scoring.evaluator
        samples = evaluator.options.samples
        evaluations = evaluator.evaluate(
            self.trainer.evaluated,
            last=last,
            on_batch=lambda name, n: self.progress.evaluation(name, n, samples),
        )
        self._save_pictures(evaluations, spent, f"checkpoint={spent.point}")
        if last:
            self._save_inside(spent)
        rows = [self._row(evaluation, spent, last=last) for evaluation in evaluations]
        for row, evaluation in zip(rows, evaluations, strict=True):
            self._warn(row, [*self._collapse(row, earlier), *copying_signs(evaluation.copying)])
        of_best = [] if self.best is None else self._select(self.best, rows, spent, last=last)
        self.records.train.flush()
        self.records.append_eval([*rows, *of_best], self.scoring.columns)
        self._mirror([*rows, *of_best], spent)
        self._show_score(rows)
        self.memory.restart()

    def _select(
        self, best: Best, rows: Sequence[dict[str, Any]], spent: Spent, *, last: bool
    ) -> list[dict[str, Any]]:
        """Keep the weights of this point if they are the best so far; add their FID to its rows.

        Returns:
            At the last point the rows of the best weights.
        """
        evaluator = self.scoring.evaluator
        fid = evaluator.validation_fid(self.trainer.evaluated)
        best.meet(fid)
        for row in rows:
            row["validation_fid"] = fid
        if not last:
            return []
        model, kept = best.model()
        evaluations = evaluator.evaluate(model, last=True)
        self._save_pictures(evaluations, spent, "best")
        found = []
        for evaluation in evaluations:
            row = self._row(evaluation, spent, last=True)
            signs = [*self._collapse(row, ()), *copying_signs(evaluation.copying)]
            row["warning"] = SEPARATOR.join(sign.words for sign in signs)
            found.append({**row, **kept, **dict.fromkeys(self._of_held_out)})
        return found

    @property
    def _of_held_out(self) -> tuple[str, ...]:
        """Scores that rows of the best weights lack, which were selected on held-out data."""
        extractors = self.scoring.evaluator.reference.extractors
        return of_held_out(tuple(extractor.name for extractor in extractors))

    def _show_score(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say the lowest FID, and of which sampler it is if there are several."""
        scoring = self.scoring
        column = f"fid_{scoring.ranked_by}"
        best = min(rows, key=lambda row: float(row[column] or "inf"))
        self.score = f"FID ({scoring.ranked_by}) {float(best[column] or 'nan'):.3g}"
        if len(rows) > 1:
            self.score += f" ({best['sampler']})"
        reference = scoring.evaluator.reference
        if note := error_note(reference.classifier_error(reference.extractors[0])):
            self.score += f", {note}"
        self.progress.score(self.score)

    def _is_evaluated(self, rows: Sequence[Mapping[str, str]]) -> bool:
        """Whether there is a row of every sampler that the current evaluation point has."""
        point, last = self.trainer.spent.point, self.trainer.spent.point == self._points
        there = {
            (row["sampler"], row["weights"]) for row in rows if int(row["checkpoint"]) == point
        }
        weights = [self.trainer.weights]
        if last and self.best is not None:
            weights.append(self.best.label)
        samplers = samplers_at(self.trainer.model, last=last, every=self._every_sampler)
        return there >= {(sampler, each) for sampler in samplers for each in weights}

    def _collapse(self, row: Mapping[str, Any], earlier: Sequence[Mapping[str, str]]) -> list[Sign]:
        """Signs of collapse; none for models that are not trained."""
        if not self.trainer.phases:
            return []
        scoring = self.scoring
        fid = f"fid_{scoring.ranked_by}"
        return collapse_signs(
            row,
            scoring.ranked_by,
            expected_modes=scoring.expected_modes,
            blind=scoring.blind,
            earlier_fids=[
                float(other[fid])
                for other in earlier
                if other["sampler"] == row["sampler"] and other[fid]
            ],
        )

    def _warn(self, row: dict[str, Any], signs: Sequence[Sign]) -> None:
        """Report signs in the row, train.csv, the progress line and W&B."""
        if not signs:
            return
        row["warning"] = SEPARATOR.join(sign.words for sign in signs)
        spent = self.trainer.spent
        values = {f"{sign.name}/{row['sampler']}": sign.value for sign in signs}
        self.records.train.log(
            values, step=spent.step, images=spent.images, train_seconds=self.trainer.seconds
        )
        self.wandb.log(values, images=spent.images)
        self.progress.warn(row["warning"])
        log.warning("⚠ %s, %s: %s", self.records.path, row["sampler"], row["warning"])

    def close(self) -> None:
        """Write pending log rows and finish the W&B upload."""
        try:
            self.records.train.flush()
        finally:
            self.wandb.finish()

    def _read_memory(self) -> None:
        """Include the peak since the last evaluation in the peak memory of training."""
        peak = self.memory.mib()
        known = [mib for mib in (self._train_memory_mib, peak) if mib is not None]
        self._train_memory_mib = max(known, default=None)

    def _row(self, evaluation: Evaluation, spent: Spent, *, last: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            **self.scoring.constants,
            "sampler": evaluation.sampler,
            "weights": self.trainer.weights,
            "checkpoint": spent.point,
            "checkpoints": self._points,
            "step": spent.step,
            "images": spent.images,
            "train_seconds": self.trainer.seconds,
            "train_flops": spent.flops,
            "train_cpu_seconds": spent.cpu_seconds,
            "train_waiting_seconds": spent.waiting_seconds,
            **evaluation.values,
            "class_labels": evaluation.class_labels,
            "worst_class": evaluation.worst_class,
            "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if last:
            row["parameters"] = parameters(self.trainer.model) or None
        if last and spent.images:
            row |= {
                "train_images_per_second": spent.images / spent.seconds,
                "train_gflops_per_image": spent.flops / spent.images / 1e9,
                "train_memory_mib": self._train_memory_mib,
            }
        return row

    def _save_pictures(self, evaluations: Sequence[Evaluation], spent: Spent, of: str) -> None:
        dataset = self.scoring.evaluator.reference.dataset
        for evaluation in evaluations:
            name = f"{of}_{evaluation.sampler}"
            path = self.records.samples / f"{name}.png"
            save_samples(evaluation.shown, dataset, path)
            shown = name if of == "best" else evaluation.sampler
            self.wandb.log_image(f"samples/{shown}", path, images=spent.images)

    def _save_inside(self, spent: Spent) -> None:
        """Write curves.csv and pictures of intermediate states of sampling."""
        inside = self.scoring.evaluator.look_inside(self.trainer.evaluated)
        if inside.curves:
            rows = [[str(value) for value in row] for row in inside.curves]
            write_atomically(self.records.path / "curves.csv", csv_text(CURVE_COLUMNS, rows))
        for sampler, (images, states) in inside.trajectories.items():
            name = f"checkpoint={spent.point}_{sampler}_trajectory.png"
            path = self.records.samples / name
            save_grid(images, path, columns=states)
            self.wandb.log_image(f"trajectories/{sampler}", path, images=spent.images)

    def _mirror(self, rows: Sequence[Mapping[str, Any]], spent: Spent) -> None:
        for row in rows:
            name = (
                row["sampler"]
                if row["weights"] == self.trainer.weights
                else " ".join((row["sampler"], row["weights"]))
            )
            scores = {
                f"eval/{name}/{column}": value
                for column, value in row.items()
                if column not in self.scoring.constants and isinstance(value, float)
            }
            self.wandb.log(scores, images=spent.images)
