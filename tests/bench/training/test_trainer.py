"""The trainer on toy models with known answers; kills and resumption on real ones."""

import copy
import itertools
import time
from functools import partial
from pathlib import Path

import pytest
import torch
from torch import nn
from two_players import KilledError, Killer, Log, Two, make, sgd, split

from bench.config import Budget, TrainerSettings
from bench.data.batches import BatchStream
from bench.training import trainer as trainer_module
from bench.training.callbacks import SilentObserver
from bench.training.loss_log import TrainingFailedError
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec, GenerativeModel, Phase
from models.gan.gan import GAN
from models.gan.networks import dcgan
from models.gan.objectives import non_saturating


def test_budget_of_images_is_counted_on_the_first_phase(tmp_path: Path) -> None:
    model = Two(repeats=3)
    trainer = make(tmp_path, model, Budget(images=48))
    trainer.fit(SilentObserver())
    assert trainer.spent.step == 2  # 3 critic updates of 8 images a step
    assert trainer.spent.images == 48
    trained = [call for call in model.calls if call]
    assert trained[-4:] == ["first", "first", "first", "second"]


def test_nominal_seconds_are_images_whatever_the_clock_says(tmp_path: Path) -> None:
    budget = Budget(seconds=3, images_per_second=16, checkpoints=3)
    trainer = make(tmp_path, Two(), budget)
    readings = itertools.count(0.0, 0.9)
    trainer.clock.wall = partial(next, readings)  # slow, and short of a pause
    trainer.fit(log := Log())
    assert (trainer.spent.images, trainer.seconds, log.points) == (48, 3.0, 3)
    assert trainer.spent.seconds > 4
    assert budget.limits() == {"images": 48}
    assert str(budget) == str(Budget(seconds=3, images_per_second=99)) == "seconds=3,clock=nominal"
    both = Budget(seconds=3, images_per_second=16, images=20, flops=7)
    assert both.limits() == {"images": 20, "flops": 7}
    assert str(both) == "images=20,seconds=3,flops=7,clock=nominal"


def test_a_phase_updates_its_own_module_only(tmp_path: Path) -> None:
    model = Two()
    trainer = make(tmp_path, model, Budget(images=8))
    first, second = model.first.weight.item(), model.second.weight.item()
    mean = trainer.batches(0).x.mean().item()
    trainer.fit(SilentObserver())
    expected_first = first - 0.1 * 2 * (first - mean)
    assert model.first.weight.item() == pytest.approx(expected_first, abs=1e-6)
    # its gradient is the new first weight alone: nothing is left of the first phase's loss
    assert model.second.weight.item() == pytest.approx(second - 0.1 * expected_first, abs=1e-6)


def test_ema_follows_with_a_ramp_and_copies_buffers(tmp_path: Path) -> None:
    model = Two()
    trainer = make(tmp_path, model, Budget(images=8), ema_decay=0.9999)
    assert trainer.weights == "ema"
    start = model.first.weight.item()
    trainer.fit(SilentObserver())
    decay = 2 / 11  # (1 + step) / (10 + step) at step 1
    expected = decay * start + (1 - decay) * model.first.weight.item()
    assert trainer.evaluated.first.weight.item() == pytest.approx(expected, abs=1e-6)
    assert trainer.evaluated.progress.item() == model.progress.item()


def test_the_average_of_a_gan_follows_once_a_step_whatever_its_critic_updates(
    tmp_path: Path,
) -> None:
    """The generator's average after each step, from its weights and the ramp's decays alone."""
    data = DataSpec((1, 8, 8), 0, lambda indices: torch.zeros(len(indices), 1, 8, 8), 4)
    networks = partial(dcgan.Generator, width=4), partial(dcgan.Discriminator, width=4)
    model = GAN(data, *networks, non_saturating(), latent_dim=3, critic_repeats=3)
    trainer = make(tmp_path, model, Budget(images=3 * 8 * 4), ema_decay=0.3)
    expected = [parameter.detach().clone() for parameter in model.generator.parameters()]

    class Following(SilentObserver):
        steps = 0

        def on_step(self) -> None:
            self.steps += 1
            decay = min(0.3, (1 + self.steps) / (10 + self.steps))
            for average, now in zip(expected, model.generator.parameters(), strict=True):
                average.mul_(decay).add_((1 - decay) * now.detach())

    trainer.fit(observer := Following())
    assert observer.steps == 4
    averaged = trainer.evaluated.generator
    for value, average, now in zip(
        averaged.parameters(), expected, model.generator.parameters(), strict=True
    ):
        torch.testing.assert_close(value, average)
        assert not torch.equal(value, now)
    for buffer, now in zip(averaged.buffers(), model.generator.buffers(), strict=True):
        assert torch.equal(buffer, now)
    assert not averaged.training


