import math
from collections.abc import Callable

import pytest
import torch
from torch import nn

from models.base import Batch, DataSpec
from models.diffusion.edm import EDM, TIME_SCALE, coefficients
from models.diffusion.noise_path import Prediction
from models.diffusion.samplers import Churning

SIGMA_DATA = 0.5
SHAPE = (1, 4, 4)


def spec():
    return DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10)


class Optimal(nn.Module):
    """F of the optimal denoiser of data N(0, s²), in closed form, from the noise code."""

    def __init__(self, data_shape, std=SIGMA_DATA):
        super().__init__()
        self.std = std
        self.unused = nn.Parameter(torch.zeros(1))

    def forward(self, x, code):
        sigma = (code / TIME_SCALE).exp()
        c_skip, c_out, c_in = (c.view(-1, 1, 1, 1) for c in coefficients(sigma, SIGMA_DATA))
        sigma = sigma.view(-1, 1, 1, 1)
        x = x / c_in
        denoised = self.std**2 / (self.std**2 + sigma**2) * x
        return (denoised - c_skip * x) / c_out + 0 * self.unused


def model(network: Callable[..., nn.Module] = Optimal, samplers=("heun-18",), **options):
    return EDM(spec(), network, samplers=samplers, **options)


SIGMAS = torch.tensor([0.002, 0.1, 0.5, 3.0, 80.0])


def test_inputs_and_targets_have_unit_variance():
    """Karras et al. 2022, App. B.6: Eq. 114 and 117 for data of variance sigma_data²."""
    generator = torch.Generator().manual_seed(0)
    y = SIGMA_DATA * torch.randn(200_000, 1, generator=generator)
    n = torch.randn(200_000, 1, generator=generator)
    c_skip, c_out, c_in = coefficients(SIGMAS, SIGMA_DATA)
    x = y + SIGMAS * n  # (N, 5)
    torch.testing.assert_close((c_in * x).std(0), torch.ones(5), rtol=0.01, atol=0)
    target = (y - c_skip * x) / c_out
    torch.testing.assert_close(target.std(0), torch.ones(5), rtol=0.01, atol=0)


def test_c_skip_minimises_c_out():
    c_skip, c_out, _ = coefficients(SIGMAS, SIGMA_DATA)
    for other in (0.9 * c_skip, 1.1 * c_skip):  # Eq. 122: c_out² of any c_skip
        assert ((1 - other) ** 2 * SIGMA_DATA**2 + other**2 * SIGMAS**2 > c_out**2).all()
    torch.testing.assert_close((1 - c_skip) ** 2 * SIGMA_DATA**2 + c_skip**2 * SIGMAS**2, c_out**2)


class Zero(Optimal):
    def forward(self, x, code):
        return torch.zeros_like(x) + self.unused


def test_the_first_loss_is_one_at_every_level():
    """With F = 0 the weighted error is the variance of F's target, which is 1."""
    torch.manual_seed(0)
    x = SIGMA_DATA * torch.randn(4000, *SHAPE)
    loss = model(Zero).denoiser_loss(Batch(x))["loss"]
    assert loss.item() == pytest.approx(1.0, rel=0.03)


def test_noise_levels_are_log_normal(monkeypatch):
    seen = []
    edm = model()

    def predict(x, sigma, y, augmented=None):
        seen.append(sigma)
        return Prediction(x)

    monkeypatch.setattr(edm, "predict", predict)
    torch.manual_seed(0)
    edm.denoiser_loss(Batch(torch.zeros(20_000, *SHAPE)))
    assert seen[0].log().mean().item() == pytest.approx(-1.2, abs=0.03)
    assert seen[0].log().std().item() == pytest.approx(1.2, abs=0.03)


@pytest.mark.parametrize("name", ["heun-50", "heun-50-churn10", "dpmpp-80", "ddim-200", "ddpm-400"])
def test_the_optimal_denoiser_draws_the_data(name):
    edm = model(lambda shape: Optimal(shape, std=0.2), samplers=[name]).eval()
    with torch.inference_mode():
        x = edm.samplers[name].generate(2000, torch.Generator().manual_seed(0), None)
    assert x.std().item() == pytest.approx(0.2, rel=0.05)
    assert x.mean().item() == pytest.approx(0.0, abs=0.01)


class Smooth(nn.Module):
    """Some smooth F of both arguments, in a precision of one's choice."""

    def __init__(self, data_shape, dtype=torch.float32):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(0.8))
        self.dtype = dtype

    def forward(self, x, code):
        code = code.view(-1, *(1,) * (x.dim() - 1)) / TIME_SCALE
        return 0.3 * torch.tanh(self.scale * x + torch.sin(code)).to(self.dtype)


