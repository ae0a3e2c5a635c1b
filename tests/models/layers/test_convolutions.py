"""Linear maps of images against torch's own."""

import torch
from torch import nn

from models.layers.convolutions import ConvTranspose2d, FlatLinear


def test_a_transposed_convolution_is_torchs():
    options = {"kernel_size": 4, "stride": 2, "padding": 1, "output_padding": (1, 0)}
    ours, plain = ConvTranspose2d(3, 5, **options), nn.ConvTranspose2d(3, 5, **options)
    plain.load_state_dict(ours.state_dict())
    x = torch.randn(2, 3, 6, 7, requires_grad=True)
    assert torch.allclose(ours(x), plain(x), atol=1e-6)
    grads = [
        torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
        for layer in (ours, plain)
    ]
    for a, b in zip(*grads, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)


def test_a_linear_map_of_images_is_that_of_flattened_ones():
    ours, plain = FlatLinear(24, 5), nn.Sequential(nn.Flatten(), nn.Linear(24, 5))
    plain[1].load_state_dict(ours.state_dict())
    for images in (torch.randn(2, 2, 3, 4), torch.randn(2, 4, 3, 2).transpose(1, 3)):
        x = images.requires_grad_()
        assert torch.allclose(ours(x), plain(x), atol=1e-6)
        grads = [
            torch.autograd.grad(layer(x).square().sum(), [x, *layer.parameters()])
            for layer in (ours, plain)
        ]
        for a, b in zip(*grads, strict=True):
            assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)
