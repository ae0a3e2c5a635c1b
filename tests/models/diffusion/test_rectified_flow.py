"""Rectified flow against closed forms on Gaussian data, Euler and Heun by hand, and diffusers."""

import math

import numpy as np
import pytest
import torch
from known_diffusion import Recorder, seeded, spec
from known_flows import MEAN, STD, ExactFlow, Smooth, moved

from models.base import Batch
from models.diffusion.flow_times import logit_normal, uniform
from models.diffusion.rectified_flow import RectifiedFlow, noised

CPU = torch.device("cpu")


def flow(network=ExactFlow, samplers=("euler-10",), shape=(16,), **options):
    return RectifiedFlow(spec(*shape), network, samplers=samplers, **options)


def test_paths_are_straight_from_the_data_to_noise():
    x_0, t = torch.rand(3, 2, 4, 4, generator=seeded()), torch.tensor([0.0, 0.25, 1.0])
    torch.manual_seed(0)
    x_t, v = noised(x_0, t)
    torch.manual_seed(0)
    eps = torch.randn_like(x_0)
    torch.testing.assert_close(v, eps - x_0)
    for k, share in enumerate(t.tolist()):
        torch.testing.assert_close(x_t[k], (1 - share) * x_0[k] + share * eps[k])


def test_the_loss_of_the_exact_velocity_is_what_cannot_be_known():
    """The variance of eps - x_0 given x_t, a mean over uniform times."""
    torch.manual_seed(0)
    x_0 = MEAN + STD * torch.randn(100_000, 1)
    loss = flow(shape=(1,)).denoiser_loss(Batch(x_0))["loss"].item()
    t = (torch.arange(1000, dtype=torch.float64) + 0.5) / 1000
    variance = (1 - t) ** 2 * STD**2 + t**2
    left = 1 + STD**2 - (t - (1 - t) * STD**2) ** 2 / variance
    assert loss == pytest.approx(left.mean().item(), rel=0.01)


def test_a_flow_that_is_not_exact_has_a_greater_loss():
    def losses(network):
        torch.manual_seed(0)
        x_0 = MEAN + STD * torch.randn(20_000, 1)
        return flow(network, shape=(1,)).denoiser_loss(Batch(x_0))["loss"].item()

    exact = losses(ExactFlow)
    assert losses(lambda shape: ExactFlow(shape, std=0.3)) > exact + 0.005
    assert losses(lambda shape: ExactFlow(shape, mean=0.4)) > exact + 0.005


@pytest.mark.parametrize(
    "name", ["euler-200", "ddim-200", "heun-30", "dpmpp-60", "ddpm-500", "ddim-400-eta1"]
)
def test_the_exact_velocity_samples_the_data(name):
    x = flow(samplers=[name], shape=(50,)).sampler(name).generate(400, seeded(), None)
    assert x.mean().item() == pytest.approx(MEAN, abs=0.01)
    assert x.std().item() == pytest.approx(STD, rel=0.03)


@pytest.mark.parametrize(("name", "within"), [("euler-200", 0.02), ("heun-80", 0.002)])
def test_deterministic_samplers_follow_the_flow(name, within):
    model = flow(samplers=[name], shape=(50,), clip=False)
    noise = torch.randn(4, 50, generator=seeded())
    found = model.sampler(name).generate(4, seeded(), None)
    expected = moved(noise, torch.tensor(1.0), torch.tensor(0.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=within)
    assert within < (found - MEAN).abs().mean()


def test_euler_is_eulers_method_on_the_velocity():
    model = flow(Smooth, samplers=["euler-7", "ddim-7"], clip=False)
    x = torch.randn(3, 16, generator=seeded())
    found = model.sampler("euler-7").generate(3, seeded(), None)
    for k in range(7):
        t = torch.full((3,), 1 - k / 7)
        x = x - model.velocity(x, t) / 7
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-6)
    assert torch.equal(found, model.sampler("ddim-7").generate(3, seeded(), None))


def test_heun_is_heuns_method_on_the_velocity():
    """The last step, where velocities are not defined at its end, is Euler's."""
    model = flow(Smooth, samplers=["heun-6"], clip=False)
    x = torch.randn(3, 16, generator=seeded())
    found = model.sampler("heun-6").generate(3, seeded(), None)
    for k in range(6):
        t, end = torch.full((3,), 1 - k / 6), torch.full((3,), 1 - (k + 1) / 6)
        slope = model.velocity(x, t)
        if k < 5:
            slope = (slope + model.velocity(x - slope / 6, end)) / 2
        x = x - slope / 6
    torch.testing.assert_close(found, x, rtol=1e-5, atol=1e-6)


