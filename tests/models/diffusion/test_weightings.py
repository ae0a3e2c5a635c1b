import pytest
import torch

from models.diffusion.parameterisations import (
    PARAMETERISATIONS,
    min_snr,
    simple,
    target,
    to_x_0,
    vlb,
)
from models.diffusion.schedules import cumulative_alphas, linear_betas, posterior_variances

BETAS = linear_betas(200, 1e-3, 0.05)
ALPHA_BAR = cumulative_alphas(BETAS)
SNR = ALPHA_BAR / (1 - ALPHA_BAR)


@pytest.mark.parametrize("predicts", PARAMETERISATIONS)
def test_simple_is_one_whatever_is_predicted(predicts):
    assert torch.equal(simple()(ALPHA_BAR, predicts), torch.ones(200, dtype=torch.float64))


@pytest.mark.parametrize("gamma", [1.0, 5.0])
def test_min_snr_is_the_papers_formula(gamma):
    """Hang et al. 2023, Sec. 3.4: for x_0 and eps; for v as in their code, divided by SNR + 1."""
    capped = torch.minimum(SNR, torch.full_like(SNR, gamma))
    weights = min_snr(gamma)
    torch.testing.assert_close(weights(ALPHA_BAR, "x_0"), capped)
    torch.testing.assert_close(weights(ALPHA_BAR, "eps"), capped / SNR)
    torch.testing.assert_close(weights(ALPHA_BAR, "v"), capped / (SNR + 1))


def test_min_snr_leaves_noisy_timesteps_of_eps_alone():
    weights = min_snr(5.0)(ALPHA_BAR, "eps")
    torch.testing.assert_close(weights[SNR <= 5], torch.ones_like(weights[SNR <= 5]))
    assert (weights[SNR > 5] < 1).all()


def test_vlb_of_the_noise_is_the_papers_formula():
    """Ho et al. 2020, Eq. 12, with the posterior's variance; t = 0 is a likelihood instead."""
    expected = BETAS**2 / (2 * posterior_variances(BETAS) * (1 - BETAS) * (1 - ALPHA_BAR))
    torch.testing.assert_close(vlb()(ALPHA_BAR, "eps")[1:], expected[1:], rtol=1e-9, atol=0)
    torch.testing.assert_close(vlb()(ALPHA_BAR, "x_0")[0], SNR[0] / 2)


@pytest.mark.parametrize("weighting", [min_snr(3.0), vlb()])
def test_a_weighted_error_does_not_depend_on_what_is_predicted(weighting):
    """One guess of x_0, told as eps or v, is worth the same."""
    torch.manual_seed(0)
    x_0, eps = torch.randn(2, 200, 3, dtype=torch.float64)
    alpha, sigma = ALPHA_BAR.sqrt()[:, None], (1 - ALPHA_BAR).sqrt()[:, None]
    x_t = alpha * x_0 + sigma * eps
    guess = torch.randn(200, 3, dtype=torch.float64)
    guessed_eps = (x_t - alpha * guess) / sigma
    losses = []
    for predicts in PARAMETERISATIONS:
        output = target(predicts, guess, guessed_eps, alpha, sigma)
        torch.testing.assert_close(to_x_0(predicts, output, x_t, alpha, sigma), guess)
        errors = (output - target(predicts, x_0, eps, alpha, sigma)).square().mean(dim=1)
        losses.append(weighting(ALPHA_BAR, predicts) * errors)
    torch.testing.assert_close(losses[1], losses[0])
    torch.testing.assert_close(losses[2], losses[0])


@pytest.mark.parametrize("gamma", [0.0, -1.0, float("nan")])
def test_gamma_is_checked(gamma):
    with pytest.raises(ValueError, match="gamma"):
        min_snr(gamma)