@pytest.mark.parametrize(
    ("name", "scheduler"),
    [("ddim-12", "EDMEulerScheduler"), ("dpmpp-12", "EDMDPMSolverMultistepScheduler")],
)
def test_samples_match_diffusers(name, scheduler):
    """Levels, preconditioning and steps; diffusers' network is told ln(sigma) / 4."""
    diffusers = pytest.importorskip("diffusers")
    edm = model(Smooth, samplers=[name]).eval()
    scheduler = getattr(diffusers, scheduler)(
        sigma_min=0.002, sigma_max=80.0, sigma_data=SIGMA_DATA, rho=7.0
    )
    scheduler.set_timesteps(12)
    x = 80 * torch.randn(3, *SHAPE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        ours = edm.samplers[name].generate(3, torch.Generator().manual_seed(0), None)
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t)
            output = edm.network(scaled, 4 * TIME_SCALE * t.expand(3))
            x = scheduler.step(output, t, x).prev_sample
    torch.testing.assert_close(ours, x.clamp(-1, 1), rtol=0, atol=1e-5)
    assert (ours.abs() < 1).float().mean() > 0.5  # the clamp does not hide much


def test_a_network_of_half_precision_gives_float32():
    edm = model(lambda shape: Smooth(shape, torch.bfloat16))
    x = 0.5 * torch.ones(4, *SHAPE)
    assert edm.predict(x, torch.full((4,), 1.0)).x_0.dtype == torch.float32
    assert edm.denoiser_loss(Batch(x))["loss"].dtype == torch.float32
    assert edm.sampler("dpmpp-4").generate(2, torch.Generator(), None).dtype == torch.float32


def test_churn_acts_where_the_model_says():
    """Levels that no step visits: nothing is added, whatever the name asks for."""
    nowhere = model(Smooth, churning=Churning(least=100.0))
    everywhere = model(Smooth)

    def drawn(edm, name):
        return edm.sampler(name).generate(2, torch.Generator().manual_seed(0), None)

    assert torch.equal(drawn(nowhere, "heun-6-churn3"), drawn(everywhere, "heun-6"))
    assert not torch.equal(drawn(everywhere, "heun-6-churn3"), drawn(everywhere, "heun-6"))


@pytest.mark.parametrize(("name", "nfe"), [("heun-18", 35), ("dpmpp-10", 10), ("ddim-7", 7)])
def test_evaluations_are_counted(name, nfe):
    edm = model(Smooth, samplers=[name])
    calls = []
    edm.network.register_forward_hook(lambda *_: calls.append(1))
    edm.samplers[name].generate(2, torch.Generator(), None)
    assert len(calls) == edm.samplers[name].nfe == nfe


def test_refining_keeps_more_of_the_input_the_fewer_steps_it_takes():
    edm = model().eval()
    x = torch.full((64, *SHAPE), 0.3)
    distances = [
        (edm.refine(x, "heun-18", steps, torch.Generator().manual_seed(0)) - x).abs().mean().item()
        for steps in (2, 8, 18)
    ]
    assert distances[0] < 0.01
    assert distances == sorted(distances)


def test_refining_starts_at_the_first_of_the_last_levels():
    edm = model().eval()
    seen = []
    edm.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    x = torch.full((64, *SHAPE), 0.3)
    edm.refine(x, "heun-18", 5, torch.Generator().manual_seed(0))
    sigma = edm.path("heun-18").sigmas[-6]
    scaled, time = seen[0]
    assert time.tolist() == pytest.approx([250 * math.log(sigma)] * 64)
    noise = scaled * (sigma**2 + 0.25) ** 0.5 - x
    assert noise.std().item() == pytest.approx(sigma, rel=0.1)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"samplers": []}, "samplers"),
        ({"p_mean": float("nan")}, "p_mean"),
        ({"samplers": ["ddim-10-cfg2"]}, "ddim-10-cfg2 is guided, which needs a conditional model"),
        ({"samplers": ["ddim-10-uniform"]}, "ddim-10-uniform .*timesteps.*leave out -uniform"),
        (
            {"samplers": ["ddim-5", "heun-5"], "sigma_max": 0.5},
            "ddim-5 .*: take a larger sigma_max",
        ),
        ({"conditional": True}, "needs class labels"),
        ({"sigma_data": 0.0}, "sigma_data"),
        ({"sigma_min": 3.0, "sigma_max": 1.0}, "sigma_min"),
    ],
)
def test_bad_arguments_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        model(**options)
