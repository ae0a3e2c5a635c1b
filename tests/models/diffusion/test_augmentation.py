"""EDM's augmentation: the network is told of it in training and never in sampling."""

import math
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, ShapeError
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.consistency import ConsistencyModel
from models.diffusion.denoising import DenoisingModel
from models.diffusion.edm import EDM
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.meanflow import MeanFlow
from models.diffusion.networks.dit import DiT
from models.diffusion.networks.simple_unet import SimpleUNet
from models.diffusion.networks.unet import UNet
from models.diffusion.rectified_flow import RectifiedFlow
from models.diffusion.schedules import linear_betas

SHAPE = (1, 8, 8)
BETAS = linear_betas(100)


class Remembers(nn.Module):
    """Returns zero, and remembers what it was given."""

    def __init__(
        self, data_shape: tuple[int, ...], *, augment_dim: int = 0, num_times: int = 1
    ) -> None:
        super().__init__()
        self.augment_dim = augment_dim
        self.weight = nn.Parameter(torch.zeros(()))
        self.calls: list[tuple[Tensor, Tensor | None]] = []

    def forward(self, x: Tensor, code: Tensor, augmented: Tensor | None = None) -> Tensor:
        self.calls.append((x.detach(), augmented))
        return x * self.weight


def spec(shape: tuple[int, ...] = SHAPE, num_classes: int = 0) -> DataSpec:
    return DataSpec(shape, num_classes, lambda index: torch.zeros(len(index), *shape), 10)


def edm(network=Remembers, **options) -> DenoisingModel:
    return EDM(spec(), network, samplers=["heun-3"], **options)


def gaussian(network=Remembers, **options) -> DenoisingModel:
    return GaussianDiffusion(spec(), network, betas=BETAS, samplers=["ddim-3"], **options)


def flow(network=Remembers, **options) -> DenoisingModel:
    return RectifiedFlow(spec(), network, samplers=["euler-3"], **options)


def meanflow(network=Remembers, **options) -> DenoisingModel:
    """Half of the samples have an interval, whose derivative takes a call of its own."""
    return MeanFlow(spec(), network, samplers=["meanflow-3"], of_four=2, **options)


def consistency(network=Remembers, **options) -> GenerativeModel:
    return ConsistencyModel(spec(), network, samplers=["consistency-2"], **options)


EVERY = pytest.mark.parametrize("make", [edm, gaussian, flow, meanflow, consistency])


def train_once(model: GenerativeModel, batch: Batch) -> None:
    torch.manual_seed(0)
    (phase,) = model.phases
    phase.loss(batch)["loss"].backward()


def test_parameters_are_zero_where_nothing_happens_and_images_unchanged():
    x = torch.rand(500, *SHAPE)
    torch.manual_seed(0)
    moved, parameters = GeometricAugmentation(0.1)(x)
    plain = (parameters == 0).all(dim=1)
    assert torch.equal(moved[plain], x[plain])
    assert not any(torch.equal(a, b) for a, b in zip(moved[~plain], x[~plain], strict=True))
    assert plain.double().mean().item() == pytest.approx(0.9**4, abs=4 * (0.9**4 / 500) ** 0.5)


def test_at_probability_zero_images_are_as_they_are():
    x = torch.rand(5, *SHAPE)
    moved, parameters = GeometricAugmentation(0.0)(x)
    assert torch.equal(moved, x)
    assert torch.equal(parameters, torch.zeros(5, 7))


def test_parameters_have_the_moments_of_the_authors_distributions():
    torch.manual_seed(0)
    n, p = 40_000, 0.5
    _, parameters = GeometricAugmentation(p)(torch.zeros(1).expand(n, 1, 1, 1))
    scale, cos, sin, along, across, x, y = parameters.double().T
    for normal in (scale, x, y):
        assert normal.mean().item() == pytest.approx(0, abs=4 * (p / n) ** 0.5)
        assert normal.square().mean().item() == pytest.approx(p, rel=0.05)
    torch.testing.assert_close((cos + 1).square() + sin.square(), torch.ones(n).double())
    assert cos.mean().item() == pytest.approx(-p, abs=0.02)
    assert (along.square() + across.square()).mean().item() == pytest.approx(p, rel=0.05)
    assert across.square().mean().item() == pytest.approx(p / 4, rel=0.1)  # half are not rotated


def test_parameters_say_what_was_done():
    """Images whose only transformation is a shift are shifted by an eighth per unit."""
    torch.manual_seed(0)
    column = torch.arange(8.0)[None, None, None].expand(4000, 1, 8, 8).contiguous()
    moved, parameters = GeometricAugmentation(0.2)(column)
    shifted = (parameters[:, :5] == 0).all(dim=1) & (parameters[:, 5].abs() < 2)
    shifted &= parameters[:, 5] != 0
    assert shifted.sum() > 100
    inner = moved[shifted, 0, 4, 3:5].mean(dim=1)  # two pixels off the border
    torch.testing.assert_close(inner, 3.5 - parameters[shifted, 5], rtol=1e-4, atol=1e-4)


