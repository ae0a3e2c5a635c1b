import math

import pytest
import torch
from torch.nn.functional import binary_cross_entropy

from models.gan.objectives import (
    discriminator_loss,
    minimax,
    non_saturating,
    non_saturating_generator_loss,
    saturating_generator_loss,
)


@pytest.fixture
def logits() -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 64, generator=generator, dtype=torch.float64)
    return real, fake


def test_losses_equal_binary_cross_entropy_of_sigmoids(logits):
    real, fake = logits
    ones, zeros = torch.ones_like(real), torch.zeros_like(real)
    bce_fake = binary_cross_entropy(fake.sigmoid(), zeros)
    torch.testing.assert_close(
        discriminator_loss(real, fake), binary_cross_entropy(real.sigmoid(), ones) + bce_fake
    )
    torch.testing.assert_close(saturating_generator_loss(fake), -bce_fake)
    torch.testing.assert_close(
        non_saturating_generator_loss(fake), binary_cross_entropy(fake.sigmoid(), ones)
    )


def test_equilibrium_is_two_log_two():
    zero = torch.zeros(4)
    assert discriminator_loss(zero, zero).item() == pytest.approx(2 * math.log(2))


def test_the_discriminator_is_rewarded_for_the_right_answer():
    large = torch.full((4,), 5.0)
    assert discriminator_loss(large, -large) < discriminator_loss(-large, large)


@pytest.mark.parametrize("objective", [minimax(), non_saturating()], ids=["minimax", "ns"])
def test_losses_and_gradients_are_finite_at_extreme_logits(objective):
    extreme = torch.tensor([-1e4, 1e4], requires_grad=True)
    loss = objective.discriminator(extreme, extreme) + objective.generator(extreme)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(extreme.grad).all()


@pytest.mark.parametrize("objective", [minimax(), non_saturating()], ids=["minimax", "ns"])
def test_the_generator_raises_the_logits_of_its_fakes(objective):
    fake = torch.tensor([-2.0, 0.0, 2.0], requires_grad=True)
    objective.generator(fake).backward()
    assert (fake.grad < 0).all()


def test_only_the_min_max_game_saturates_when_the_discriminator_is_sure():
    gradients = []
    for objective in (minimax(), non_saturating()):
        fake = torch.tensor([-10.0], requires_grad=True)
        objective.generator(fake).backward()
        gradients.append(fake.grad.abs().item())
    assert gradients[0] < 1e-4
    assert gradients[1] > 0.99
