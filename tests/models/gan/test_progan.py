"""Progressive growing as a model: inputs, samples, cost of a step, and kills mid-fade."""

from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from bench.config import Budget
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, DataSpec
from models.gan.networks.progressive import Discriminator, Generator
from models.gan.objectives import wasserstein
from models.gan.progan import ProGAN
from models.gan.regularisers import GradientPenalty

SHAPE = (1, 16, 16)  # three levels, seven units
STAGES = {0.5: 0, 1.5: 1, 2.5: 2, 3.5: 3, 5.0: 4}
"""Units of the budget, and the stage they lie in."""


def make(shape: tuple[int, ...] = SHAPE, **options) -> ProGAN:
    torch.manual_seed(0)
    return ProGAN(
        DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10),
        partial(Generator, width=4, max_width=8),
        partial(Discriminator, width=4, max_width=8),
        wasserstein(drift=0.001),
        latent_dim=6,
        regularisers=(GradientPenalty(10.0),),
        **options,
    )


def at(model: ProGAN, units: float) -> ProGAN:
    model.progress.fill_(units / 7)
    return model


class Spy(torch.nn.Module):
    """A discriminator that keeps what it was shown."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: list[torch.Tensor] = []

    def forward(self, x: torch.Tensor, place: object) -> torch.Tensor:
        self.seen.append(x.detach())
        return x.flatten(1).mean(1)


def shown(units: float, x: torch.Tensor) -> torch.Tensor:
    """The real images that the discriminator sees."""
    model = at(make(), units)
    model.discriminator = Spy()
    model.discriminator_loss(Batch(x))
    return model.discriminator.seen[0]


def pooled(x: torch.Tensor, factor: int) -> np.ndarray:
    b, c, h, w = x.shape
    return x.numpy().reshape(b, c, h // factor, factor, w // factor, factor).mean(axis=(3, 5))


def test_real_images_are_averaged_to_the_size_of_the_level():
    x = torch.rand(3, *SHAPE)
    for units, factor in {0.5: 4, 2.5: 2, 5.0: 1}.items():
        np.testing.assert_allclose(shown(units, x).numpy(), pooled(x, factor), atol=1e-6)


def test_real_images_are_blended_while_a_level_fades_in():
    x = torch.rand(3, *SHAPE)
    coarse = pooled(x, 4).repeat(2, axis=2).repeat(2, axis=3)
    expected = 0.75 * coarse + 0.25 * pooled(x, 2)
    np.testing.assert_allclose(shown(1.25, x).numpy(), expected, atol=1e-6)


def test_samples_are_of_full_size_and_blocks_while_the_level_is_low():
    for units, factor in {0.5: 4, 2.5: 2}.items():
        model = at(make(), units).eval()
        with torch.inference_mode():
            x = model.generate(3, torch.Generator().manual_seed(0))
        assert x.shape == (3, *SHAPE)
        block = pooled(x, factor).repeat(factor, axis=2).repeat(factor, axis=3)
        np.testing.assert_allclose(x.numpy(), block, atol=1e-6)


def test_samples_are_continuous_where_a_level_begins():
    model = make().eval()
    draws = []
    for units in (1 - 1e-6, 1 + 1e-6, 1.3):
        with torch.inference_mode():
            draws.append(at(model, units).generate(3, torch.Generator().manual_seed(0)))
    torch.testing.assert_close(draws[0], draws[1], atol=1e-4, rtol=0)
    assert not torch.allclose(draws[0], draws[2], atol=1e-2)


@pytest.mark.parametrize(("units", "stage"), STAGES.items())
def test_stages_are_numbered_along_the_budget(units, stage):
    assert at(make(), units).stage == stage


def test_a_step_costs_the_same_within_a_stage_and_more_in_later_ones():
    def flops(units: float) -> int:
        model = at(make(), units)
        with FlopCounterMode(display=False) as counter:
            for phase in model.phases:
                phase.loss(Batch(torch.rand(2, *SHAPE)))["loss"].backward()
        return counter.get_total_flops()

    costs = [flops(units) for units in STAGES]
    assert costs == [flops(units + 0.3) for units in STAGES]
    assert costs[0] < min(costs[1:3])
    assert max(costs[1:3]) < min(costs[3:])


def test_the_last_level_is_trained_for_as_long_as_told():
    model = make(last_length=16.0)  # and 4 units before
    model.progress.fill_(0.199)
    assert model.stage == 3
    model.progress.fill_(0.201)
    assert model.stage == 4


@pytest.mark.parametrize("length", [0.0, -1.0, float("nan"), float("inf")])
def test_a_last_length_that_is_not_positive_is_refused(length):
    with pytest.raises(ValueError, match="last_length must be positive"):
        make(last_length=length)


def test_penalties_are_logged_beside_the_loss():
    model, batch = at(make(), 4.5), Batch(torch.rand(4, *SHAPE))
    logs = model.discriminator_loss(batch)
    assert set(logs) == {"loss", "real_logit", "fake_logit", "gradient_penalty"}
    value = logs["fake_logit"] - logs["real_logit"] + logs["gradient_penalty"]
    value += 0.001 * model.judge(batch.x, None).square().mean().detach()
    torch.testing.assert_close(logs["loss"].detach(), value)


@pytest.mark.parametrize("units", STAGES)
def test_every_stage_trains_under_bfloat16_autocast(units):
    model = at(make(), units)
    for phase in model.phases:
        with torch.autocast("cpu", torch.bfloat16):
            loss = phase.loss(Batch(torch.rand(4, *SHAPE)))["loss"]
        loss.backward()
        assert loss.dtype == torch.float32
        grads = [p.grad for p in phase.module.parameters() if p.grad is not None]
        assert all(torch.isfinite(grad).all() for grad in grads)


def trainer(path: Path) -> Trainer:
    images = np.random.default_rng(0).integers(0, 256, (32, *SHAPE), dtype=np.uint8)
    adam = partial(torch.optim.Adam, lr=1e-3, betas=(0.0, 0.99))
    return Trainer(
        make(),
        Recipe(8, {"discriminator": adam, "generator": adam}, ema_decay=0.9),
        Budget(images=14 * 8),  # two steps a unit: steps 3 and 7 are amid a fade
        BatchStream(Split(images, None), 8, seed=0, flip=False),
        path,
    )


@pytest.mark.parametrize(("steps", "stage"), [(3, 1), (4, 1), (7, 3)])
def test_a_run_that_is_killed_amid_a_fade_goes_on_as_if_it_had_not_been(steps, stage, tmp_path):
    whole = trainer(tmp_path / "whole")
    for _ in range(steps):
        whole.step()
    state = whole.state_dict()
    torch.save(state, tmp_path / "state.pt")
    resumed = trainer(tmp_path / "resumed")
    resumed.load_state_dict(torch.load(tmp_path / "state.pt", weights_only=True))
    assert resumed.model.stage == stage
    for trained in (whole, resumed):
        trained.fit(SilentObserver())
        assert trained.model.stage == 4
    for (name, one), other in zip(
        whole.evaluated.state_dict().items(), resumed.evaluated.state_dict().values(), strict=True
    ):
        assert torch.equal(one, other), name


def test_training_goes_through_all_stages_and_reaches_every_parameter(tmp_path):
    trained = trainer(tmp_path)
    start = {name: p.clone() for name, p in trained.model.named_parameters()}
    stages = []
    while trained.progress < 1:
        trained.step()
        stages.append(trained.model.stage)
    assert stages == sorted(stages)
    assert set(stages) == {0, 1, 2, 3, 4}
    moved = {name for name, p in trained.model.named_parameters() if not p.equal(start[name])}
    assert moved == set(start)


def test_it_learns_the_mean_of_its_data_while_it_grows():
    model = make((1, 8, 8))
    batch = Batch(torch.full((8, 1, 8, 8), 0.5))
    adam = partial(torch.optim.Adam, lr=5e-3, betas=(0.0, 0.99))
    optimizers = [adam(phase.module.parameters()) for phase in model.phases]
    for step in range(150):
        model.progress.fill_(step / 150)
        for phase, optimizer in zip(model.phases, optimizers, strict=True):
            loss = phase.loss(batch)["loss"]
            model.zero_grad()
            loss.backward()
            optimizer.step()
    model.progress.fill_(1.0)
    with torch.inference_mode():
        x = model.eval().generate(64, torch.Generator().manual_seed(0))
    assert F.mse_loss(x, torch.full_like(x, 0.5)) < 0.05
