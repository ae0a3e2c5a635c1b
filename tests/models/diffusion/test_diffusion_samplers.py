import pytest
import torch

from models.diffusion.samplers import ddim_timesteps, predict_x0, sample_ancestral, sample_ddim
from models.diffusion.schedules import cumulative_alphas, linear_betas

BETAS = linear_betas(1000)
ALPHA_BAR = cumulative_alphas(BETAS)


def toy_denoiser(x, t):
    """Some smooth function of both arguments."""
    return torch.tanh(0.7 * x + torch.sin(t.float() / 100)[:, None, None, None])


def gaussian_denoiser(std, alpha_bar=ALPHA_BAR):
    """E[eps | x_t] of data N(0, std^2)."""

    def denoiser(x, t):
        a = alpha_bar[t].view(-1, 1)
        return (x * (1 - a).sqrt() / (a * std**2 + 1 - a)).to(x.dtype)

    return denoiser


def test_predict_x0_inverts_the_forward_process():
    x_0 = torch.rand(4, 3, dtype=torch.float64) * 2 - 1
    eps = torch.randn(4, 3, dtype=torch.float64)
    x_t = 0.3**0.5 * x_0 + 0.7**0.5 * eps
    torch.testing.assert_close(predict_x0(x_t, eps, 0.3), x_0)


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
def test_ancestral_matches_diffusers(variance):
    diffusers = pytest.importorskip("diffusers")
    betas = linear_betas(100)
    scheduler = diffusers.DDPMScheduler(100, variance_type=variance, clip_sample=True)
    scheduler.betas, scheduler.alphas = betas, 1 - betas  # float64, as ours
    scheduler.alphas_cumprod = cumulative_alphas(betas)
    x_T = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    ours = sample_ancestral(toy_denoiser, x_T, betas, generator, variance=variance)
    generator = torch.Generator().manual_seed(1)
    x = x_T
    for t in scheduler.timesteps:
        eps = toy_denoiser(x, t.expand(2))
        x = scheduler.step(eps, t, x, generator=generator).prev_sample
    torch.testing.assert_close(ours, x.clamp(-1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("eta", [0.0, 0.5])
def test_ddim_matches_diffusers(spacing, eta):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        1000, trained_betas=BETAS.numpy(), timestep_spacing=spacing, set_alpha_to_one=True
    )
    scheduler.set_timesteps(20)
    timesteps = ddim_timesteps(1000, 20, spacing)
    assert timesteps == scheduler.timesteps.tolist()
    x_T = torch.randn(2, 3, 8, 8, generator=torch.Generator().manual_seed(0))
    generator = torch.Generator().manual_seed(1)
    ours = sample_ddim(toy_denoiser, x_T, ALPHA_BAR, timesteps, generator, eta=eta)
    generator = torch.Generator().manual_seed(1)
    x = x_T
    for t in scheduler.timesteps:
        eps = toy_denoiser(x, t.expand(2))
        x = scheduler.step(eps, int(t), x, eta=eta, generator=generator).prev_sample
    torch.testing.assert_close(ours, x.clamp(-1, 1), rtol=0, atol=1e-5)


@pytest.mark.parametrize("variance", ["fixed_large", "fixed_small"])
def test_ancestral_draws_the_exact_gaussian(variance):
    """With E[eps | x_t] known, 1000 steps reproduce N(0, s^2); s small, so that no clip acts."""
    generator = torch.Generator().manual_seed(0)
    x_T = torch.randn(20_000, 1, generator=generator)
    x = sample_ancestral(gaussian_denoiser(0.2), x_T, BETAS, generator, variance=variance)
    assert x.std().item() == pytest.approx(0.2, rel=0.03)
    assert x.mean().item() == pytest.approx(0, abs=0.005)


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_ddim_draws_the_exact_gaussian(eta):
    generator = torch.Generator().manual_seed(0)
    x_T = torch.randn(20_000, 1, generator=generator)
    timesteps = ddim_timesteps(1000, 1000)
    x = sample_ddim(gaussian_denoiser(0.2), x_T, ALPHA_BAR, timesteps, generator, eta=eta)
    assert x.std().item() == pytest.approx(0.2, rel=0.03)


def test_deterministic_ddim_has_the_closed_form_of_its_steps():
    """For Gaussian data each step of Eq. 12 multiplies x by a known factor."""
    std, timesteps = 0.2, ddim_timesteps(1000, 10)
    x_T = torch.linspace(-1, 1, 5).view(-1, 1)
    a = torch.cat([ALPHA_BAR[timesteps], torch.ones(1)])
    variance = a * std**2 + 1 - a  # of x_t
    factors = [
        (a[k] * a[k + 1]).sqrt() * std**2 + ((1 - a[k]) * (1 - a[k + 1])).sqrt()
        for k in range(len(timesteps))
    ]
    factor = torch.stack(factors).div(variance[:-1]).prod()
    x = sample_ddim(gaussian_denoiser(std), x_T, ALPHA_BAR, timesteps, torch.Generator())
    torch.testing.assert_close(x, (x_T * factor).float(), rtol=1e-4, atol=1e-5)


def test_a_single_ddim_step_is_the_predicted_x0():
    x_T = torch.randn(3, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    x = sample_ddim(toy_denoiser, x_T, ALPHA_BAR, [999], torch.Generator())
    eps = toy_denoiser(x_T, torch.full((3,), 999))
    torch.testing.assert_close(x, predict_x0(x_T, eps, ALPHA_BAR[999].item()))


@pytest.mark.parametrize("spacing", ["trailing", "leading"])
@pytest.mark.parametrize("steps", [1, 7, 10, 50, 300, 1000])
def test_timesteps_are_distinct_descending_and_complete(spacing, steps):
    timesteps = ddim_timesteps(1000, steps, spacing)
    assert len(timesteps) == steps
    assert timesteps == sorted(set(timesteps), reverse=True)
    assert timesteps[0] <= 999
    assert timesteps[-1] >= 0
    assert timesteps[0] == 999 if spacing == "trailing" else timesteps[-1] == 0


def test_bad_arguments_are_refused():
    x, generator = torch.randn(1, 1), torch.Generator()
    with pytest.raises(ValueError, match="steps"):
        ddim_timesteps(10, 11)
    with pytest.raises(ValueError, match="spacing"):
        ddim_timesteps(10, 5, "quadratic")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="variance"):
        sample_ancestral(toy_denoiser, x, BETAS, generator, variance="learned")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="eta"):
        sample_ddim(toy_denoiser, x, ALPHA_BAR, [0], generator, eta=-1)


def test_initial_noise_is_not_changed():
    x_T = torch.randn(2, 1, generator=torch.Generator().manual_seed(0))
    before = x_T.clone()
    denoiser = gaussian_denoiser(0.5)
    sample_ddim(denoiser, x_T, ALPHA_BAR, [999, 500], torch.Generator(), eta=1.0)
    sample_ancestral(denoiser, x_T, BETAS[:3], torch.Generator())
    assert torch.equal(x_T, before)
