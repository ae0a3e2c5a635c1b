"""Consistency training: the boundary, the curriculum, and the closed form of Gaussian data."""

import math
from collections.abc import Callable
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.consistency import (
    ConsistencyModel,
    coefficients,
    discretisation_steps,
    pseudo_huber,
)
from models.diffusion.edm import TIME_SCALE
from models.diffusion.networks.unet import UNet
from models.diffusion.noise_path import karras_path

SHAPE = (1, 4, 4)
LOW, HIGH, SIGMA_DATA = 0.002, 80.0, 0.5


def per_sample(sigma: Tensor) -> Tensor:
    return sigma.view(-1, 1, 1, 1)


class Exact(nn.Module):
    """F of the consistency function of data N(0, s²), in closed form, from the noise's code.

    Along the probability flow x grows as sqrt(s² + sigma²). The deviation s is its parameter.
    """

    def __init__(self, data_shape: tuple[int, ...], std: float = 0.2) -> None:
        super().__init__()
        self.std = nn.Parameter(torch.tensor(std, dtype=torch.float64))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        sigma = (code.double() / TIME_SCALE).exp()
        c_skip, c_out, c_in = coefficients(sigma, SIGMA_DATA, LOW)
        variance = self.std.square()
        shrink = ((variance + LOW**2) / (variance + sigma.square())).sqrt()
        return x * per_sample((shrink - c_skip) / c_out.clamp_min(1e-12) / c_in)


def make(network: Callable[..., nn.Module] = Exact, **settings) -> ConsistencyModel:
    torch.manual_seed(0)
    data = DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10)
    return ConsistencyModel(data, network, **settings)


class Smooth(nn.Module):
    """Some smooth F of both arguments."""

    def __init__(self, data_shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.8))
        self.dtype = dtype

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        return torch.tanh(self.scale * x + torch.sin(per_sample(code) / TIME_SCALE)).to(self.dtype)


def test_without_noise_nothing_changes():
    """f(x, sigma_min) = x exactly, whatever the network says."""
    model = make(partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn(parameter.shape))
        x = torch.randn(5, *SHAPE)
        assert torch.equal(model.predict(x, torch.full((5,), LOW)), x)
        assert not torch.equal(model.predict(x, torch.full((5,), 2 * LOW)), x)


def test_inputs_have_unit_variance_and_outputs_at_most_the_datas():
    sigma = torch.tensor([0.002, 0.1, 1.0, 80.0])
    c_skip, c_out, c_in = coefficients(sigma, SIGMA_DATA, LOW)
    torch.testing.assert_close(c_in * (sigma**2 + SIGMA_DATA**2).sqrt(), torch.ones(4))
    assert (c_skip[0], c_out[0]) == (1, 0)
    assert c_skip[3] < 1e-4
    assert c_out[3] == pytest.approx(SIGMA_DATA, rel=1e-3)