def test_euler_matches_diffusers():
    diffusers = pytest.importorskip("diffusers")
    model = flow(Smooth, samplers=["euler-8"], shape=(3, 8, 8), clip=False)
    scheduler = diffusers.FlowMatchEulerDiscreteScheduler()
    scheduler.set_timesteps(sigmas=np.linspace(1.0, 1 / 8, 8))
    x = torch.randn(2, 3, 8, 8, generator=seeded())
    found = model.sampler("euler-8").generate(2, seeded(), None)
    with torch.no_grad():
        for t in scheduler.timesteps:  # 1000 t, which is what the network is told
            x = scheduler.step(model.network(x, t.expand(2)), t, x).prev_sample
    torch.testing.assert_close(found, x, rtol=1e-4, atol=1e-5)


def test_the_network_is_told_a_thousand_times_the_time():
    model = flow(Recorder, samplers=["euler-4"], shape=(2,))
    model.sampler("euler-4").generate(3, seeded(), None)
    assert [t.tolist() for _, t, _ in model.network.calls] == [
        [1000.0] * 3,
        [750.0] * 3,
        [500.0] * 3,
        [250.0] * 3,
    ]


def test_refining_starts_at_the_noise_of_the_last_steps():
    model = flow(Recorder, samplers=["euler-10"], shape=(2,))
    model.refine(torch.zeros(2000, 2), "euler-10", 3, seeded())
    assert [round(t[0].item()) for _, t, _ in model.network.calls] == [300, 200, 100]
    assert model.network.calls[0][0].std().item() == pytest.approx(0.3, rel=0.05)


def test_errors_at_every_time_are_the_posterior_variance():
    model = flow(shape=(100,))
    x = MEAN + STD * torch.randn(200, 100, generator=seeded(1))
    curve = model.held_out_curves(Batch(x), seeded())["x0_error"]
    assert [share for share, _ in curve] == pytest.approx([k / 10 for k in range(11)])
    for share, errors in curve:
        t = 0.001 + 0.999 * share
        variance = (1 - t) ** 2 * STD**2 + t**2
        assert errors.mean().item() == pytest.approx(STD**2 * t**2 / variance, rel=0.05)


def test_times_have_the_distributions_they_are_named_for():
    torch.manual_seed(0)
    t = uniform()(50_000, CPU)
    assert t.dtype == torch.float32
    assert t.quantile(torch.tensor([0.1, 0.5, 0.9])).tolist() == pytest.approx(
        [0.1, 0.5, 0.9], abs=0.01
    )
    logits = torch.logit(logit_normal(-0.4, 1.5)(50_000, CPU))
    assert logits.mean().item() == pytest.approx(-0.4, abs=0.03)
    assert logits.std().item() == pytest.approx(1.5, rel=0.02)


def test_training_visits_the_times_that_are_asked_for(monkeypatch):
    seen = []
    model = flow(times=logit_normal(2.0, 0.5), shape=(1,))

    def velocity(x, t, y, augmented):
        seen.append(t)
        return torch.zeros_like(x)

    monkeypatch.setattr(model, "velocity", velocity)
    torch.manual_seed(0)
    model.denoiser_loss(Batch(torch.zeros(20_000, 1)))
    assert torch.logit(seen[0]).mean().item() == pytest.approx(2.0, abs=0.02)


@pytest.mark.parametrize("arguments", [(math.nan, 1.0), (0.0, 0.0), (0.0, math.inf)])
def test_times_without_a_distribution_are_refused(arguments):
    with pytest.raises(ValueError, match="logit_normal needs a finite mean and a positive std"):
        logit_normal(*arguments)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samplers": []}, "samplers"),
        ({"samplers": ["ddim-10-quadratic"]}, "a flow has noise levels instead: .*-quadratic"),
        ({"samplers": ["heun-10-churn2"]}, "heun-10-churn2 needs .*: leave out -churn"),
        ({"samplers": ["euler-10-cfg2"]}, "is guided, which needs a conditional model"),
        ({"samplers": ["meanflow-1"]}, "meanflow-1 needs a model that predicts average velocities"),
        ({"conditional": True}, "needs class labels"),
    ],
)
def test_bad_arguments_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        flow(**options)
