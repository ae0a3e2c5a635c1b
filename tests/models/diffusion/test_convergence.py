"""Orders of convergence of the samplers, measured on a flow whose solution is known.

In one dimension the probability flow moves quantiles along: a sample that has probability u below
it at one noise level has it at every other. For a mixture of Gaussians that is a root to find.
"""

import math
from itertools import pairwise

import pytest
import torch

from models.diffusion.noise_path import Path, Prediction, karras_path, straight_path
from models.diffusion.samplers import sample_ddim, sample_dpmpp_2m, sample_heun

WEIGHTS = torch.tensor([0.3, 0.7], dtype=torch.float64)
MEANS = torch.tensor([-0.6, 0.5], dtype=torch.float64)
STD = 0.3
SIGMA_MIN, SIGMA_MAX = 0.05, 10.0


def cumulative(x, sigma):
    """Probability below x, (B,), of the mixture with noise."""
    return torch.special.ndtr((x[:, None] - MEANS) / math.hypot(STD, sigma)) @ WEIGHTS


def x_0_of(x, sigma):
    """E[x_0 | x], (B,): the mean of each component's posterior, by responsibility."""
    variance = STD**2 + sigma**2
    offset = x[:, None] - MEANS  # (B, 2)
    share = (WEIGHTS.log() - offset**2 / (2 * variance)).softmax(dim=1)
    return (share * (MEANS + STD**2 / variance * offset)).sum(dim=1)


def denoiser(x, sigma):
    return Prediction(x_0_of(x[:, 0], sigma[0].item())[:, None])


def scaled_denoiser(x, sigma):
    """The same for variance-preserving samples, x / sqrt(1 + sigma²)."""
    return denoiser(x * (1 + sigma[0].item() ** 2) ** 0.5, sigma)


def moved(x):
    """Where the flow takes x from the greatest noise level to the least, by bisection."""
    u = cumulative(x, SIGMA_MAX)
    low, high = torch.full_like(x, -5.0), torch.full_like(x, 5.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = cumulative(middle, SIGMA_MIN) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


START = SIGMA_MAX * torch.linspace(-1.5, 1.5, 41, dtype=torch.float64)
EXACT = x_0_of(moved(START), SIGMA_MIN)  # every sampler's last step is the denoiser's prediction


def path_of(steps):
    return karras_path(steps, SIGMA_MIN, SIGMA_MAX)


SAMPLERS = {
    "ddim": lambda path: sample_ddim(denoiser, START[:, None], path, torch.Generator()),
    "dpmpp": lambda path: sample_dpmpp_2m(denoiser, START[:, None], path),
    "heun": lambda path: sample_heun(denoiser, START[:, None], path, torch.Generator()),
}


def error(name, steps):
    return (SAMPLERS[name](path_of(steps))[:, 0] - EXACT).abs().max().item()


@pytest.mark.parametrize(("name", "order"), [("ddim", 1), ("dpmpp", 2), ("heun", 2)])
def test_order_of_convergence(name, order):
    errors = [error(name, steps) for steps in (40, 80, 160)]
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert slopes == pytest.approx([order, order], abs=0.25)
    assert errors[-1] < {1: 0.02, 2: 1e-3}[order]


def test_higher_orders_are_more_exact_at_equal_cost():
    """40 network calls each."""
    assert error("dpmpp", 40) < error("ddim", 40) / 3
    assert error("heun", 20) < error("ddim", 40) / 3


def flow_denoiser(x, t):
    """The same for samples on a straight path, x_t = (1 - t) (x_0 + t / (1 - t) eps)."""
    t = t[0].item()
    if t == 1:
        return Prediction((WEIGHTS @ MEANS).expand_as(x))
    return denoiser(x / (1 - t), torch.tensor([t / (1 - t)], dtype=torch.float64))


def exact_of_flow(x):
    """Where the flow of the straight path takes noise: the quantile of the data."""
    u = torch.special.ndtr(x)
    low, high = torch.full_like(x, -5.0), torch.full_like(x, 5.0)
    for _ in range(60):
        middle = (low + high) / 2
        below = cumulative(middle, 0.0) < u
        low, high = torch.where(below, middle, low), torch.where(below, high, middle)
    return (low + high) / 2


NOISE = torch.linspace(-1.5, 1.5, 41, dtype=torch.float64)
FLOW = {
    "euler": lambda path: sample_ddim(flow_denoiser, NOISE[:, None], path, torch.Generator()),
    "heun": lambda path: sample_heun(flow_denoiser, NOISE[:, None], path, torch.Generator()),
}


@pytest.mark.parametrize(("name", "order"), [("euler", 1), ("heun", 2)])
def test_order_of_convergence_on_a_straight_path(name, order):
    """Against the quantiles of the data themselves, since the path ends without noise."""
    exact = exact_of_flow(NOISE)
    errors = [
        (FLOW[name](straight_path(steps))[:, 0] - exact).abs().max().item()
        for steps in (40, 80, 160)
    ]
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert slopes == pytest.approx([order, order], abs=0.25)
    assert errors[-1] < {1: 0.02, 2: 1e-3}[order]


def test_heun_converges_on_a_path_that_scales_the_signal():
    """Straight steps between the levels of a variance-preserving path, at whose ends it is told."""

    def error_of(steps):
        path = path_of(steps)
        alphas = tuple((1 + sigma**2) ** -0.5 for sigma in path.sigmas)
        sigmas = tuple(alpha * sigma for alpha, sigma in zip(alphas, path.sigmas, strict=True))
        scaled = Path(alphas, sigmas, path.times)
        start = alphas[0] * START[:, None]
        found = sample_heun(scaled_denoiser, start, scaled, torch.Generator())
        return (found[:, 0] - EXACT).abs().max().item()

    errors = [error_of(steps) for steps in (40, 80, 160)]
    slopes = [math.log2(coarse / fine) for coarse, fine in pairwise(errors)]
    assert slopes == pytest.approx([2, 2], abs=0.25)


@pytest.mark.parametrize("sample", [sample_ddim, sample_dpmpp_2m])
def test_ddim_and_dpmpp_do_not_depend_on_the_scaling_of_the_path(sample):
    path = path_of(12)
    alphas = tuple((1 + sigma**2) ** -0.5 for sigma in path.sigmas)
    sigmas = tuple(alpha * sigma for alpha, sigma in zip(alphas, path.sigmas, strict=True))
    scaled = Path(alphas, sigmas, path.times)
    source = (torch.Generator(),) if sample is sample_ddim else ()
    unscaled_x = sample(denoiser, START[:, None], path, *source)
    scaled_x = sample(scaled_denoiser, alphas[0] * START[:, None], scaled, *source)
    torch.testing.assert_close(scaled_x, unscaled_x, rtol=1e-6, atol=1e-8)
