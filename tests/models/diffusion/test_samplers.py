"""Samplers against diffusers, against closed forms on Gaussian data, and what they refuse.

Heun's method is in `test_heun`; orders of convergence are measured in `test_convergence`.
"""

import math

import pytest
import torch
from known_denoisers import (
    ALPHA_BAR,
    BETAS,
    CLOSE,
    clipped,
    gaussian,
    network,
    not_clipped,
    path_of,
    pure_noise,
    seeded,
)

from models.diffusion.noise_path import Path, Prediction, karras_path, spaced
from models.diffusion.samplers import (
    Churning,
    sample_ancestral,
    sample_ddim,
    sample_dpmpp_2m,
    sample_heun,
)
from models.diffusion.schedules import cosine_betas, cumulative_alphas

# Ancestral sampling


def diffusers_ancestral(steps, variance, spacing):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(
        1000,
        variance_type={"learned": "learned_range"}.get(variance, variance),
        prediction_type="sample",
        timestep_spacing={"uniform": "leading"}.get(spacing, spacing),
    )
    scheduler.betas, scheduler.alphas = BETAS, 1 - BETAS  # float64, as ours
    scheduler.alphas_cumprod = ALPHA_BAR
    scheduler.set_timesteps(steps)
    generator, x = seeded(1), pure_noise()
    for t in scheduler.timesteps:
        output = network(x, t.expand(2))
        if variance == "learned":
            output = torch.cat([output, 2 * torch.sigmoid(x) - 1], dim=1)
        x = scheduler.step(output, t, x, generator=generator).prev_sample
    return x


@pytest.mark.parametrize(
    ("steps", "variance", "spacing"),
    [(1000, variance, "uniform") for variance in ("fixed_large", "fixed_small", "learned")]
    + [(20, variance, "uniform") for variance in ("fixed_large", "fixed_small", "learned")]
    + [(20, "fixed_small", "trailing")],
)
def test_ancestral_matches_diffusers(steps, variance, spacing):
    """With trailing timesteps diffusers adds other variances' noise to x_0 itself: not compared."""
    path = path_of(steps, spacing)
    ours = sample_ancestral(clipped, pure_noise(), path, seeded(1), variance=variance)
    torch.testing.assert_close(ours, diffusers_ancestral(steps, variance, spacing), **CLOSE)


@pytest.mark.parametrize("betas", [BETAS, cosine_betas(1000)])
def test_ancestral_with_the_posterior_variance_is_ddim_with_eta_1(betas):
    """Song et al. 2021, Sec. 4.1; ancestral sampling and DDIM are written apart."""
    path = path_of(50, alpha_bar=cumulative_alphas(betas))
    ancestral = sample_ancestral(clipped, pure_noise(), path, seeded(1), variance="fixed_small")
    ddim = sample_ddim(clipped, pure_noise(), path, seeded(1), eta=1.0)
    torch.testing.assert_close(ancestral, ddim, **CLOSE)


@pytest.mark.parametrize(("fraction", "variance"), [(0.0, "fixed_small"), (1.0, "fixed_large")])
def test_a_learned_variance_lies_between_the_fixed_ones(fraction, variance):
    def denoiser(x, t):
        return Prediction(network(x, t), torch.full_like(x, fraction))

    path = path_of(20)
    learned = sample_ancestral(denoiser, pure_noise(), path, seeded(1), variance="learned")
    fixed = sample_ancestral(denoiser, pure_noise(), path, seeded(1), variance=variance)
    torch.testing.assert_close(learned, fixed, **CLOSE)


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
def test_ancestral_draws_the_exact_gaussian(variance):
    """With E[x_0 | x_t] known, 1000 steps reproduce N(0, s²)."""
    x_T = torch.randn(20_000, 1, generator=seeded())
    x = sample_ancestral(gaussian(0.2), x_T, path_of(1000), seeded(1), variance=variance)
    assert x.std().item() == pytest.approx(0.2, rel=0.03)
    assert x.mean().item() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
