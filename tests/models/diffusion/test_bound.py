import math

import pytest
import torch
from torch.distributions import Normal, kl_divergence

from models.diffusion.bound import (
    BIN,
    bits,
    discretised_log_likelihood,
    estimate,
    gaussian_kl,
    prior_bits,
    stratified_timesteps,
    terms,
)
from models.diffusion.noise_path import Prediction
from models.diffusion.schedules import ForwardProcess, cosine_betas, linear_betas

LEVELS = torch.arange(256) * BIN - 1
STD = 0.2
"""Standard deviation of the Gaussian data."""


def exact(process: ForwardProcess, std: float = STD):
    """The denoiser of data N(0, std²): E[x_0 | x_t]."""

    def denoise(x_t, t):
        alpha, sigma = process.levels(t, x_t.dim())
        return Prediction(std**2 * alpha / (alpha**2 * std**2 + sigma**2) * x_t)

    return denoise


def betas_between(first: float, last: float, steps: int) -> torch.Tensor:
    """Betas of a process from SNR `first` to SNR `last`, log SNR linear in t."""
    log_snr = torch.linspace(math.log(first), math.log(last), steps, dtype=torch.float64)
    alpha_bar = torch.sigmoid(log_snr)
    return 1 - alpha_bar / torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])


def kl_nats(process: ForwardProcess, denoise, x_0, variance) -> float:
    """Sum of all divergences, noise drawn anew at each timestep."""
    total = 0.0
    for k in range(1, process.num_timesteps):
        t = torch.full((len(x_0),), k)
        x_t = process.diffuse(x_0, t, torch.randn_like(x_0))
        total += terms(process, x_0, x_t, t, denoise(x_t, t.float()), variance).mean().item()
    return total * math.log(2)


@pytest.mark.parametrize("mean", [0.0, -1.0, 0.9999, 0.313, 1.7])
@pytest.mark.parametrize("std", [1e-3, 0.01, 0.3, 5.0])
def test_probabilities_of_the_256_values_sum_to_one(mean, std):
    mean = torch.full((256,), mean, dtype=torch.float64)
    log_variance = torch.tensor(2 * math.log(std), dtype=torch.float64)
    log_p = discretised_log_likelihood(LEVELS.double(), mean, log_variance)
    assert (log_p <= 0).all()
    assert log_p.exp().sum().item() == pytest.approx(1, abs=2e-5)


def test_probabilities_are_integrals_over_bins():
    torch.manual_seed(0)
    x = LEVELS[torch.randint(1, 255, (500,))].double()
    mean = (x + 0.05 * torch.randn(500)).clamp(-1, 1)
    std = torch.full((500,), 0.03, dtype=torch.float64)
    normal = Normal(mean, std)
    expected = (normal.cdf(x + BIN / 2) - normal.cdf(x - BIN / 2)).clamp(min=1e-12).log()
    found = discretised_log_likelihood(x, mean, 2 * std.log())
    torch.testing.assert_close(found[expected > -20], expected[expected > -20], rtol=1e-4, atol=0)


@pytest.mark.parametrize("value", [-1.0, LEVELS[7].item(), 1.0])
def test_likelihood_and_gradient_are_finite_far_from_the_mean(value):
    mean = torch.linspace(-1, 1, 9).requires_grad_()
    log_variance = torch.full((9,), -9.0).requires_grad_()
    log_p = discretised_log_likelihood(torch.full((9,), value), mean, log_variance)
    log_p.sum().backward()
    assert log_p.isfinite().all()
    for gradient in (mean.grad, log_variance.grad):
        assert gradient is not None
        assert gradient.isfinite().all()
    assert log_p.detach().argmax() == (mean.detach() - value).abs().argmin()


def test_divergence_is_that_of_torch():
    torch.manual_seed(0)
    mean, log_variance, other_mean, other_log_variance = torch.randn(4, 50, dtype=torch.float64)
    expected = kl_divergence(
        Normal(mean, (log_variance / 2).exp()), Normal(other_mean, (other_log_variance / 2).exp())
    )
    found = gaussian_kl(mean, log_variance, other_mean, other_log_variance)
    torch.testing.assert_close(found, expected)


