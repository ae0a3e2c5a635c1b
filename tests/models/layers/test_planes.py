"""Networks for signals compute what torch's one-dimensional layers compute."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from models.base import ShapeError
from models.diffusion.networks.unet import Downsample, UNet, Upsample, from_patches, to_patches
from models.gan.networks.dcgan import Discriminator, Generator, halvings, upsample
from models.layers.planes import convolution, from_planes, to_planes


def signals(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("kernel", "stride", "padding"), [(3, 1, None), (4, 2, 1), (1, 1, None)])
def test_a_convolution_is_torchs_of_one_dimension(kernel, stride, padding):
    layer = convolution(5, 7, kernel, stride=stride, padding=padding, signals=True)
    x = signals(2, 5, 25)
    own = kernel // 2 if padding is None else padding
    expected = F.conv1d(x, layer.weight.squeeze(2), layer.bias, stride, own)
    torch.testing.assert_close(from_planes(layer(to_planes(x)), 3), expected)


def test_a_convolution_of_images_is_torchs():
    torch.manual_seed(0)
    layer = convolution(5, 7, 3, signals=False)
    torch.manual_seed(0)
    same = nn.Conv2d(5, 7, 3, padding=1)
    x = signals(2, 5, 9, 8)
    assert torch.equal(layer(to_planes(x)), same(x))


@pytest.mark.parametrize("length", [24, 25])
def test_upsampling_is_torchs_of_one_dimension(length):
    layer = upsample(5, 7, (1, length), signals=True)
    x = signals(2, 5, length // 2)
    weight = layer.weight.squeeze(2)
    expected = F.conv_transpose1d(x, weight, layer.bias, 2, 1, output_padding=length % 2)
    found = from_planes(layer(to_planes(x)), 3)
    assert found.shape == (2, 7, length)
    torch.testing.assert_close(found, expected)


def test_the_unet_halves_and_doubles_signals_as_it_does_images():
    down, up = Downsample(6, True), Upsample(6, True)
    x = signals(2, 6, 25)
    half = from_planes(down(to_planes(x)), 3)
    expected = F.conv1d(F.pad(x, (1, 1)), down.conv.weight.squeeze(2), down.conv.bias, stride=2)
    torch.testing.assert_close(half, expected)
    assert half.shape[2] == 13
    doubled = half.repeat_interleave(2, dim=2)
    expected = F.conv1d(doubled, up.conv.weight.squeeze(2), up.conv.bias, padding=1)[..., :25]
    found = from_planes(up(to_planes(half), (1, 25)), 3)
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


def test_patches_of_signals_are_stretches_and_come_back():
    x = torch.arange(2 * 3 * 7.0).view(2, 3, 1, 7)
    patches = to_patches(x, 2)
    assert patches.shape == (2, 6, 1, 4)
    assert patches[0, :2, 0].T.flatten().tolist() == [0, 1, 2, 3, 4, 5, 6, 0]
    assert torch.equal(from_patches(patches, 2, (1, 7)), x)


@pytest.mark.parametrize("patch_size", [1, 2])
def test_a_unet_of_a_signal_sees_its_whole_length(patch_size):
    torch.manual_seed(0)
    options = {"channels": 8, "channel_mult": (1, 2, 2), "num_res_blocks": 1, "groups": 4}
    network = UNet((12, 25), **options, dropout=0.0, patch_size=patch_size)
    with torch.no_grad():
        for parameter in network.parameters():  # the last convolutions start near zero
            parameter.add_(0.1 * torch.randn_like(parameter))
    x = signals(2, 12, 25).requires_grad_()
    out = network(x, torch.tensor([3.0, 700.0]))
    assert out.shape == x.shape
    (gradient,) = torch.autograd.grad(out[0, 0, 0], x)
    assert (gradient[0].abs().sum(0) > 0).all()
    assert not gradient[1].any()


def test_dcgan_halves_the_length_alone():
    assert halvings((12, 25), signals=True) == [(1, 25), (1, 12), (1, 6)]
    assert halvings((1, 24), signals=True) == [(1, 24), (1, 12), (1, 6)]
    with pytest.raises(ShapeError, match=r"got \(1, 7\): choose another model, or longer signals"):
        halvings((1, 7), signals=True)
    with pytest.raises(ShapeError, match=r"must be \(C, H, W\)"):
        halvings((1, 24))


@pytest.mark.parametrize("norm", ["batch", "layer", "none"])
def test_dcgan_maps_latents_to_signals_and_signals_to_logits(norm):
    torch.manual_seed(0)
    generator, critic = Generator(10, (12, 25), 4), Discriminator((12, 25), 4, norm=norm)
    x = generator(torch.randn(3, 10))
    assert x.shape == (3, 12, 25)
    assert critic(x).shape == (3,)
    assert critic.features(x).shape == (3, 8 * 6)
    kernels = {m.kernel_size for m in generator.modules() if isinstance(m, nn.ConvTranspose2d)}
    assert kernels == {(1, 4)}
