from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch

from models.autoencoder.networks import MapDecoder, MapEncoder
from models.autoencoder.vae import VAE
from models.base import Batch, DataSpec, GenerativeModel
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.latent import LatentDiffusion, Standardise
from models.diffusion.meanflow import MeanFlow
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import linear_betas

SHAPE = (1, 8, 8)


def held_out(index: torch.Tensor) -> torch.Tensor:
    return torch.zeros(len(index), *SHAPE)


def make(
    *, conditional: bool = False, guided: tuple[str, ...] = (), split: float = 0.4
) -> LatentDiffusion:
    torch.manual_seed(0)
    autoencoder = partial(
        VAE,
        encoder=partial(MapEncoder, width=8, levels=1),
        decoder=partial(MapDecoder, width=8, levels=1),
        latent_dim=2,
        kl_weight=0.01,
    )
    diffusion = partial(
        GaussianDiffusion,
        network=partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4),
        betas=linear_betas(100),
        samplers=("ddim-5", *guided),
        clip=False,
        conditional=conditional,
    )
    data = DataSpec(SHAPE, 3 if conditional else 0, held_out, 10)
    return LatentDiffusion(data, autoencoder, diffusion, split=split)


def test_a_flow_can_model_the_latents():
    """In its own unit of samples, and without bounds."""
    model = make()
    assert model.batch_unit == 2
    latents = DataSpec(model.autoencoder.latent_shape, 0, held_out, 0)
    network = partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4)
    model.diffusion = MeanFlow(latents, network, samplers=["meanflow-2"], clip=False)
    assert model.batch_unit == 4
    assert torch.isfinite(model.phases[1].loss(Batch(torch.rand(4, *SHAPE)))["loss"])
    x = model.samplers["meanflow-2"].generate(3, torch.Generator().manual_seed(0), None)
    assert x.shape == (3, *SHAPE)


def test_the_autoencoder_comes_first_and_the_denoiser_takes_over():
    first, second = make(split=0.3).phases
    assert (first.name, first.span) == ("autoencoder", (0, 0.3))
    assert (second.name, second.span) == ("denoiser", (0.3, 1.0))
    model = make()
    assert list(model.phases[0].module.parameters()) == list(model.autoencoder.parameters())
    ours = {id(p) for phase in model.phases for p in phase.module.parameters()}
    assert ours == {id(p) for p in model.parameters()}


def test_the_denoiser_is_trained_on_latents_that_it_cannot_change():
    model = make()
    before = deepcopy(model.state_dict())
    model.phases[1].loss(Batch(torch.rand(4, *SHAPE)))["loss"].backward()
    assert all(p.grad is None for p in model.autoencoder.parameters())
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_the_latents_of_training_are_standardised():
    model = make()
    x = torch.rand(64, *SHAPE) * 2 - 1
    with torch.no_grad():  # means far from 0, of a variance far from 1; then 2 log-variances
        weight, bias = list(model.autoencoder.encoder.parameters())[-2:]
        weight[:2] *= 10.0
        bias[:2] += 5.0
    for _ in range(3):
        model.autoencoder_loss(Batch(x))
    z = torch.cat([model.encode(x) for _ in range(8)]).transpose(0, 1).flatten(1)
    torch.testing.assert_close(z.mean(1), torch.zeros(2), atol=0.03, rtol=0)
    torch.testing.assert_close(z.var(1), torch.ones(2), atol=0.03, rtol=0)


def test_statistics_are_the_exact_ones_of_few_batches_and_follow_later_ones():
    standardise = Standardise(2)
    means, log_variances = torch.randn(10, 4, 2, 3, 3), torch.randn(10, 4, 2, 3, 3)
    for mean, log_variance in zip(means, log_variances, strict=True):
        standardise.update(mean, log_variance)
    over = (0, 1, 3, 4)
    torch.testing.assert_close(standardise.mean, means.mean(over))
    torch.testing.assert_close(
        standardise.square, (means.square() + log_variances.exp()).mean(over)
    )
    for _ in range(1500):
        standardise.update(means[0] + 5.0, log_variances[0])
    torch.testing.assert_close(standardise.mean, means[0].mean((0, 2, 3)) + 5.0, rtol=1e-3, atol=0)