def test_prior_term_is_the_divergence_from_pure_noise():
    x_0 = torch.rand(4, 3, 5, 5, generator=torch.Generator().manual_seed(0)) * 2 - 1
    alpha, sigma = torch.tensor(0.6), torch.tensor(0.8)
    expected = kl_divergence(Normal(alpha * x_0, sigma), Normal(0.0, 1.0)).flatten(1).mean(1)
    torch.testing.assert_close(prior_bits(x_0, alpha, sigma), expected / math.log(2))


def test_prior_term_of_the_papers_schedule():
    """Ho et al. 2020, Sec. 4: about 1e-5 bits per dimension."""
    process = ForwardProcess(linear_betas(1000))
    x_0 = torch.rand(2, 1, 8, 8, generator=torch.Generator().manual_seed(0)) * 2 - 1
    found = prior_bits(x_0, *process.levels(torch.tensor([999, 999]), 4))
    assert (found > 0).all()
    assert (found < 4e-5).all()


@pytest.mark.parametrize("steps", [5, 20, 80])
def test_divergences_of_gaussian_data_are_the_closed_form(steps):
    """The exact denoiser errs by the posterior's variance v_t; Ho et al. 2020, Eq. 10.

    Each is (SNR_{t-1} - SNR_t) v_t / 2 with v = s² / (1 + s² SNR): the sum lies above the integral,
    the information that the first level has and the last has not.
    """
    torch.manual_seed(0)
    process = ForwardProcess(betas_between(1e3, 1e-3, steps))
    x_0 = STD * torch.randn(2000, 100)
    found = kl_nats(process, exact(process), x_0, "fixed_small")
    alpha_bar = process.alpha_bar
    snr = alpha_bar / (1 - alpha_bar)
    closed = (0.5 * (snr[:-1] - snr[1:]) * STD**2 / (1 + STD**2 * snr[1:])).sum().item()
    assert found == pytest.approx(closed, rel=1e-2)
    information = 0.5 * math.log((1 + STD**2 * 1e3) / (1 + STD**2 * 1e-3))
    assert closed > information


def test_the_bound_of_gaussian_pixels_is_above_their_entropy_and_falls_to_it():
    """With the true reverse variances: the posterior's, and at the first step beta_0."""
    torch.manual_seed(0)
    x_0 = ((STD * torch.randn(4000, 16) + 1) / BIN).round() * BIN - 1
    p = discretised_log_likelihood(LEVELS, torch.zeros(256), torch.tensor(2 * math.log(STD)))
    entropy = -(p.exp() * p).sum().item() / math.log(2)
    generator = torch.Generator().manual_seed(1)
    gaps = []
    for steps in (100, 300, 1000):
        process = ForwardProcess(betas_between(3e4, 1e-4, steps))
        denoise = exact(process)

        def with_variance(x_t, t, denoise=denoise):
            fraction = (t == 0).float()[:, None].expand_as(x_t)
            return denoise(x_t, t)._replace(fraction=fraction)

        scores = estimate(process, with_variance, x_0, "learned", generator, draws=29)
        gaps.append(scores["bits_per_dim"].mean().item() - entropy)
    assert gaps[0] > 2 * gaps[1] > 4 * gaps[2] > 0
    assert gaps[2] < 0.1


def test_estimate_has_the_mean_of_the_sum_over_all_timesteps():
    torch.manual_seed(0)
    process = ForwardProcess(linear_betas(9, 0.01, 0.3))

    def denoise(x_t, t):  # any function, and not a good one
        return Prediction((0.8 * x_t + 0.02 * t[:, None]).clamp(-1, 1))

    x_0 = LEVELS[torch.tensor([[3, 60, 130, 255]])].expand(20_000, 4)
    expected = kl_nats(process, denoise, x_0, "fixed_large") / math.log(2)
    generator = torch.Generator().manual_seed(0)
    found = estimate(process, denoise, x_0, "fixed_large", generator, draws=3)
    assert all(value.shape == (20_000,) for value in found.values())
    assert found["bits_kl"].mean().item() == pytest.approx(expected, rel=0.02)
    parts = found["bits_prior"] + found["bits_kl"] + found["bits_reconstruction"]
    torch.testing.assert_close(found["bits_per_dim"], parts)


def test_estimate_draws_from_its_generator_only():
    process = ForwardProcess(linear_betas(20, 0.01, 0.3))
    x_0 = LEVELS[torch.arange(240).view(5, 3, 4, 4)]
    state = torch.get_rng_state()
    first, second, third = (
        estimate(process, exact(process), x_0, "fixed_small", torch.Generator().manual_seed(seed))
        for seed in (0, 0, 1)
    )
    assert torch.equal(state, torch.get_rng_state())
    assert torch.equal(first["bits_per_dim"], second["bits_per_dim"])
    assert not torch.equal(first["bits_kl"], third["bits_kl"])