def test_few_ancestral_steps_have_the_variance_of_their_closed_form(variance):
    """Each step is linear: its mean is E[x_0 | x_t] put into Ho et al. 2020, Eq. 7."""
    std, timesteps = 0.5, spaced(1000, 10)
    a = torch.cat([ALPHA_BAR[timesteps], torch.ones(1, dtype=torch.float64)])
    expected = 1.0  # variance of x_T
    for a_t, a_s in zip(a[:-1].tolist(), a[1:].tolist(), strict=True):
        beta = 1 - a_t / a_s
        of_x_0 = math.sqrt(a_t) * std**2 / (a_t * std**2 + 1 - a_t)
        factor = math.sqrt(a_s) * beta / (1 - a_t) * of_x_0
        factor += math.sqrt(1 - beta) * (1 - a_s) / (1 - a_t)
        added = beta if variance == "fixed_large" else beta * (1 - a_s) / (1 - a_t)
        expected = factor**2 * expected + (added if a_s < 1 else 0.0)
    x_T = torch.randn(100_000, 1, generator=seeded())
    x = sample_ancestral(gaussian(std), x_T, path_of(10), seeded(1), variance=variance)
    assert x.var().item() == pytest.approx(expected, rel=0.02)


# DDIM


@pytest.mark.parametrize(("spacing", "name"), [("trailing", "trailing"), ("uniform", "leading")])
@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim_matches_diffusers(spacing, name, eta):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        1000, trained_betas=BETAS.numpy(), timestep_spacing=name, prediction_type="sample"
    )
    scheduler.set_timesteps(20)
    ours = sample_ddim(clipped, pure_noise(), path_of(20, spacing), seeded(1), eta=eta)
    generator, x = seeded(1), pure_noise()
    for t in scheduler.timesteps:
        options = {"eta": eta, "use_clipped_model_output": True, "generator": generator}
        x = scheduler.step(network(x, t.expand(2)), int(t), x, **options).prev_sample
    torch.testing.assert_close(ours, x, **CLOSE)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_draws_the_exact_gaussian(eta):
    x_T = torch.randn(20_000, 1, generator=seeded())
    x = sample_ddim(gaussian(0.2), x_T, path_of(1000), seeded(1), eta=eta)
    assert x.std().item() == pytest.approx(0.2, rel=0.03)


@pytest.mark.parametrize("spacing", ["trailing", "uniform", "quadratic"])
def test_deterministic_ddim_has_the_closed_form_of_its_steps(spacing):
    """For Gaussian data each step of Eq. 12 multiplies x by a known factor."""
    std, timesteps = 0.2, spaced(1000, 10, spacing)
    x_T = torch.linspace(-1, 1, 5, dtype=torch.float64).view(-1, 1)
    a = torch.cat([ALPHA_BAR[timesteps], torch.ones(1, dtype=torch.float64)])
    variance = a * std**2 + 1 - a  # of x_t
    factors = [
        (a[k] * a[k + 1]).sqrt() * std**2 + ((1 - a[k]) * (1 - a[k + 1])).sqrt()
        for k in range(len(timesteps))
    ]
    factor = torch.stack(factors).div(variance[:-1]).prod()
    x = sample_ddim(gaussian(std), x_T, path_of(10, spacing), seeded())
    torch.testing.assert_close(x, x_T * factor, rtol=1e-10, atol=0)


# DPM-Solver++(2M)


@pytest.mark.parametrize("steps", [1, 2, 10, 25])
@pytest.mark.parametrize("betas", [BETAS, cosine_betas(1000)], ids=["linear", "cosine"])
def test_dpmpp_matches_diffusers(betas, steps):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DPMSolverMultistepScheduler(
        1000,
        trained_betas=betas.numpy(),
        timestep_spacing="trailing",
        prediction_type="sample",
        final_sigmas_type="zero",
    )
    assert scheduler.config["algorithm_type"] == "dpmsolver++"
    assert scheduler.config["solver_order"] == 2
    assert scheduler.config["solver_type"] == "midpoint"
    scheduler.set_timesteps(steps)
    path = path_of(steps, alpha_bar=cumulative_alphas(betas))
    assert path.times == tuple(scheduler.timesteps.double().tolist())
    x = pure_noise()
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t.expand(2)), t, x).prev_sample
    ours = sample_dpmpp_2m(not_clipped, pure_noise(), path)
    torch.testing.assert_close(ours, x, **CLOSE)


