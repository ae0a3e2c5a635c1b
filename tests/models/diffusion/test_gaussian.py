import copy
from functools import partial

import pytest
import torch
from known_diffusion import (
    BETAS,
    NETWORK,
    SHORT,
    ExactGaussian,
    Recorder,
    exact,
    recorded,
    seeded,
    spec,
    unet,
)

from models.base import Batch
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.mlp import DenoiserMLP
from models.diffusion.parameterisations import PARAMETERISATIONS, min_snr
from models.diffusion.schedules import cosine_betas, linear_betas, uniform


@pytest.fixture
def model() -> GaussianDiffusion:
    return unet("ddpm-20", "ddim-10", "dpmpp-5", "heun-4")


def test_one_phase_that_reaches_every_parameter(model):
    (phase,) = model.phases
    assert phase.name == "denoiser"
    assert phase.module is model.network
    values = phase.loss(Batch(torch.rand(4, 3, 8, 8) * 2 - 1))
    assert values["loss"].shape == ()
    values["loss"].backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())
    assert set(map(id, model.parameters())) == set(map(id, phase.module.parameters()))


@pytest.mark.parametrize("predicts", PARAMETERISATIONS)
def test_loss_is_the_mean_squared_error_of_what_is_predicted(predicts):
    """Ho et al. 2020, Eq. 14 for eps, with the noise solved for from x_t."""
    model = recorded(betas=SHORT, predicts=predicts)
    x_0 = torch.rand(512, 2) * 2 - 1
    loss = model.denoiser_loss(Batch(x_0))["loss"]
    ((x_t, t, _),) = model.network.calls
    alpha, sigma = model.process.levels(t, 2)
    eps = (x_t - alpha * x_0) / sigma
    wanted = {"eps": eps, "x_0": x_0, "v": alpha * eps - sigma * x_0}[predicts]
    assert loss.item() == pytest.approx((wanted - 0.25).square().mean().item(), rel=1e-4)
    assert eps.std().item() == pytest.approx(1, abs=0.1)


def test_every_timestep_has_its_own_weight():
    model = recorded(betas=SHORT, weighting=min_snr(2.0))
    x_0 = torch.rand(64, 2) * 2 - 1
    loss = model.denoiser_loss(Batch(x_0))["loss"]
    ((x_t, t, _),) = model.network.calls
    alpha, sigma = model.process.levels(t, 2)
    eps = (x_t - alpha * x_0) / sigma
    snr = (alpha / sigma).square()
    expected = (snr.clamp(max=2.0) / snr * (eps - 0.25).square()).mean()
    assert loss.item() == pytest.approx(expected.item(), rel=1e-4)


def test_timesteps_are_uniform_and_complete():
    model = recorded(shape=(1,), betas=linear_betas(10, 0.01, 0.5))
    torch.manual_seed(0)
    model.denoiser_loss(Batch(torch.zeros(20_000, 1)))
    counts = model.network.calls[0][1].long().bincount(minlength=10).float()
    assert len(counts) == 10
    assert ((counts - 2000).square() / 2000).sum() < 27.9  # chi-squared, 9 degrees, p = 0.001


def test_timesteps_are_visited_as_often_as_asked():
    asked = torch.tensor([0.5, 0.0, 0.2, 0.2, 0.1], dtype=torch.float64)
    model = recorded(betas=linear_betas(5, 0.1, 0.5), timesteps=lambda alpha_bar: asked)
    model.denoiser_loss(Batch(torch.zeros(20_000, 2)))
    ((_, t, _),) = model.network.calls
    shares = torch.bincount(t.long(), minlength=5) / len(t)
    torch.testing.assert_close(shares, asked.float(), rtol=0, atol=0.02)
    assert shares[1] == 0


def test_timesteps_of_equal_probability_have_the_expectation_of_uniform_ones():
    losses = [
        recorded(betas=SHORT, timesteps=timesteps).denoiser_loss(Batch(torch.zeros(50_000, 2)))
        for timesteps in (None, uniform())
    ]
    assert losses[0]["loss"].item() == pytest.approx(losses[1]["loss"].item(), rel=0.02)


def test_loss_is_a_function_of_the_global_random_state(model):
    batch = Batch(torch.rand(4, 3, 8, 8) * 2 - 1)
    torch.manual_seed(3)
    first = model.denoiser_loss(batch)["loss"]
    torch.manual_seed(3)
    assert torch.equal(first, model.denoiser_loss(batch)["loss"])


