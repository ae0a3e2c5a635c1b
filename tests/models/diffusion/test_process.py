import pytest
import torch

from models.diffusion.schedules import ForwardProcess, cosine_betas, cumulative_alphas, linear_betas

BETAS = linear_betas(50, 1e-3, 0.1)
ALPHA_BAR = cumulative_alphas(BETAS)


def test_levels_are_the_schedules_at_every_timestep():
    process = ForwardProcess(BETAS)
    alpha, sigma = process.levels(torch.arange(50), 3)
    assert alpha.shape == sigma.shape == (50, 1, 1)
    assert alpha.dtype == torch.float32
    torch.testing.assert_close(alpha.flatten(), ALPHA_BAR.sqrt().float())
    torch.testing.assert_close(sigma.flatten(), (1 - ALPHA_BAR).sqrt().float())


def test_levels_stay_exact_where_hardly_any_signal_or_noise_is_left():
    betas = cosine_betas(1000)
    alpha, sigma = ForwardProcess(betas).levels(torch.tensor([0.0, 999.0]), 1)
    alpha_bar = cumulative_alphas(betas)
    assert sigma[0].item() == pytest.approx((1 - alpha_bar[0]).sqrt().item(), rel=1e-6)
    assert alpha[1].item() == pytest.approx(alpha_bar[-1].sqrt().item(), rel=1e-6)


def test_between_timesteps_the_log_ratio_is_linear_and_the_power_one():
    process = ForwardProcess(BETAS)
    alpha, sigma = process.levels(torch.tensor([7.0, 7.25, 8.0]), 1)
    low, middle, high = (sigma / alpha).double().log()
    assert middle.item() == pytest.approx((0.75 * low + 0.25 * high).item(), abs=1e-5)
    torch.testing.assert_close(alpha.square() + sigma.square(), torch.ones(3))


def test_noising_has_the_moments_of_q():
    """Eq. 4: mean sqrt(alpha_bar) x_0, variance 1 - alpha_bar; given eps it is exact."""
    process = ForwardProcess(BETAS)
    torch.manual_seed(0)
    x_0, eps, t = torch.randn(4, 2), torch.randn(4, 2), torch.tensor([0, 3, 20, 49])
    a = ALPHA_BAR[t][:, None].float()
    expected = a.sqrt() * x_0 + (1 - a).sqrt() * eps
    torch.testing.assert_close(process.diffuse(x_0, t, eps), expected)


def test_posterior_mean_is_bayes_rule():
    """x_{t-1} given x_t and x_0: both are linear Gaussian observations of it."""
    process = ForwardProcess(BETAS)
    t = torch.tensor([1, 10, 49])
    x_0, x_t = torch.randn(2, 3, 4, generator=torch.Generator().manual_seed(0))
    before = ALPHA_BAR[t - 1][:, None]
    a, beta = (1 - BETAS[t])[:, None], BETAS[t][:, None]
    precision = 1 / (1 - before) + a / beta
    mean = (before.sqrt() * x_0 / (1 - before) + a.sqrt() * x_t / beta) / precision
    torch.testing.assert_close(
        process.posterior_mean(x_0, x_t, t), mean.float(), rtol=1e-4, atol=1e-5
    )
    found = process.log_variance(t, 2, 0.0).exp()
    torch.testing.assert_close(found, (1 / precision).float(), rtol=1e-5, atol=0)


def test_the_variance_goes_from_the_posteriors_to_beta_in_log_space():
    """Nichol & Dhariwal 2021, Eq. 15."""
    process = ForwardProcess(BETAS)
    t = torch.tensor([1, 5, 30])
    low, high = process.log_variance(t, 2, 0.0), process.log_variance(t, 2, 1.0)
    torch.testing.assert_close(high[:, 0], BETAS[t].log().float())
    assert (low < high).all()
    fraction = torch.tensor([[0.5, 0.25]]).expand(3, 2)
    expected = fraction * high + (1 - fraction) * low
    torch.testing.assert_close(process.log_variance(t, 2, fraction), expected)


def test_variance_of_the_first_step_is_the_seconds():
    process = ForwardProcess(BETAS)
    first, second = process.log_variance(torch.tensor([0, 1]), 1, 0.0)
    assert first == second
    assert first.isfinite()


def test_tables_are_no_state():
    assert not ForwardProcess(BETAS).state_dict()


@pytest.mark.parametrize(
    "betas", [[0.1], [0.0, 0.1], [0.1, 1.0], [0.1, float("nan")], [[0.1, 0.1], [0.1, 0.1]]]
)
def test_betas_are_checked(betas):
    with pytest.raises(ValueError, match=r"betas must be at least 2 numbers in \(0, 1\), got"):
        ForwardProcess(torch.tensor(betas, dtype=torch.float64))


@pytest.mark.parametrize(
    ("betas", "powers"), [((1e-17, 1e-16), "1 to 1"), ((0.9, 0.99), "0.1 to 0")]
)
def test_noise_levels_that_float64_cannot_tell_apart_are_refused(betas, powers):
    with pytest.raises(ValueError, match=rf"stays in \(0, 1\), got betas .* with powers {powers}:"):
        ForwardProcess(linear_betas(1000, *betas))