def test_clipping_bounds_the_update(tmp_path: Path) -> None:
    model = Two()
    nn.init.constant_(model.first.weight, 100.0)
    make(tmp_path, model, Budget(images=8), clip_norm=1.0).fit(SilentObserver())
    assert model.first.weight.item() == pytest.approx(100 - 0.1, abs=1e-4)


def test_warm_up_is_linear_in_images(tmp_path: Path) -> None:
    trainer = make(tmp_path, Two(), Budget(images=80), warmup_images=16)
    rates = []
    for _ in range(4):
        trainer.step()
        rates.append(trainer.optimizers["first"].param_groups[0]["lr"])
    assert rates == pytest.approx([0.1 * 8 / 16, 0.1, 0.1, 0.1])


def test_logs_are_means_and_points_lie_along_the_budget(tmp_path: Path) -> None:
    log = Log()
    trainer = make(tmp_path, Two(), Budget(images=64, checkpoints=4))
    trainer.fit(log)
    assert log.points == 4
    assert len(log.values) == 4  # every 2 of 8 steps
    assert set(log.values[0]) == {"first/loss", "first/weight", "second/loss"}


@pytest.mark.parametrize("bad_step", [1, 5])
def test_a_loss_that_is_not_finite_ends_the_run_with_step_and_phase(
    tmp_path: Path, bad_step: int, monkeypatch
) -> None:
    monkeypatch.setattr(Trainer, "_flops_of_step", lambda *_: 1.0)  # it would call the loss
    trainer = make(tmp_path, Two(), Budget(images=800))
    trainer.model.bad_step = bad_step
    with pytest.raises(TrainingFailedError) as failure:
        trainer.fit(SilentObserver())
    assert (failure.value.step, failure.value.phase) == (bad_step, "first")


