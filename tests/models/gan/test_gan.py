from functools import partial

import pytest
import torch
from torch import nn

from models.base import Batch, DataSpec
from models.gan.dcgan import Discriminator, Generator
from models.gan.gan import GAN
from models.gan.objectives import non_saturating

SHAPE = (1, 8, 8)


@pytest.fixture
def gan() -> GAN:
    torch.manual_seed(0)
    return GAN(
        DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10),
        partial(Generator, width=8),
        partial(Discriminator, width=8),
        non_saturating(),
        latent_dim=6,
    )


def test_phases_alternate_discriminator_and_generator(gan):
    assert [phase.name for phase in gan.phases] == ["discriminator", "generator"]
    assert [phase.module for phase in gan.phases] == [gan.discriminator, gan.generator]


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
        x = gan.draw(3, torch.Generator().manual_seed(0))
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
        x = gan.draw(64, torch.Generator().manual_seed(0))
    assert x.mean().item() == pytest.approx(0.5, abs=0.2)
