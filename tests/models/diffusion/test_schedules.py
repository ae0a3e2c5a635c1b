import math

import pytest
import torch

from models.diffusion.schedules import (
    cosine_betas,
    cumulative_alphas,
    linear_betas,
    logit_normal,
    posterior_mean_coefficients,
    posterior_variances,
    sigmoid_betas,
    uniform,
)


@pytest.mark.parametrize(
    ("steps", "first", "last"), [(1, 1e-4, 0.02), (10, 0.0, 0.02), (10, 0.03, 0.02), (10, 0.1, 1)]
)
def test_bad_schedules_are_refused(steps, first, last):
    with pytest.raises(ValueError, match="must"):
        linear_betas(steps, first, last)


def test_papers_schedule():
    """Ho et al. 2020, Sec. 4: beta from 1e-4 to 0.02, and almost no signal is left at T."""
    betas = linear_betas(1000)
    assert betas.dtype == torch.float64
    assert betas[0].item() == 1e-4
    assert betas[-1].item() == 0.02
    alpha_bar = cumulative_alphas(betas)
    assert alpha_bar[-1].item() == pytest.approx(4.0358e-5, rel=1e-4)
    kl_to_prior_bits = 0.5 * alpha_bar[-1].item() / torch.log(torch.tensor(2.0)).item()
    assert kl_to_prior_bits < 1e-4  # L_T, about 1e-5 bits per dimension


def test_posterior_is_bayes_rule():
    """Eq. 6-7 against the product of the two Gaussians q(x_t | x_{t-1}) q(x_{t-1} | x_0)."""
    betas = linear_betas(50)
    alpha_bar = cumulative_alphas(betas)
    weight_x_0, weight_x_t = posterior_mean_coefficients(betas)
    variances = posterior_variances(betas)
    for t in (1, 20, 49):
        likelihood = (1 - betas[t]) / betas[t]
        prior = 1 / (1 - alpha_bar[t - 1])
        variance = 1 / (likelihood + prior)
        assert variances[t].item() == pytest.approx(variance.item(), rel=1e-12)
        expected_x_0 = variance * prior * alpha_bar[t - 1].sqrt()
        expected_x_t = variance * likelihood / (1 - betas[t]).sqrt()
        assert weight_x_0[t].item() == pytest.approx(expected_x_0.item(), rel=1e-10)
        assert weight_x_t[t].item() == pytest.approx(expected_x_t.item(), rel=1e-10)


def test_last_step_returns_x0():
    betas = linear_betas(50)
    weight_x_0, weight_x_t = posterior_mean_coefficients(betas)
    assert posterior_variances(betas)[0].item() == 0
    assert weight_x_0[0].item() == pytest.approx(1)
    assert weight_x_t[0].item() == 0


@pytest.mark.parametrize(
    ("name", "betas"),
    [
        ("linear", linear_betas(1000)),
        ("squaredcos_cap_v2", cosine_betas(1000)),
        ("sigmoid", sigmoid_betas(1000)),
    ],
)
def test_matches_diffusers(name, betas):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02, beta_schedule=name)
    torch.testing.assert_close(betas.float(), scheduler.betas, rtol=1e-5, atol=2e-7)
    alpha_bar = cumulative_alphas(betas)
    torch.testing.assert_close(alpha_bar.float(), scheduler.alphas_cumprod, rtol=1e-3, atol=1e-7)


def test_cosine_schedule_is_a_squared_cosine_until_it_is_capped():
    """Nichol & Dhariwal 2021, Eq. 17."""
    betas = cosine_betas(1000)
    share = torch.arange(1, 1001, dtype=torch.float64) / 1000
    f = torch.cos((share + 0.008) / 1.008 * torch.pi / 2) ** 2
    f_0 = torch.cos(torch.tensor(0.008 / 1.008 * torch.pi / 2, dtype=torch.float64)) ** 2
    torch.testing.assert_close(cumulative_alphas(betas)[:-1], (f / f_0)[:-1])
    assert betas[-1].item() == 0.999
    assert (betas[1:] > betas[:-1]).all()


def test_sigmoid_schedule_rises_symmetrically():
    betas = sigmoid_betas(101, 1e-4, 0.02, width=4.0)
    torch.testing.assert_close(betas + betas.flip(0), torch.full_like(betas, 0.0201))
    assert (betas[1:] > betas[:-1]).all()
    assert betas[0].item() == pytest.approx(1e-4 + 0.0199 / (1 + math.exp(4)))


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: cosine_betas(1), "num_timesteps"),
        (lambda: cosine_betas(10, offset=-0.1), "offset"),
        (lambda: cosine_betas(10, beta_max=1.0), "beta_max"),
        (lambda: sigmoid_betas(1), "num_timesteps"),
        (lambda: sigmoid_betas(10, 0.03, 0.02), "beta_first"),
        (lambda: sigmoid_betas(10, width=0.0), "width"),
    ],
)
def test_arguments_are_checked(call, named):
    with pytest.raises(ValueError, match=named):
        call()


@pytest.mark.parametrize(("mean", "std"), [(0.0, 1.0), (-1.0, 0.5)])
def test_logit_normal_timesteps_have_a_normal_log_ratio(mean, std):
    """Their mean and spread are those asked for, on a schedule that is fine enough to have them."""
    alpha_bar = cumulative_alphas(cosine_betas(4000))
    probabilities = logit_normal(mean, std)(alpha_bar)
    log_ratio = ((1 - alpha_bar) / alpha_bar).log() / 2
    assert probabilities.sum().item() == pytest.approx(1, abs=1e-12)
    assert (probabilities * log_ratio).sum().item() == pytest.approx(mean, abs=1e-3)
    assert (probabilities * (log_ratio - mean) ** 2).sum().item() == pytest.approx(std**2, rel=1e-2)


def test_logit_normal_timesteps_of_the_straight_path():
    """Esser et al. 2024, Eq. 19: the density of t where logit t is normal."""
    steps = 1000
    t = (torch.arange(steps, dtype=torch.float64) + 0.5) / steps
    alpha_bar = (1 - t).square() / ((1 - t).square() + t.square())
    density = (-torch.logit(t).square() / 2).exp() / (t * (1 - t)) / (2 * torch.pi) ** 0.5
    torch.testing.assert_close(logit_normal()(alpha_bar) * steps, density, rtol=1e-2, atol=1e-4)


def test_uniform_timesteps_are_equally_probable():
    assert uniform()(cumulative_alphas(linear_betas(8))).tolist() == [0.125] * 8


@pytest.mark.parametrize(("mean", "std"), [(math.nan, 1.0), (0.0, 0.0), (0.0, math.inf)])
def test_bad_logit_normals_are_refused(mean, std):
    with pytest.raises(ValueError, match="finite mean and a positive std"):
        logit_normal(mean, std)