@EVERY
def test_the_network_is_given_the_parameters_of_the_images_that_it_is_given(make):
    model = make(augmentation=GeometricAugmentation(0.5))
    assert model.network.augment_dim == 7
    batch = Batch(torch.rand(16, *SHAPE) * 2 - 1)
    train_once(model, batch)
    torch.manual_seed(0)
    _, expected = GeometricAugmentation(0.5)(batch.x)
    assert expected.abs().max() > 0
    for _, given in model.network.calls:
        assert torch.equal(given, expected[: len(given)])
    assert len(model.network.calls[-1][1]) == 16


@pytest.mark.parametrize("make", [flow, meanflow])
def test_flows_start_at_the_augmented_images(make):
    model = make(augmentation=GeometricAugmentation(0.5), times=lambda n, device: torch.zeros(n))
    batch = Batch(torch.rand(16, *SHAPE) * 2 - 1)
    train_once(model, batch)
    torch.manual_seed(0)
    expected, _ = GeometricAugmentation(0.5)(batch.x)
    assert torch.equal(model.network.calls[-1][0], expected)


@EVERY
def test_samplers_ask_for_images_as_they_are(make):
    model = make(augmentation=GeometricAugmentation(0.5))
    model.eval()
    (sampler,) = model.samplers.values()
    sampler.generate(2, torch.Generator().manual_seed(0), None)
    model.held_out_curves(Batch(torch.rand(2, *SHAPE)), torch.Generator().manual_seed(0))
    assert len(model.network.calls) >= 2
    assert all(augmented is None for _, augmented in model.network.calls)


@EVERY
def test_an_augmentation_that_never_happens_leaves_the_network_its_inputs(make):
    batch = Batch(torch.rand(8, *SHAPE) * 2 - 1)
    with_it, without = make(augmentation=GeometricAugmentation(0.0)), make()
    train_once(with_it, batch)
    torch.manual_seed(0)
    GeometricAugmentation(0.0)(batch.x)  # takes its random numbers first
    (phase,) = without.phases
    phase.loss(batch)
    assert torch.equal(with_it.network.calls[-1][0], without.network.calls[-1][0])


NETWORKS = {
    "unet": partial(
        UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4, attention_levels=[]
    ),
    "dit": partial(DiT, width=8, depth=1, heads=2),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_zeros_are_no_parameters_and_others_are_seen(name):
    torch.manual_seed(0)
    network = NETWORKS[name](SHAPE, augment_dim=7).eval()
    with torch.no_grad():
        for parameter in network.parameters():  # some start at zero
            parameter.add_(0.1 * torch.randn(parameter.shape))
    x, t = torch.randn(3, *SHAPE), torch.tensor([1.0, 50.0, 90.0])
    plain = network(x, t)
    assert torch.equal(network(x, t, augmented=torch.zeros(3, 7)), plain)
    changed = network(x, t, augmented=torch.eye(3, 7)) - plain
    assert (changed.flatten(1).abs().sum(dim=1) > 0).all()


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_without_augmentation_are_what_they_were(name):
    networks = []
    for options in ({}, {"augment_dim": 0}):
        torch.manual_seed(0)
        networks.append(NETWORKS[name](SHAPE, **options))
    first, second = (network.state_dict() for network in networks)
    assert first.keys() == second.keys()
    assert not any("augmentation" in key for key in first)


@EVERY
def test_points_signals_and_networks_that_cannot_be_told_are_refused(make):
    with pytest.raises(ValueError, match=r"does not take augment_dim.*, .* an augmentation needs"):
        make(SimpleUNet, augmentation=GeometricAugmentation())
    for shape, words in (((2,), r"\(2,\)"), ((1, 16), r"\(1, 16\)")):  # points and signals
        with pytest.raises(ShapeError, match=f"images, got {words}: leave model.build.aug"):
            EDM(spec(shape), Remembers, samplers=["heun-3"], augmentation=GeometricAugmentation())
        with pytest.raises(ShapeError, match=f"images, got {words}: leave model.build.aug"):
            ConsistencyModel(spec(shape), Remembers, augmentation=GeometricAugmentation())


@pytest.mark.parametrize("make", [gaussian, flow, meanflow])
def test_latents_are_refused(make):
    with pytest.raises(ValueError, match="it needs clip=true"):
        make(clip=False, augmentation=GeometricAugmentation())


@pytest.mark.parametrize("make", [flow, meanflow, consistency])
def test_a_unet_learns_with_it_and_its_samples_do_not_depend_on_it(make):
    """The derivative of MeanFlow passes through the layers that are told of the augmentation."""
    unet = partial(
        UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4, attention_levels=[]
    )
    torch.manual_seed(0)
    model = make(unet, augmentation=GeometricAugmentation(0.5))
    for parameter in model.parameters():  # some start at zero
        parameter.data.add_(0.1 * torch.randn(parameter.shape))
    train_once(model, Batch(torch.rand(8, *SHAPE) * 2 - 1))
    weight = model.network.augmentation.weight
    assert weight.grad.abs().max() > 0
    model.eval()
    (sampler,) = model.samplers.values()
    first = sampler.generate(2, torch.Generator().manual_seed(0), None)
    weight.data.mul_(2)
    assert torch.equal(sampler.generate(2, torch.Generator().manual_seed(0), None), first)


@pytest.mark.parametrize("probability", [-0.1, 1.1, math.nan])
def test_a_probability_out_of_range_is_refused(probability):
    with pytest.raises(ValueError, match=r"probability of an augmentation must be in \[0, 1\]"):
        GeometricAugmentation(probability)
