"""The growing networks against numpy, the paper's parameter counts, and at transitions."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from models.gan.networks.progressive import (
    FIRST_GAIN,
    Discriminator,
    Equalised,
    Generator,
    Place,
    pixel_norm,
    place_at,
    with_deviation,
)

SHAPE = (2, 16, 16)  # three levels: 4x4, 8x8, 16x16
LATENT = 6
progresses = st.floats(0.0, 1.0)


@pytest.fixture
def generator() -> Generator:
    torch.manual_seed(0)
    return Generator(LATENT, SHAPE, width=3, max_width=8)


@pytest.fixture
def discriminator() -> Discriminator:
    torch.manual_seed(1)
    return Discriminator(SHAPE, width=3, max_width=8)


@pytest.mark.parametrize(
    ("units", "place"),
    [  # three levels and a last length of 3: seven units of the budget
        (0.0, (0, 1.0)),
        (0.5, (0, 1.0)),
        (1.0, (1, 0.0)),
        (1.25, (1, 0.25)),
        (2.5, (1, 1.0)),
        (3.0, (2, 0.0)),
        (3.75, (2, 0.75)),
        (4.0, (2, 1.0)),
        (7.0, (2, 1.0)),
    ],
)
def test_levels_fade_in_and_are_then_trained_for_one_unit_each(units, place):
    level, alpha = place_at(units / 7, levels=3, last_length=3.0)
    if place[1] == 0.0 and alpha == 1.0:  # the division rounded down, across the seam
        level, alpha = level + 1, 0.0
    assert level == place[0]
    assert alpha == pytest.approx(place[1], abs=1e-12)


def test_the_units_are_the_papers_on_cifar10():
    """400 thousand images a unit: 32x32 is all in after 6 units, of 20 million images."""
    assert place_at(2.39e6 / 20e6, levels=4, last_length=44.0).alpha < 1
    assert place_at(2.41e6 / 20e6, levels=4, last_length=44.0) == (3, 1.0)
    assert place_at(0.6e6 / 20e6, levels=4, last_length=44.0) == (1, pytest.approx(0.5))


@given(progresses, progresses, st.integers(1, 9), st.floats(0.1, 50.0))
def test_growing_never_goes_back(first, second, levels, last_length):
    first, second = sorted((first, second))
    assert place_at(first, levels, last_length) <= place_at(second, levels, last_length)


@given(progresses, st.integers(1, 9), st.floats(0.1, 50.0))
def test_the_place_is_a_level_and_a_weight(progress, levels, last_length):
    level, alpha = place_at(progress, levels, last_length)
    assert 0 <= level < levels
    assert 0.0 <= alpha <= 1.0
    assert level > 0 or alpha == 1.0


@given(st.integers(1, 9), st.floats(0.1, 50.0))
def test_the_budget_ends_with_the_last_level_all_in(levels, last_length):
    assert place_at(1.0, levels, last_length) == (levels - 1, 1.0)


@given(st.integers(2, 9))
def test_the_last_level_gets_the_largest_share(levels):
    counts = np.bincount([place_at(k / 2000, levels).level for k in range(2000)])
    assert counts.argmax() == levels - 1


@pytest.mark.parametrize("layer", [nn.Linear(24, 5), nn.Conv2d(6, 5, 3, padding=1)], ids=str)
def test_an_equalised_layer_is_one_with_hes_constant_on_its_weights(layer):
    equalised = Equalised(layer)
    x = torch.randn(3, *((24,) if isinstance(layer, nn.Linear) else (6, 4, 4)))
    he = math.sqrt(2.0 / layer.weight[0].numel())
    scaled = nn.utils.skip_init(type(layer), **_arguments(layer))
    scaled.load_state_dict({"weight": layer.weight * he, "bias": layer.bias.clone().fill_(0.3)})
    nn.init.constant_(layer.bias, 0.3)  # which is not scaled
    torch.testing.assert_close(equalised(x), scaled(x))


def _arguments(layer: nn.Module) -> dict[str, int]:
    if isinstance(layer, nn.Conv2d):
        return {"in_channels": 6, "out_channels": 5, "kernel_size": 3, "padding": 1}
    return {"in_features": 24, "out_features": 5}


def test_hes_constant_is_torchs_own():
    layer = nn.Conv2d(64, 256, 3)
    nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
    std = layer.weight.detach().std().item()
    assert Equalised(nn.Conv2d(64, 256, 3)).scale == pytest.approx(std, rel=0.02)


def test_all_weights_start_from_unit_variance_and_biases_from_zero(generator):
    for name, parameter in generator.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
    weights = [p.detach() for n, p in generator.named_parameters() if n.endswith("weight")]
    assert torch.cat([weight.flatten() for weight in weights]).std().item() == pytest.approx(
        1.0, rel=0.05
    )


def test_gains_are_the_authors(generator, discriminator):
    assert generator.project.scale == pytest.approx(FIRST_GAIN / math.sqrt(LATENT))
    assert generator.to_image[0].scale == pytest.approx(1 / math.sqrt(8))
    assert discriminator.from_image[0].scale == pytest.approx(math.sqrt(2 / SHAPE[0]))
    assert discriminator.last[-1].scale == pytest.approx(1 / math.sqrt(8))


def test_pixel_norm_is_numpys_and_leaves_unit_mean_squares():
    x = torch.randn(3, 5, 4, 2) * 7
    expected = x.numpy() / np.sqrt(np.mean(x.numpy() ** 2, axis=1, keepdims=True) + 1e-8)
    torch.testing.assert_close(pixel_norm(x), torch.from_numpy(expected))
    torch.testing.assert_close(pixel_norm(x).square().mean(dim=1), torch.ones(3, 4, 2))


def test_pixel_norm_has_a_gradient_where_a_pixel_is_zero():
    x = torch.zeros(1, 4, 1, 1, requires_grad=True)
    (gradient,) = torch.autograd.grad(pixel_norm(x).sum(), x)
    assert torch.isfinite(gradient).all()


def test_minibatch_deviation_is_numpys():
    x = torch.randn(6, 3, 4, 5)
    added = with_deviation(x)
    assert added.shape == (6, 4, 4, 5)
    assert torch.equal(added[:, :3], x)
    expected = np.std(x.numpy(), axis=0).mean()  # one number for the whole batch
    torch.testing.assert_close(added[:, 3], torch.full((6, 4, 5), expected.item()))


def test_minibatch_deviation_in_closed_form():
    x = torch.full((4, 2, 3, 3), 0.7)
    assert with_deviation(x)[0, 2, 0, 0] == pytest.approx(1e-4)  # samples alike: √ε
    x[::2] = -0.7
    assert with_deviation(x)[0, 2, 0, 0] == pytest.approx(0.7)


def test_minibatch_deviation_of_equal_samples_has_finite_second_gradients():
    x = torch.ones(4, 2, 3, 3, requires_grad=True)
    (gradient,) = torch.autograd.grad(with_deviation(x).square().sum(), x, create_graph=True)
    (second,) = torch.autograd.grad(gradient.square().sum(), x)
    assert torch.isfinite(second).all()


@pytest.mark.parametrize("level", [1, 2])
def test_a_fade_starts_at_the_level_below_and_ends_at_its_own(level, generator, discriminator):
    z, x = torch.randn(3, LATENT), torch.randn(3, 2, 2**level * 4, 2**level * 4)
    before = F.interpolate(generator(z, Place(level - 1, 1.0)), scale_factor=2)
    assert torch.equal(generator(z, Place(level, 0.0)), before)
    assert not torch.allclose(generator(z, Place(level, 1.0)), before)
    torch.testing.assert_close(
        generator(z, Place(level, 1 - 1e-7)), generator(z, Place(level, 1.0))
    )
    logits = discriminator(F.avg_pool2d(x, 2), Place(level - 1, 1.0))
    assert torch.equal(discriminator(x, Place(level, 0.0)), logits)
    assert not torch.allclose(discriminator(x, Place(level, 1.0)), logits)
    torch.testing.assert_close(
        discriminator(x, Place(level, 1 - 1e-7)), discriminator(x, Place(level, 1.0))
    )


def test_the_generators_fade_is_linear(generator):
    z = torch.randn(3, LATENT)
    start, middle, end = (generator(z, Place(2, alpha)) for alpha in (0.0, 0.25, 1.0))
    torch.testing.assert_close(middle, 0.75 * start + 0.25 * end)


@pytest.mark.parametrize("place", [Place(0, 1.0), Place(1, 0.5), Place(1, 1.0), Place(2, 0.5)])
def test_the_parameters_of_other_levels_are_not_looked_at(place, generator, discriminator):
    x = generator(torch.randn(3, LATENT), place)
    assert x.shape == (3, 2, 4 * 2**place.level, 4 * 2**place.level)
    discriminator(x, place).sum().backward()
    levels = {place.level, place.level - (place.alpha < 1)}
    for images in (generator.to_image, discriminator.from_image):
        reached = {i for i, layer in enumerate(images) if layer.layer.weight.grad is not None}
        assert reached == levels
    for blocks in (generator.blocks, discriminator.blocks):
        reached = {i + 1 for i, b in enumerate(blocks) if next(b.parameters()).grad is not None}
        assert reached == set(range(1, place.level + 1))


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 28, 28), (3, 9, 22)])
def test_any_image_size_grows_to_itself(shape):
    generator = Generator(LATENT, shape, width=2, max_width=4)
    discriminator = Discriminator(shape, width=2, max_width=4)
    for level, size in enumerate(generator.sizes):
        for alpha in (0.5, 1.0) if level else (1.0,):
            x = generator(torch.randn(2, LATENT), Place(level, alpha))
            assert x.shape == (2, shape[0], *size)
            assert discriminator(x, Place(level, alpha)).shape == (2,)
    assert generator.sizes[-1] == shape[1:]


def test_at_1024_the_networks_have_the_papers_parameters():
    """Karras et al. 2018, Table 2: 23.1 million each."""
    shape = (3, 1024, 1024)
    with torch.device("meta"):
        networks = Generator(512, shape, width=16), Discriminator(shape, width=16)
    for network in networks:
        assert round(sum(p.numel() for p in network.parameters()) / 1e6, 1) == 23.1
    assert [s[0] for s in networks[0].sizes] == [4, 8, 16, 32, 64, 128, 256, 512, 1024]
    first = sum(p.numel() for p in networks[0].project.parameters())
    assert round(first / 1e6, 1) == 4.2  # the table's first row
