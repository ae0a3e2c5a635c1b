"""Augmentation of what the discriminator sees: its transformations, its place in a GAN, ADA's p."""

import math
from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec, ShapeError
from models.gan.augmentation import (
    AdaptiveAugment,
    Augmentation,
    DiffAugment,
    colours,
    cut_out,
    geometry,
    recoloured,
    translate,
)
from models.gan.gan import GAN
from models.gan.networks import mlp
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import (
    Objective,
    hinge,
    least_squares,
    minimax,
    non_saturating,
    relativistic,
    wasserstein,
)
from models.gan.regularisers import R1, GradientPenalty
from models.layers.affine import warp

SHAPE = (3, 16, 16)


@pytest.fixture
def images() -> Tensor:
    torch.manual_seed(0)
    return torch.rand(8, *SHAPE, generator=torch.Generator().manual_seed(1)) * 2 - 1


def gan(augmentation: Augmentation | None, shape: tuple[int, ...] = SHAPE, **options) -> GAN:
    torch.manual_seed(0)
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10)
    networks = partial(Generator, width=4), partial(Discriminator, width=4, norm="none")
    objective = options.pop("objective", non_saturating())
    return GAN(data, *networks, objective, 6, augmentation=augmentation, **options)


# DiffAugment


def test_translation_shifts_each_image_by_its_own_whole_pixels_and_fills_with_zeros(images):
    moved = translate(images)  # by at most two pixels
    padded = nn.functional.pad(images, (2, 2, 2, 2))
    shifts = []
    for k in range(len(images)):
        shifts += [
            (dy, dx)
            for dy in range(5)
            for dx in range(5)
            if torch.equal(moved[k], padded[k, :, dy : dy + 16, dx : dx + 16])
        ]
    assert len(shifts) == len(images)
    assert len(set(shifts)) > 1


def test_a_cutout_has_half_of_the_sides_or_is_cut_at_the_border():
    torch.manual_seed(0)
    holes = cut_out(torch.ones(500, *SHAPE)) == 0
    assert torch.equal(holes[:, :1].expand_as(holes), holes)
    rows, columns = holes[:, 0].any(dim=2).sum(dim=1), holes[:, 0].any(dim=1).sum(dim=1)
    assert torch.equal(holes[:, 0].sum(dim=(1, 2)), rows * columns)  # rectangles
    assert rows.max() == columns.max() == 8
    assert rows.min() == 4  # centred on the border


def test_brightness_alone_changes_what_has_no_contrast():
    torch.manual_seed(0)
    change = DiffAugment(["color"])(torch.full((2000, *SHAPE), 0.25)) - 0.25
    torch.testing.assert_close(change, change[:, :1, :1, :1].expand_as(change))
    values = change[:, 0, 0, 0]
    assert values.abs().max() <= 0.5 + 1e-6
    assert values.mean().item() == pytest.approx(0, abs=4 * (1 / 12 / 2000) ** 0.5)
    assert values.var().item() == pytest.approx(1 / 12, rel=0.1)


def test_contrast_scales_deviations_of_grey_images():
    torch.manual_seed(0)
    x = torch.randn(500, 1, 8, 8)
    y = DiffAugment(["color"])(x)
    deviations = [image - image.mean(dim=(1, 2, 3), keepdim=True) for image in (x, y)]
    factors = (deviations[1] / deviations[0]).flatten(1)
    torch.testing.assert_close(factors, factors[:, :1].expand_as(factors), rtol=1e-2, atol=1e-3)
    assert 0.5 <= factors[:, 0].min() < 0.6
    assert 1.4 < factors[:, 0].max() <= 1.5 + 1e-3


