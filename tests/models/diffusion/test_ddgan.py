import math
from dataclasses import dataclass, field
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from bench.cost.measure import step_flops
from models.base import Batch, DataSpec, ShapeError
from models.diffusion.ddgan import DDGAN, Discriminator, vp_betas
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import cumulative_alphas
from models.gan.augmentation import AdaptiveAugment, DiffAugment
from models.gan.objectives import non_saturating, relativistic
from models.gan.regularisers import R1, Critic

SHAPE = (1, 8, 8)


class Constant(nn.Module):
    """A generator whose clean image has one value everywhere."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self.raw = nn.Parameter(torch.tensor(math.atanh(value)))

    def forward(self, x_t: Tensor, t: Tensor, *, z: Tensor) -> Tensor:
        return self.raw.expand_as(x_t)


class Recorder(nn.Module):
    """A discriminator that keeps what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[tuple[Tensor, Tensor, Tensor]] = []

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        self.shown.append((x_prev, x_t, t))
        return 0.0 * x_prev.flatten(1).sum(1)


def shown(ddgan: DDGAN) -> list[tuple[Tensor, Tensor, Tensor]]:
    """What the recording discriminator was shown so far."""
    assert isinstance(ddgan.discriminator, Recorder)
    return ddgan.discriminator.shown


def make(num_timesteps: int = 4, shape: tuple[int, ...] = SHAPE, **settings) -> DDGAN:
    torch.manual_seed(0)
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10)
    unet = partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4)
    parts = {"generator": unet, "discriminator": partial(Discriminator, width=4), "latent_dim": 3}
    parts["objective"] = non_saturating()
    return DDGAN(data, betas=vp_betas(num_timesteps), **{**parts, **settings})


def make_constant(value: float, num_timesteps: int = 4) -> DDGAN:
    return make(
        num_timesteps,
        generator=lambda shape, latent_dim: Constant(value),
        discriminator=lambda shape, T: Recorder(),
    )


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_steps_multiply_to_the_continuous_process(steps):
    """exp(-integral of beta(s) ds), beta(s) linear from 0.1 to 20 (Song et al. 2021, Eq. 33)."""
    alpha_bar = cumulative_alphas(vp_betas(steps))
    s = torch.arange(1, steps + 1, dtype=torch.float64) / steps
    torch.testing.assert_close(alpha_bar, torch.exp(-0.1 * s - 0.5 * (20.0 - 0.1) * s**2))


def test_the_posterior_is_that_of_two_gaussian_measurements():
    """x_{t-1} has the prior q(x_{t-1} | x_0) and is measured through x_t: precisions add."""
    ddgan = make()
    betas = vp_betas(4)
    alpha_bar = cumulative_alphas(betas)
    for t in range(1, 4):
        prior, step = 1 - alpha_bar[t - 1], betas[t]
        variance = 1 / (1 / prior + (1 - step) / step)
        weight_x_0 = variance * alpha_bar[t - 1].sqrt() / prior
        weight_x_t = variance * (1 - step).sqrt() / step
        for ours, expected in (
            (ddgan.variances[t], variance),
            (ddgan.weight_x_0[t], weight_x_0),
            (ddgan.weight_x_t[t], weight_x_t),
        ):
            torch.testing.assert_close(ours.double(), expected, rtol=1e-5, atol=1e-7)
    first = ddgan.weight_x_0[0].item(), ddgan.weight_x_t[0].item(), ddgan.variances[0].item()
    assert first == pytest.approx((1.0, 0.0, 0.0))


def test_pairs_are_diffused_by_the_forward_process():
    ddgan = make()
    x_0 = torch.full((40_000, 1, 1, 1), 0.7)
    x_prev, x_t, t = ddgan.diffuse(x_0)
    alpha_bar = cumulative_alphas(vp_betas(4)).float()
    before = torch.cat([torch.ones(1), alpha_bar[:-1]])
    for step in range(4):
        earlier, later = x_prev[t == step].flatten(), x_t[t == step].flatten()
        assert len(earlier) == pytest.approx(10_000, rel=0.05)
        assert earlier.mean().item() == pytest.approx(0.7 * before[step].sqrt().item(), abs=0.04)
        assert earlier.var().item() == pytest.approx(1 - before[step].item(), abs=0.05)
        assert later.mean().item() == pytest.approx(0.7 * alpha_bar[step].sqrt().item(), abs=0.04)
        assert later.var().item() == pytest.approx(1 - alpha_bar[step].item(), abs=0.05)
        covariance = torch.cov(torch.stack([earlier, later]))[0, 1].item()
        kept = (alpha_bar[step] / before[step]).sqrt() * (1 - before[step])
        assert covariance == pytest.approx(kept.item(), abs=0.04)


