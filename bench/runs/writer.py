"""What a run leaves behind as it trains: log rows, evaluation rows, pictures, a mirror."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.cost.measure import parameters
from bench.evaluation.collapse import PREFIX, SEPARATOR, Sign, collapse_signs, copying_signs
from bench.evaluation.evaluator import Evaluation, Evaluator
from bench.evaluation.held_out import COLUMNS
from bench.runs.directory import RunDirectory, Status
from bench.runs.pictures import save_grid, save_picture
from bench.runs.wandb_mirror import WandbLogger
from bench.runtime.atomic_files import csv_text, write_atomically
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
from bench.schema import eval_columns
from bench.training.budget import Spent
from bench.training.trainer import Trainer

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Instruments:
    """What shows and measures a run while it trains.

    Attributes:
        wandb: the mirror.
        progress: the line on the terminal.
        memory: peak memory beyond what was there before the model was built.
    """

    wandb: WandbLogger
    progress: TrainingProgress
    memory: PeakMemory


class Recorder:
    """The trainer's observer on the main process: evaluates, and writes everything down.

    Args:
        records: the run directory, open for writing.
        trainer: whose training is recorded.
        evaluator: scores the model at every evaluation point.
        constants: values of eval.csv that are the same in every row: identity and protocol.
        instruments: where else it is shown, and what measures it.
        command: the command line, for the record.
    """

    def __init__(
        self,
        records: RunDirectory,
        trainer: Trainer,
        evaluator: Evaluator,
        constants: Mapping[str, Any],
        instruments: Instruments,
        command: str,
    ) -> None:
        self.records = records
        self.trainer = trainer
        self.evaluator = evaluator
        self.constants = constants
        self.wandb = instruments.wandb
        self.progress = instruments.progress
        self.memory = instruments.memory
        self.command = command
        names = tuple(extractor.name for extractor in evaluator.reference.extractors)
        self.columns = eval_columns(names)
        self._ranked_by = names[0]
        self._points = trainer.points
        spots = evaluator.reference.blind_spots(evaluator.reference.extractors[0]) or ()
        self._blind = {spot.metric for spot in spots}
        self._expected_modes = evaluator.reference.expected_modes(evaluator.options.samples)
        self._train_memory_mib: float | None = None
        self.score = ""  # the best of the last evaluation, in words
        records.truncate_eval(trainer.spent.point, self.columns)
        records.check_points(trainer.spent.point, trainer.model.samplers)
        redone = None if self._is_evaluated(records.eval_rows()) else PREFIX  # rows not written
        records.train.truncate_after(trainer.spent.step, redone=redone)
        records.write_status(Status("running", step=trainer.spent.step, command=command))

    def on_step(self) -> None:
        """Move the progress line."""
        spent = self.trainer.spent
        self.progress.step(self.trainer.progress, spent.images, spent.seconds)

    def on_log(self, values: dict[str, float]) -> None:
        """Add rows to train.csv."""
        spent = self.trainer.spent
        self.records.train.log(
            values, step=spent.step, images=spent.images, train_seconds=spent.seconds
        )
        self.progress.losses(values)
        self.wandb.log(values, images=spent.images)

    def on_save(self) -> None:
        """Bring train.csv and the status up to the checkpoint that is about to be written."""
        self.records.train.flush()
        step = self.trainer.spent.step
        self.records.write_status(Status("running", step=step, command=self.command))

    def on_point(self) -> None:
        """Evaluate, unless that was done before a kill, and add rows to eval.csv."""
        spent = self.trainer.spent
        earlier = self.records.eval_rows()
        if self._is_evaluated(earlier):
            self._show_score([row for row in earlier if int(row["checkpoint"]) == spent.point])
            return
        with self.progress.evaluating(spent.point):
            self._evaluate(spent, earlier)

    def _evaluate(self, spent: Spent, earlier: Sequence[Mapping[str, str]]) -> None:
        """Evaluate at a point; `earlier` are the rows of the points before."""
        self._read_memory()
        last = spent.point == self._points
        samples = self.evaluator.options.samples
        evaluations = self.evaluator.evaluate(
            self.trainer.evaluated,
            last=last,
            on_draw=lambda name, n: self.progress.evaluation(name, n, samples),
        )
        self._save_pictures(evaluations, spent)
        if last:
            self._save_inside(spent)
        rows = [self._row(evaluation, spent, last=last) for evaluation in evaluations]
        for row, evaluation in zip(rows, evaluations, strict=True):
            self._warn(row, [*self._collapse(row, earlier), *copying_signs(evaluation.copying)])
        self.records.train.flush()
        self.records.append_eval(rows, self.columns)
        self._mirror(rows, spent)
        self._show_score(rows)
        self.memory.restart()

    def _show_score(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Say the lowest FID, and of which sampler it is if there are several."""
        column = f"fid_{self._ranked_by}"
        best = min(rows, key=lambda row: float(row[column] or "inf"))
        self.score = f"FID ({self._ranked_by}) {float(best[column] or 'nan'):.3g}"
        if len(rows) > 1:
            self.score += f" ({best['sampler']})"
        self.progress.score(self.score)

    def _is_evaluated(self, rows: Sequence[Mapping[str, str]]) -> bool:
        """Whether there is a row of every sampler at the evaluation point that training is at."""
        point = self.trainer.spent.point
        there = {row["sampler"] for row in rows if int(row["checkpoint"]) == point}
        return there >= self.trainer.model.samplers.keys()

    def _collapse(self, row: Mapping[str, Any], earlier: Sequence[Mapping[str, str]]) -> list[Sign]:
        """Signs of collapse; none of data and others' samples, which are not in training."""
        if not self.trainer.phases:
            return []
        fid = f"fid_{self._ranked_by}"
        return collapse_signs(
            row,
            self._ranked_by,
            expected_modes=self._expected_modes,
            blind=self._blind,
            earlier_fids=[
                float(other[fid])
                for other in earlier
                if other["sampler"] == row["sampler"] and other[fid]
            ],
        )

    def _warn(self, row: dict[str, Any], signs: Sequence[Sign]) -> None:
        """Write signs into the row, train.csv, the progress line and W&B."""
        if not signs:
            return
        row["warning"] = SEPARATOR.join(sign.words for sign in signs)
        spent = self.trainer.spent
        values = {f"{sign.name}/{row['sampler']}": sign.value for sign in signs}
        self.records.train.log(
            values, step=spent.step, images=spent.images, train_seconds=spent.seconds
        )
        self.wandb.log(values, images=spent.images)
        self.progress.warn(row["warning"])
        log.warning("⚠ %s, %s: %s", self.records.path, row["sampler"], row["warning"])

    def close(self) -> None:
        """Write what is pending, and let W&B finish its upload."""
        try:
            self.records.train.flush()
        finally:
            self.wandb.finish()

    def _read_memory(self) -> None:
        """Take in the peak of the training since the last evaluation, which has its own."""
        peak = self.memory.mib()
        known = [mib for mib in (self._train_memory_mib, peak) if mib is not None]
        self._train_memory_mib = max(known, default=None)

    def _row(self, evaluation: Evaluation, spent: Spent, *, last: bool) -> dict[str, Any]:
        row: dict[str, Any] = {
            **self.constants,
            "sampler": evaluation.sampler,
            "weights": self.trainer.weights,
            "checkpoint": spent.point,
            "checkpoints": self._points,
            "step": spent.step,
            "images": spent.images,
            "train_seconds": spent.seconds,
            "train_flops": spent.flops,
            **evaluation.values,
            "class_labels": evaluation.class_labels,
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

    def _save_pictures(self, evaluations: Sequence[Evaluation], spent: Spent) -> None:
        for evaluation in evaluations:
            name = f"checkpoint={spent.point}_{evaluation.sampler}.png"
            path = self.records.samples / name
            save_picture(evaluation.shown, path, self.evaluator.reference.dataset.mixture)
            self.wandb.log_image(f"samples/{evaluation.sampler}", path, images=spent.images)

    def _save_inside(self, spent: Spent) -> None:
        """Write what the model does step by step: curves.csv, pictures of how samples arise."""
        inside = self.evaluator.look_inside(self.trainer.evaluated)
        if inside.curves:
            rows = [[str(value) for value in row] for row in inside.curves]
            write_atomically(self.records.path / "curves.csv", csv_text(COLUMNS, rows))
        for sampler, (images, states) in inside.trajectories.items():
            name = f"checkpoint={spent.point}_{sampler}_trajectory.png"
            path = self.records.samples / name
            save_grid(images, path, columns=states)
            self.wandb.log_image(f"trajectories/{sampler}", path, images=spent.images)

    def _mirror(self, rows: Sequence[Mapping[str, Any]], spent: Spent) -> None:
        for row in rows:
            scores = {
                f"eval/{row['sampler']}/{column}": value
                for column, value in row.items()
                if column not in self.constants and isinstance(value, float)
            }
            self.wandb.log(scores, images=spent.images)
