"""Heun's sampler against diffusers, the paper's algorithm and closed forms on Gaussian data."""

import pytest
import torch
from known_denoisers import (
    ALPHA_BAR,
    BETAS,
    CLOSE,
    gaussian_in_sigma,
    network,
    not_clipped,
    path_of,
    pure_noise,
    seeded,
)

from models.diffusion.noise_path import Path, in_sigma, karras_path
from models.diffusion.samplers import Churning, sample_heun


def test_heun_on_timesteps_matches_diffusers():
    """Through the adapter: a network of timesteps, sampled by noise level."""
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.HeunDiscreteScheduler(
        1000, trained_betas=BETAS.numpy(), timestep_spacing="trailing"
    )
    scheduler.set_timesteps(10)
    x_0_of = in_sigma(not_clipped, ALPHA_BAR)
    scaled = path_of(10)
    ratios = tuple(sigma / alpha for sigma, alpha in zip(scaled.sigmas, scaled.alphas, strict=True))
    path = Path((1.0,) * 11, ratios, ratios[:-1])
    start = path.sigmas[0] * pure_noise(torch.float64)
    ours = sample_heun(x_0_of, start, path, seeded())
    x = start
    for t in scheduler.timesteps:
        x_t = scheduler.scale_model_input(x, t)
        a = ALPHA_BAR[int(t)]
        eps = (x_t - a.sqrt() * network(x_t, t.expand(2))) / (1 - a).sqrt()
        x = scheduler.step(eps, t, x).prev_sample
    assert ours.dtype == x.dtype == torch.float64
    torch.testing.assert_close(ours, x, **CLOSE)


def karras_algorithm_2(denoise, x, levels, gammas, s_noise, generator):
    """Karras et al. 2022, Algorithm 2, line by line (after its line 2)."""
    for i in range(len(levels) - 1):
        t_i, t_next = levels[i], levels[i + 1]
        eps = s_noise * torch.randn(x.shape, generator=generator, dtype=x.dtype)
        t_hat = t_i + gammas[i] * t_i
        x_hat = x + (t_hat**2 - t_i**2) ** 0.5 * eps
        d = (x_hat - denoise(x_hat, t_hat)) / t_hat
        x = x_hat + (t_next - t_hat) * d
        if t_next != 0:
            d_prime = (x - denoise(x, t_next)) / t_next
            x = x_hat + (t_next - t_hat) * (d / 2 + d_prime / 2)
    return x


@pytest.mark.parametrize("churn", [3.0, 30.0])
def test_heun_with_churn_is_the_papers_algorithm_2(churn):
    """Noise at some levels; the algorithm draws it, and here it is drawn, only where it acts."""
    path = karras_path(18)
    start = 80 * pure_noise(torch.float64)
    churning = Churning(least=0.0, most=50.0, noise=1.007)
    ours = sample_heun(not_clipped, start, path, seeded(1), churn=churn, churning=churning)
    active = [t <= 50.0 for t in path.times]
    assert not active[0]
    assert sum(active) == 16
    gammas = [min(churn / 18, 2**0.5 - 1) if on else 0.0 for on in active]
    assert (max(gammas) == 2**0.5 - 1) == (churn == 30.0)

    def denoise(x, t):
        return network(x, torch.full((len(x),), t, dtype=torch.float32))

    # Steps without churn draw nothing here: those of the algorithm come before all others.
    still = active.index(True)
    x = karras_algorithm_2(denoise, start, path.sigmas[: still + 1], [0.0] * still, 1.0, seeded())
    levels = path.sigmas[still:]
    x = karras_algorithm_2(denoise, x, levels, gammas[still:], 1.007, seeded(1))
    torch.testing.assert_close(ours, x, rtol=0, atol=1e-9)


def test_heun_has_the_closed_form_of_its_steps_on_gaussian_data():
    """dx/dσ = σ / (s² + σ²) x, so that each step multiplies x by a known factor."""
    std, path = 0.5, karras_path(6)
    factor = 1.0
    for sigma, sigma_next in zip(path.sigmas[:-1], path.sigmas[1:], strict=True):
        step = sigma_next - sigma
        slope = sigma / (std**2 + sigma**2)
        slope_next = sigma_next / (std**2 + sigma_next**2) * (1 + step * slope)
        factor *= 1 + step * (slope if sigma_next == 0 else (slope + slope_next) / 2)
    x = torch.linspace(-80, 80, 5, dtype=torch.float64).view(-1, 1)
    drawn = sample_heun(gaussian_in_sigma(std), x, path, seeded())
    torch.testing.assert_close(drawn, x * factor, rtol=1e-6, atol=0)


@pytest.mark.parametrize("churn", [0.0, 40.0])
def test_heun_draws_the_exact_gaussian(churn):
    x = 80 * torch.randn(20_000, 1, generator=seeded())
    drawn = sample_heun(gaussian_in_sigma(0.2), x, karras_path(100), seeded(1), churn=churn)
    assert drawn.std().item() == pytest.approx(0.2, rel=0.03)


def test_noise_that_is_too_strong_adds_variance_and_only_at_the_levels_asked_for():
    x = 80 * torch.randn(20_000, 1, generator=seeded())

    def std(**churning):
        options = {"churn": 40.0, "churning": Churning(**churning)}
        return (
            sample_heun(gaussian_in_sigma(0.2), x, karras_path(50), seeded(1), **options)
            .std()
            .item()
        )

    assert std(noise=1.2) > 1.1 * std()
    assert std(noise=1.2, most=0.001) == pytest.approx(std(most=0.001), rel=1e-6)
    assert std(noise=1.2, least=81.0) == pytest.approx(std(most=0.001), rel=1e-6)
