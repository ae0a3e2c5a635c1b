"""A project whose runs are simulated: run directories without training."""

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path

import numpy as np
from synthetic_runs import costs, scores, write_run

from bench.compare.comparison import Comparison
from bench.compare.questions import Question
from bench.compare.topics.settled import questions_of_pairs
from bench.decide.loop import Job, Ran
from bench.decide.project import Project, look_at
from bench.decide.units import Unit
from bench.runs.directory import Status
from bench.runs.looks import Look
from bench.runtime.outlook import Planned
from bench.runtime.progress import Forecast

SECONDS = 60.0
"""Seconds that every simulated run takes."""


def make_unit(folder: Path, model: str, *, seeded: bool = True, dataset: str = "digits") -> Unit:
    """A unit whose runs are below a folder."""
    run = folder / "runs" / dataset / model / "default" / "seed=999999"
    forecast = Forecast(SECONDS - 10 if seeded else 0.0, None, 10.0, 1)
    overrides = (f"model={model}", *(["seed=999999"] if seeded else []))
    planned = Planned(overrides, str(run), dataset, model, "999999", model, forecast=forecast)
    return Unit("", planned, seeded)


def questions(comparisons: Sequence[Comparison], margin: float = 1.1) -> list[tuple[Question, str]]:
    """The questions between all models."""
    return [(q, c.dataset) for c in comparisons for q in questions_of_pairs(c, margin)]


@dataclass
class Simulation:
    """Models with known FIDs.

    Attributes:
        folder: where the runs go.
        fids: true FID by model.
        spread: standard deviation of the logarithm of the FIDs over seeds.
        failing: models all of whose runs fail.
        absent: models whose runs leave nothing.
        kill_at: number of the run before which the command is interrupted; 0 for never.
        made: the runs so far, (model, seed).
        blocks: number of blocks so far.
    """

    folder: Path
    fids: Mapping[str, float]
    spread: float = 0.1
    failing: Collection[str] = ()
    absent: Collection[str] = ()
    kill_at: int = 0
    at_once: int = 1
    made: list[tuple[str, int]] = field(default_factory=list)
    blocks: int = 0

    @property
    def units(self) -> tuple[Unit, ...]:
        """One unit for each model."""
        return tuple(make_unit(self.folder, model) for model in self.fids)

    @property
    def look(self) -> Callable[[], Project]:
        """Reads the run directories."""
        return partial(look_at, self.units, questions, at_once=self.at_once)

    def fid(self, model: str, seed: int) -> float:
        """The FID of a run."""
        rng = np.random.default_rng([seed, *model.encode()])
        return self.fids[model] * math.exp(self.spread * rng.normal())

    def run_block(self, project: Project, block: Sequence[Job], seconds: float) -> Ran:
        """Make the runs of a block."""
        self.blocks += 1
        for job in block:
            model = project.units[job.unit].planned.model
            if model in self.absent:
                continue
            self.made.append((model, job.seed))
            if len(self.made) == self.kill_at:
                self.made.pop()
                self.kill_at = 0
                raise KeyboardInterrupt
            self.write(model, job.seed, Look(look=project.look).text)
        return "ended"

    def write(self, model: str, seed: int, sequential: str = "", **more: object) -> None:
        """Write one run."""
        if model in self.failing:
            status = Status("failed", "not finite", 7, sequential=sequential, seconds=SECONDS)
            write_run(self.folder, model, seed, {}, status=status)
            return
        status = Status("finished", step=9, sequential=sequential, seconds=SECONDS)
        rows = {"sampler": scores(self.fid(model, seed)) | costs(1, 0.5)}
        write_run(self.folder, model, seed, rows, status=status, **more)

    def seeds(self, model: str) -> list[int]:
        """Seeds of a model's runs, in the order in which they were made."""
        return [seed for made, seed in self.made if made == model]
