import pytest
import torch
from torch import nn

from models.gan.networks.dcgan import Discriminator, Generator, halvings

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (3, 64, 64), (1, 9, 15), (2, 8, 33)]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_networks_fit_any_image_size(shape):
    x = Generator(100, shape, width=4)(torch.randn(2, 100))
    assert x.shape == (2, *shape)
    assert Discriminator(shape, width=4)(x).shape == (2,)


def test_sizes_follow_the_paper():
    assert halvings((3, 64, 64)) == [(64, 64), (32, 32), (16, 16), (8, 8), (4, 4)]
    assert halvings((1, 28, 28)) == [(28, 28), (14, 14), (7, 7)]


def test_width_128_is_the_generator_of_the_paper_at_64x64():
    generator = Generator(100, (3, 64, 64), width=128)
    channels = [m.in_channels for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)]
    assert channels == [1024, 512, 256, 128]


@pytest.mark.parametrize("shape", [(1, 7, 7), (1, 28, 7), (2,), (28, 7), (1, 1, 28, 28)], ids=str)
@pytest.mark.parametrize("network", [lambda s: Generator(100, s), Discriminator], ids=["G", "D"])
def test_what_is_no_image_of_8x8_is_refused(network, shape):
    with pytest.raises(ValueError, match="at least 8"):
        network(shape)


def test_weights_start_at_the_scales_of_the_paper():
    torch.manual_seed(0)
    for network in (Generator(100, (3, 32, 32)), Discriminator((3, 32, 32))):
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                assert module.weight.std().item() == pytest.approx(0.02, rel=0.1)
                assert abs(module.weight.mean().item()) < 0.002
            elif isinstance(module, nn.BatchNorm2d):
                assert module.weight.mean().item() == pytest.approx(1, abs=0.01)
                assert module.bias.abs().max() == 0


def test_batch_norm_is_absent_at_the_output_of_g_and_the_input_of_d():
    generator, discriminator = Generator(100, (3, 32, 32)), Discriminator((3, 32, 32))
    assert isinstance(generator.layers[-2], nn.ConvTranspose2d)
    assert isinstance(discriminator.layers[1], nn.LeakyReLU)
    counts = [
        sum(isinstance(m, nn.BatchNorm2d) for m in n.modules()) for n in (generator, discriminator)
    ]
    assert counts == [3, 2]


@pytest.mark.parametrize(
    ("norm", "expected"), [("batch", nn.BatchNorm2d), ("layer", nn.GroupNorm), ("none", None)]
)
def test_the_hidden_layers_are_normalised_as_asked(norm, expected):
    network = Discriminator((3, 32, 32), width=4, norm=norm)
    kinds = nn.BatchNorm2d | nn.GroupNorm
    found = [m for m in network.modules() if isinstance(m, kinds)]
    assert len(found) == (2 if expected else 0)
    assert all(isinstance(norm, expected) for norm in found)
    biases = [m.bias is not None for m in network.layers if isinstance(m, nn.Conv2d)]
    assert biases == [True, *[norm == "none"] * 2], "a norm's shift makes a bias needless"


def test_a_norm_that_is_not_known_is_refused():
    with pytest.raises(ValueError, match=r"norm must be one of \['batch', 'layer', 'none'\], got"):
        Discriminator((1, 28, 28), norm="instance")


@pytest.mark.parametrize("norm", ["layer", "none"])
def test_without_batch_norm_each_sample_is_judged_by_itself(norm):
    torch.manual_seed(0)
    network = Discriminator((1, 28, 28), width=4, norm=norm)
    x = torch.randn(5, 1, 28, 28)
    torch.testing.assert_close(network(x)[:2], network(x[:2]))


def test_layer_norm_is_over_all_values_of_a_sample():
    """As torch's own layer norm over (C, H, W), with a scale and shift per channel; LeakyReLU."""
    norm = Discriminator((3, 32, 32), width=4, norm="layer").layers[3]
    x = torch.randn(2, 8, 8, 8) * 3 + 1
    expected = nn.functional.leaky_relu(nn.functional.layer_norm(x, x.shape[1:]), 0.2)
    torch.testing.assert_close(norm(x), expected)


def test_the_logits_are_linear_in_the_features():
    torch.manual_seed(0)
    network = Discriminator((1, 28, 28), width=4, outputs=3)
    x = torch.randn(5, 1, 28, 28)
    network.eval()
    assert network(x).shape == (5, 3)
    torch.testing.assert_close(network.output[-1](network.features(x)), network(x))
