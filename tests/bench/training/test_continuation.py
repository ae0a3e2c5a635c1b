"""bench.training.continuation: what of a training depends on the share of the budget spent."""

from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from in_process import compose
from omegaconf import OmegaConf
from torch import Tensor
from two_players import Two, make, sgd

from bench.config import Budget
from bench.training.budget import Earlier, shares
from bench.training.callbacks import SilentObserver
from bench.training.continuation import changing
from bench.training.recipe import Recipe, constant, cosine, linear_to_zero
from models.base import Batch, DataSpec, Phase


class Fading(Two):
    """The second loss fades in during training, without a stage of its own."""

    def second_loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": super().second_loss(batch)["loss"] + self.progress.float()}


class Consecutive(Two):
    @property
    def phases(self) -> tuple[Phase, ...]:
        first, second = super().phases
        halves = ((0.0, 0.5), (0.5, 1.0))
        return tuple(
            Phase(p.name, p.module, p.loss, span=span)
            for p, span in zip((first, second), halves, strict=True)
        )


def recipe(**settings) -> Recipe:
    return Recipe(optimizers={"first": sgd, "second": sgd}, **settings)


BATCH = Batch(torch.rand(8, 1, 8, 8))


@pytest.mark.parametrize(
    ("model", "settings", "expected"),
    [
        (Two(), {}, ""),
        (Two(), {"lr_schedule": constant(), "ema_decay": 0.9, "warmup_images": 64}, ""),
        (Two(), {"lr_schedule": linear_to_zero(0.99)}, "the learning rate"),
        (Two(), {"lr_schedule": cosine(floor=0.5)}, "the learning rate"),
        (Consecutive(), {}, "which phase is trained"),
        (Fading(), {}, "the loss of the second"),
    ],
)
def test_what_depends_on_the_budget_is_named(model, settings, expected):
    before = torch.get_rng_state()
    assert changing(model, recipe(**settings), BATCH) == expected
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dcgan_small", ""),
        ("progan_small", "the stage of growing"),
        ("ddpm_small", ""),
        ("latent_diffusion_small", "which phase is trained"),
        ("ddgan_small", "the learning rate"),
    ],
)
def test_models_of_this_repository(name, expected):
    cfg = compose(f"model={name}", "dataset=digits")
    config = OmegaConf.to_container(cfg.model, resolve=True)
    assert isinstance(config, dict)
    spec = DataSpec((1, 8, 8), 10, lambda i: torch.zeros(len(i), 1, 8, 8), 8)
    model = instantiate(config["build"], _convert_="all")(spec)
    training = instantiate(config["training"], _convert_="all")
    batch = Batch(torch.rand(8, 1, 8, 8) * 2 - 1, torch.arange(8))
    assert changing(model, training, batch) == expected


@pytest.mark.parametrize(
    ("checkpoints", "earlier", "expected"),
    [
        (4, Earlier(), [0.25, 0.5, 0.75, 1.0]),
        (1, Earlier(1, 0.5), [1.0]),
        (4, Earlier(2, 0.5), [0.75, 1.0]),
        (4, Earlier(2, 0.504), [0.75, 1.0]),  # it ended within its last step
        (3, Earlier(1, 4800 / 14400), [2 / 3, 1.0]),
    ],
)
def test_points_after_a_shorter_run_are_those_of_the_longer_one(checkpoints, earlier, expected):
    assert shares(Budget(images=1, checkpoints=checkpoints), earlier) == expected


def test_points_at_equal_ratios_start_at_a_share_of_the_budget(tmp_path: Path):
    budget = Budget(seconds=320, checkpoints=5, first_point=1 / 16)
    assert budget.shares == pytest.approx([1 / 16, 1 / 8, 1 / 4, 1 / 2, 1])
    assert budget.shares[-1] == 1
    trainer = make(tmp_path, Two(), Budget(images=160, checkpoints=3, first_point=0.25))
    seen = []

    class Points(SilentObserver):
        def on_point(self) -> None:
            seen.append(trainer.spent.images)

    trainer.fit(Points())
    assert seen == [40, 80, 160]


def test_a_trainer_counts_the_points_of_the_shorter_run(tmp_path: Path):
    trainer = make(tmp_path, Two(), Budget(images=80, checkpoints=5))
    trainer.fit(SilentObserver())
    state = trainer.state_dict()
    longer = make(tmp_path, Two(), Budget(images=160, checkpoints=2))
    longer.load_state_dict(state | {"earlier": {"points": 5, "share": 0.5}})
    assert longer.points == 6
    longer.fit(SilentObserver())
    assert (longer.spent.point, longer.spent.images) == (6, 160)
    again = make(tmp_path, Two(), Budget(images=160, checkpoints=2))
    again.resume()
    assert again.earlier == Earlier(5, 0.5)
