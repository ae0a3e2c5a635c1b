"""Phases of training: their spans, how often they are trained, and what follows their updates."""

import copy
import itertools
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from two_players import KilledError, Killer, Log, Two, make, sgd, split

from bench.config import Budget, TrainerSettings
from bench.cost.measure import step_flops
from bench.data.batches import BatchStream
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe, linear_to_zero
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Phase


class InTurn(Two):
    """The first player has the first half of the budget, the second the rest."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (
            Phase("first", self.first, self.first_loss, span=(0.0, 0.5)),
            Phase("second", self.second, self.second_loss, span=(0.5, 1.0)),
        )


def test_phases_are_trained_within_their_spans(tmp_path: Path, monkeypatch) -> None:
    counted_at = []
    monkeypatch.setattr(
        Trainer, "_flops_of_step", lambda _, at: counted_at.append(at) or 10.0 + 100 * at
    )
    model = InTurn()
    trainer = make(tmp_path, model, Budget(images=64))
    trainer.fit(SilentObserver())
    assert model.calls == ["first"] * 4 + ["second"] * 4
    assert trainer.spent.images == 64  # those of the phase that was active
    assert counted_at == [0.0, 0.5]
    assert trainer.spent.flops == 4 * 10.0 + 4 * 60.0


def test_a_budget_with_a_gap_between_phases_is_refused(tmp_path: Path) -> None:
    model = InTurn()
    late = Phase("second", model.second, model.second_loss, span=(0.6, 1.0))
    monkeypatched = type("Gap", (InTurn,), {"phases": (model.phases[0], late)})
    with pytest.raises(ValueError, match="no phase of the model is trained at 50% of the budget"):
        make(tmp_path, monkeypatched(), Budget(images=64))


def test_resuming_within_a_later_span_continues_flops(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Trainer, "_flops_of_step", lambda _, at: 10.0 + 100 * at)
    trainer = make(tmp_path / "a", InTurn(), Budget(images=64))
    for _ in range(6):
        trainer.step()
    resumed = make(tmp_path / "b", InTurn(), Budget(images=64))
    resumed.load_state_dict(copy.deepcopy(trainer.state_dict()))
    resumed.fit(SilentObserver())
    assert resumed.spent.flops == 4 * 10.0 + 4 * 60.0
    assert resumed.model.calls == ["second"] * 2


def test_the_learning_rate_is_a_function_of_progress(tmp_path: Path) -> None:
    trainer = make(tmp_path, InTurn(), Budget(images=64), lr_schedule=linear_to_zero())
    rates = []
    for _ in range(8):
        trainer.step()
        rates.append([trainer.optimizers[n].param_groups[0]["lr"] for n in ("first", "second")])
    # each phase decays over its own span
    assert [first for first, _ in rates[:4]] == pytest.approx([0.1, 0.075, 0.05, 0.025])
    assert [second for _, second in rates[4:]] == pytest.approx([0.1, 0.075, 0.05, 0.025])


def adam(parameters) -> torch.optim.Optimizer:
    return torch.optim.Adam(parameters, lr=0.1)


def make_in_turn(path: Path, model: GenerativeModel) -> Trainer:
    """Optimizers with momentum and an average: both go on by themselves once they have begun."""
    batches = BatchStream(split(), 8, seed=0, flip=False)
    recipe = Recipe(8, {"first": adam, "second": adam}, ema_decay=0.5)
    return Trainer(model, recipe, Budget(images=64), batches, path)


def test_weights_move_within_the_span_of_their_phase_only(tmp_path: Path) -> None:
    model = InTurn()
    trainer = make_in_turn(tmp_path, model)
    weights = [(model.first.weight.item(), model.second.weight.item())]
    for _ in range(8):
        trainer.step()
        weights.append((model.first.weight.item(), model.second.weight.item()))
    moved = [[a != b for a, b in zip(*pair, strict=True)] for pair in itertools.pairwise(weights)]
    assert moved == [[True, False]] * 4 + [[False, True]] * 4


def test_a_phase_outside_its_span_has_no_gradient_and_is_not_logged(tmp_path: Path) -> None:
    log = Log()
    model = InTurn()
    make(tmp_path, model, Budget(images=64)).fit(log)
    assert [sorted(values) for values in log.values] == [
        *[["first/loss", "first/weight"]] * 2,
        *[["second/loss"]] * 2,
    ]
    assert not model.first.weight.requires_grad


class Overlapping(Two):
    """The first player is trained throughout, the second joins in for the last quarter."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        first, second = super().phases
        return first, replace(second, span=(0.75, 1.0))


def test_spans_may_overlap(tmp_path: Path) -> None:
    model = Overlapping()
    trainer = make(tmp_path, model, Budget(images=64))
    for _ in range(8):
        trainer.step()
    assert model.calls == ["first"] * 6 + ["first", "second"] * 2
    assert trainer.spent.images == 64


def check_resumption(
    folder: Path, make: Callable[[Path, Any], Trainer], model: Callable[[], Any], killed_at: int
) -> None:
    """A run killed after some steps must end with the weights of one that was not."""
    torch.manual_seed(0)
    start = model()
    whole = make(folder / "whole", copy.deepcopy(start))
    whole.fit(SilentObserver())
    killed = make(folder / "killed", copy.deepcopy(start))
    for _ in range(killed_at):
        killed.step()
    resumed = make(folder / "killed", model())
    resumed.load_state_dict(copy.deepcopy(killed.state_dict()))
    resumed.fit(SilentObserver())
    for a, b in ((whole.model, resumed.model), (whole.evaluated, resumed.evaluated)):
        other = b.state_dict()
        assert all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


