"""What a run leaves behind as it trains: log rows, evaluation rows, sample grids, a mirror."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from bench.budget import Spent
from bench.cost import parameters
from bench.evaluator import Evaluation, Evaluator
from bench.images import save_grid
from bench.loggers import WandbLogger
from bench.memory import PeakMemory
from bench.progress import TrainingProgress
from bench.protocol import eval_columns
from bench.records import RunDirectory, Status
from bench.trainer import Trainer


class Recorder:
    """The trainer's observer on the main process: evaluates, and writes everything down.

    Args:
        records: the run directory, open for writing.
        trainer: whose training is recorded.
        evaluator: scores the model at every evaluation point.
        constants: values of eval.csv that are the same in every row: identity and protocol.
        wandb: the mirror.
        progress: the line on the terminal.
        memory: peak memory beyond what was there before the model was built.
        command: the command line, for the record.
    """

    def __init__(
        self,
        records: RunDirectory,
        trainer: Trainer,
        evaluator: Evaluator,
        constants: Mapping[str, Any],
        wandb: WandbLogger,
        progress: TrainingProgress,
        memory: PeakMemory,
        command: str,
    ) -> None:
        self.records = records
        self.trainer = trainer
        self.evaluator = evaluator
        self.constants = constants
        self.wandb = wandb
        self.progress = progress
        self.memory = memory
        self.command = command
        self.columns = eval_columns(tuple(extractor.name for extractor in evaluator.extractors))
        self._points = trainer.points
        self._train_memory_mib: float | None = None
        records.train.truncate_after(trainer.spent.step)
        records.truncate_eval(trainer.spent.point, self.columns)
        records.write_status(Status("running", step=trainer.spent.step, command=command))

    def on_step(self) -> None:
        """Move the progress line."""
        spent = self.trainer.spent
        self.progress.step(self.trainer.progress, spent.images / max(spent.seconds, 1e-9))

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
        if any(int(row["checkpoint"]) == spent.point for row in self.records.eval_rows()):
            return
        self._read_memory()
        last = spent.point == self._points
        evaluations = self.evaluator.evaluate(
            self.trainer.evaluated,
            cost=last,
            on_draw=lambda name, n: self.progress.evaluation(name, n, self.evaluator.samples),
        )
        self._save_grids(evaluations, spent)
        rows = [self._row(evaluation, spent, last=last) for evaluation in evaluations]
        self.records.append_eval(rows, self.columns)
        self._mirror(rows, spent)
        self.memory.restart()

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
            "evaluated_at": datetime.now(UTC).isoformat(timespec="seconds"),
        }
        if last and spent.images:
            row |= {
                "parameters": parameters(self.trainer.model),
                "train_images_per_second": spent.images / spent.seconds,
                "train_gflops_per_image": spent.flops / spent.images / 1e9,
                "train_memory_mib": self._train_memory_mib,
            }
        return row

    def _save_grids(self, evaluations: Sequence[Evaluation], spent: Spent) -> None:
        for evaluation in evaluations:
            name = f"checkpoint={spent.point}_{evaluation.sampler}.png"
            path = self.records.samples / name
            save_grid(evaluation.grid, path)
            self.wandb.log_image(f"samples/{evaluation.sampler}", path, images=spent.images)

    def _mirror(self, rows: Sequence[Mapping[str, Any]], spent: Spent) -> None:
        for row in rows:
            scores = {
                f"eval/{row['sampler']}/{column}": value
                for column, value in row.items()
                if column not in self.constants and isinstance(value, float)
            }
            self.wandb.log(scores, images=spent.images)
