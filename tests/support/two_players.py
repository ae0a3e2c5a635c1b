"""A toy model of two players with known answers, a trainer for it, and observers of training."""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from bench.config import Budget, TrainerSettings
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Phase, Sampler


class Two(GenerativeModel):
    """Two players with quadratic losses: each pulls its own weight to the mean of the batch."""

    def __init__(self, repeats: int = 1, bad_step: int | None = None) -> None:
        super().__init__((1, 8, 8))
        self.first = nn.Linear(1, 1, bias=False)
        self.second = nn.Linear(1, 1, bias=False)
        self.repeats = repeats
        self.bad_step = bad_step
        self.calls: list[str] = []

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("first", self.first, self.first_loss, self.repeats),
            Phase("second", self.second, self.second_loss),
        )

    @property
    def samplers(self) -> dict[str, Sampler]:
        def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
            return torch.rand(n, 1, 8, 8, generator=generator) * 2 - 1

        return {"noise": Sampler(generate, {})}

    def first_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls.append("first")
        loss = (self.first.weight - batch.x.mean()).square().sum() + self.second.weight.sum()
        if self.bad_step is not None and self.calls.count("first") == self.bad_step:
            loss = loss * float("nan")
        return {"loss": loss, "weight": self.first.weight.detach().sum()}

    def second_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls.append("second")
        return {"loss": (self.second.weight * self.first.weight).sum()}


def split(n: int = 64) -> Split:
    images = np.random.default_rng(0).integers(0, 256, (n, 1, 8, 8), dtype=np.uint8)
    return Split(images, None)


def sgd(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1)


def make(
    path: Path, model: GenerativeModel, budget: Budget, batch_size: int = 8, **recipe
) -> Trainer:
    optimizers = {phase.name: sgd for phase in model.phases}
    return Trainer(
        model,
        Recipe(batch_size=batch_size, optimizers=optimizers, **recipe),
        budget,
        BatchStream(split(), batch_size, seed=0, flip=False),
        path,
        TrainerSettings(log_every=2),
    )


class Log(SilentObserver):
    """What is logged, and how many evaluation points there were."""

    def __init__(self) -> None:
        self.values: list[dict[str, float]] = []
        self.points = 0

    def on_log(self, values: dict[str, float]) -> None:
        self.values.append(values)

    def on_point(self) -> None:
        self.points += 1


class KilledError(Exception):
    """Stands for SIGKILL: nothing after it runs."""


class Killer(SilentObserver):
    """Kills training after some steps."""

    def __init__(self, steps: int) -> None:
        self.steps = steps

    def on_step(self) -> None:
        self.steps -= 1
        if self.steps == 0:
            raise KilledError