@pytest.mark.parametrize(
    "augmentation", [DiffAugment(), AdaptiveAugment(start=0.8)], ids=["DiffAugment", "ADA"]
)
def test_gradients_flow_to_the_images(augmentation, images):
    """The transformations are affine in the images: the derivative is the difference quotient."""
    x = images.clone().requires_grad_()
    direction = torch.randn_like(x)
    torch.manual_seed(5)
    first = augmentation(x)
    (gradient,) = torch.autograd.grad(first.square().sum(), x)
    torch.manual_seed(5)
    second = augmentation(images + direction)
    expected = (2 * first * (second - first)).sum()
    torch.testing.assert_close((gradient * direction).sum(), expected, rtol=1e-3, atol=1e-2)
    assert (gradient.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize(
    "augmentation", [DiffAugment(), AdaptiveAugment(start=0.8)], ids=["DiffAugment", "ADA"]
)
def test_r1_sees_through_the_transformation(augmentation, images):
    """For D(x) = w · T(x) it is γ / 2 E|T' w|², T' from the transformation's Jacobian."""
    x = images[:2, :, :6, :6].contiguous()
    w = torch.randn(x[0].shape, requires_grad=True)

    def critic(x: Tensor) -> Tensor:
        torch.manual_seed(3)
        return (augmentation(x) * w).flatten(1).sum(dim=1)

    penalty = R1(4.0)(critic, x, x)
    jacobian = torch.autograd.functional.jacobian(critic, x)  # (2, 2, C, H, W)
    expected = 2 * jacobian.square().sum() / 2
    torch.testing.assert_close(penalty, expected)
    (slope,) = torch.autograd.grad(penalty, w)
    torch.testing.assert_close((slope * w).sum(), 2 * penalty)  # homogeneous of degree 2


@pytest.mark.parametrize("policy", [[], ["colour"], ["color", "color"], "color", None], ids=str)
def test_a_policy_that_is_none_is_refused(policy):
    with pytest.raises(ValueError, match="policy of DiffAugment must list some of"):
        DiffAugment(policy)


# ADA


def test_ada_of_probability_zero_changes_no_bit(images):
    for x in (images, images[:, :1]):
        assert torch.equal(AdaptiveAugment()(x), x)


def test_a_game_with_ada_of_probability_zero_is_the_game_without(images):
    values = []
    for augmentation in (None, AdaptiveAugment(most=0.0)):
        model = gan(augmentation)
        torch.manual_seed(1)
        values.append(model.discriminator_loss(Batch(images)))
    assert values[0].keys() | {"augmentation"} == values[1].keys()
    assert all(torch.equal(value, values[1][name]) for name, value in values[0].items())


@pytest.mark.parametrize("p", [0.2, 0.5])
def test_each_sample_is_transformed_with_the_probability(p):
    """Of six independent geometric parts, a rotation split in two, all are left out together."""
    torch.manual_seed(0)
    n = 20_000
    x = torch.zeros(1).expand(n, 1, 32, 32)
    plain = (geometry(x, torch.tensor(p)) == torch.eye(3)).all(dim=(1, 2)).double().mean().item()
    # A turn is by 0 in one of four cases, a shift rounds to (0, 0) in one of 64.
    expected = (1 - p) ** 4 * (1 - 3 * p / 4) * (1 - p * (1 - (1 / 8) ** 2))
    assert plain == pytest.approx(expected, abs=5 * (expected / n) ** 0.5 + 1e-3)


@pytest.mark.parametrize("p", [0.5, 1.0])
def test_nothing_leaks_unless_the_probability_is_one(p):
    """Images of one grey value, 0.5 with probability q and -0.5 otherwise (Sec. 2.2).

    Mean values after augmentation differ by (1 - p) E[contrast] between q = 1 and q = 0, so that
    the augmented distribution reveals q: but for p = 1, where a luma flip hides every sign.
    """
    torch.manual_seed(0)
    n = 40_000
    means, errors = [], []
    for value in (0.5, -0.5):
        x = torch.full((n, 1, 1, 1), value)
        y = recoloured(x, colours(x, torch.tensor(p))).flatten()
        means.append(y.mean().item())
        errors.append(y.std().item() / n**0.5)
    contrast = 1 - p + p * math.exp((0.5 * math.log(2)) ** 2 / 2)
    assert means[0] - means[1] == pytest.approx((1 - p) * contrast, abs=4 * sum(errors))


def test_colours_of_a_hue_rotation_keep_the_luma():
    torch.manual_seed(0)
    x = torch.rand(64, 3, 2, 2)
    matrix = colours(x, torch.tensor(1.0))
    linear = matrix[:, :3, :3]
    grey = linear @ torch.ones(3)  # the grey axis is mapped to itself
    torch.testing.assert_close(grey, grey[:, :1].expand_as(grey), rtol=1e-4, atol=1e-4)
    across = linear @ torch.tensor([1.0, -1.0, 0.0])  # and what is across stays across
    torch.testing.assert_close(across.sum(dim=1), torch.zeros(64), rtol=0, atol=1e-4)


def observed(ada: AdaptiveAugment, logits: list[Tensor]) -> list[float]:
    """The probability after each update."""
    values = []
    for each in logits:
        ada.observe(each)
        ada.after_update()
        values.append(ada.probability.item())
    return values


def test_the_probability_rises_for_an_overfitting_discriminator_and_falls_otherwise():
    """All logits positive: r_t = 1 > 0.6. By four batches of ten out of 400 images: 0.1."""
    ada = AdaptiveAugment(images=400, most=0.25)
    rising = observed(ada, [torch.ones(10)] * 16)
    expected = [0] * 3 + [0.1] * 4 + [0.2] * 4 + [0.25] * 5
    assert rising == pytest.approx(expected)
    falling = observed(ada, [-torch.ones(10)] * 12)
    assert falling == pytest.approx([0.25] * 3 + [0.15] * 4 + [0.05] * 4 + [0.0])


@pytest.mark.parametrize(("positive", "change"), [(17, 0.1), (15, -0.1), (16, 0.0)])
def test_the_target_is_a_mean_of_signs_over_the_interval(positive, change):
    """16 of 20 positive signs are r_t = 0.6, the target."""
    signs = torch.cat([torch.ones(positive), -torch.ones(20 - positive)])
    ada = AdaptiveAugment(images=200, start=0.5)
    assert observed(ada, list(signs.split(5)))[-1] == pytest.approx(0.5 + change)


def test_a_discriminator_that_is_sure_of_real_samples_raises_it_in_training(images):
    class Sure(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x.flatten(1).mean(1) * 0 + 1.0

    model = gan(AdaptiveAugment(images=64, interval=1))
    model.discriminator = Sure()
    phase = model.phases[0]
    for expected in (0.125, 0.25):
        values = phase.loss(Batch(images))
        assert values["augmentation"] == expected - 0.125
        assert phase.summed[0].tolist() == [8, 8]
        assert phase.after_update is not None
        phase.after_update()
        assert model.augmentation.probability == expected


def test_a_resumed_state_goes_on_within_an_interval():
    logits = [torch.randn(6, generator=torch.Generator().manual_seed(k)) + 1 for k in range(20)]
    whole, killed = (gan(AdaptiveAugment(images=60)) for _ in range(2))
    observed(whole.augmentation, logits)
    observed(killed.augmentation, logits[:6])
    resumed = gan(AdaptiveAugment(images=60))
    resumed.load_state_dict(deepcopy(killed.state_dict()))
    observed(resumed.augmentation, logits[6:])
    assert whole.augmentation.probability > 0
    for name, value in whole.augmentation.state_dict().items():
        assert torch.equal(value, resumed.augmentation.state_dict()[name]), name


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"target": 1.0}, r"target of ADA must be in \(-1, 1\), got 1\.0"),
        ({"images": 0}, "images of ADA must be positive, got 0"),
        ({"interval": 0}, "interval of ADA must be a whole number, at least 1, got 0"),
        ({"start": 0.9}, r"start=0\.9 and most=0\.8"),
        ({"most": 1.1}, r"start=0\.0 and most=1\.1"),
    ],
)
def test_settings_out_of_range_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        AdaptiveAugment(**options)