def test_the_right_clean_image_makes_fakes_of_the_true_distribution():
    """With G = x_0 the discriminator's two inputs agree in distribution, at every timestep."""
    ddgan = make_constant(0.7)
    x_0 = torch.full((40_000, 1, 1, 1), 0.7)
    ddgan.discriminator_loss(Batch(x_0))
    (real, x_t, t), (fake, _, _) = shown(ddgan)
    for step in range(4):
        now = x_t[t == step].flatten()
        pairs = [torch.stack([x[t == step].flatten(), now]) for x in (real, fake)]
        torch.testing.assert_close(pairs[0].mean(1), pairs[1].mean(1), atol=0.04, rtol=0)
        torch.testing.assert_close(torch.cov(pairs[0]), torch.cov(pairs[1]), atol=0.05, rtol=0)


def test_one_step_is_a_plain_conditional_gan():
    """With T = 1 real data meet the generator's own output, both beside the noisy data."""
    ddgan = make_constant(-0.4, num_timesteps=1)
    x_0 = torch.rand(3, *SHAPE) * 2 - 1
    loss = ddgan.discriminator_loss(Batch(x_0))["loss"]
    (real, x_t, t), (fake, x_t_of_fake, _) = shown(ddgan)
    torch.testing.assert_close(real, x_0)
    torch.testing.assert_close(fake, torch.full_like(x_0, -0.4))
    assert torch.equal(x_t, x_t_of_fake)
    assert (t == 0).all()
    assert loss.item() == pytest.approx(2 * math.log(2))
    assert ddgan.generator_loss(Batch(x_0))["loss"].item() == pytest.approx(math.log(2))


def test_sampling_ends_on_the_generators_clean_image():
    ddgan = make_constant(0.3)
    with torch.inference_mode():
        x = ddgan.generate(4, torch.Generator().manual_seed(0))
    torch.testing.assert_close(x, torch.full_like(x, 0.3))
    assert list(ddgan.samplers) == ["ddgan-4"]
    assert ddgan.samplers["ddgan-4"].nfe == 4


def test_steps_of_sampling_are_the_steps_that_fakes_are_trained_on():
    """The states that a draw visits have the moments of q(x_t | x_0) where G = x_0."""
    seen: list[Tensor] = []

    class Seeing(Constant):
        def forward(self, x_t: Tensor, t: Tensor, *, z: Tensor) -> Tensor:
            seen.append(x_t)
            return super().forward(x_t, t, z=z)

    ddgan = make(
        shape=(1, 1, 1),
        generator=lambda shape, latent_dim: Seeing(0.7),
        discriminator=lambda shape, T: Recorder(),
    )
    with torch.inference_mode():
        ddgan.generate(20_000, torch.Generator().manual_seed(0))
    alpha_bar = cumulative_alphas(vp_betas(4)).flip(0).float()
    for x, power in zip(seen, alpha_bar, strict=True):
        assert x.mean().item() == pytest.approx(0.7 * power.sqrt().item(), abs=0.03)
        assert x.var().item() == pytest.approx(1 - power.item(), abs=0.03)


def test_the_latent_and_the_timestep_reach_both_networks():
    ddgan = make()
    with torch.no_grad():
        for parameter in ddgan.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
        x, t = torch.randn(2, *SHAPE), torch.tensor([1, 1])
        z = torch.randn(2, 3)
        assert not torch.equal(ddgan.predict(x, t, z), ddgan.predict(x, t, -z))
        assert not torch.equal(ddgan.predict(x, t, z), ddgan.predict(x, t + 1, z))
        judged = ddgan.discriminator(x, x, t)
        assert judged.shape == (2,)
        assert not torch.equal(judged, ddgan.discriminator(x, x, t + 1))
        assert not torch.equal(judged, ddgan.discriminator(x, -x, t))
        assert not torch.equal(judged, ddgan.discriminator(-x, x, t))


@dataclass
class Penalty:
    """A regulariser that keeps what it is shown."""

    name: str
    value: float
    interval: int = 1
    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        self.seen.append((critic(real), critic(fake)))
        return torch.tensor(self.value)


def test_regularisers_see_the_critic_of_the_earlier_image():
    penalties = [Penalty("first", 0.5), Penalty("second", 0.25)]
    ddgan = make(regularisers=penalties)
    torch.manual_seed(3)
    logs = ddgan.discriminator_loss(Batch(torch.rand(4, *SHAPE)))
    assert (logs["first"], logs["second"]) == (0.5, 0.25)
    real_logits, fake_logits = penalties[0].seen[0]
    torch.testing.assert_close(real_logits.mean(), logs["real_logit"])
    torch.testing.assert_close(fake_logits.mean(), logs["fake_logit"])
    ddgan.regularisers = ()
    torch.manual_seed(3)
    plain = ddgan.discriminator_loss(Batch(torch.rand(4, *SHAPE)))
    torch.testing.assert_close(logs["loss"], plain["loss"] + 0.75)


