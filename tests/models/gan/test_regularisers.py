"""Penalties on critics whose gradients are known, and on networks, against finite differences."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bench.cost.measure import step_flops
from bench.cost.network_calls import flop_counter
from models.base import Batch, DataSpec
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import wasserstein
from models.gan.regularisers import R1, R2, GradientPenalty, Regulariser

SHAPE = (1, 8, 8)
W = torch.tensor([3.0, -4.0])
PENALTIES: list[Regulariser] = [GradientPenalty(), R1(), R2()]


def name_of(penalty: Regulariser) -> str:
    return penalty.name


@pytest.fixture
def points() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.randn(2, 32, 2, generator=generator)
    return real, fake


@pytest.fixture
def images() -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    real, fake = torch.rand(2, 4, *SHAPE, generator=generator) * 2 - 1
    return real, fake


@pytest.fixture
def critic() -> Discriminator:
    """A critic whose gradients at images are near 1, so that no penalty is negligible."""
    torch.manual_seed(0)
    critic = Discriminator(SHAPE, width=4, norm="layer")
    for parameter in critic.parameters():
        if parameter.ndim > 1:
            nn.init.normal_(parameter, 0.0, parameter[0].numel() ** -0.5)
    return critic


@pytest.mark.parametrize(
    ("penalty", "value", "slope"),
    [
        (GradientPenalty(10.0), 10 * (5 - 1) ** 2, 2 * 10 * (5 - 1) / 5),
        (GradientPenalty(10.0, target=2.0), 10 * (5 / 2 - 1) ** 2, 2 * 10 * (5 / 2 - 1) / 2 / 5),
        (R1(3.0), 3 / 2 * 25, 3),
        (R2(3.0), 3 / 2 * 25, 3),
    ],
    ids=["gradient penalty", "of target 2", "r1", "r2"],
)
def test_a_linear_critic_is_penalised_by_the_length_of_its_weights(penalty, value, slope, points):
    """D(x) = w·x has gradient w, |w| = 5, everywhere; the penalty's own gradient lies along w."""
    w = W.clone().requires_grad_()
    result = penalty(lambda x: x @ w, *points)
    assert result.item() == pytest.approx(value)
    result.backward()
    torch.testing.assert_close(w.grad, slope * W)


@pytest.mark.parametrize(("penalty", "which"), [(R1(4.0), 0), (R2(4.0), 1)], ids=["r1", "r2"])
def test_a_quadratic_critic_is_penalised_at_the_samples_that_the_penalty_is_for(
    penalty, which, points
):
    """D(x) = a |x|² / 2 has gradient a x: γ/2 E|∇D|² = γ/2 a² E|x|²."""
    a = torch.tensor(1.5, requires_grad=True)
    result = penalty(lambda x: a * x.square().sum(1) / 2, *points)
    expected = 2 * 1.5**2 * points[which].square().sum(1).mean()
    torch.testing.assert_close(result.detach(), expected)
    result.backward()
    torch.testing.assert_close(a.grad, 2 * expected / 1.5)


def test_the_gradient_penalty_looks_between_real_and_fake_samples():
    """From real at 0 to fake at 8, D(x) = x²/2 has slope x = 8u: E(8u - 1)² = 64/3 - 8 + 1."""
    torch.manual_seed(0)
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.square().sum(1) / 2

    n = 100_000
    result = GradientPenalty(1.0)(critic, torch.zeros(n, 1), torch.full((n, 1), 8.0))
    deviation = (
        8**4 / 5 - 2 * 8**3 * 2 / 4 + 6 * 64 / 3 - 4 * 8 / 2 + 1 - (64 / 3 - 7) ** 2
    ) ** 0.5
    assert result.item() == pytest.approx(64 / 3 - 7, abs=4 * deviation / n**0.5)
    (x,) = seen
    assert x.min() >= 0
    assert x.max() <= 8
    torch.testing.assert_close(x.sort(0).values[:, 0], torch.linspace(0, 8, n), atol=0.05, rtol=0)


def test_every_sample_has_its_own_place_on_its_own_line():
    """One share per sample, the same for all its values: interpolates stay on the lines."""
    torch.manual_seed(0)
    seen: list[Tensor] = []

    def critic(x: Tensor) -> Tensor:
        seen.append(x.detach())
        return x.flatten(1).sum(1)

    real, fake = torch.zeros(6, *SHAPE), torch.randn(6, *SHAPE)
    GradientPenalty()(critic, real, fake)
    shares = (seen[0] / fake).flatten(1)
    torch.testing.assert_close(shares, shares[:, :1].expand_as(shares))
    assert len(shares[:, 0].unique()) == 6


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(), R2()], ids=name_of)
def test_a_critic_that_says_the_same_everywhere_gets_a_finite_gradient(penalty, points):
    """A norm has no derivative at zero; there it must not be nan."""
    w = torch.zeros(2, requires_grad=True)
    penalty(lambda x: x @ w, *points).backward()
    assert torch.isfinite(w.grad).all()


