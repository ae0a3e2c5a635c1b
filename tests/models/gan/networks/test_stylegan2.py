"""StyleGAN2's layers against naive ones, and its networks at all sizes."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.stylegan2 import (
    Discriminator,
    Generator,
    MappingLayer,
    ModulatedConv2d,
    blur,
)

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (2, 21, 30)]


def generator(shape: tuple[int, ...] = (1, 8, 8), **options) -> Generator:
    torch.manual_seed(0)
    sizes = {"width": 4, "max_width": 8, "mapping_layers": 2, "style_dim": 5} | options
    return Generator(6, shape, **sizes)


def naive(layer: ModulatedConv2d, x: Tensor, style: Tensor) -> Tensor:
    """Each sample by itself, with weights that are modulated and demodulated as in Eq. 1 and 3."""
    results = []
    for image, factors in zip(x, style, strict=True):
        weight = layer.gain * layer.weight * factors[None, :, None, None]
        if layer.demodulate:
            norms = (weight.square().sum(dim=(1, 2, 3), keepdim=True) + 1e-8).sqrt()
            weight = weight / norms
        if layer.up:
            wide = F.conv_transpose2d(image[None], weight.transpose(0, 1), stride=2)
            taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 4  # twice the gain along each side
            kernel = torch.outer(taps, taps).expand(wide.shape[1], 1, 4, 4)
            results.append(F.conv2d(wide, kernel, padding=1, groups=wide.shape[1]))
        else:
            results.append(F.conv2d(image[None], weight, padding=weight.shape[2] // 2))
    return torch.cat(results)


@pytest.mark.parametrize(
    ("kernel", "options"),
    [(3, {}), (3, {"demodulate": False}), (1, {"demodulate": False}), (3, {"up": True})],
    ids=["3x3", "without demodulation", "1x1", "up"],
)
def test_a_modulated_convolution_is_one_of_each_samples_own_weights(kernel, options):
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 4, kernel, **options)
    x, style = torch.randn(3, 5, 6, 7), torch.randn(3, 5)
    size = (12, 14) if layer.up else (6, 7)
    torch.testing.assert_close(layer(x, style, size), naive(layer, x, style), rtol=1e-4, atol=1e-5)


def test_its_gradients_are_those_of_the_naive_one():
    torch.manual_seed(0)
    layer = ModulatedConv2d(5, 4, 3)
    x, style = torch.randn(3, 5, 6, 7), torch.randn(3, 5, requires_grad=True)
    weights = torch.randn(3, 4, 6, 7)
    found = [
        torch.autograd.grad((result * weights).sum(), [layer.weight, style])
        for result in (layer(x, style, (6, 7)), naive(layer, x, style))
    ]
    for ours, theirs in zip(*found, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-4)


def test_demodulation_gives_unit_variance_whatever_the_style():
    torch.manual_seed(0)
    layer = ModulatedConv2d(16, 6, 3)
    x = torch.randn(2, 16, 66, 66)
    for scale in (0.01, 1.0, 100.0):
        style = scale * torch.rand(2, 16).add(0.1)
        h = layer(x, style, (66, 66))[:, :, 1:-1, 1:-1]  # zeros enter at the border
        torch.testing.assert_close(h.var(dim=(2, 3)), torch.ones(2, 6), rtol=0.15, atol=0)


def test_an_odd_size_is_reached_by_doubling():
    layer = ModulatedConv2d(2, 2, 3, up=True)
    x, style = torch.randn(1, 2, 5, 7), torch.ones(1, 2)
    larger = layer(x, style, (11, 15))
    torch.testing.assert_close(larger[:, :, :10, :14], layer(x, style, (10, 14)))


def test_the_filter_keeps_constants_and_removes_the_finest_pattern():
    constant, pattern = torch.ones(1, 2, 8, 8), torch.ones(1, 2, 8, 8)
    pattern[:, :, ::2] *= -1
    torch.testing.assert_close(blur(constant, (0, 0)), torch.ones(1, 2, 5, 5))
    torch.testing.assert_close(blur(pattern, (0, 0)), torch.zeros(1, 2, 5, 5))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("padding", [(0, 0), (2, 2), (3, 4)], ids=str)
def test_the_filter_is_a_convolution_of_each_channel(padding, stride):
    torch.manual_seed(0)
    x = torch.randn(2, 3, 7, 10)
    taps = torch.tensor([1.0, 3.0, 3.0, 1.0]) / 8
    kernel = torch.outer(taps, taps).expand(3, 1, 4, 4)
    above, left = padding[0] // 2, padding[1] // 2
    padded = F.pad(x, (left, padding[1] - left, above, padding[0] - above))
    expected = F.conv2d(padded, kernel, stride=stride, groups=3)
    torch.testing.assert_close(blur(x, padding, stride), expected)


def test_a_mapping_layer_learns_at_a_hundredth_of_the_rate():
    """An optimizer's step of given size in its parameters moves the effective weights by 1 %."""
    torch.manual_seed(0)
    layer = MappingLayer(400, 300)
    effective = layer.weight * layer.scale
    assert effective.std().item() == pytest.approx(400**-0.5, rel=0.02)
    assert layer.scale * 400**0.5 == pytest.approx(0.01)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("residual", [True, False])
