"""MeanFlow against the closed form of the average velocity of Gaussian data."""

import subprocess
import sys

import pytest
import torch
from known_diffusion import NETWORK, seeded, spec
from known_flows import MEAN, STD, ExactFlow, Smooth, average_velocity, deviation, moved, velocity

from bench.cost.measure import step_flops
from bench.cost.network_calls import flop_counter
from bench.cost.training_flops import count_step
from models.base import Batch
from models.diffusion.flow_times import logit_normal, uniform
from models.diffusion.meanflow import SMALL, MeanFlow, target
from models.diffusion.networks.simple_unet import SimpleUNet
from models.diffusion.rectified_flow import RectifiedFlow


def exact_network(shape, num_times):
    return ExactFlow(shape, num_times, MeanFlow.time_scale)


def meanflow(network=exact_network, samplers=("meanflow-1",), shape=(16,), **options):
    return MeanFlow(spec(*shape), network, samplers=samplers, **options)


def column(x):
    return x.view(-1, 1)


def exact(x, r, t):
    return average_velocity(x, column(r), column(t))


def intervals(n=64):
    times = torch.rand(2, n, generator=seeded(), dtype=torch.float64).sort(dim=0).values
    return times[0], times[1]  # r, t


def test_the_target_of_the_exact_average_velocity_is_itself():
    """The MeanFlow identity, u = v - (t - r) du/dt, with the marginal velocity v."""
    r, t = intervals()
    x = torch.randn(64, 5, generator=seeded(1), dtype=torch.float64)
    found = target(exact, x, velocity(x, column(t)), r, t)
    torch.testing.assert_close(found, exact(x, r, t), rtol=1e-9, atol=1e-9)
    assert (found - velocity(x, column(t))).abs().max() > 0.1


def test_targets_of_single_samples_have_the_average_velocity_as_their_mean():
    """With the velocities of x_0 and eps that x_t may come from, sampled from their posterior."""
    r, t = torch.tensor([0.2]), torch.tensor([0.7])
    x_t = torch.tensor([[0.4]])
    gain = (1 - t) * STD**2 / deviation(t) ** 2
    mean = MEAN + gain * (x_t - (1 - t) * MEAN)
    spread = (STD**2 - gain * (1 - t) * STD**2).sqrt()
    x_0 = mean + spread * torch.randn(40_000, 1, generator=seeded())
    v = (x_t - (1 - t) * x_0) / t - x_0
    found = target(exact, x_t.repeat(40_000, 1), v, r.repeat(40_000), t.repeat(40_000))
    error = found.std().item() / 200
    assert found.mean().item() == pytest.approx(exact(x_t, r, t).item(), abs=4 * error)


def test_without_an_interval_the_target_is_the_velocity():
    t = torch.linspace(0.1, 1, 8)
    x, v = torch.randn(2, 8, 5, generator=seeded())
    assert torch.equal(target(exact, x, v, t, t), v)


@pytest.mark.parametrize("name", ["meanflow-1", "meanflow-2", "meanflow-4"])
def test_samplers_are_exact_with_the_exact_average_velocity(name):
    model = meanflow(samplers=[name], shape=(50,), clip=False)
    noise = torch.randn(8, 50, generator=seeded())
    found = model.sampler(name).generate(8, seeded(), None)
    torch.testing.assert_close(found, MEAN + STD * noise, rtol=0, atol=1e-5)
    assert model.sampler(name).nfe == int(name[-1])


def test_other_samplers_follow_the_velocity():
    model = meanflow(samplers=["heun-80"], shape=(50,), clip=False)
    noise = torch.randn(8, 50, generator=seeded())
    found = model.sampler("heun-80").generate(8, seeded(), None)
    torch.testing.assert_close(found, MEAN + STD * noise, rtol=0, atol=0.002)
    one_step = meanflow(samplers=["euler-1"], shape=(50,), clip=False)
    found = one_step.sampler("euler-1").generate(8, seeded(), None)
    torch.testing.assert_close(found, torch.full((8, 50), MEAN), rtol=0, atol=1e-5)


def test_the_last_steps_refine():
    model = meanflow(samplers=["meanflow-4"], shape=(2000,), clip=False)
    x = torch.zeros(1, 2000)
    found = model.refine(x, "meanflow-4", 2, seeded())
    start = 0.5 * torch.randn(x.shape, generator=seeded())
    expected = moved(start, torch.tensor(0.5), torch.tensor(0.0))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)


def test_forward_mode_passes_through_networks_with_kernels():
    """The total derivative of a U-Net, whose layers have kernels of their own, by differences."""
    model = meanflow(NETWORK, shape=(3, 8, 8)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=seeded(3)))
    x, v = torch.randn(2, 4, 3, 8, 8, generator=seeded())
    r, t = torch.tensor([0.1, 0.2, 0.0, 0.5]), torch.tensor([0.3, 0.9, 0.6, 0.8])
    found = target(model.average_velocity, x, v, r, t)
    h = 1e-2
    with torch.no_grad():
        after = model.average_velocity(x + h * v, r, t + h)
        before = model.average_velocity(x - h * v, r, t - h)
    derivative = (after - before) / (2 * h)
    expected = v - (t - r).view(-1, 1, 1, 1) * derivative
    assert derivative.std() > 0.1
    torch.testing.assert_close(found, expected, rtol=0, atol=0.02 * derivative.std().item())


