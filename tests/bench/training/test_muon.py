"""Muon against torch's own on matrices, and against Adam on everything else."""

import copy

import pytest
import torch
from torch import nn

from bench.training.muon import Muon, orthogonal


def trained(network: nn.Module, optimizer: torch.optim.Optimizer, steps: int = 5) -> nn.Module:
    torch.manual_seed(1)
    for _ in range(steps):
        for parameter in network.parameters():
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return network


def test_singular_values_are_brought_to_about_one_and_vectors_are_kept():
    torch.manual_seed(0)
    stacks = [torch.randn(shape) for shape in ((3, 16, 40), (2, 40, 16), (1, 16, 16), (1, 5, 70))]
    for matrices, result in zip(stacks, orthogonal(stacks), strict=True):
        assert result.shape == matrices.shape
        values = torch.linalg.svdvals(result)
        if matrices.shape[1] != matrices.shape[2]:  # a square one can have very small ones
            assert values.min() > 0.5
        assert values.max() < 1.3
        u, _, v = torch.linalg.svd(matrices, full_matrices=False)
        cosine = torch.nn.functional.cosine_similarity(result.flatten(1), (u @ v).flatten(1))
        assert cosine.min() > 0.95


@pytest.mark.parametrize("rank", [1, 3])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e4])
def test_matrices_of_low_rank_stay_bounded(rank, scale):
    """Gradients nearly are of low rank; rounding must not grow where singular values are zero."""
    torch.manual_seed(0)
    low = torch.randn(4, 96, rank) @ torch.randn(4, rank, 864)
    for matrices in (low, low.mT.contiguous(), low[:, :, :96].contiguous()):
        (result,) = orthogonal([scale * matrices])
        values = torch.linalg.svdvals(result)
        assert values.isfinite().all()
        assert values.max() < 1.3
        assert (values[:, :rank] > 0.5).all()


def test_equals_torchs_muon_on_matrices():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.Linear(12, 20, bias=False), nn.Linear(20, 12, bias=False))
    theirs = copy.deepcopy(ours)
    trained(ours, Muon(ours.parameters(), lr=0.01))
    options = {"lr": 0.01, "weight_decay": 0.0, "adjust_lr_fn": "match_rms_adamw"}
    trained(theirs, torch.optim.Muon(theirs.parameters(), **options))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-3)  # theirs is computed in bfloat16


def test_a_convolution_is_updated_as_the_matrix_of_its_output_channels():
    torch.manual_seed(0)
    convolution = nn.Conv2d(6, 10, 3, bias=False).to(memory_format=torch.channels_last)
    linear = nn.Linear(54, 10, bias=False)
    with torch.no_grad():
        linear.weight.copy_(convolution.weight.flatten(1))
    for layer in (convolution, linear):
        optimizer = Muon(layer.parameters(), lr=0.01)
        gradient = torch.randn(10, 54, generator=torch.Generator().manual_seed(3))
        layer.weight.grad = gradient.view(layer.weight.shape).clone()
        optimizer.step()
    torch.testing.assert_close(convolution.weight.flatten(1), linear.weight)


def test_equals_adam_on_everything_else():
    torch.manual_seed(0)
    ours = nn.Sequential(nn.LayerNorm(7), nn.BatchNorm1d(7))
    theirs = copy.deepcopy(ours)
    options = {"lr": 0.01, "betas": (0.8, 0.95), "eps": 1e-6}
    trained(ours, Muon(ours.parameters(), **options))
    trained(theirs, torch.optim.Adam(theirs.parameters(), **options))
    for a, b in zip(ours.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_continues_exactly():
    torch.manual_seed(0)
    network = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))
    whole = copy.deepcopy(network)
    trained(trained(whole, optimizer := Muon(whole.parameters())), optimizer)
    first = trained(network, before := Muon(network.parameters()))
    after = Muon(first.parameters())
    after.load_state_dict(copy.deepcopy(before.state_dict()))
    trained(first, after)
    for a, b in zip(whole.parameters(), first.parameters(), strict=True):
        assert torch.equal(a, b)


@pytest.mark.parametrize(
    "options", [{"lr": -1.0}, {"momentum": 1.0}, {"betas": (0.9, 1.5)}, {"eps": 0.0}]
)
def test_bad_arguments_are_refused(options):
    with pytest.raises(ValueError, match=f"Invalid .*{-1.0 if 'lr' in options else ''}"):
        Muon(nn.Linear(2, 2).parameters(), **options)


def test_parameters_without_gradients_stay():
    network = nn.Linear(3, 3)
    before = copy.deepcopy(network)
    Muon(network.parameters()).step()
    assert torch.equal(network.weight, before.weight)
    assert torch.equal(network.bias, before.bias)
