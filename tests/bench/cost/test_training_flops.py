"""FLOPs of training: one count per kind of step, and their sums."""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from bench.config import Budget
from bench.cost import training_flops
from bench.cost.measure import step_flops
from bench.cost.training_flops import TrainingFlops
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Phase, Sampler

D, WIDE = 3, 7
BATCH = 6


class Counter:
    """Stands for the count of one step: a number per progress, and the calls it got."""

    def __init__(self) -> None:
        self.asked: list[float] = []

    def __call__(self, progress: float) -> float:
        self.asked.append(progress)
        return 10 + 100 * progress


def test_a_total_is_the_sum_over_kinds():
    count = Counter()
    flops = TrainingFlops(count)
    for step in range(5):
        flops.enter("a", step, step / 10)
    for step in range(5, 8):
        flops.enter("b", step, step / 10)
    flops.enter("c", 8, 0.8)
    assert flops.total(9) == 5 * 10 + 3 * (10 + 50) + (10 + 80)
    assert count.asked == [0.0, 0.5, 0.8]


def test_nothing_is_counted_before_a_total_is_asked_for():
    count = Counter()
    flops = TrainingFlops(count)
    assert flops.total(0) == 0
    for step in range(3):
        flops.enter("a", step, step / 10)
    assert not count.asked
    assert [flops.total(step) for step in (1, 2, 3, 3)] == [10, 20, 30, 30]
    assert count.asked == [0.0]


def test_no_step_of_a_kind_that_has_just_begun_is_counted():
    count = Counter()
    flops = TrainingFlops(count)
    flops.enter("a", 0, 0.0)
    flops.enter("b", 4, 0.4)
    assert flops.total(4) == 40
    assert count.asked == [0.0]


def test_a_kind_that_comes_again_costs_what_it_does_then():
    flops = TrainingFlops(Counter())
    for step, name in enumerate("aba"):
        flops.enter(name, step, step / 10)
    assert flops.total(3) == pytest.approx(10 + 20 + 30)


@pytest.mark.parametrize("counted", [False, True])
@pytest.mark.parametrize("killed_at", [1, 4, 5, 7])
def test_a_resumed_count_goes_on(killed_at, counted):
    steps = [("a", step) if step < 5 else ("b", step) for step in range(9)]
    flops, again = TrainingFlops(Counter()), Counter()
    for name, step in steps[:killed_at]:
        flops.enter(name, step, step / 10)
    if counted:
        flops.total(killed_at)
    resumed = TrainingFlops(again)
    resumed.load_state_dict(flops.state_dict())
    for name, step in steps[killed_at:]:
        resumed.enter(name, step, step / 10)
    assert resumed.total(9) == 5 * 10 + 4 * (10 + 50)
    assert (0.0 in again.asked) == (killed_at <= 5 and not counted)


class Stages(GenerativeModel):
    """A narrow network for the first half of the budget, a wide one then, and a critic at the end.

    The network trains throughout, the critic in the last quarter: three kinds of steps.
    """

    def __init__(self) -> None:
        super().__init__((D,))
        self.narrow = nn.Linear(D, D)
        self.wide = nn.Sequential(nn.Linear(D, WIDE), nn.Linear(WIDE, D))
        self.networks = nn.ModuleList([self.narrow, self.wide])
        self.critic = nn.Linear(D, 1)

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("network", self.networks, self.loss),
            Phase("critic", self.critic, self.critic_loss, repeats=2, span=(0.75, 1.0)),
        )

    @property
    def samplers(self) -> dict[str, Sampler]:
        return {}

    @property
    def stage(self) -> int:
        return int(self.progress >= 0.5)

    def network(self) -> nn.Module:
        return self.wide if self.stage else self.narrow

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.network()(batch.x).square().mean()}

    def critic_loss(self, batch: Batch) -> dict[str, Tensor]:
        with torch.no_grad():
            x = self.network()(batch.x)
        return {"loss": self.critic(x).square().mean()}


def in_closed_form(progress: float) -> int:
    """A product of (B, m) with (m, n) is 2 B m n; a first layer's input needs no gradient."""
    narrow, hidden, critic = (2 * BATCH * n for n in (D * D, D * WIDE, D))
    if progress < 0.5:
        return 2 * narrow  # forward, and the gradient of the weights
    network = 2 * hidden + 3 * hidden  # the second layer's input needs one besides
    if progress < 0.75:
        return network
    return network + 2 * (2 * hidden + 2 * critic)  # twice: the network and the critic


def by_hand(progress: float) -> int:
    """The losses of one step and their gradients under PyTorch's counter, phase by phase."""
    model = Stages()
    model.progress.fill_(progress)
    x = torch.ones(BATCH, D)
    total = 0
    for module, loss, repeats, start in (
        (model.networks, model.loss, 1, 0.0),
        (model.critic, model.critic_loss, 2, 0.75),
    ):
        model.requires_grad_(False)
        module.requires_grad_(True)
        for _ in range(repeats if progress >= start else 0):
            with FlopCounterMode(display=False) as counter:
                loss(Batch(x))["loss"].backward()
            total += counter.get_total_flops()
    return total


@pytest.mark.parametrize("progress", [0.0, 0.49, 0.5, 0.74, 0.75, 0.99])
def test_one_step_costs_what_is_active_then(progress):
    model = Stages()
    counted = step_flops(model, Batch(torch.ones(BATCH, D)), progress=progress)
    assert counted == by_hand(progress) == in_closed_form(progress)
    assert model.progress == 0


def make(path: Path, budget: Budget) -> Trainer:
    points = np.random.default_rng(0).uniform(-1, 1, (32, D)).astype(np.float32)

    def sgd(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.SGD(parameters, lr=0.01)

    recipe = Recipe(BATCH, {"network": sgd, "critic": sgd})
    batches = BatchStream(Split(points), BATCH, seed=0, flip=False)
    return Trainer(Stages(), recipe, budget, batches, path)


def test_the_trainer_adds_up_the_kinds_and_counts_each_once(tmp_path, monkeypatch):
    """A batch of six, extrapolated from two and four samples, exactly."""
    counted = []

    def count(model: GenerativeModel, batch: Batch, *, progress: float) -> int:
        counted.append((progress, len(batch.x)))
        return step_flops(model, batch, progress=progress)

    monkeypatch.setattr(training_flops, "step_flops", count)
    trainer = make(tmp_path, Budget(images=8 * BATCH))
    trainer.fit(SilentObserver())
    assert trainer.spent.step == 8
    expected = sum(in_closed_form(step / 8) for step in range(8))
    assert trainer.spent.flops == expected
    assert counted == [(at, n) for at in (0.0, 0.5, 0.75) for n in (2, 4)]


def test_a_budget_of_flops_is_spent_to_the_step(tmp_path):
    """Here progress is the share of FLOPs itself, so that kinds change where they were spent."""
    limit = 40 * in_closed_form(0.0)
    trainer = make(tmp_path, Budget(flops=float(limit)))
    trainer.fit(SilentObserver())
    spent = 0
    steps = 0
    while spent < limit:
        spent += in_closed_form(spent / limit)
        steps += 1
    assert (trainer.spent.step, trainer.spent.flops) == (steps, spent)