# In a GAN


class Negated(Augmentation):
    """Shows the negative of every image, and counts what it is shown."""

    def __init__(self) -> None:
        super().__init__()
        self.shown: list[Tensor] = []

    def forward(self, x: Tensor) -> Tensor:
        self.shown.append(x.detach())
        return -x


@pytest.mark.parametrize("objective", [non_saturating(), relativistic()], ids=["alone", "paired"])
def test_real_and_fake_are_augmented_in_both_phases_and_in_penalties(objective, images):
    penalties = [GradientPenalty(), R1(interval=4)]
    model = gan(Negated(), objective=objective, regularisers=penalties)
    seen: list[Tensor] = []
    model.discriminator.register_forward_pre_hook(lambda _, x: seen.append(x[0].detach()))
    for phase, calls in zip(model.phases, (3, 1, 1 + objective.paired), strict=True):
        seen.clear()
        model.augmentation.shown.clear()
        phase.loss(Batch(images))
        assert len(seen) == calls, phase.name
        for x, shown in zip(seen, model.augmentation.shown, strict=True):
            assert torch.equal(x, -shown)
    model.eval()
    assert len(model.augmentation.shown) == 1 + objective.paired
    model.generate(2, torch.Generator().manual_seed(0))
    model.real_logits(Batch(images))
    assert len(model.augmentation.shown) == 1 + objective.paired  # neither sampling nor judging