@pytest.mark.parametrize("killed_at", [3, 4, 5])
def test_a_run_killed_around_the_change_of_phases_ends_with_the_same_weights(
    tmp_path: Path, killed_at: int
) -> None:
    check_resumption(tmp_path, make_in_turn, InTurn, killed_at)


class Lazily(Two):
    """A third phase pulls the first player to zero in every third step, by its optimizer."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        penalty = Phase("penalty", self.first, self.penalty, every=3, optimizer="first")
        return (*super().phases, penalty)

    def penalty(self, batch: Batch) -> dict[str, Tensor]:
        self.calls.append("penalty")
        return {"loss": 3 * self.first.weight.square().sum()}


def momentum(parameters) -> torch.optim.Optimizer:
    return torch.optim.SGD(parameters, lr=0.1, momentum=0.5)


def make_lazy(path: Path, model: GenerativeModel) -> Trainer:
    recipe = Recipe(8, {"first": momentum, "second": momentum}, ema_decay=0.9)
    batches = BatchStream(split(), 8, seed=0, flip=False)
    return Trainer(model, recipe, Budget(images=7 * 8), batches, path)


def test_a_lazy_phase_is_trained_in_every_kth_step_by_the_optimizer_that_it_names(
    tmp_path: Path,
) -> None:
    model, log = Lazily(), Log()
    trainer = make_lazy(tmp_path, model)
    weight, speed = model.first.weight.item(), 0.0
    calls: list[str] = []
    for step in range(7):
        slopes = [2 * (weight - trainer.batches(step).x.mean().item())]
        speed = 0.5 * speed + slopes[0]
        weight -= 0.1 * speed
        if step % 3 == 0:
            speed = 0.5 * speed + 6 * weight
            weight -= 0.1 * speed
        calls += ["first", "second", *(["penalty"] if step % 3 == 0 else [])]
    trainer.fit(log)
    assert model.calls[: len(calls)] == calls
    assert model.first.weight.item() == pytest.approx(weight, abs=1e-6)
    assert set(trainer.optimizers) == {"first", "second"}
    assert trainer.spent.images == 56
    assert set(log.values[0]) >= {"penalty/loss", "first/loss"}


@pytest.mark.parametrize("killed_at", [2, 3, 4])
def test_a_lazy_phase_goes_on_where_a_run_was_killed(tmp_path: Path, killed_at: int) -> None:
    check_resumption(tmp_path, make_lazy, Lazily, killed_at)


def test_an_optimizer_is_named_after_the_phase_that_others_share_it_with(tmp_path: Path) -> None:
    recipe = Recipe(8, {"first": sgd, "second": sgd, "penalty": sgd})
    batches = BatchStream(split(), 8, seed=0, flip=False)
    with pytest.raises(ValueError, match=r"must name the model's phases \['first', 'second'\]"):
        Trainer(Lazily(), recipe, Budget(images=8), batches, tmp_path)


class Followed(Two):
    """A target network goes half of the way to the first player after each of its updates."""

    def __init__(self) -> None:
        super().__init__(repeats=2)
        self.target = nn.Linear(1, 1, bias=False)
        self.register_buffer("follows", torch.zeros((), dtype=torch.int64))

    @property
    def phases(self) -> tuple[Phase, ...]:
        first, second = super().phases
        return replace(first, after_update=self.follow), second

    def follow(self) -> None:
        assert not torch.is_grad_enabled()
        self.calls.append("follow")
        self.follows += 1
        self.target.weight.lerp_(self.first.weight @ torch.ones(1, 1), 0.5)

    def second_loss(self, batch: Batch) -> dict[str, Tensor]:
        self.calls.append("second")
        return {"loss": (self.second.weight - self.target.weight).square().sum()}


def test_what_follows_an_update_is_called_once_after_it_without_gradients(tmp_path: Path) -> None:
    model = Followed()
    trainer = make(tmp_path, model, Budget(images=16))
    first, target = model.first.weight.item(), model.target.weight.item()
    trainer.fit(SilentObserver())
    assert model.calls == ["first", "follow", "first", "follow", "second"]
    for update in range(2):
        first -= 0.1 * 2 * (first - trainer.batches(update).x.mean().item())
        target += 0.5 * (first - target)
    assert model.first.weight.item() == pytest.approx(first, abs=1e-6)
    assert model.target.weight.item() == pytest.approx(target, abs=1e-6)


def test_what_follows_an_update_costs_no_flops(tmp_path: Path) -> None:
    batch = make(tmp_path, Two(), Budget(images=8)).batches(0)
    model = Followed()
    flops = step_flops(model, batch)
    model.follow = None  # type: ignore[assignment]
    assert step_flops(model, batch) == flops


@pytest.mark.parametrize("killed_at", [1, 3])
def test_a_target_network_continues_exactly_where_a_run_was_killed(
    tmp_path: Path, killed_at: int
) -> None:
    torch.manual_seed(0)
    start = Followed()

    def train(folder: str, model: Followed, observer: SilentObserver) -> Trainer:
        trainer = Trainer(
            model,
            Recipe(8, {"first": adam, "second": adam}, ema_decay=0.5),
            Budget(images=64),
            BatchStream(split(), 8, seed=0, flip=False),
            tmp_path / folder,
            TrainerSettings(log_every=1, checkpoint_seconds=0.0),
        )
        trainer.resume()
        trainer.fit(observer)
        return trainer

    whole = train("whole", copy.deepcopy(start), SilentObserver())
    with pytest.raises(KilledError):
        train("killed", copy.deepcopy(start), Killer(killed_at + 1))
    resumed = train("killed", Followed(), SilentObserver())
    assert resumed.model.follows == whole.model.follows == 8
    for a, b in ((whole.model, resumed.model), (whole.evaluated, resumed.evaluated)):
        other = b.state_dict()
        assert all(torch.equal(value, other[key]) for key, value in a.state_dict().items())