# All of them

SAMPLERS = {
    "ancestral": (sample_ancestral, path_of(5), {}),
    "ddim": (sample_ddim, path_of(5), {"eta": 1.0}),
    "dpmpp": (lambda d, x, path, _: sample_dpmpp_2m(d, x, path), path_of(5), {}),
    "heun": (sample_heun, karras_path(5), {"churn": 2.0}),
}


@pytest.mark.parametrize("name", SAMPLERS)
def test_initial_noise_is_not_changed_and_the_result_is_float32(name):
    sample, path, options = SAMPLERS[name]
    x, before = pure_noise(), pure_noise()
    drawn = sample(clipped, x, path, seeded(), **options)
    assert torch.equal(x, before)
    assert drawn.dtype == torch.float32


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_last_step_is_the_denoisers_prediction(name):
    """At the last level the answer is x_0 as predicted, not clipped again."""
    sample, path, options = SAMPLERS[name]
    seen = []

    def denoiser(x, t):
        seen.append(3 * network(x, t))
        return Prediction(seen[-1])

    drawn = sample(denoiser, pure_noise(), path, seeded(), **options)
    torch.testing.assert_close(drawn, seen[-1], rtol=1e-5, atol=1e-5)
    assert drawn.abs().max() > 1


@pytest.mark.parametrize("name", SAMPLERS)
def test_denoisers_are_told_the_times_of_the_path_in_float32(name):
    sample, path, _ = SAMPLERS[name]
    seen = []

    def denoiser(x, t):
        seen.append(t)
        return clipped(x, t)

    sample(denoiser, pure_noise(), path, seeded())
    assert all(t.shape == (2,) and t.dtype == torch.float32 for t in seen)
    times = torch.tensor(path.times)
    if name == "heun":  # each level but the first ends one step and starts the next
        times = times.repeat_interleave(2)[1:]
    torch.testing.assert_close(torch.stack(seen)[:, 0], times)


@pytest.mark.parametrize(
    ("sample", "sentence"),
    [
        (
            lambda x, g: sample_ancestral(
                clipped,
                x,
                path_of(5),
                g,
                variance="large",  # type: ignore[arg-type]
            ),
            "variance must be one of .*got 'large'",
        ),
        (
            lambda x, g: sample_ancestral(not_clipped, x, path_of(5), g, variance="learned"),
            "needs a denoiser that predicts a variance",
        ),
        (lambda x, g: sample_ddim(clipped, x, path_of(5), g, eta=-1), r"in \[0, 1\], got -1"),
        (lambda x, g: sample_ddim(clipped, x, path_of(5), g, eta=1.1), r"in \[0, 1\], got 1.1"),
        (lambda x, g: sample_heun(clipped, x, karras_path(5), g, churn=-1), "churn .*got -1"),
        (lambda x, g: sample_heun(clipped, x, path_of(5), g, churn=1), "alphas are all 1"),
        (lambda x, g: Churning(least=2.0, most=1.0), "least <= most"),
        (lambda x, g: Churning(noise=0.0), "0 < noise"),
    ],
)
def test_bad_arguments_are_refused(sample, sentence):
    with pytest.raises(ValueError, match=sentence):
        sample(pure_noise(), seeded())


def test_a_path_of_one_step_is_one_prediction():
    path = Path((0.6, 1.0), (0.8, 0.0), (999.0,))
    x = pure_noise()
    expected = network(x, torch.full((2,), 999.0))
    for drawn in (
        sample_ancestral(not_clipped, x, path, seeded()),
        sample_ddim(not_clipped, x, path, seeded(), eta=1.0),
        sample_dpmpp_2m(not_clipped, x, path),
    ):
        torch.testing.assert_close(drawn, expected)


# Paths of other processes


def rectified_flow(steps):
    """Straight lines from noise to data (Liu et al. 2023): the first level has no signal at all."""
    times = [1 - k / steps for k in range(steps)]
    return Path((*(1 - t for t in times), 1.0), (*times, 0.0), tuple(times))


