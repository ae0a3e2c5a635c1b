import math

import numpy as np
import pytest
import torch

from models.diffusion.noise_path import (
    SPACINGS,
    Path,
    Prediction,
    in_sigma,
    karras_path,
    spaced,
    straight_path,
    vp_path,
)
from models.diffusion.schedules import cosine_betas, cumulative_alphas, linear_betas

ALPHA_BAR = cumulative_alphas(linear_betas(1000))


@pytest.mark.parametrize("spacing", SPACINGS)
@pytest.mark.parametrize("num_timesteps", [1, 10, 128, 1000])
def test_timesteps_are_distinct_and_descending_whatever_their_number(num_timesteps, spacing):
    for steps in range(1, num_timesteps + 1):
        timesteps = spaced(num_timesteps, steps, spacing)
        assert len(timesteps) == steps
        assert timesteps == sorted(set(timesteps), reverse=True)
        assert timesteps[0] <= num_timesteps - 1
        assert timesteps[-1] >= 0
        if spacing == "trailing" or (steps == 1 and spacing == "quadratic"):
            assert timesteps[0] == num_timesteps - 1
        else:
            assert timesteps[-1] == 0


@pytest.mark.parametrize("steps", [1, 3, 7, 10, 49, 1000])
def test_a_straight_path_goes_in_equal_steps_from_noise_to_the_data(steps):
    path = straight_path(steps)
    assert (path.alphas[0], path.sigmas[0], path.times[0]) == (0.0, 1.0, 1.0)
    assert path.noise_scale == 1.0
    assert path.times == path.sigmas[:-1]
    np.testing.assert_allclose(np.diff(path.sigmas), -1 / steps, rtol=1e-9)
    np.testing.assert_allclose(np.add(path.alphas, path.sigmas), 1.0, rtol=1e-15)


@pytest.mark.parametrize("spacing", SPACINGS)
def test_as_many_steps_as_timesteps_visit_all(spacing):
    assert spaced(50, 50, spacing) == list(range(49, -1, -1))


@pytest.mark.parametrize("steps", [3, 10, 20, 50, 300])
@pytest.mark.parametrize(("spacing", "name"), [("trailing", "trailing"), ("uniform", "leading")])
def test_spacings_match_diffusers(spacing, name, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(1000, timestep_spacing=name)
    scheduler.set_timesteps(steps)
    assert spaced(1000, steps, spacing) == scheduler.timesteps.tolist()


@pytest.mark.parametrize("num_timesteps", [50, 100, 200, 250, 400, 500, 750, 1000, 2000])
def test_trailing_timesteps_are_those_of_diffusers_whatever_their_number(num_timesteps):
    """4,250 pairs of T and S: ties such as T = 250, S = 12 are rounded as in diffusers.

    Its formula gives timestep -1 after the S that were asked for where T / S is rounded down, such
    as T = 50, S = 29; these S are compared.
    """
    for steps in range(1, min(num_timesteps, 1000) + 1):
        theirs = np.round(np.arange(num_timesteps, 0, -num_timesteps / steps)).astype(int) - 1
        assert theirs[steps:].tolist() in ([], [-1])
        assert spaced(num_timesteps, steps) == theirs[:steps].tolist()


@pytest.mark.parametrize(("num_timesteps", "steps"), [(250, 12), (50, 29), (1000, 61), (1000, 48)])
def test_trailing_timesteps_match_a_scheduler_of_diffusers_at_ties(num_timesteps, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(num_timesteps, timestep_spacing="trailing")
    scheduler.set_timesteps(steps)
    assert spaced(num_timesteps, steps) == scheduler.timesteps.tolist()[:steps]


def test_quadratic_timesteps_are_floored_squares():
    """τ_i = floor(c i²) (Song et al. 2021, App. D.2), here from 0 to the last timestep."""
    timesteps = spaced(1000, 10, "quadratic")[::-1]
    assert timesteps == [math.floor(999 / 81 * i**2) for i in range(10)]
    assert timesteps[-1] == 999


def test_one_quadratic_step_is_the_last_timestep():
    assert spaced(10, 1, "quadratic") == [9]


def test_quadratic_timesteps_that_would_coincide_move_up():
    assert spaced(10, 8, "quadratic")[::-1] == [0, 1, 2, 3, 4, 5, 6, 9]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ((10, 11), r"steps must be in \[1, 10\], got 11"),
        ((10, 0), r"steps must be in \[1, 10\], got 0"),
        ((10, 5, "leading"), "spacing must be one of .*got 'leading'"),
    ],
)
def test_timesteps_that_cannot_be_chosen_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        spaced(*arguments)


def test_a_variance_preserving_path_has_the_levels_of_its_timesteps():
    timesteps = [999, 500, 0]
    path = vp_path(ALPHA_BAR, timesteps)
    assert path.steps == 3
    assert path.times == (999.0, 500.0, 0.0)
    assert (path.alphas[-1], path.sigmas[-1]) == (1.0, 0.0)
    for alpha, sigma, t in zip(path.alphas, path.sigmas, timesteps, strict=False):
        assert alpha**2 == pytest.approx(ALPHA_BAR[t].item(), rel=1e-14)
        assert alpha**2 + sigma**2 == pytest.approx(1.0, rel=1e-14)