def test_timesteps_are_uniform_and_one_in_each_stratum():
    t = stratified_timesteps(13, 4, 30_000, torch.Generator().manual_seed(0))
    assert t.shape == (4, 30_000)
    counts = t.flatten().bincount(minlength=13).double()
    assert counts[0] == 0
    assert ((counts[1:] - 10_000).square() / 10_000).sum() < 31.3  # 11 degrees, p = 0.001
    assert [(row.min().item(), row.max().item()) for row in t] == [(1, 3), (4, 6), (7, 9), (10, 12)]


def guided_diffusion_terms(betas, x_0, x_t, t, predicted, variance, fraction):
    """`_vb_terms_bpd` of guided-diffusion, gaussian_diffusion.py, in float64."""
    alpha_bar = torch.cumprod(1 - betas, 0)
    before = torch.cat([torch.ones(1, dtype=torch.float64), alpha_bar[:-1]])
    posterior = betas * (1 - before) / (1 - alpha_bar)
    clipped = torch.cat([posterior[1:2], posterior[1:]]).log()
    first, second = betas * before.sqrt(), (1 - before) * (1 - betas).sqrt()
    column = lambda table: table[t][:, None]  # noqa: E731

    def mean(x):
        return (column(first) * x + column(second) * x_t) / column(1 - alpha_bar)

    log_variance = {
        "fixed_small": column(clipped),
        "fixed_large": column(torch.cat([posterior[1:2], betas[1:]]).log()),
        "learned": column(clipped) + fraction * column(betas.log() - clipped),
    }[variance].expand_as(x_0)
    true, model = mean(x_0), mean(predicted)
    kl = 0.5 * (
        -1.0
        + log_variance
        - column(clipped)
        + torch.exp(column(clipped) - log_variance)
        + ((true - model) ** 2) * torch.exp(-log_variance)
    )
    normal = Normal(model, (0.5 * log_variance).exp())
    upper, lower = normal.cdf(x_0 + 1 / 255), normal.cdf(x_0 - 1 / 255)
    nll = (
        -torch.where(x_0 < -0.999, upper, torch.where(x_0 > 0.999, 1 - lower, upper - lower))
        .clamp(min=1e-12)
        .log()
    )
    return torch.where(t == 0, nll.mean(1), kl.mean(1)) / math.log(2)


@pytest.mark.parametrize("variance", ["fixed_small", "fixed_large", "learned"])
@pytest.mark.parametrize("betas", [linear_betas(100, 1e-3, 0.1), cosine_betas(100)])
def test_terms_are_those_of_guided_diffusion(variance, betas):
    torch.manual_seed(0)
    process = ForwardProcess(betas)
    t = torch.tensor([0, 0, 1, 2, 50, 98, 99])
    x_0 = LEVELS[torch.randint(256, (7, 12))]
    x_0[:2, :2] = torch.tensor([-1.0, 1.0])
    x_t = process.diffuse(x_0, t, torch.randn_like(x_0))
    _, sigma = process.levels(t, 2)
    predicted = (x_0 + sigma * torch.randn_like(x_0)).clamp(-1, 1)
    fraction = torch.rand(7, 12)
    told = fraction if variance == "learned" else None
    found = terms(process, x_0, x_t, t, Prediction(predicted, told), variance)
    expected = guided_diffusion_terms(
        betas, x_0.double(), x_t.double(), t, predicted.double(), variance, fraction
    )
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-6)


def test_the_exact_prediction_with_the_posteriors_variance_costs_nothing():
    process = ForwardProcess(cosine_betas(20))
    t = torch.arange(1, 20)
    x_0 = torch.rand(19, 6) * 2 - 1
    x_t = process.diffuse(x_0, t, torch.randn_like(x_0))
    found = terms(process, x_0, x_t, t, Prediction(x_0), "fixed_small")
    assert found.abs().max() < 1e-6


def test_bits_are_a_mean_over_dimensions_per_sample():
    nats = torch.tensor([[[1.0, 3.0]], [[0.0, 0.0]]]) * math.log(2)
    torch.testing.assert_close(bits(nats), torch.tensor([2.0, 0.0]))