def test_the_flops_of_a_step_with_its_penalty_can_be_counted():
    batch = Batch(torch.rand(2, *SHAPE))
    assert step_flops(make(regularisers=[R1(0.1)]), batch) > step_flops(make(), batch) > 0


def test_a_relativistic_generator_sees_the_real_image_of_the_same_noise():
    ddgan = make_constant(-0.4)
    ddgan.objective = relativistic()
    x_0 = torch.rand(3, *SHAPE) * 2 - 1
    assert ddgan.generator_loss(Batch(x_0))["loss"].item() == pytest.approx(math.log(2))
    (_, x_t_of_fake, _), (_, x_t, _) = shown(ddgan)
    assert torch.equal(x_t, x_t_of_fake)


def test_the_discriminator_judges_odd_sizes():
    discriminator = Discriminator((3, 9, 28), 4, width=4)
    x = torch.rand(2, 3, 9, 28)
    assert discriminator(x, x, torch.tensor([0, 3])).shape == (2,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((0,), "num_timesteps must be at least 1, got 0"),
        ((4, 0.0), "0 < beta_min <= beta_max, got 0.0, 20.0"),
        ((4, 2.0, 1.0), "0 < beta_min <= beta_max, got 2.0, 1.0"),
    ],
)
def test_schedules_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        vp_betas(*arguments)


def test_networks_out_of_range_are_refused():
    with pytest.raises(ValueError, match="latent_dim must be at least 1, got 0"):
        make(latent_dim=0)
    with pytest.raises(ValueError, match=r"data_shape .*got \(2,\)"):
        Discriminator((2,), 4)
    with pytest.raises(ValueError, match="width must be at least 1, got 0"):
        Discriminator(SHAPE, 4, width=0)


def test_both_images_of_a_pair_are_augmented_alike_and_pairs_differently():
    """A shift by whole pixels keeps the difference of the pair, shifted by the same."""
    model = make(
        discriminator=lambda shape, T: Recorder(), augmentation=DiffAugment(["translation"])
    )
    x = torch.arange(1.0, 65.0).view(1, 1, 8, 8).expand(16, 1, 8, 8) / 64
    model.critic(x, 2 * x, torch.zeros(16, dtype=torch.int64))
    ((x_prev, x_t, _),) = shown(model)
    torch.testing.assert_close(x_t, 2 * x_prev)
    assert len({row.numpy().tobytes() for row in x_prev}) > 4  # of nine shifts


def test_the_discriminator_sees_augmented_pairs_in_both_phases_and_in_penalties():
    model = make(
        discriminator=lambda shape, T: Recorder(),
        objective=non_saturating(),
        regularisers=[R1()],
        augmentation=DiffAugment(["cutout"]),
    )
    discriminator, generator = model.phases
    for phase, calls in ((discriminator, 3), (generator, 1)):
        shown(model).clear()
        phase.loss(Batch(torch.rand(8, *SHAPE) * 2 - 1))
        assert len(shown(model)) == calls
        for x_prev, x_t, _ in shown(model):
            hidden = x_t == 0
            assert (hidden.flatten(1).sum(1) >= 4).all()  # the corner of a square of 4 x 4
            assert torch.equal(hidden, x_prev == 0)


def test_ada_follows_the_logits_of_real_pairs():
    model = make(augmentation=AdaptiveAugment(images=64, interval=1, start=0.5))
    plain, augmented = make(), model.phases[0]
    assert [len(part.phases) for part in (plain, model)] == [2, 2]
    values = augmented.loss(Batch(torch.rand(8, *SHAPE) * 2 - 1))
    assert values["augmentation"] == 0.5
    signs = model.augmentation.signs
    assert signs[1] == 8
    assert augmented.summed[0] is signs
    assert augmented.after_update is not None
    augmented.after_update()
    expected = 0.5 + (1 if signs[0] / 8 > 0.6 else -1) * 8 / 64
    assert float(model.augmentation.probability) == expected
    assert not any("augmentation" in name for name in plain.state_dict())


def test_augmentations_are_refused_as_of_any_gan():
    with pytest.raises(ShapeError, match=r"1 or 3 channels for ADA, got \(2, 8, 8\)"):
        make(shape=(2, 8, 8), augmentation=AdaptiveAugment())
    with pytest.raises(ValueError, match="ADA follows the signs of logits"):
        make(objective=relativistic(), augmentation=AdaptiveAugment())
