import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.gan.networks.r3gan import GAIN, Block, Discriminator, Generator, resample, stage_widths

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32), (1, 9, 15), (2, 8, 33)]
SMALL = {"width": 16, "full_stages": 1, "blocks": 1, "group_width": 4}


def count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_both_networks_fit_any_image_size(shape):
    x = Generator(6, shape, **SMALL)(torch.randn(2, 6))
    assert x.shape == (2, *shape)
    assert Discriminator(shape, **SMALL)(x).shape == (2,)


def test_at_32x32_they_are_the_networks_of_the_paper():
    """Four stages of two blocks, 768 channels, 96 groups of 16 (the authors' CIFAR-10 preset)."""
    with torch.device("meta"):
        generator, discriminator = Generator(64, (3, 32, 32)), Discriminator((3, 32, 32))
    width, inner = 768, 1536
    block = 2 * width * inner + 9 * inner * (inner // 96) + 2 * inner
    assert count(generator) == 8 * block + 16 * width + 64 * width + 3 * width
    assert count(discriminator) == 8 * block + 16 * width + 3 * width + width
    assert {m.groups for m in generator.modules() if isinstance(m, nn.Conv2d)} == {1, 96}


def test_at_256x256_channels_are_the_papers():
    assert stage_widths(768, 7, 4, 16) == [768, 768, 768, 768, 384, 192, 96]


def test_there_is_no_normalisation_and_no_bias_but_before_the_nonlinearities():
    for network in (Generator(6, (1, 16, 16), **SMALL), Discriminator((1, 16, 16), **SMALL)):
        kinds = {type(m) for m in network.modules() if not list(m.children())}
        assert kinds <= {nn.Conv2d, nn.Linear, nn.Identity}
        biased = {name for name, _ in network.named_parameters() if name.endswith("bias")}
        assert {name.split(".")[-2] for name in biased} == {"expand", "mix"}


def test_blocks_start_as_the_identity_and_keep_the_second_moment_inside():
    """Fixup: |f| = 0 at first, and each inner layer has gain GAIN · L^(-1/4)."""
    torch.manual_seed(0)
    block = Block(64, 16, depth=16)
    x = torch.randn(16, 64, 16, 16)
    assert torch.equal(block(x), x)
    inner = block.expand(x)
    assert inner.square().mean().item() == pytest.approx(GAIN**2 / 4, rel=0.1)
    plain = Block(64, 16, depth=1)
    rectified = F.leaky_relu(plain.expand(x), 0.2)
    assert rectified.square().mean().item() == pytest.approx(1, rel=0.1)


def test_untrained_networks_keep_the_scale_of_their_inputs():
    torch.manual_seed(0)
    x = Generator(64, (3, 16, 16), width=64)(torch.randn(200, 64))
    assert 0.1 < x.square().mean().item() < 2
    logits = Discriminator((3, 16, 16), width=64)(torch.randn(200, 3, 16, 16))
    assert 0.01 < logits.square().mean().item() < 4


def test_doubling_interpolates_and_halving_filters_with_one_three_three_one():
    x = torch.zeros(1, 1, 1, 16)
    x[..., 8] = 1.0
    up = resample(x.expand(1, 1, 16, 16).contiguous(), (32, 32))[0, 0, 16]
    torch.testing.assert_close(up[14:20], torch.tensor([0, 0.25, 0.75, 0.75, 0.25, 0]))
    down = resample(x.expand(1, 1, 16, 16).contiguous(), (8, 8))[0, 0, 4]
    torch.testing.assert_close(down[2:6], torch.tensor([0, 1, 3, 0]) / 8)


@pytest.mark.parametrize("size", [(3, 4), (5, 5), (14, 13)], ids=str)
def test_resampling_keeps_constants_and_the_type(size):
    x = torch.full((1, 2, 7, 9), 0.5, dtype=torch.bfloat16)
    y = resample(x, size)
    assert y.dtype == torch.bfloat16
    torch.testing.assert_close(y, torch.full((1, 2, *size), 0.5, dtype=torch.bfloat16))


def test_the_penalised_gradient_is_differentiable_in_every_weight():
    """Double backward, against finite differences along one random direction, in float64."""
    torch.manual_seed(0)
    discriminator = Discriminator((1, 8, 8), **SMALL).double()
    for parameter in discriminator.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x = torch.randn(2, 1, 8, 8, dtype=torch.float64, requires_grad=True)
    parameters = list(discriminator.parameters())

    def penalty() -> torch.Tensor:
        (gradient,) = torch.autograd.grad(discriminator(x).sum(), x, create_graph=True)
        return gradient.square().sum()

    gradients = torch.autograd.grad(penalty(), parameters, allow_unused=True)
    direction = [torch.randn_like(parameter) for parameter in parameters]
    expected = sum(
        (g * d).sum().item() for g, d in zip(gradients, direction, strict=True) if g is not None
    )
    step, values = 1e-6, []
    for sign in (1, -2):
        for parameter, d in zip(parameters, direction, strict=True):
            parameter.data += sign * step * d
        values.append(penalty().item())
    assert (values[0] - values[1]) / (2 * step) == pytest.approx(expected, rel=1e-4)


def test_classes_change_what_is_drawn_and_how_it_is_judged():
    torch.manual_seed(0)
    generator = Generator(6, (1, 8, 8), **SMALL, num_classes=3)
    x = generator(torch.randn(1, 6).expand(2, 6), torch.tensor([0, 2]))
    assert not torch.allclose(x[0], x[1])
    discriminator = Discriminator((1, 8, 8), **SMALL, num_classes=3)
    same = x[:1].expand(2, -1, -1, -1)
    logits = discriminator(same, torch.tensor([0, 2]))
    assert logits.shape == (2,)
    assert logits[0] != logits[1]
    discriminator.classes.weight.data[1] = discriminator.classes.weight.data[[0, 2]].mean(0)
    middle = discriminator(same, torch.tensor([1, 1]))
    torch.testing.assert_close(middle, logits.mean().expand(2))


def test_a_conditional_network_without_classes_given_says_so():
    with pytest.raises(ValueError, match=r"y must be classes .* got None"):
        Generator(6, (1, 8, 8), **SMALL, num_classes=3)(torch.randn(2, 6))


@pytest.mark.parametrize("network", [lambda **k: Generator(6, **k), Discriminator], ids=["G", "D"])
def test_impossible_shapes_and_groups_are_refused(network):
    with pytest.raises(ValueError, match=r"data_shape .*got \(2,\)"):
        network(data_shape=(2,), width=16)
    with pytest.raises(ValueError, match=r"group_width must divide .* got 12"):
        network(data_shape=(1, 8, 8), width=16, group_width=12)
