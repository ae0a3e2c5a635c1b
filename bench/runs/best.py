"""The best evaluation point of a run by its validation FID (`trainer.keep=best`)."""

import math
from copy import deepcopy
from typing import Any

from bench.runs.directory import RunDirectory
from bench.schema import best_of
from bench.training import checkpoint
from bench.training.trainer import Trainer
from models.base import GenerativeModel


class Best:
    """Keeps the weights of the lowest validation FID.

    Which point is the best is read from eval.csv, whose rows of a point are written after its
    weights were kept: a run that is killed between the two selects again, with the same result.

    Args:
        records: the run directory, open for writing, without rows after the trainer's point.
        trainer: stands at the evaluation point from which the run goes on.

    Raises:
        ValueError: the weights of the best point so far are lost.
    """

    def __init__(self, records: RunDirectory, trainer: Trainer) -> None:
        self._records = records
        self._trainer = trainer
        folder = records.checkpoints
        checkpoint.drop_kept(folder, trainer.spent.point)
        lowest, point = self._lowest(trainer.spent.point + 1)
        if lowest < math.inf and point not in checkpoint.kept_points(folder):
            raise ValueError(
                f"{folder} has lost kept-point={point}.pt, the best weights so far: bring the file "
                f"back, or delete {records.path} and run again"
            )

    @property
    def label(self) -> str:
        """What rows of these weights have in the column weights."""
        return best_of(self._trainer.points, self._trainer.weights)

    def meet(self, fid: float) -> None:
        """Keep the evaluated weights if their validation FID is below that of all points before."""
        trainer = self._trainer
        if fid >= self._lowest(trainer.spent.point)[0]:
            checkpoint.drop_kept(self._records.checkpoints, trainer.spent.point - 1)
            return
        state = {
            "weights": trainer.evaluated.state_dict(),
            "of": trainer.weights,
            "step": trainer.spent.step,
            "fid": fid,
        }
        checkpoint.save_kept(state, self._records.checkpoints, trainer.spent.point)

    def model(self) -> tuple[GenerativeModel, dict[str, Any]]:
        """A model with the best weights, and what sets its rows apart, by column.

        Raises:
            ValueError: the kept file is damaged.
        """
        model = deepcopy(self._trainer.evaluated)
        kept = checkpoint.load_kept(self._records.checkpoints, model.progress.device)
        if kept is None:
            raise ValueError(f"{self._records.checkpoints} has lost the kept weights")
        model.load_state_dict(kept["weights"])
        of_rows = {
            "weights": self.label,
            "kept_point": kept["point"],
            "validation_fid": kept["fid"],
        }
        return model, of_rows

    def _lowest(self, before: int) -> tuple[float, int]:
        """Lowest validation FID of the points before one, and its point; infinity if none has."""
        found = [
            (float(row["validation_fid"]), int(row["checkpoint"]))
            for row in self._records.eval_rows()
            if row.get("validation_fid") and not row["kept_point"]
        ]
        return min((each for each in found if each[1] < before), default=(math.inf, 0))