def test_the_first_derivative_of_a_process_warns_of_nothing():
    """torch warns of the torch.jit that its own forward mode loads."""
    code = """
import torch
from models.diffusion.meanflow import target
x, t = torch.ones(2, 3), torch.ones(2)
print(target(lambda x, r, t: x * t[:, None], x, 2 * x, 0 * t, t).tolist())
"""
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, timeout=300
    )
    assert ran.stderr == ""
    assert ran.stdout.strip() == str([[-1.0] * 3] * 2)  # 2 - (2 · 1 + 1)


def by_hand(model, x_0, seed, kept):
    """Loss and error of a batch whose first samples have an interval."""
    torch.manual_seed(seed)
    first, second = model.times(len(x_0), x_0.device), model.times(len(x_0), x_0.device)
    t, r = torch.maximum(first, second), torch.minimum(first, second)
    r = torch.where(torch.arange(len(x_0)) < kept, r, t)
    eps = torch.randn_like(x_0)
    x_t, v = (1 - column(t)) * x_0 + column(t) * eps, eps - x_0
    wanted = target(model.average_velocity, x_t, v, r, t).detach()
    errors = (model.average_velocity(x_t, r, t) - wanted).square().sum(1)
    weights = 1 / (errors.detach() + SMALL) ** model.power
    return (weights * errors).mean(), errors.mean() / x_0.shape[1]


@pytest.mark.parametrize("power", [0.0, 0.75, 1.0])
@pytest.mark.parametrize(("of_four", "kept"), [(0, 0), (1, 2), (3, 5), (4, 6)])
def test_the_loss_and_its_gradient_by_hand(power, of_four, kept):
    """No gradient passes through the target or the weight; shares of six samples are rounded up."""
    model = meanflow(Smooth, of_four=of_four, power=power, times=logit_normal(-0.4, 1.0))
    x_0 = torch.rand(6, 16, generator=seeded()) * 2 - 1
    loss, error = by_hand(model, x_0, 5, kept)
    (expected,) = torch.autograd.grad(loss, model.network.scale)
    torch.manual_seed(5)
    found = model.denoiser_loss(Batch(x_0))
    torch.testing.assert_close(found["loss"], loss)
    torch.testing.assert_close(found["error"], error)
    (gradient,) = torch.autograd.grad(found["loss"], model.network.scale)
    torch.testing.assert_close(gradient, expected)
    assert gradient != 0


def test_the_exact_average_velocity_has_the_least_loss():
    """Among those of other Gaussians, in squared error of their own targets."""
    torch.manual_seed(0)
    x_0 = MEAN + STD * torch.randn(20_000, 1)

    def error(**gaussian):
        def network(shape, num_times):
            return ExactFlow(shape, num_times, MeanFlow.time_scale, **gaussian)

        torch.manual_seed(1)
        return meanflow(network, shape=(1,), of_four=4).denoiser_loss(Batch(x_0))["error"].item()

    assert error() < error(std=0.3) - 0.005
    assert error() < error(mean=0.4) - 0.005


def test_the_share_of_samples_with_an_interval():
    model = meanflow(of_four=3, times=uniform())
    torch.manual_seed(0)
    t, r = model._intervals(40_000, torch.device("cpu"))
    apart = r < t
    assert apart.sum().item() == 30_000
    assert torch.equal(r[~apart], t[~apart])
    assert t.mean().item() == pytest.approx(2 / 3, abs=0.01)  # the greater of two
    assert r[apart].mean().item() == pytest.approx(1 / 3, abs=0.01)


@pytest.mark.parametrize("of_four", [1, 3])
def test_flops_of_a_batch_are_extrapolated_exactly(of_four):
    model = meanflow(NETWORK, shape=(3, 8, 8), of_four=of_four)
    batch = Batch(torch.rand(12, 3, 8, 8) * 2 - 1)
    counted = count_step(model, batch, batch_size=12, processes=1, progress=0.0)
    assert counted == step_flops(model, batch)
    assert counted > count_step(
        meanflow(NETWORK, shape=(3, 8, 8), of_four=of_four - 1),
        batch,
        batch_size=12,
        processes=1,
        progress=0.0,
    )


def test_the_work_of_the_derivative_is_counted():
    """At least a pass for the prediction and one for its derivative, beside the training's."""
    batch = Batch(torch.rand(4, 3, 8, 8) * 2 - 1)
    models = [meanflow(NETWORK, shape=(3, 8, 8), of_four=k) for k in (0, 4)]
    without, with_derivative = (step_flops(model, batch) for model in models)
    with flop_counter() as counter, torch.no_grad():
        models[0].network(batch.x, torch.zeros(4, 2))
    assert with_derivative - without >= 1.95 * counter.get_total_flops()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"of_four": 5}, "of_four must be 0, 1, 2, 3 or 4, got 5"),
        ({"power": 1.5}, r"power of the adaptive weight must be in \[0, 1\], got 1.5"),
        ({"samplers": ["meanflow-2-cfg2"]}, "is guided, which needs a conditional model"),
        (
            {"network": SimpleUNet, "shape": (1, 8, 8)},
            "does not take num_times, .*: choose UNet or DiT",
        ),
    ],
)
def test_bad_arguments_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        meanflow(**options)


def test_models_of_single_times_have_no_meanflow_sampler():
    with pytest.raises(ValueError, match=r"meanflow-1 needs .*: choose euler, heun, ddim or dpmpp"):
        RectifiedFlow(spec(2), ExactFlow, samplers=["meanflow-1"])