@pytest.mark.parametrize(("steps", "total"), [((10, 1280), 400_000), ((10, 160), 700), ((5, 5), 9)])
def test_the_curriculum_is_the_papers(steps, total):
    """N(k) = min(s_0 2^floor(k / K'), s_1) + 1 with K' = floor(K / (log2 floor(s_1 / s_0) + 1)).

    Here K' is not rounded, since a budget may be in seconds: the end of a part may shift by the
    share that rounding leaves over.
    """
    first, last = steps
    period = math.floor(total / (math.log2(last // first) + 1))
    assert total % period < 10
    for k in range(0, total, max(1, total // 997)):
        papers = min(first * 2 ** math.floor(k / period), last)
        ours = discretisation_steps(torch.tensor(k / total, dtype=torch.float64), steps)
        if k % period >= 10:  # not just after a change
            assert ours == papers, k


def test_the_curriculum_is_a_function_of_progress():
    model = make(Smooth, discretisation=(10, 80))
    found = []
    for progress in (0.0, 0.24, 0.26, 0.5, 0.75, 0.999):
        model.progress.fill_(progress)
        found.append(float(model.consistency_loss(Batch(torch.zeros(4, *SHAPE)))["steps"]))
    assert found == [10, 10, 20, 40, 80, 80]
    assert model.stage == 0  # all steps cost the same


@pytest.mark.parametrize("steps", [10, 40])
def test_pairs_of_noise_levels_are_as_frequent_as_in_the_paper(steps):
    """p(i) is proportional to a difference of error functions at the levels of EDM's Eq. 5."""
    levels = torch.tensor(karras_path(steps + 1, LOW, HIGH).sigmas[:-1][::-1], dtype=torch.float64)
    cumulative = torch.erf((levels.log() + 1.1) / (2**0.5 * 2.0))
    probabilities = cumulative.diff() / (cumulative[-1] - cumulative[0])  # (steps,)
    n = 200_000
    torch.manual_seed(0)
    lower, upper = make().neighbours(torch.tensor(float(steps), dtype=torch.float64), n)
    i = (lower.double()[:, None] - levels).abs().argmin(1)  # (n,)
    torch.testing.assert_close(lower.double(), levels[i], rtol=1e-5, atol=0)
    torch.testing.assert_close(upper.double(), levels[i + 1], rtol=1e-5, atol=0)
    counts = torch.bincount(i, minlength=steps).double()
    expected = n * probabilities
    chi_square = ((counts - expected).square() / expected.clamp_min(1)).sum()
    assert chi_square < steps + 6 * (2 * steps) ** 0.5


def test_the_pseudo_huber_loss_is_exact_near_zero_and_far_away():
    x = torch.zeros(3, 2, dtype=torch.float64)
    y = torch.tensor([[3e-9, 4e-9], [0.3, 0.4], [3e6, 4e6]], dtype=torch.float64)
    found = pseudo_huber(x, y, 0.01)
    distance = torch.tensor([5e-9, 0.5, 5e6], dtype=torch.float64)
    assert float(found[0]) == pytest.approx(25e-18 / 0.02, rel=1e-6)
    torch.testing.assert_close(found[1:], (distance[1:] ** 2 + 1e-4).sqrt() - 0.01)


def gaussian(n: int, std: float = 0.2) -> Batch:
    return Batch(std * torch.randn(n, *SHAPE, generator=torch.Generator().manual_seed(1)))


def loss_of(std: float, steps: int, n: int = 4000) -> tuple[float, float]:
    """Loss and its derivative with respect to s, of the function of N(0, s²), on N(0, 0.2²)."""
    model = make(partial(Exact, std=std), discretisation=(steps, steps)).double()
    torch.manual_seed(2)
    loss = model.consistency_loss(Batch(gaussian(n).x.double()))["loss"]
    (gradient,) = torch.autograd.grad(loss, [model.network.std])
    return float(loss.detach()), float(gradient)


def test_the_exact_function_has_no_loss_in_the_limit_of_small_steps():
    """A pair's distance falls with the step h, its pseudo-Huber loss with h², the weight is 1/h.

    Neighbours are as precise as float32, which is far below the steps taken here.
    """
    losses = [loss_of(0.2, steps)[0] for steps in (4_000, 16_000, 64_000)]
    assert losses[0] > 2 * losses[1] > 4 * losses[2]
    assert losses[2] < 0.1 * loss_of(0.2, 10)[0]


def test_the_gradient_leads_to_the_exact_function():
    """The teacher has none: the derivative with respect to s changes its sign at the data's."""
    narrow, exact, wide = (loss_of(std, 2_000, 20_000)[1] for std in (0.14, 0.2, 0.28))
    assert narrow < 0 < wide
    assert abs(exact) < 0.2 * min(-narrow, wide)


def test_the_gradient_goes_through_the_student_alone():
    """Against the loss with a fixed copy as the teacher, and that through both."""
    batch = Batch(0.5 * torch.randn(64, *SHAPE, generator=torch.Generator().manual_seed(1)))
    model, teacher = make(Smooth), make(Smooth)
    torch.manual_seed(3)
    model.consistency_loss(batch)["loss"].backward()
    torch.manual_seed(3)
    steps = torch.tensor(10.0, dtype=torch.float64)
    lower, upper = model.neighbours(steps, 64)
    noise = torch.randn_like(batch.x)
    gradients = []
    for fixed in (True, False):
        student = make(Smooth)
        of = teacher if fixed else student
        target = of.predict(batch.x + per_sample(lower) * noise, lower)
        target = target.detach() if fixed else target
        found = student.predict(batch.x + per_sample(upper) * noise, upper)
        square = (found - target).square().flatten(1).sum(1)
        c = 0.00054 * 16**0.5
        (((square + c**2).sqrt() - c) / (upper - lower)).mean().backward()
        gradients.append(student.network.scale.grad)
    torch.testing.assert_close(model.network.scale.grad, gradients[0], rtol=1e-4, atol=0)
    assert not torch.allclose(gradients[0], gradients[1], rtol=0.01)


def test_student_and_teacher_drop_the_same_units():
    class Dropping(nn.Module):
        def __init__(self, data_shape: tuple[int, ...]) -> None:
            super().__init__()
            self.kept: list[Tensor] = []
            self.scale = nn.Parameter(torch.ones(()))

        def forward(self, x: Tensor, code: Tensor) -> Tensor:
            mask = nn.functional.dropout(torch.ones_like(x))
            self.kept.append(mask)
            return self.scale * mask * x

    model = make(Dropping)
    for _ in range(2):
        model.consistency_loss(Batch(torch.zeros(4, *SHAPE)))
    first, second, third, fourth = model.network.kept
    assert torch.equal(first, second)
    assert torch.equal(third, fourth)
    assert not torch.equal(first, third)


@pytest.mark.parametrize(("name", "std"), [("consistency-1", None), ("consistency-2", 0.2)])
def test_the_exact_function_gives_samples_of_the_data(name, std):
    """One step from N(0, sigma_max²), which is a little less than noisy data has; then again."""
    model = make().eval()
    with torch.inference_mode():
        x = model.samplers[name].generate(5000, torch.Generator().manual_seed(0), None)
    deviation = 0.2
    expected = HIGH * math.sqrt((deviation**2 + LOW**2) / (deviation**2 + HIGH**2))
    if name == "consistency-2":
        noisy = math.sqrt(expected**2 + 0.821**2 - LOW**2)
        expected = noisy * math.sqrt((deviation**2 + LOW**2) / (deviation**2 + 0.821**2))
    assert x.std().item() == pytest.approx(expected, rel=0.01)
    assert x.mean().item() == pytest.approx(0.0, abs=0.003)


def test_samplers_call_the_network_once_a_step_at_its_noise_level():
    model = make(Smooth, between=(5.0, 0.5), samplers=["consistency-3", "consistency-1"]).eval()
    seen: list[Tensor] = []
    model.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[1]))
    model.samplers["consistency-3"].generate(2, torch.Generator().manual_seed(0), None)
    sigmas = [float((code[0] / TIME_SCALE).exp()) for code in seen]
    assert sigmas == pytest.approx([80.0, 5.0, 0.5], rel=1e-4)
    assert {name: sampler.nfe for name, sampler in model.samplers.items()} == {
        "consistency-3": 3,
        "consistency-1": 1,
    }


def test_a_network_of_half_precision_gives_float32():
    model = make(partial(Smooth, dtype=torch.bfloat16))
    assert model.predict(torch.ones(4, *SHAPE), torch.ones(4)).dtype == torch.float32
    assert model.consistency_loss(gaussian(4))["loss"].dtype == torch.float32


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"samplers": []}, "samplers must be a list of at least one name"),
        ({"samplers": ["ddim-10"]}, "'ddim-10' is not consistency-<steps>, such as consistency-1"),
        ({"samplers": ["consistency-0"]}, "'consistency-0' is not consistency-<steps>"),
        (
            {"samplers": ["consistency-4"]},
            "consistency-4 needs 3 noise levels between its steps, and model.build.between has 1",
        ),
        ({"between": [0.5, 0.5]}, "between must be noise levels .* descending"),
        ({"between": [100.0]}, "between must be noise levels from sigma_max=80"),
        ({"discretisation": (10, 1000)}, "the first times a power of two, got"),
        ({"discretisation": (10, 5)}, "the first times a power of two, got"),
        ({"discretisation": (0, 10)}, "the first times a power of two, got"),
        ({"levels": (90.0, 80.0, 7.0)}, "levels must be sigma_min, sigma_max and rho with"),
        ({"levels": (0.002, 80.0, 0.0)}, "levels must be sigma_min, sigma_max and rho with"),
        ({"huber": 0.0}, "huber must be positive and finite, got 0.0"),
        ({"sigma_data": 0.0}, "sigma_data must be positive"),
        ({"log_normal": (0.0, -1.0)}, "log_normal must be the mean and the standard deviation"),
        ({"log_normal": (math.nan, 1.0)}, "log_normal must be the mean and the standard deviation"),
    ],
)
def test_bad_arguments_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(Smooth, **settings)