def test_without_augmentation_a_gan_has_no_more_state():
    assert not any("augmentation" in name for name in gan(None).state_dict())


def test_models_do_not_share_the_state_of_an_augmentation():
    ada = AdaptiveAugment()
    first, second = gan(ada), gan(ada)
    first.augmentation.probability.fill_(0.5)
    assert second.augmentation.probability == ada.probability == 0


@pytest.mark.parametrize("augmentation", [DiffAugment(), AdaptiveAugment()])
def test_points_are_refused(augmentation):
    data = DataSpec((2,), 0, lambda index: torch.zeros(len(index), 2), 10)
    networks = partial(mlp.Generator, hidden=[4]), partial(mlp.Discriminator, hidden=[4])
    with pytest.raises(ShapeError, match=r"images, got \(2,\): leave model.build.augmentation out"):
        GAN(data, *networks, non_saturating(), 6, augmentation=augmentation)


@pytest.mark.parametrize(
    "objective",
    [wasserstein(), wasserstein(drift=0.001), relativistic(), least_squares()],
    ids=["wasserstein", "with drift", "relativistic", "codes 0 and 1"],
)
def test_ada_refuses_objectives_whose_logits_have_no_zero(objective: Objective):
    """They compare logits with each other, or the middle of their targets is not 0."""
    with pytest.raises(ValueError, match="ADA follows the signs of logits"):
        gan(AdaptiveAugment(), objective=objective)
    gan(DiffAugment(), objective=objective)


@pytest.mark.parametrize(
    "objective", [minimax(), non_saturating(), hinge(), least_squares(-1.0, 1.0, 0.0)]
)
def test_ada_takes_objectives_under_which_zero_is_undecided(objective: Objective):
    """The derivative of the loss by the logit of a sample that may be either vanishes at 0."""
    logit = torch.zeros(1, requires_grad=True)
    (slope,) = torch.autograd.grad(objective.discriminator(logit, logit), logit)
    assert slope == 0
    gan(AdaptiveAugment(), objective=objective)


def test_ada_refuses_images_of_other_than_one_or_three_channels():
    with pytest.raises(ShapeError, match=r"1 or 3 channels for ADA, got \(2, 16, 16\)"):
        gan(AdaptiveAugment(), (2, 16, 16))
    gan(DiffAugment(), (2, 16, 16))


def test_under_bfloat16_autocast_transformations_are_float32_and_equal(images):
    for augmentation in (DiffAugment(), AdaptiveAugment(start=0.8)):
        torch.manual_seed(1)
        expected = augmentation(images)
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            result = augmentation(images)
        assert result.dtype == torch.float32
        assert torch.equal(result, expected)


def test_geometry_warps_images(images):
    torch.manual_seed(0)
    moved = warp(images, geometry(images, torch.tensor(0.8)))
    assert not torch.equal(moved, images)
    assert moved.abs().max() <= images.abs().max() + 1e-5  # means of pixels