@pytest.mark.parametrize("penalty", PENALTIES, ids=name_of)
def test_gradients_with_respect_to_the_weights_match_finite_differences(penalty, images, critic):
    """The derivative along a random direction of all weights, in float32, by central differences.

    Smooth activations stand in for LeakyReLU, at whose kinks differences mean nothing.
    """
    network = deepcopy(critic)
    for name, module in list(network.layers.named_children()):
        if isinstance(module, nn.LeakyReLU):
            network.layers.register_module(name, nn.Softplus())
    parameters = list(network.parameters())
    start = [parameter.detach().clone() for parameter in parameters]
    direction = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) for p in start]

    def value(step: float) -> Tensor:
        torch.manual_seed(0)
        with torch.no_grad():
            for parameter, origin, along in zip(parameters, start, direction, strict=True):
                parameter.copy_(origin + step * along)
        return penalty(network, *images)

    with torch.no_grad():  # penalties take gradients even so
        difference = (value(1e-3) - value(-1e-3)).item() / 2e-3
    value(0.0).backward()
    # The last layer's bias moves no gradient of the critic.
    slopes = [
        (p.grad * d).sum() for p, d in zip(parameters, direction, strict=True) if p.grad is not None
    ]
    assert len(slopes) >= len(parameters) - 1
    assert sum(slopes).item() == pytest.approx(difference, rel=1e-2)


@pytest.mark.parametrize("penalty", PENALTIES, ids=name_of)
def test_under_bfloat16_autocast_penalties_are_float32_and_near(penalty, images, critic):
    torch.manual_seed(0)
    expected = penalty(lambda x: critic(x).float(), *images)
    torch.manual_seed(0)
    with torch.autocast("cpu", torch.bfloat16):
        result = penalty(lambda x: critic(x).float(), *images)
    assert result.dtype == torch.float32
    assert result.item() == pytest.approx(expected.item(), rel=0.05)


@pytest.mark.parametrize("penalty", [GradientPenalty(), R1(), R2()], ids=name_of)
def test_samples_get_no_gradient(penalty, images, critic):
    real, fake = (x.clone().requires_grad_() for x in images)
    penalty(critic, real, fake).backward()
    assert real.grad is None
    assert fake.grad is None


@pytest.mark.parametrize("weight", [0.0, -1.0, float("nan")])
@pytest.mark.parametrize("penalty", [GradientPenalty, R1, R2])
def test_a_weight_that_is_not_positive_is_refused(penalty, weight):
    with pytest.raises(ValueError, match="weight of a penalty must be positive, got"):
        penalty(weight)


@pytest.mark.parametrize("interval", [0, -2, 1.5])
@pytest.mark.parametrize("penalty", [GradientPenalty, R1, R2])
def test_an_interval_that_counts_no_steps_is_refused(penalty, interval):
    with pytest.raises(ValueError, match="interval of a penalty must be a whole number of steps"):
        penalty(interval=interval)


def test_a_target_that_is_not_positive_is_refused():
    with pytest.raises(
        ValueError, match=r"target of a gradient penalty must be positive, got 0\.0"
    ):
        GradientPenalty(target=0.0)


def test_a_critic_under_the_gradient_penalty_ends_up_with_slope_one():
    """The Kantorovich potential between δ_0 and δ_1 on a line has slope 1 (Gulrajani et al., 2017).

    min over w of E D(fake) - E D(real) + λ (|w| - 1)², D(x) = w x, real 1, fake 0: w = 1 + 1/(2λ).
    """
    critic = nn.Linear(1, 1)
    real, fake = torch.ones(8, 1), torch.zeros(8, 1)
    optimizer = torch.optim.SGD(critic.parameters(), 0.03)
    for _ in range(200):
        optimizer.zero_grad()
        loss = critic(fake).mean() - critic(real).mean()
        (loss + GradientPenalty(10.0)(lambda x: critic(x).squeeze(1), real, fake)).backward()
        optimizer.step()
    assert critic.weight.item() == pytest.approx(1 + 1 / 20, rel=1e-3)


