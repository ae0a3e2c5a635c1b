import copy
from functools import partial

import pytest
import torch
from torch import nn

from models.base import Batch, DataSpec
from models.diffusion.ddpm import DDPM
from models.diffusion.schedules import cumulative_alphas
from models.diffusion.unet import UNet


def spec(*shape):
    return DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10)


NETWORK = partial(
    UNet, channels=16, channel_mult=(1, 2), num_res_blocks=1, attention_levels=(), groups=8
)


class Recorder(nn.Module):
    """A denoiser that predicts a constant and remembers what it was given."""

    def __init__(self, data_shape, dtype=torch.float32):
        super().__init__()
        self.value = nn.Parameter(torch.full(data_shape, 0.25))
        self.dtype = dtype
        self.calls = []

    def forward(self, x_t, t):
        self.calls.append((x_t, t))
        return self.value.expand_as(x_t).to(self.dtype)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return DDPM(spec(3, 8, 8), NETWORK, num_timesteps=20, ddim_steps=[10, 5])


def test_one_phase_that_reaches_every_parameter(model):
    (phase,) = model.phases
    assert phase.name == "denoiser"
    assert phase.module is model.network
    values = phase.loss(Batch(torch.rand(4, 3, 8, 8) * 2 - 1))
    assert values["loss"].shape == ()
    values["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert set(map(id, model.parameters())) == set(map(id, phase.module.parameters()))


def test_loss_is_the_mean_squared_error_of_the_noise():
    """Eq. 14, with the noise solved for from x_t."""
    model = DDPM(spec(2), Recorder)
    x_0 = torch.rand(512, 2) * 2 - 1
    loss = model.denoiser_loss(Batch(x_0))["loss"]
    ((x_t, t),) = model.network.calls
    a = cumulative_alphas(model.betas)[t][:, None]
    eps = (x_t - a.sqrt() * x_0) / (1 - a).sqrt()
    assert loss.item() == pytest.approx((eps - 0.25).square().mean().item(), rel=1e-4)
    assert eps.std().item() == pytest.approx(1, abs=0.1)


def test_timesteps_are_uniform_and_complete():
    model = DDPM(spec(1), Recorder, num_timesteps=10, ddim_steps=[])
    torch.manual_seed(0)
    model.denoiser_loss(Batch(torch.zeros(20_000, 1)))
    counts = model.network.calls[0][1].bincount(minlength=10).float()
    assert len(counts) == 10
    assert ((counts - 2000).square() / 2000).sum() < 27.9  # chi-squared, 9 degrees, p = 0.001


def test_loss_is_a_function_of_the_global_random_state(model):
    batch = Batch(torch.rand(4, 3, 8, 8) * 2 - 1)
    torch.manual_seed(3)
    first = model.denoiser_loss(batch)["loss"]
    torch.manual_seed(3)
    assert torch.equal(first, model.denoiser_loss(batch)["loss"])


@pytest.mark.parametrize("name", ["ddpm-20", "ddim-10", "ddim-5"])
def test_samplers_keep_their_promises(model, name):
    model.eval()
    sampler = model.samplers[name]
    calls = []
    handle = sampler.network.register_forward_hook(lambda *_: calls.append(1))
    state = torch.get_rng_state()
    x = sampler.draw(3, torch.Generator().manual_seed(0), None)
    assert len(calls) == sampler.nfe == int(name.split("-")[1])
    handle.remove()
    assert x.shape == (3, 3, 8, 8)
    assert x.dtype == torch.float32
    assert x.min() >= -1
    assert x.max() <= 1
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, sampler.draw(3, torch.Generator().manual_seed(0), None))
    assert not torch.equal(x, sampler.draw(3, torch.Generator().manual_seed(1), None))


def test_names_of_samplers():
    assert list(DDPM(spec(2), Recorder).samplers) == ["ddpm-1000", "ddim-50"]
    model = DDPM(spec(2), Recorder, ancestral=False, ddim_steps=[20, 5])
    assert list(model.samplers) == ["ddim-20", "ddim-5"]


def test_a_deep_copy_trains_and_draws_from_its_own_network(model):
    clone = copy.deepcopy(model)
    assert clone.phases[0].module is clone.network
    assert clone.samplers["ddim-5"].network is clone.network
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.add_(0.1)
    draws = [m.eval().samplers["ddim-5"].draw(2, torch.Generator(), None) for m in (model, clone)]
    assert not torch.equal(*draws)


def test_half_precision_outputs_are_raised_before_any_maths():
    model = DDPM(spec(2), partial(Recorder, dtype=torch.bfloat16), num_timesteps=10, ddim_steps=[5])
    assert model.denoiser_loss(Batch(torch.zeros(4, 2)))["loss"].dtype == torch.float32
    for sampler in model.samplers.values():
        assert sampler.draw(2, torch.Generator(), None).dtype == torch.float32


def test_state_holds_weights_only(model):
    """The schedule follows from the configuration, so a checkpoint does not repeat it."""
    names = set(model.state_dict())
    assert names == {"progress"} | {f"network.{name}" for name in model.network.state_dict()}


def test_learns_a_point_mass():
    """Data at one point: the trained denoiser draws it."""
    torch.manual_seed(0)

    class Mlp(nn.Module):
        def __init__(self, data_shape):
            super().__init__()
            self.layers = nn.Sequential(nn.Linear(3, 64), nn.SiLU(), nn.Linear(64, 2))

        def forward(self, x_t, t):
            return self.layers(torch.cat([x_t, t[:, None] / 50], dim=1))

    model = DDPM(spec(2), Mlp, num_timesteps=50, beta_last=0.2, ddim_steps=[10])
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
    point = torch.tensor([0.5, -0.5])
    for _ in range(600):
        optimizer.zero_grad()
        model.denoiser_loss(Batch(point.expand(256, 2)))["loss"].backward()
        optimizer.step()
    for sampler in model.samplers.values():
        x = sampler.draw(64, torch.Generator().manual_seed(0), None)
        assert (x - point).abs().mean() < 0.25


def test_bad_arguments_are_refused():
    with pytest.raises(ValueError, match="ddim_steps"):
        DDPM(spec(2), Recorder, ancestral=False, ddim_steps=[])
    with pytest.raises(ValueError, match="steps"):
        DDPM(spec(2), Recorder, num_timesteps=10, ddim_steps=[20])