@pytest.mark.parametrize(
    ("name", "calls"), [("ddpm-20", 20), ("ddim-10", 10), ("dpmpp-5", 5), ("heun-4", 7)]
)
def test_samplers_keep_their_promises(model, name, calls):
    model.eval()
    sampler = model.samplers[name]
    counted = []
    handle = model.network.register_forward_hook(lambda *_: counted.append(1))
    state = torch.get_rng_state()
    x = sampler.generate(3, seeded(), None)
    assert len(counted) == sampler.nfe == calls
    handle.remove()
    assert x.shape == (3, 3, 8, 8)
    assert x.dtype == torch.float32
    assert x.min() >= -1
    assert x.max() <= 1
    assert not x.requires_grad
    assert torch.equal(torch.get_rng_state(), state)
    assert torch.equal(x, sampler.generate(3, seeded(), None))
    assert not torch.equal(x, sampler.generate(3, seeded(1), None))


@pytest.mark.parametrize("name", ["ddpm-1000", "ddim-500", "dpmpp-200", "heun-200"])
def test_samples_of_the_exact_denoiser_have_the_datas_moments(name):
    x = exact(samplers=[name]).samplers[name].generate(500, seeded(), None)
    assert x.mean().item() == pytest.approx(0.1, abs=0.01)
    assert x.std().item() == pytest.approx(0.2, rel=0.04)


def test_one_denoiser_draws_alike_whatever_it_predicts():
    draws = [
        exact(predicts).samplers["ddim-50"].generate(4, seeded(), None)
        for predicts in PARAMETERISATIONS
    ]
    torch.testing.assert_close(draws[1], draws[0], rtol=0, atol=1e-4)
    torch.testing.assert_close(draws[2], draws[0], rtol=0, atol=1e-4)


def test_a_deep_copy_trains_and_draws_from_its_own_network(model):
    clone = copy.deepcopy(model)
    assert clone.phases[0].module is clone.network
    assert list(clone.samplers["ddim-10"].calls) == [clone.network]
    with torch.no_grad():
        for parameter in clone.parameters():
            parameter.add_(0.1)
    draws = [m.eval().samplers["dpmpp-5"].generate(2, seeded(), None) for m in (model, clone)]
    assert not torch.equal(*draws)


def test_half_precision_outputs_are_raised_before_any_maths():
    model = recorded(betas=SHORT, samplers=["ddpm-20", "heun-3"], dtype=torch.bfloat16)
    assert model.denoiser_loss(Batch(torch.zeros(4, 2)))["loss"].dtype == torch.float32
    for sampler in model.samplers.values():
        assert sampler.generate(2, seeded(), None).dtype == torch.float32


def test_state_holds_weights_only(model):
    """The schedule follows from the configuration, so a checkpoint does not repeat it."""
    names = set(model.state_dict())
    assert names == {"progress"} | {f"network.{name}" for name in model.network.state_dict()}


def test_learns_a_point_mass():
    """Data at one point: the trained denoiser draws it."""
    torch.manual_seed(0)
    model = GaussianDiffusion(
        spec(2),
        partial(DenoiserMLP, width=32, layers=2, octaves=0),
        betas=linear_betas(50, 1e-4, 0.2),
        samplers=["ddpm-50", "dpmpp-10"],
    )
    optimizer = torch.optim.Adam(model.parameters(), lr=3e-3)
    point = torch.tensor([0.5, -0.5])
    for _ in range(500):
        optimizer.zero_grad()
        model.denoiser_loss(Batch(point.expand(256, 2)))["loss"].backward()
        optimizer.step()
    for sampler in model.samplers.values():
        x = sampler.generate(64, seeded(), None)
        assert (x - point).abs().mean() < 0.1


def test_predictions_are_clipped_unless_data_have_no_range():
    x_t, t = torch.full((1, 2), 5.0), torch.tensor([0.0])
    assert recorded().denoiser()(x_t, t).x_0.max() == 1
    model = recorded(clip=False)
    assert model.denoiser()(x_t, t).x_0.min() > 4
    assert not model.held_out_scores(Batch(torch.zeros(2, 1, 4, 4)), seeded())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"variance": "free"}, "variance must be one of"),
        ({"bound_weight": -1.0}, "bound_weight must not be negative"),
        ({"bound_weight": float("nan")}, "bound_weight must not be negative"),
        ({"samplers": []}, "at least one name"),
        ({"samplers": "ddim-50"}, "must be a list"),
        ({"samplers": ["ddim"]}, "is not <method>-<steps>"),
        ({"samplers": ["ddim-1001"]}, "ddim-1001 needs .* at most 1000 steps"),
        (
            {"samplers": ["ddim-50-cfg3"]},
            "ddim-50-cfg3 is guided.* model: leave out -cfg",
        ),
        (
            {"samplers": ["ddim-1-uniform"]},
            "ddim-1-uniform needs .*more noise than signal",
        ),
        (
            {"betas": linear_betas(10)},
            "alpha 0.95.* sigma 0.31.*take more timesteps",
        ),
    ],
)
def test_bad_arguments_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        recorded(**options)


