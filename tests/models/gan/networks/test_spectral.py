"""Spectral normalisation of networks."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from models.base import Batch, DataSpec
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.networks.spectral import spectrally_normalised
from models.gan.objectives import hinge

SHAPE = (1, 16, 16)
LAYERS = (nn.Linear, nn.Conv2d, nn.ConvTranspose2d, nn.Embedding)


class Every(nn.Module):
    """One of each kind of layer, far from norm 1, and a norm layer that must be left alone."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.classes = nn.Embedding(3, width)
        self.linear = nn.Linear(width, 4 * width)
        self.up = nn.ConvTranspose2d(width, width, 4, stride=2, padding=1)
        self.norm = nn.GroupNorm(1, width)
        self.down = nn.Conv2d(width, 2 * width, 3)
        for parameter in self.parameters():
            nn.init.normal_(parameter, 0.0, 2.0)

    def forward(self, y: Tensor) -> Tensor:
        h = self.linear(self.classes(y)).unflatten(1, (-1, 2, 2))
        return self.down(self.norm(self.up(h)))


def matrix(module: nn.Module) -> Tensor:
    """A layer's weight as a matrix with a row for each output."""
    weight = module.weight.detach()
    return (weight.transpose(0, 1) if isinstance(module, nn.ConvTranspose2d) else weight).flatten(1)


def normalised_layers(network: nn.Module) -> list[nn.Module]:
    return [module for module in network.modules() if isinstance(module, LAYERS)]


@pytest.fixture
def network() -> nn.Module:
    torch.manual_seed(0)
    return spectrally_normalised(6, build=Every)


def test_every_layer_with_a_weight_matrix_is_normalised_and_nothing_else(network):
    assert len(normalised_layers(network)) == 4
    assert all(is_parametrized(module, "weight") for module in normalised_layers(network))
    assert not is_parametrized(network.norm)
    assert not any(is_parametrized(module, "bias") for module in network.modules())


def test_the_largest_singular_value_becomes_one(network):
    for _ in range(100):
        network(torch.arange(3))
    network.eval()
    for module in normalised_layers(network):
        largest = torch.linalg.svdvals(matrix(module))[0].item()
        assert largest == pytest.approx(1, abs=1e-3), type(module)


def test_one_forward_pass_makes_one_step_of_the_power_iteration():
    """u ← W v / |W v|, v ← Wᵀ u / |Wᵀ u|, σ = uᵀ W v (Miyato et al. 2018, Algorithm 1)."""
    torch.manual_seed(0)
    network = spectrally_normalised(5, 3, build=nn.Linear)
    power = network.parametrizations.weight[0]
    W, v = network.parametrizations.weight.original.detach(), power._v.clone()
    u = nn.functional.normalize(W @ v, dim=0)
    v = nn.functional.normalize(W.T @ u, dim=0)
    x = torch.randn(2, 5)
    y = network(x)
    torch.testing.assert_close(y, x @ (W / (u @ W @ v)).T + network.bias)
    torch.testing.assert_close(power._u, u)


def test_the_scale_of_the_weights_does_not_matter(network):
    y = torch.arange(3)
    scaled = deepcopy(network)
    scaled.linear.parametrizations.weight.original.data.mul_(100)
    torch.testing.assert_close(scaled.eval()(y), network.eval()(y))


def test_a_layer_is_1_lipschitz():
    torch.manual_seed(0)
    layer = spectrally_normalised(20, 30, build=nn.Linear)
    nn.init.normal_(layer.parametrizations.weight.original, 0.0, 3.0)
    for _ in range(200):
        layer(torch.zeros(1, 20))
    layer.eval()
    a, b = torch.randn(2, 1000, 20)
    ratios = (layer(a) - layer(b)).norm(dim=1) / (a - b).norm(dim=1)
    assert ratios.max() <= 1 + 1e-3


def test_in_eval_mode_nothing_changes(network):
    network.eval()
    before = deepcopy(network.state_dict())
    first, second = (network(torch.arange(3)) for _ in range(2))
    assert torch.equal(first, second)
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_a_copy_is_equal_and_independent(network):
    network(torch.arange(3))
    copy = deepcopy(network)
    before = network.eval()(torch.arange(3))
    assert torch.equal(copy.eval()(torch.arange(3)), before)
    with torch.no_grad():
        for parameter in copy.parameters():
            parameter.add_(1.0)
    assert torch.equal(network(torch.arange(3)), before)
    assert not torch.equal(copy(torch.arange(3)), before)


def test_the_state_dict_restores_the_power_iteration_too(network):
    y = torch.arange(3)
    for _ in range(3):
        network(y)
    torch.manual_seed(1)
    other = spectrally_normalised(6, build=Every)
    other.load_state_dict(network.state_dict())
    assert torch.equal(other(y), network(y)), "the next step, in training mode"
    assert torch.equal(other.eval()(y), network.eval()(y))


def test_options_reach_the_network():
    network = spectrally_normalised(SHAPE, build=partial(Discriminator, norm="none"), width=4)
    assert network(torch.zeros(2, *SHAPE)).shape == (2,)
    assert network.layers[0].out_channels == 4


@pytest.mark.parametrize("bf16", [False, True], ids=["fp32", "bf16"])
def test_it_works_as_the_discriminator_of_a_gan(bf16):
    """Several forward passes in one loss: real, fake, and gradients to all original weights."""
    torch.manual_seed(0)
    gan = GAN(
        DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10),
        partial(Generator, width=4),
        partial(spectrally_normalised, build=partial(Discriminator, width=4, norm="none")),
        hinge(),
        latent_dim=6,
    )
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        loss = gan.discriminator_loss(Batch(torch.rand(4, *SHAPE)))["loss"]
    loss.backward()
    assert loss.dtype == torch.float32
    assert all(parameter.grad is not None for parameter in gan.discriminator.parameters())
    assert all(parameter.grad is None for parameter in gan.generator.parameters())