def test_networks_fit_images_of_any_size(shape, residual):
    network = generator(shape)
    images = network(torch.randn(3, 6), torch.randn(3, network.noise_size))
    assert images.shape == (3, *shape)
    logits = Discriminator(shape, 4, max_width=8, residual=residual)(images)
    assert logits.shape == (3,)


def test_there_is_a_style_per_convolution_and_noise_per_pixel():
    network = generator((1, 28, 28))  # 7x7, 14x14, 28x28
    assert network.num_styles == 5 + 1
    assert network.noise_sizes == [49, 196, 196, 784, 784]


def test_noise_enters_through_its_strength_alone():
    network = generator()
    z = torch.randn(2, 6)
    first, second = (torch.randn(2, network.noise_size) for _ in range(2))
    assert torch.equal(network(z, first), network(z, second))
    nn.init.ones_(network.convolutions[1].strength)
    changed = network(z, first) - network(z, second)
    assert changed.abs().max() > 0
    own = torch.zeros(2, network.noise_size, dtype=torch.bool)
    own[:, 16:80] = True  # of the second convolution, 8x8
    assert torch.equal(network(z, first), network(z, torch.where(own, first, second)))


@pytest.mark.parametrize("layer", range(4))
def test_a_style_acts_from_its_layer_on(layer):
    network = generator()  # convolutions 0 to 2; style 1 is also that of the first image
    styles = torch.randn(2, 4, 5)
    other = styles.clone()
    other[:, layer] = torch.randn(2, 5)
    noise = torch.randn(2, network.noise_size)
    outputs: list[Tensor] = []
    for convolution in network.convolutions:
        convolution.register_forward_hook(lambda _, x, y: outputs.append(y))
    images = [network.synthesise(each, noise) for each in (styles, other)]
    equal = [torch.equal(a, b) for a, b in zip(outputs[:3], outputs[3:], strict=True)]
    assert equal == [k < layer for k in range(3)]
    assert not torch.equal(*images)


def test_the_discriminator_sees_the_variety_of_its_batch():
    torch.manual_seed(0)
    network = Discriminator((1, 8, 8), 4, max_width=8)
    x = torch.randn(4, 1, 8, 8)
    together, alone = network(x), network(x[:1].expand(4, -1, -1, -1))
    assert not torch.isclose(together[0], alone[0])


def test_a_plain_discriminator_has_no_shortcuts():
    names = [n for n, _ in Discriminator((1, 8, 8), 4, residual=False).named_parameters()]
    assert not any("shortcut" in name for name in names)


@pytest.mark.parametrize("name", ["width", "max_width", "mapping_layers", "style_dim"])
def test_sizes_below_one_are_refused(name):
    with pytest.raises(ValueError, match=f"{name} must be at least 1, got 0"):
        generator(**{name: 0})


def test_parameters_at_the_sizes_of_the_paper():
    """In closed form, at 32x32 with two mapping layers."""
    with torch.device("meta"):
        network = Generator(512, (3, 32, 32), mapping_layers=2)
        discriminator = Discriminator((3, 32, 32), residual=False)
    square = 512**2
    convolution = 9 * square + (square + 512) + 512 + 1
    image = 3 * 512 + (square + 512) + 3
    expected = 7 * convolution + 4 * image + 2 * (square + 512) + 512 * 16
    assert sum(p.numel() for p in network.parameters()) == expected
    level = 2 * (9 * square + 512)
    last = 9 * 513 * 512 + 512 + 16 * square + 512 + 512 + 1
    assert sum(p.numel() for p in discriminator.parameters()) == 4 * 512 + 3 * level + last
    assert math.isclose(expected / 1e6, 20.0, rel_tol=0.05)