def test_a_conditional_model_needs_labels():
    with pytest.raises(ValueError, match="needs class labels"):
        GaussianDiffusion(spec(2), Recorder, betas=BETAS, samplers=["ddim-5"], conditional=True)


def test_a_cosine_schedules_end_is_no_obstacle():
    """alpha_bar is about 1e-9 there; the exact denoiser still draws the data."""
    network = partial(ExactGaussian, betas=cosine_betas(1000), predicts="eps")
    model = GaussianDiffusion(
        spec(100), network, betas=cosine_betas(1000), samplers=["ddim-100", "dpmpp-20"]
    )
    for sampler in model.samplers.values():
        x = sampler.generate(200, seeded(), None)
        assert x.std().item() == pytest.approx(0.2, rel=0.1)


def test_pretrained_weights_are_loaded_and_not_trained(tmp_path):
    diffusers = pytest.importorskip("diffusers")
    torch.manual_seed(1)
    theirs = diffusers.UNet2DModel(
        sample_size=8,
        in_channels=3,
        out_channels=3,
        layers_per_block=1,
        block_out_channels=(16, 32),
        down_block_types=("DownBlock2D",) * 2,
        up_block_types=("UpBlock2D",) * 2,
        norm_num_groups=8,
        norm_eps=1e-6,
        attention_head_dim=None,
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
    ).eval()
    theirs.save_pretrained(tmp_path)
    model = GaussianDiffusion(
        spec(3, 8, 8), NETWORK, betas=SHORT, samplers=["ddim-2"], pretrained=str(tmp_path)
    ).eval()
    assert model.phases == ()
    assert copy.deepcopy(model).phases == ()
    x_t, t = torch.randn(2, 3, 8, 8), torch.tensor([3, 17])
    with torch.inference_mode():
        expected = theirs(x_t, t).sample
        torch.testing.assert_close(model.network(x_t, t), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("options", "missing"),
    [
        ({"variance": "learned", "bound_weight": 0.001}, "out_channels"),
        ({"conditional": True}, "num_classes"),
    ],
)
def test_a_network_that_cannot_do_what_the_model_needs_is_refused(options, missing):
    with pytest.raises(ValueError, match=f"does not take {missing}, .*choose UNet or DiT"):
        GaussianDiffusion(
            spec(1, 8, 8, num_classes=3), DenoiserMLP, betas=BETAS, samplers=["ddim-10"], **options
        )


def test_heun_stays_on_levels_where_a_network_can_be_right():
    """A cosine schedule ends at sigma = 20,000, whose first step would magnify any small error."""

    class Imperfect(ExactGaussian):
        def forward(self, x_t, t):
            return super().forward(x_t, t) + 0.02

    betas = cosine_betas(1000)
    model = GaussianDiffusion(
        spec(100),
        partial(Imperfect, betas=betas, predicts="eps"),
        betas=betas,
        samplers=["heun-18"],
        clip=False,
    )
    sigmas = model.path("heun-18").sigmas
    assert sigmas[0] == pytest.approx(80)
    least = model.process.alpha_bar[0]
    assert sigmas[-2] == pytest.approx(((1 - least) / least).sqrt().item())
    x = model.samplers["heun-18"].generate(500, seeded(), None)
    assert x.mean().item() == pytest.approx(0.1, abs=0.1)
    assert x.std().item() == pytest.approx(0.2, rel=0.2)


def test_a_short_schedule_is_walked_from_its_own_last_level():
    model = recorded(betas=SHORT, samplers=["heun-3"])
    last = model.process.alpha_bar[-1]
    assert model.path("heun-3").sigmas[0] == pytest.approx(((1 - last) / last).sqrt().item())


@pytest.mark.parametrize(
    ("shape", "options", "message"),
    [
        ((2,), {"bound_weight": 0.001}, r"data_shape must be \(C, H, W\) .*got \(2,\)"),
        ((1, 8, 8), {"bound_weight": 0.001, "clip": False}, "needs clip=true"),
    ],
)
def test_a_bound_is_refused_where_there_is_none(shape, options, message):
    with pytest.raises(ValueError, match=message):
        recorded(shape=shape, **options)