def test_seconds_and_flops_end_training(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(Trainer, "_flops_of_step", lambda *_: 10.0)
    trainer = make(tmp_path / "a", Two(), Budget(seconds=0.2, images=10**9))
    trainer.fit(SilentObserver())
    assert 0.2 <= trainer.spent.seconds < 1
    trainer = make(tmp_path / "b", Two(), Budget(flops=100.0))
    trainer.fit(SilentObserver())
    assert trainer.spent.step == 10


def test_training_ends_where_the_device_takes_the_last_seconds(tmp_path: Path, monkeypatch) -> None:
    """The clock that is read before waiting for the device is not the last word."""
    clock = itertools.count()
    waits = []

    def synchronize(device: torch.device) -> None:
        waits.append(device)

    monkeypatch.setattr(trainer_module, "synchronize", synchronize)
    monkeypatch.setattr(Trainer, "_flops_of_step", lambda *_: 10.0)
    log = Log()
    trainer = make(tmp_path, Two(), Budget(seconds=50.0, checkpoints=2))
    trainer.clock.now = lambda: next(clock) * 0.001 + 100.0 * len(waits)  # type: ignore[method-assign]
    trainer.fit(log)
    assert trainer.progress == 1.0
    assert trainer.spent.step == 2  # the first wait, at the first log, takes it all
    assert log.points == 2
    assert len(log.values) == 1


def test_flops_are_counted_when_first_needed(tmp_path: Path, monkeypatch) -> None:
    counts = []
    monkeypatch.setattr(Trainer, "_flops_of_step", lambda *_: counts.append(1) or 10.0)
    trainer = make(tmp_path / "a", Two(), Budget(images=40))
    trainer.step()
    assert not counts
    trainer.fit(SilentObserver())
    assert (trainer.spent.step, trainer.spent.flops, len(counts)) == (5, 50.0, 1)
    trainer = make(tmp_path / "b", Two(), Budget(flops=100.0))
    assert len(counts) == 2  # whether there are any
    trainer.step()
    assert len(counts) == 3


@pytest.mark.parametrize(
    ("budget", "sentence"),
    [
        ({}, "unlimited"),
        ({"flops": float("nan")}, "budget.flops must be positive"),
        ({"images": 8, "images_per_second": 9}, "by which budget.seconds are counted"),
        (
            {"seconds": 0.5, "images_per_second": "fast"},
            "budget.images_per_second must be a number",
        ),
        (
            {"images": "many", "seconds": 8, "images_per_second": 9},
            "budget.images must be a number",
        ),
        ({"seconds": 8, "images_per_second": 0}, "budget.images_per_second must be positive"),
    ],
)
def test_a_useless_budget_is_refused(budget: dict, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Budget(**budget)


def test_optimizers_must_match_the_phases(tmp_path: Path) -> None:
    recipe = Recipe(batch_size=8, optimizers={"first": sgd})
    batches = BatchStream(split(), 8, seed=0, flip=False)
    with pytest.raises(ValueError, match=r"training.optimizers must name .*'first', 'second'"):
        Trainer(Two(), recipe, Budget(images=8), batches, tmp_path)


def noisy() -> GenerativeModel:
    """A GAN with batch norm: buffers, noise and two optimizers with momentum."""
    from functools import partial

    from models.base import DataSpec
    from models.gan.gan import GAN
    from models.gan.networks.dcgan import Discriminator, Generator
    from models.gan.objectives import non_saturating

    torch.manual_seed(0)
    spec = DataSpec((1, 8, 8), 0, lambda i: torch.zeros(len(i), 1, 8, 8), 1)
    return GAN(
        spec,
        generator=partial(Generator, width=8),
        discriminator=partial(Discriminator, width=8),
        objective=non_saturating(),
        latent_dim=4,
    )


def train_noisy(path: Path, observer: SilentObserver, precision: str) -> Trainer:
    adam = torch.optim.Adam
    recipe = Recipe(
        batch_size=8, optimizers={"discriminator": adam, "generator": adam}, ema_decay=0.99
    )
    trainer = Trainer(
        noisy(),
        recipe,
        Budget(images=160, checkpoints=2),
        BatchStream(split(), 8, seed=0, flip=True),
        path,
        TrainerSettings(3, precision, log_every=3, checkpoint_seconds=0.0),
    )
    trainer.resume()
    trainer.fit(observer)
    return trainer


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("kill_at", [1, 7, 10, 19])
def test_a_killed_run_ends_with_the_same_weights_bit_for_bit(
    tmp_path: Path, kill_at: int, precision: str
) -> None:
    whole = train_noisy(tmp_path / "whole", SilentObserver(), precision)
    with pytest.raises(KilledError):
        train_noisy(tmp_path / "killed", Killer(kill_at), precision)
    torch.rand(7)  # the resumed process has another random state
    resumed = train_noisy(tmp_path / "killed", SilentObserver(), precision)
    assert resumed.spent.step == whole.spent.step == 20
    for a, b in ((whole.model, resumed.model), (whole.evaluated, resumed.evaluated)):
        other = b.state_dict()
        assert all(torch.equal(value, other[key]) for key, value in a.state_dict().items())


def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    whole = train_noisy(tmp_path, SilentObserver(), "fp32")
    newest = max(tmp_path.glob("step=*.pt"), key=lambda path: int(path.stem.split("=")[1]))
    newest.write_bytes(newest.read_bytes()[:1000])
    resumed = train_noisy(tmp_path, SilentObserver(), "fp32")
    assert "is damaged" in caplog.text
    other = resumed.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in whole.model.state_dict().items())


def test_evaluating_between_steps_changes_nothing(tmp_path: Path) -> None:
    class Disturb(SilentObserver):
        def on_point(self) -> None:
            torch.rand(100)

    whole = train_noisy(tmp_path / "a", SilentObserver(), "fp32")
    disturbed = train_noisy(tmp_path / "b", Disturb(), "fp32")
    other = disturbed.model.state_dict()
    assert all(torch.equal(value, other[key]) for key, value in whole.model.state_dict().items())


def test_a_deep_copy_of_the_model_is_bound_to_itself() -> None:
    model = Two()
    assert copy.deepcopy(model).phases[0].module is not model.first


class Untrained(Two):
    """Has parameters, and no phase to train them: weights from elsewhere."""

    @property
    def phases(self) -> tuple[Phase, ...]:
        return ()


@pytest.mark.parametrize("optimizers", [{}, {"first": sgd, "second": sgd}], ids=["none", "some"])
def test_a_model_without_phases_is_not_trained_whatever_its_recipe(
    tmp_path: Path, optimizers: dict
) -> None:
    model, log = Untrained(), Log()
    before = copy.deepcopy(model.state_dict())
    recipe = Recipe(8, optimizers, ema_decay=0.9, warmup_images=16)
    batches = BatchStream(split(), 8, seed=0, flip=False)
    budget = Budget(flops=100.0, checkpoints=4)
    trainer = Trainer(model, recipe, budget, batches, tmp_path / "c")
    trainer.fit(log)
    assert all(torch.equal(value, model.state_dict()[key]) for key, value in before.items())
    assert (trainer.evaluated, trainer.weights) == (model, "raw")
    assert (trainer.points, log.points, log.values) == (1, 1, [])
    assert (trainer.spent.step, trainer.spent.images, trainer.spent.flops) == (0, 0, 0)
    assert not trainer.optimizers
    assert not list(tmp_path.iterdir())


def test_counting_flops_is_not_training_time(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(
        "bench.training.trainer.count_step", lambda *_, **__: time.sleep(0.3) or 10.0
    )
    for budget in (Budget(images=40), Budget(flops=50.0)):
        trainer = make(tmp_path / str(budget.images), Two(), budget)
        trainer.fit(SilentObserver())
        assert trainer.spent.flops == 50.0
        assert trainer.spent.seconds < 0.25


def test_a_flops_budget_that_no_step_spends_is_refused(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr("bench.training.trainer.count_step", lambda *_, **__: 0.0)
    with pytest.raises(ValueError, match=r"torch counts no FLOPs .* give budget\.images"):
        make(tmp_path, Two(), Budget(flops=100.0))
