"""Likelihood by the probability flow against closed forms."""

import math

import pytest
import torch
from known_diffusion import NETWORK, seeded, spec
from known_flows import MEAN, STD, ExactFlow, velocity

from models.base import Batch
from models.diffusion.bound import BIN
from models.diffusion.likelihood import bits_per_dim, log_likelihood, velocity_and_divergence
from models.diffusion.meanflow import MeanFlow
from models.diffusion.rectified_flow import RectifiedFlow


def exact(mean, std):
    return lambda x, t: velocity(x, t.view(-1, *(1,) * (x.dim() - 1)), mean, std)


def gaussian_log_density(x, mean, std):
    z = (x.double() - mean) / std
    return (-0.5 * z.square() - math.log(std) - 0.5 * math.log(2 * math.pi)).flatten(1).sum(1)


@pytest.mark.parametrize(
    ("std", "within"),
    [(std, 0.01) for std in (0.00226, 0.004, 0.008, 0.02, 0.05)]
    + [(std, 0.0012) for std in (0.1, 0.2, 0.35, 0.5, 0.7, 1.0)],
)
def test_log_likelihood_of_a_gaussian(std, within):
    """Per dimension, in bits; the error is that of the steps, since J is a multiple of 1."""
    x = MEAN + std * torch.randn(20, 1000, generator=seeded())
    found = log_likelihood(exact(MEAN, std), x, seeded())
    error = (found - gaussian_log_density(x, MEAN, std)) / 1000 / math.log(2)
    assert found.dtype == torch.float64
    assert error.mean().abs().item() < within


def test_more_steps_are_more_exact():
    x = MEAN + 0.02 * torch.randn(20, 50, generator=seeded())

    def error(steps):
        found = log_likelihood(exact(MEAN, 0.02), x, seeded(), steps)
        return (found - gaussian_log_density(x, MEAN, 0.02)).abs().mean().item()

    assert error(24) < error(12) / 4 < error(6) / 16


def test_the_divergence_is_estimated_without_bias():
    """On a linear map the estimate is the quadratic form of random signs, of mean the trace."""
    matrix = torch.randn(6, 6, generator=seeded(), dtype=torch.float64)
    signs = torch.randint(2, (40_000, 6), generator=seeded(1)).double() * 2 - 1
    x = torch.randn(40_000, 6, generator=seeded(2), dtype=torch.float64)
    slope, divergence = velocity_and_divergence(lambda x, t: x @ matrix.T, x, 0.5, signs)
    torch.testing.assert_close(slope, x @ matrix.T)
    torch.testing.assert_close(divergence, ((signs @ matrix) * signs).sum(1))
    spread = divergence.std().item() / 200
    assert divergence.mean().item() == pytest.approx(matrix.trace().item(), abs=4 * spread)


def test_bits_of_8_bit_images_are_the_entropy_of_their_gaussian():
    """h(N) + log2(127.5) bits per dimension: bins are narrow beside the standard deviation."""
    generator = seeded()
    x = MEAN + STD * torch.randn(40, 3, 8, 8, generator=generator)
    x = ((x + 1) / BIN).round().clamp(0, 255) * BIN - 1
    bits = bits_per_dim(exact(MEAN, STD), x, seeded(1))
    entropy = 0.5 * math.log2(2 * math.pi * math.e * STD**2) - math.log2(BIN)
    assert bits.shape == (40,)
    assert bits.mean().item() == pytest.approx(entropy, abs=0.02)


def test_noise_of_8_bits_has_eight_bits():
    """Uniform values under the flow of N(0, 1) cost their cross-entropy."""
    x = torch.randint(256, (20, 1, 8, 8), generator=seeded()) * BIN - 1
    bits = bits_per_dim(exact(0.0, 1.0), x, seeded(1)).mean().item()
    second_moment = (1 + BIN / 2) ** 2 / 3
    cross = 0.5 * math.log2(2 * math.pi) + second_moment / 2 / math.log(2) - math.log2(BIN)
    assert bits == pytest.approx(cross, abs=0.03)


@pytest.mark.parametrize("kind", [RectifiedFlow, MeanFlow])
def test_models_score_images_by_it_and_nothing_else(kind):
    def network(shape, num_times=1):
        return ExactFlow(shape, num_times, kind.time_scale)

    x = (MEAN + STD * torch.randn(6, 3, 8, 8, generator=seeded())).clamp(-1, 1)
    model = kind(spec(3, 8, 8), network, samplers=["euler-2"]).eval()
    with torch.inference_mode():
        found = model.held_out_scores(Batch(x), seeded(1))
    assert set(found) == {"bits_per_dim"}
    torch.testing.assert_close(
        found["bits_per_dim"], bits_per_dim(exact(MEAN, STD), x, seeded(1)), rtol=1e-4, atol=1e-4
    )
    unbounded = kind(spec(3, 8, 8), network, samplers=["euler-2"], clip=False)
    assert unbounded.held_out_scores(Batch(x), seeded()) == {}
    points = kind(spec(2), network, samplers=["euler-2"])
    assert points.held_out_scores(Batch(torch.zeros(3, 2)), seeded()) == {}


def test_networks_with_kernels_and_classes_are_scored_in_inference_mode():
    data = spec(3, 8, 8, num_classes=4)
    model = RectifiedFlow(data, NETWORK, samplers=["euler-2"], conditional=True).eval()
    with torch.inference_mode():
        x = torch.rand(4, 3, 8, 8, generator=seeded()) * 2 - 1
        batch = Batch(x, torch.arange(4))
        first, again = (model.held_out_scores(batch, seeded(k))["bits_per_dim"] for k in (1, 1))
        other = model.held_out_scores(batch, seeded(2))["bits_per_dim"]
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert all(parameter.grad is None for parameter in model.parameters())
    # The network predicts almost nothing at first: the flow stands still, x is scored by N(0, 1).
    at_rest = 0.5 * math.log2(2 * math.pi) - math.log2(BIN) + x.square().mean().item() / math.log(4)
    assert first.mean().item() == pytest.approx(at_rest, abs=0.05)
