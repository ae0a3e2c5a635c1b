from functools import partial

import pytest
import torch
from torch import nn

from models.base import Batch, DataSpec
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import Objective, hinge, non_saturating, relativistic, wasserstein

SHAPE = (1, 8, 8)


def make(objective: Objective, kind: type[GAN] = GAN, **options) -> GAN:
    torch.manual_seed(0)
    return kind(
        DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10),
        partial(Generator, width=8),
        partial(Discriminator, width=8),
        objective,
        **{"latent_dim": 6} | options,
    )


@pytest.fixture
def gan() -> GAN:
    return make(non_saturating())


def test_phases_alternate_discriminator_and_generator(gan):
    assert [phase.name for phase in gan.phases] == ["discriminator", "generator"]
    assert [phase.module for phase in gan.phases] == [gan.discriminator, gan.generator]


def test_the_critic_is_updated_as_often_as_asked_per_generator_update():
    phases = make(wasserstein(), critic_repeats=5).phases
    assert [(phase.name, phase.repeats) for phase in phases] == [
        ("discriminator", 5),
        ("generator", 1),
    ]


@pytest.mark.parametrize("name", ["critic_repeats", "latent_dim"])
@pytest.mark.parametrize("number", [0, -1, 1.5])
def test_what_must_be_counted_is_a_whole_number(name, number):
    with pytest.raises(ValueError, match=f"{name} must be a whole number, at least 1, got"):
        make(wasserstein(), **{name: number})


def test_logits_of_another_shape_are_refused():
    gan = make(wasserstein())
    gan.discriminator = nn.Flatten()
    with pytest.raises(ValueError, match=r"must give \(B,\) logits, got \(4, "):
        gan.discriminator_loss(Batch(torch.rand(4, *gan.data_shape)))


@pytest.mark.parametrize(
    ("objective", "judged"), [(hinge(), 1), (relativistic(), 2)], ids=["hinge", "relativistic"]
)
def test_only_a_paired_game_judges_real_samples_in_the_generator_phase(objective, judged):
    gan, seen = make(objective), []
    gan.discriminator.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].detach()))
    batch = Batch(torch.rand(4, *SHAPE))
    gan.generator_loss(batch)
    assert len(seen) == judged
    assert [torch.equal(x, batch.x) for x in seen] == [False, True][:judged]


@pytest.mark.parametrize("objective", [hinge(), relativistic()], ids=["hinge", "relativistic"])
def test_the_losses_are_those_of_the_objective(objective):
    """With a discriminator that is its input's mean, and a generator that ignores its latents."""

    class Mean(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).mean(1)

    class Constant(nn.Module):
        def forward(self, z: torch.Tensor) -> torch.Tensor:
            return torch.full((len(z), *SHAPE), 0.25)

    gan = make(objective)
    gan.generator, gan.discriminator = Constant(), Mean()
    x = torch.rand(4, *SHAPE)
    real, fake = x.flatten(1).mean(1), torch.full((4,), 0.25)
    torch.testing.assert_close(
        gan.discriminator_loss(Batch(x))["loss"], objective.discriminator(real, fake)
    )
    torch.testing.assert_close(
        gan.generator_loss(Batch(x))["loss"],
        objective.generator(fake, real if objective.paired else None),
    )


def test_the_hooks_alone_decide_what_classes_do():
    """A subclass that overrides `fake` and `judge` is conditional in losses and in draws."""
    seen: list[tuple[str, torch.Tensor | None]] = []

    class Told(GAN):
        def fake(self, z: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
            seen.append(("fake", y))
            return super().fake(z, y)

        def judge(self, x: torch.Tensor, y: torch.Tensor | None) -> torch.Tensor:
            seen.append(("judge", y))
            return super().judge(x, y)

    gan = make(relativistic(), Told)
    y = torch.tensor([2, 0, 1])
    gan.discriminator_loss(Batch(torch.rand(3, *SHAPE), y))
    gan.generator_loss(Batch(torch.rand(3, *SHAPE), y))
    gan.generate(3, torch.Generator().manual_seed(0), y)
    assert [name for name, _ in seen] == [
        *("fake", "judge", "judge"),
        *("fake", "judge", "judge"),
        "fake",
    ]
    assert all(told is y for _, told in seen)


def test_the_discriminator_loss_has_no_path_into_the_generator(gan):
    gan.discriminator_loss(Batch(torch.rand(4, *SHAPE)))["loss"].backward()
    assert all(parameter.grad is None for parameter in gan.generator.parameters())


def test_logs_are_the_mean_logits(gan):
    class Constant(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return x.flatten(1).mean(1) * 0 + 3.0

    gan.discriminator = Constant()
    logs = gan.discriminator_loss(Batch(torch.rand(4, *SHAPE)))
    assert logs["real_logit"] == 3
    assert logs["fake_logit"] == 3
    assert gan.generator_loss(Batch(torch.rand(4, *SHAPE)))["fake_logit"] == 3


def test_in_eval_mode_a_sample_does_not_depend_on_its_batch(gan):
    gan.eval()
    z = torch.randn(4, 6)
    with torch.inference_mode():
        torch.testing.assert_close(gan.generator(z)[:1], gan.generator(z[:1]))


def test_samples_are_float32_under_autocast(gan):
    gan.eval()
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        x = gan.generate(3, torch.Generator().manual_seed(0))
    assert x.dtype == torch.float32
    assert x.abs().max() <= 1


def test_it_learns_the_mean_of_its_data(gan):
    """A hundred steps on constant images bring the fakes close to the constant."""
    torch.manual_seed(0)
    batch = Batch(torch.full((16, *SHAPE), 0.5))
    optimizers = [
        torch.optim.Adam(phase.module.parameters(), 2e-3, betas=(0.5, 0.999))
        for phase in gan.phases
    ]
    for _ in range(100):
        for phase, optimizer in zip(gan.phases, optimizers, strict=True):
            loss = phase.loss(batch)["loss"]
            gan.zero_grad()
            loss.backward()
            optimizer.step()
    gan.eval()
    with torch.inference_mode():
        x = gan.generate(64, torch.Generator().manual_seed(0))
    assert x.mean().item() == pytest.approx(0.5, abs=0.2)
