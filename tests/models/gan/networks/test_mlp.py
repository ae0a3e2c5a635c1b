import pytest
import torch
from torch import nn

from models.gan.networks.mlp import Discriminator, Generator


def widths(network: nn.Module) -> list[tuple[int, int]]:
    return [(m.in_features, m.out_features) for m in network.modules() if isinstance(m, nn.Linear)]


def test_layers_are_those_of_the_source_document():
    assert widths(Generator(100, (1, 28, 28))) == [(100, 256), (256, 512), (512, 1024), (1024, 784)]
    assert widths(Discriminator((1, 28, 28))) == [(784, 1024), (1024, 512), (512, 256), (256, 1)]


@pytest.mark.parametrize("shape", [(2,), (1, 8, 8), (3, 5, 7)], ids=str)
def test_any_shape_fits(shape):
    x = Generator(16, shape)(torch.randn(3, 16))
    assert x.shape == (3, *shape)
    assert x.abs().max() <= 1
    assert Discriminator(shape)(x).shape == (3,)