def test_karras_levels_match_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.EDMEulerScheduler(sigma_min=0.002, sigma_max=80.0, rho=7.0)
    scheduler.set_timesteps(18)
    np.testing.assert_allclose(karras_path(18).sigmas, scheduler.sigmas.numpy(), rtol=1e-5)


def test_karras_levels_have_the_paper_s_ends_and_equal_steps_in_their_root():
    path = karras_path(18, sigma_min=0.01, sigma_max=50.0, rho=5.0)
    assert path.steps == 18
    assert path.sigmas[0] == pytest.approx(50.0)
    assert path.sigmas[-2] == pytest.approx(0.01)
    assert path.sigmas[-1] == 0.0
    assert set(path.alphas) == {1.0}
    assert path.times == path.sigmas[:-1]
    np.testing.assert_allclose(np.diff(np.diff(np.array(path.times) ** (1 / 5))), 0, atol=1e-12)


def test_one_karras_step_is_from_the_greatest_level():
    assert karras_path(1).sigmas == pytest.approx((80.0, 0.0))


@pytest.mark.parametrize(
    "options",
    [{"steps": 0}, {"sigma_min": 0.0}, {"sigma_min": 3.0, "sigma_max": 3.0}, {"rho": 0.0}],
)
def test_karras_levels_that_do_not_exist_are_refused(options):
    with pytest.raises(ValueError, match=r"sampler steps|sigma_min < sigma_max"):
        karras_path(**({"steps": 5} | options))


@pytest.mark.parametrize("path", [karras_path(6), vp_path(ALPHA_BAR, spaced(1000, 6))])
def test_the_last_steps_of_a_path(path):
    last = path.last(2)
    assert last == Path(path.alphas[4:], path.sigmas[4:], path.times[4:])
    assert last.steps == 2
    assert path.last(6) == path
    for steps in (0, 7):
        with pytest.raises(ValueError, match=rf"steps must be in \[1, 6\], got {steps}"):
            path.last(steps)


def test_pure_noise_has_the_scale_of_the_first_level():
    assert karras_path(6).noise_scale == pytest.approx(80.0)
    assert vp_path(ALPHA_BAR, [999, 0]).noise_scale == 1.0


@pytest.mark.parametrize("betas", [linear_betas(1000), cosine_betas(1000)])
def test_a_denoiser_by_noise_level_sees_the_scaled_sample_and_its_timestep(betas):
    alpha_bar = cumulative_alphas(betas)
    timesteps = torch.tensor([0, 1, 17, 500, 998, 999])
    sigma = ((1 - alpha_bar) / alpha_bar)[timesteps].sqrt().float()
    x = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))
    seen = []

    def denoiser(x, t):
        seen.extend([x, t])
        return Prediction(x, 2 * x)

    prediction = in_sigma(denoiser, alpha_bar)(x, sigma)
    alphas = alpha_bar[timesteps].sqrt().float().view(-1, 1, 1)
    torch.testing.assert_close(seen[0], alphas * x)
    torch.testing.assert_close(seen[1], timesteps.float(), rtol=0, atol=1e-3)
    assert seen[1].dtype == torch.float32
    assert prediction.x_0 is seen[0]
    assert prediction.fraction is not None


def test_between_timesteps_time_is_linear_in_log_sigma_and_stays_in_range():
    table = ((1 - ALPHA_BAR) / ALPHA_BAR).log() / 2
    logs = torch.stack([0.25 * table[10] + 0.75 * table[11], table[0] - 1, table[-1] + 1])
    seen = []
    denoise = in_sigma(lambda x, t: seen.append(t) or Prediction(x), ALPHA_BAR)
    denoise(torch.zeros(3, 1), logs.exp().float())
    torch.testing.assert_close(seen[0], torch.tensor([10.75, 0.0, 999.0]), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("levels", "sentence"),
    [
        (((0.0, 0.0, 1.0), (1.0, 0.9, 0.0), (2.0, 1.0)), "rise .* alphas 0, 0, sigmas 1, 0.9"),
        (((0.5, 0.5, 1.0), (0.5, 0.5, 0.0), (2.0, 1.0)), "rise .* alphas 0.5, 0.5"),
        (((0.5, 1.0, 1.0), (0.5, 0.0, 0.0), (2.0, 1.0)), "rise .* alphas 1, 1, sigmas 0, 0"),
        (((0.5, float("nan"), 1.0), (0.5, 0.4, 0.0), (2.0, 1.0)), "rise .* alphas 0.5, nan"),
        (((0.5, 1.0), (0.5, 0.1), (1.0,)), "end at alpha 1 and sigma 0, got 1, 0.1"),
        (((0.5, 0.9), (0.5, 0.0), (1.0,)), "end at alpha 1 and sigma 0, got 0.9, 0"),
        (((0.5, 1.0), (0.5, 0.1, 0.0), (1.0,)), "got 2 alphas, 3 sigmas and 1 times"),
        (((1.0,), (0.0,), ()), "got 1 alphas, 1 sigmas and 0 times"),
    ],
)
def test_levels_that_no_sampler_could_follow_are_refused(levels, sentence):
    with pytest.raises(ValueError, match=sentence):
        Path(*levels)
