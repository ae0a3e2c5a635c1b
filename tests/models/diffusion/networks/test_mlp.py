import math
from functools import partial

import pytest
import torch
from torch import nn

from models.base import Batch, DataSpec
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.mlp import DenoiserMLP
from models.diffusion.schedules import linear_betas


def test_it_starts_by_predicting_no_noise():
    network = DenoiserMLP((2,), width=16)
    x, t = torch.randn(5, 2), torch.arange(5)
    assert torch.equal(network(x, t), torch.zeros(5, 2))


def test_it_depends_on_every_input_and_keeps_any_shape():
    torch.manual_seed(0)
    network = DenoiserMLP((3, 4), width=16)
    nn.init.normal_(network.last.weight)
    x, t = torch.randn(6, 3, 4), torch.full((6,), 10)
    out = network(x, t)
    assert out.shape == x.shape
    assert not torch.equal(out, network(x, t + 1))
    shifted = x.clone()
    shifted[:, 2, 3] += 0.1
    assert not torch.equal(out, network(shifted, t))


def test_several_times_of_a_sample_are_told_apart():
    torch.manual_seed(0)
    network = DenoiserMLP((2,), width=16, num_times=2)
    nn.init.normal_(network.last.weight)
    x = torch.randn(1, 2).repeat(3, 1)
    out = network(x, torch.tensor([[3.0, 5.0], [5.0, 3.0], [3.0, 9.0]]))
    assert len({tuple(row.tolist()) for row in out}) == 3


def test_fourier_features_have_periods_two_one_half():
    """With only them behind the raw coordinate, points one period apart differ by x alone."""
    torch.manual_seed(0)
    network = DenoiserMLP((1,), width=16, octaves=3)
    nn.init.normal_(network.last.weight)
    with torch.no_grad():
        network.first.weight[:, 0] = 0  # the raw coordinate
    t = torch.tensor([3])
    first, second = network(torch.tensor([[0.3]]), t), network(torch.tensor([[2.3]]), t)
    torch.testing.assert_close(first, second, atol=1e-4, rtol=1e-4)
    assert not torch.allclose(first, network(torch.tensor([[1.3]]), t), atol=1e-3)


def test_it_learns_one_gaussian():
    """The samples of a trained model have the data's mean and spread."""
    torch.manual_seed(0)
    spec = DataSpec((1,), 0, lambda i: torch.zeros(len(i), 1), 1)
    build = partial(DenoiserMLP, width=64, layers=2)
    model = GaussianDiffusion(spec, build, betas=linear_betas(1000), samplers=["ddim-50"])
    adam = torch.optim.Adam(model.network.parameters(), lr=3e-3)
    for _ in range(500):
        adam.zero_grad()
        x = 0.3 + 0.1 * torch.randn(256, 1)
        model.denoiser_loss(Batch(x))["loss"].backward()
        adam.step()
    with torch.inference_mode():
        drawn = model.samplers["ddim-50"].generate(2000, torch.Generator().manual_seed(1), None)
    assert float(drawn.mean()) == pytest.approx(0.3, abs=0.03)
    assert math.isclose(float(drawn.std()), 0.1, rel_tol=0.3)


@pytest.mark.parametrize("change", [{"width": 7}, {"width": 2}, {"layers": 0}, {"octaves": -1}])
def test_sizes_are_checked(change):
    with pytest.raises(ValueError, match=next(iter(change))):
        DenoiserMLP((2,), **change)
