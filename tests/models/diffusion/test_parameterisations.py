from typing import get_args

import pytest
import torch

from models.diffusion.parameterisations import PARAMETERISATIONS, Parameterisation, target, to_x_0
from models.diffusion.schedules import cosine_betas, cumulative_alphas

NAMES_IN_DIFFUSERS = {"eps": "epsilon", "x_0": "sample", "v": "v_prediction"}


def noised(t: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """x_0, eps, x_t, alpha and sigma at timesteps of the cosine schedule, float64."""
    generator = torch.Generator().manual_seed(0)
    x_0 = torch.rand(len(t), 2, 3, 3, generator=generator, dtype=torch.float64) * 2 - 1
    eps = torch.randn(x_0.shape, generator=generator, dtype=torch.float64)
    alpha_bar = cumulative_alphas(cosine_betas(1000))[t].view(-1, 1, 1, 1)
    alpha, sigma = alpha_bar.sqrt(), (1 - alpha_bar).sqrt()
    return x_0, eps, alpha * x_0 + sigma * eps, alpha, sigma


def test_choices_are_the_types():
    assert get_args(Parameterisation) == PARAMETERISATIONS


@pytest.mark.parametrize("predicts", PARAMETERISATIONS)
def test_the_target_stands_for_the_clean_sample(predicts):
    x_0, eps, x_t, alpha, sigma = noised(torch.tensor([0, 10, 500, 900]))
    wanted = target(predicts, x_0, eps, alpha, sigma)
    torch.testing.assert_close(to_x_0(predicts, wanted, x_t, alpha, sigma), x_0, rtol=0, atol=1e-10)


@pytest.mark.parametrize("predicts", PARAMETERISATIONS)
def test_conversion_matches_diffusers(predicts):
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDIMScheduler(
        1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type=NAMES_IN_DIFFUSERS[predicts],
        clip_sample=False,
    )
    scheduler.set_timesteps(1000)
    for t in (3, 400, 900):
        _, _, x_t, _, _ = noised(torch.tensor([t]))
        alpha_bar = scheduler.alphas_cumprod[t].double()
        output = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(1)).double()
        theirs = scheduler.step(output, t, x_t).pred_original_sample
        ours = to_x_0(predicts, output, x_t, alpha_bar.sqrt(), (1 - alpha_bar).sqrt())
        torch.testing.assert_close(ours, theirs.double(), rtol=1e-5, atol=1e-5)


def test_velocity_matches_diffusers():
    diffusers = pytest.importorskip("diffusers")
    scheduler = diffusers.DDPMScheduler(1000, beta_schedule="squaredcos_cap_v2")
    t = torch.tensor([0, 250, 999])
    x_0, eps, _, alpha, sigma = noised(t)
    theirs = scheduler.get_velocity(x_0, eps, t)
    torch.testing.assert_close(
        target("v", x_0, eps, alpha, sigma), theirs.double(), rtol=1e-4, atol=1e-4
    )


def test_velocity_is_the_derivative_by_the_angle():
    """Salimans & Ho 2022, App. D: v = d x_t / d phi, with alpha = cos phi and sigma = sin phi."""
    x_0, eps, *_ = noised(torch.tensor([0, 0]))
    phi, h = torch.tensor(0.7, dtype=torch.float64), 1e-6
    after = (phi + h).cos() * x_0 + (phi + h).sin() * eps
    before = (phi - h).cos() * x_0 + (phi - h).sin() * eps
    v = target("v", x_0, eps, phi.cos(), phi.sin())
    torch.testing.assert_close(v, (after - before) / (2 * h), rtol=0, atol=1e-8)
