import math

import pytest
import torch
from torch.nn.functional import (
    binary_cross_entropy,
    hinge_embedding_loss,
    mse_loss,
    soft_margin_loss,
)

from models.gan.objectives import (
    Objective,
    discriminator_loss,
    hinge,
    least_squares,
    minimax,
    non_saturating,
    non_saturating_generator_loss,
    relativistic,
    saturating_generator_loss,
    wasserstein,
)

OBJECTIVES = {
    "minimax": minimax(),
    "non-saturating": non_saturating(),
    "hinge": hinge(),
    "least squares": least_squares(),
    "wasserstein": wasserstein(),
    "relativistic": relativistic(),
}
every_objective = pytest.mark.parametrize("objective", OBJECTIVES.values(), ids=OBJECTIVES.keys())


def generator_loss(objective: Objective, fake: torch.Tensor, real: torch.Tensor) -> torch.Tensor:
    """The generator's loss, as `GAN` asks for it."""
    return objective.generator(fake, real if objective.paired else None)


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


@every_objective
def test_losses_and_gradients_are_finite_at_extreme_logits(objective):
    extreme = torch.tensor([-1e4, 1e4], requires_grad=True)
    others = torch.tensor([1e4, -1e4])
    loss = objective.discriminator(extreme, others) + generator_loss(objective, extreme, others)
    loss.backward()
    assert torch.isfinite(loss)
    assert torch.isfinite(extreme.grad).all()


@every_objective
def test_the_generator_raises_the_logits_of_its_fakes(objective):
    fake = torch.tensor([-2.0, -1.0, 0.5], requires_grad=True)
    generator_loss(objective, fake, torch.ones(3)).backward()
    assert (fake.grad < 0).all()


@every_objective
def test_the_discriminator_raises_real_logits_and_lowers_fake_ones(objective):
    real, fake = (torch.full((3,), 0.5, requires_grad=True) for _ in range(2))
    objective.discriminator(real, fake).backward()
    assert (real.grad < 0).all()
    assert (fake.grad > 0).all()


@every_objective
def test_losses_are_means_over_the_batch(objective, logits):
    """Twice the batch, the same in both halves, has the same loss."""
    real, fake = logits
    twice = torch.cat([real, real]), torch.cat([fake, fake])
    torch.testing.assert_close(objective.discriminator(*twice), objective.discriminator(real, fake))
    torch.testing.assert_close(
        generator_loss(objective, twice[1], twice[0]), generator_loss(objective, fake, real)
    )


@pytest.mark.parametrize(
    ("name", "for_discriminator", "for_generator"),
    [
        ("minimax", 2 * math.log(2), -math.log(2)),
        ("non-saturating", 2 * math.log(2), math.log(2)),
        ("hinge", 2.0, 0.0),
        ("least squares", 0.5, 0.5),
        ("wasserstein", 0.0, 0.0),
        ("relativistic", math.log(2), math.log(2)),
    ],
)
def test_losses_where_all_logits_are_zero(name, for_discriminator, for_generator):
    """What a discriminator pays that cannot tell: with a sigmoid, D = 1/2 everywhere."""
    zero = torch.zeros(4)
    assert OBJECTIVES[name].discriminator(zero, zero).item() == pytest.approx(for_discriminator)
    assert generator_loss(OBJECTIVES[name], zero, zero).item() == pytest.approx(for_generator)


def test_hinge_losses_equal_torchs_hinge(logits):
    real, fake = logits
    far = -torch.ones_like(real)  # hinge_embedding_loss of target -1 is max(0, 1 - input)
    expected = hinge_embedding_loss(real, far) + hinge_embedding_loss(-fake, far)
    torch.testing.assert_close(hinge().discriminator(real, fake), expected)
    torch.testing.assert_close(hinge().generator(fake, None), -fake.mean())


def test_the_hinge_ignores_samples_beyond_its_margin():
    real = torch.tensor([0.5, 1.5], requires_grad=True)
    fake = torch.tensor([-0.5, -1.5], requires_grad=True)
    hinge().discriminator(real, fake).backward()
    assert real.grad.tolist() == [-0.5, 0]
    assert fake.grad.tolist() == [0.5, 0]


