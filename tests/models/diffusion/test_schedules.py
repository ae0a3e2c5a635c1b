import pytest
import torch

from models.diffusion.schedules import (
    cumulative_alphas,
    linear_betas,
    posterior_mean_coefficients,
    posterior_variances,
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


def test_matches_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02)
    alpha_bar = cumulative_alphas(linear_betas(1000))
    torch.testing.assert_close(alpha_bar.float(), scheduler.alphas_cumprod, rtol=1e-4, atol=1e-7)