def rescaled(path):
    """The same ratios of signal to noise, all levels but the last scaled by other factors."""
    factors = [3.0 - 2.0 * k / path.steps for k in range(path.steps + 1)]
    alphas = tuple(f * alpha for f, alpha in zip(factors, path.alphas, strict=True))
    return Path(alphas, tuple(f * s for f, s in zip(factors, path.sigmas, strict=True)), path.times)


OTHER_PATHS = {
    "rectified flow": rectified_flow(400),
    "without scaling": karras_path(400),
    "rescaled": rescaled(path_of(400)),
}


def gaussian_along(path, std):
    """E[x_0 | x_t] of data N(0, std²) by the times of a path."""
    gains = {
        round(time, 4): std**2 * alpha / (alpha**2 * std**2 + sigma**2)
        for time, alpha, sigma in zip(path.times, path.alphas, path.sigmas, strict=False)
    }
    return lambda x, t: Prediction(x * gains[round(t[0].item(), 4)])


EVERYWHERE = {
    "ddpm fixed_large": lambda d, x, path, g: sample_ancestral(d, x, path, g),
    "ddpm fixed_small": lambda d, x, path, g: sample_ancestral(
        d, x, path, g, variance="fixed_small"
    ),
    "ddim": lambda d, x, path, g: sample_ddim(d, x, path, g),
    "ddim eta 1": lambda d, x, path, g: sample_ddim(d, x, path, g, eta=1.0),
    "dpmpp": lambda d, x, path, g: sample_dpmpp_2m(d, x, path),
}


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize("path", OTHER_PATHS.values(), ids=OTHER_PATHS)
def test_any_path_leads_to_the_exact_gaussian(name, path):
    noise = path.noise_scale * torch.randn(20_000, 1, generator=seeded())
    x = EVERYWHERE[name](gaussian_along(path, 0.5), noise, path, seeded(1))
    assert x.std().item() == pytest.approx(0.5, rel=0.02)
    assert x.mean().item() == pytest.approx(0, abs=0.015)


def on_the_sphere(path):
    """The variance-preserving path of the same ratios of signal to noise, and its scales."""
    scales = [math.hypot(a, s) for a, s in zip(path.alphas, path.sigmas, strict=True)]
    alphas = tuple(a / scale for a, scale in zip(path.alphas, scales, strict=True))
    sigmas = tuple(s / scale for s, scale in zip(path.sigmas, scales, strict=True))
    return Path(alphas, sigmas, path.times), scales


@pytest.mark.parametrize("name", EVERYWHERE)
@pytest.mark.parametrize(
    "path", [rectified_flow(8), karras_path(8), rescaled(path_of(8))], ids=OTHER_PATHS
)
def test_scaling_the_levels_of_a_path_changes_no_sample(name, path):
    """Samples depend on the ratios of signal to noise alone (Kingma et al. 2021, Sec. 5.1)."""
    preserving, scales = on_the_sphere(path)
    times = torch.tensor(path.times)

    def index(t):
        return (times - t[0]).abs().argmin()

    def denoiser(x, t):
        return not_clipped(x / scales[index(t)], index(t).expand(2))

    noise = pure_noise()
    other = EVERYWHERE[name](denoiser, noise * scales[0], path, seeded(1))
    usual = EVERYWHERE[name](
        lambda x, t: not_clipped(x, index(t).expand(2)), noise, preserving, seeded(1)
    )
    torch.testing.assert_close(other, usual, rtol=0, atol=1e-4)


def test_a_learned_variance_lies_between_the_fixed_ones_on_any_path():
    path = rectified_flow(8)
    fractions = {"fixed_small": 0.0, "fixed_large": 1.0}
    for variance, fraction in fractions.items():

        def denoiser(x, t, fraction=fraction):
            return Prediction(network(x, 100 * t), torch.full_like(x, fraction))

        learned = sample_ancestral(denoiser, pure_noise(), path, seeded(1), variance="learned")
        fixed = sample_ancestral(denoiser, pure_noise(), path, seeded(1), variance=variance)
        torch.testing.assert_close(learned, fixed, **CLOSE)