def gan_with(norm: str, *regularisers: Regulariser) -> GAN:
    """A GAN of 16x16 images, whose critic has one layer that `norm` normalises."""
    data = DataSpec((1, 16, 16), 0, lambda index: torch.zeros(len(index), 1, 16, 16), 10)
    discriminator = partial(Discriminator, width=4, norm=norm)
    return GAN(data, partial(Generator, width=4), discriminator, wasserstein(), 6, regularisers)


def test_batch_norm_in_a_penalised_critic_is_refused():
    with pytest.raises(ValueError, match="set the discriminator's norm to none or layer"):
        gan_with("batch", R1())
    gan_with("batch")
    gan_with("layer", R1())


def test_penalties_of_one_name_are_refused_and_of_two_are_both_added():
    with pytest.raises(ValueError, match=r"distinct names, got \['r1', 'r1'\]"):
        gan_with("none", R1(), R1())
    batch = Batch(torch.rand(4, 1, 16, 16))
    values = gan_with("none", R1(), R1(20.0, name="twice")).discriminator_loss(batch)
    torch.testing.assert_close(values["twice"], 2 * values["r1"])


def test_penalties_are_added_to_the_loss_and_logged_by_their_names():
    torch.manual_seed(0)
    gan = gan_with("none", GradientPenalty(), R1(), R2())
    values = gan.discriminator_loss(Batch(torch.rand(4, 1, 16, 16)))
    names = ["gradient_penalty", "r1", "r2"]
    assert list(values) == ["loss", "real_logit", "fake_logit", *names]
    expected = values["fake_logit"] - values["real_logit"] + sum(values[name] for name in names)
    torch.testing.assert_close(values["loss"].detach(), expected)


@pytest.mark.parametrize("kind", [R1, R2, GradientPenalty], ids=["r1", "r2", "gradient penalty"])
def test_a_lazy_penalty_has_the_eager_gradient_on_average_over_its_interval(kind):
    """In one of four steps four times the penalty: the mean gradient is that of the eager loss."""
    batch = Batch(torch.rand(4, 1, 16, 16))
    gradients: list[list[Tensor]] = []
    for interval in (1, 4):
        torch.manual_seed(0)
        gan = gan_with("none", kind(3.0, interval=interval))
        total = [torch.zeros_like(p) for p in gan.discriminator.parameters()]
        for step in range(4):
            for phase in gan.phases[:-1]:
                if step % phase.every:
                    continue
                gan.discriminator.zero_grad()
                torch.manual_seed(1)
                phase.loss(batch)["loss"].backward()
                for sum_, p in zip(total, gan.discriminator.parameters(), strict=True):
                    if p.grad is not None:
                        sum_ += p.grad / 4
        gradients.append(total)
    for eager, lazy in zip(*gradients, strict=True):
        torch.testing.assert_close(lazy, eager, rtol=1e-4, atol=1e-6)


def test_a_lazy_penalty_is_a_phase_by_the_discriminators_optimizer():
    gan = gan_with("none", R1(interval=16), R2())
    assert [(p.name, p.every, p.updated_by, p.module) for p in gan.phases] == [
        ("discriminator", 1, "discriminator", gan.discriminator),
        ("r1", 16, "discriminator", gan.discriminator),
        ("generator", 1, "generator", gan.generator),
    ]
    values = gan.discriminator_loss(Batch(torch.rand(4, 1, 16, 16)))
    assert "r2" in values
    assert "r1" not in values


@pytest.mark.parametrize(
    ("penalty", "passes"),
    [(R1(interval=16), 0), (R2(interval=16), 1), (GradientPenalty(interval=16), 1)],
    ids=["r1", "r2", "gradient penalty"],
)
def test_a_lazy_penalty_generates_fakes_only_if_it_uses_them(penalty, passes):
    gan = gan_with("none", penalty)
    calls = []
    gan.generator.register_forward_hook(lambda *_: calls.append(1))
    batch = Batch(torch.rand(4, 1, 16, 16))
    loss = gan.penalty_loss(penalty, batch)["loss"]
    assert len(calls) == passes
    if not passes:
        torch.testing.assert_close(
            loss, 16 * penalty(lambda x: gan.critic(x, None), batch.x, batch.x)
        )


def test_the_flops_of_a_step_have_no_generator_in_a_penalty_that_uses_no_fakes():
    batch = Batch(torch.rand(4, 1, 16, 16))
    with_flops = {kind: step_flops(gan_with("none", kind(interval=2)), batch) for kind in (R1, R2)}
    generator = gan_with("none").generator.eval()
    with flop_counter() as counter, torch.no_grad():
        generator(torch.zeros(4, 6))
    assert with_flops[R2] - with_flops[R1] == counter.get_total_flops() / 2