def test_standardising_is_undone():
    standardise = Standardise(2)
    standardise.update(3.0 + torch.randn(8, 2, 4, 4), torch.randn(8, 2, 4, 4))
    z = torch.randn(5, 2, 4, 4)
    torch.testing.assert_close(standardise.undo(standardise(z)), z)


def test_only_the_autoencoders_phase_moves_the_statistics():
    model = make()
    batch = Batch(torch.rand(4, *SHAPE))
    state = deepcopy(model.standardise.state_dict())
    model.phases[1].loss(batch)
    assert all(torch.equal(state[k], v) for k, v in model.standardise.state_dict().items())
    model.phases[0].loss(batch)
    assert not torch.equal(state["mean"], model.standardise.mean)


def test_samples_are_decoded_latents_of_the_inner_sampler():
    model = make().eval()
    model.standardise.update(4.0 + torch.randn(8, 2, 4, 4), torch.zeros(8, 2, 4, 4))
    with torch.inference_mode():
        x = model.samplers["ddim-5"].generate(3, torch.Generator().manual_seed(1), None)
        z = model.diffusion.samplers["ddim-5"].generate(3, torch.Generator().manual_seed(1), None)
        deviation = (model.standardise.square - model.standardise.mean.square()).sqrt()
        raw = z * deviation.view(2, 1, 1) + model.standardise.mean.view(2, 1, 1)
        torch.testing.assert_close(x, model.autoencoder.decoder(raw))
    assert x.shape == (3, *SHAPE)


def test_a_draw_costs_the_denoisers_calls_and_one_of_the_decoder():
    model = make(conditional=True, guided=("ddim-4-cfg2",))
    calls = model.samplers["ddim-4-cfg2"].calls
    assert calls == {model.diffusion.network: 8, model.autoencoder.decoder: 1}
    assert model.samplers["ddim-5"].nfe == 6


def test_labels_reach_a_conditional_model_of_latents():
    model = make(conditional=True)
    with torch.no_grad():
        for parameter in model.diffusion.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    model.eval()
    with torch.inference_mode():
        drawn = [
            model.samplers["ddim-5"].generate(
                2, torch.Generator().manual_seed(1), torch.full((2,), y)
            )
            for y in (0, 1)
        ]
    assert not torch.equal(*drawn)
    loss = model.phases[1].loss(Batch(torch.rand(3, *SHAPE), torch.tensor([0, 1, 2])))
    assert torch.isfinite(loss["loss"])


def test_the_model_of_latents_has_its_own_progress():
    model = make(split=0.5)
    for progress, expected in ((0.2, 0.0), (0.5, 0.0), (0.75, 0.5), (1.0, 1.0)):
        model.progress.fill_(progress)
        assert model.stage == 0
        assert model.diffusion.progress.item() == expected


def test_any_model_can_stand_in_for_diffusion():
    """A second VAE of the first one's latents: stacked by the contract alone."""

    def inner(latents: DataSpec) -> GenerativeModel:
        wide = partial(MapEncoder, width=8, levels=1), partial(MapDecoder, width=8, levels=1)
        assert latents.shape == (2, 8, 8)
        return VAE(latents, *wide, latent_dim=2)

    shape = (1, 16, 16)
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10)
    outer = partial(
        VAE,
        encoder=partial(MapEncoder, width=8, levels=1),
        decoder=partial(MapDecoder, width=8, levels=1),
        latent_dim=2,
    )
    model = LatentDiffusion(data, outer, inner).eval()
    with torch.inference_mode():
        x = model.samplers["decoder"].generate(2, torch.Generator().manual_seed(0), None)
    assert x.shape == (2, *shape)


@pytest.mark.parametrize("split", [0.0, 1.0, -0.5])
def test_a_split_that_leaves_a_phase_nothing_is_refused(split):
    with pytest.raises(ValueError, match=rf"split must be in \(0, 1\), got {split}"):
        make(split=split)


def test_what_follows_an_update_of_the_denoiser_still_does(monkeypatch):
    called = []
    model = make()
    phases = tuple(
        replace(phase, after_update=partial(called.append, phase.name))
        for phase in model.diffusion.phases
    )
    monkeypatch.setattr(type(model.diffusion), "phases", phases)
    for phase in model.phases:
        if phase.after_update is not None:
            phase.after_update()
    assert called == ["denoiser"]