@pytest.mark.parametrize("codes", [(0, 1, 1), (-1, 1, 0)], ids=str)
def test_least_squares_losses_equal_mean_squared_errors_from_their_codes(codes, logits):
    real, fake = logits
    a, b, c = (torch.full_like(real, code) for code in codes)
    game = least_squares(*codes)
    torch.testing.assert_close(
        game.discriminator(real, fake), (mse_loss(real, b) + mse_loss(fake, a)) / 2
    )
    torch.testing.assert_close(game.generator(fake, None), mse_loss(fake, c) / 2)


def test_least_squares_codes_that_are_equal_are_refused():
    with pytest.raises(ValueError, match=r"fake_code must differ from real_code, got 1\.0"):
        least_squares(fake_code=1.0)


def test_the_least_squares_generator_minimises_pearsons_divergence():
    """With b - c = 1, b - a = 2 and the best discriminator, 2 C(G) = χ²(p + q || 2 q) (Eq. 7).

    On two points with p = (p, 1 - p) real and q = (q, 1 - q) fake: D = (b p + a q) / (p + q).
    C(G) is the generator's loss on real and fake samples alike, as in the paper's Eq. 4.
    """
    p, q = torch.tensor([0.3, 0.7]), torch.tensor([0.6, 0.4])
    best = (p - q) / (p + q)
    game = least_squares(-1.0, 1.0, 0.0)
    cost = [
        game.generator(torch.repeat_interleave(best, (10 * w).round().int()), None) for w in (p, q)
    ]
    chi_squared = ((2 * q - (p + q)).square() / (p + q)).sum()
    torch.testing.assert_close(2 * sum(cost), chi_squared)


def test_the_critics_loss_is_minus_the_distance_of_two_points():
    """D(x) = x is the best 1-Lipschitz critic of δ_3 against δ_1: their distance is 2."""
    assert wasserstein().discriminator(torch.full((4,), 3.0), torch.ones(4)).item() == -2
    assert wasserstein().generator(torch.ones(4), None).item() == -1


def test_relativistic_losses_equal_torchs_soft_margin_of_differences(logits):
    real, fake = logits
    ones = torch.ones_like(real)
    game = relativistic()
    torch.testing.assert_close(game.discriminator(real, fake), soft_margin_loss(real - fake, ones))
    torch.testing.assert_close(game.generator(fake, real), soft_margin_loss(fake - real, ones))


def test_only_differences_of_logits_matter_in_the_relativistic_game(logits):
    real, fake = logits
    game = relativistic()
    torch.testing.assert_close(
        game.discriminator(real + 7, fake + 7), game.discriminator(real, fake)
    )
    torch.testing.assert_close(game.generator(fake + 7, real + 7), game.generator(fake, real))


def test_the_relativistic_generator_needs_real_logits():
    with pytest.raises(ValueError, match="pairs fake logits with real ones, got None"):
        relativistic().generator(torch.zeros(2), None)


def test_only_the_min_max_game_saturates_when_the_discriminator_is_sure():
    gradients = []
    for objective in (minimax(), non_saturating()):
        fake = torch.tensor([-10.0], requires_grad=True)
        objective.generator(fake, None).backward()
        gradients.append(fake.grad.abs().item())
    assert gradients[0] < 1e-4
    assert gradients[1] > 0.99


def test_drift_is_the_weighted_mean_square_of_the_real_logits():
    real, fake = torch.tensor([1.0, -3.0]), torch.tensor([2.0, 0.0])
    plain, kept = wasserstein(), wasserstein(drift=0.01)
    assert kept.discriminator(real, fake) == pytest.approx(plain.discriminator(real, fake) + 0.05)
    assert kept.generator(fake, None) == plain.generator(fake, None)
    with pytest.raises(ValueError, match="drift must not be negative"):
        wasserstein(drift=-1.0)
