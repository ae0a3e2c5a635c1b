import math
from functools import partial

import pytest
import torch
from torch.distributions import Independent, Normal, kl_divergence

from models.autoencoder.networks import MapDecoder, MapEncoder, VectorEncoder
from models.autoencoder.vae import VAE, gaussian_nll, kl_to_standard_normal, reparameterise
from models.base import Batch, DataSpec
from models.gan.networks.dcgan import Generator

SHAPE = (1, 8, 8)
DATA = DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10)


def make(**settings) -> VAE:
    torch.manual_seed(0)
    networks = partial(VectorEncoder, width=8), partial(Generator, width=8)
    return VAE(DATA, *networks, **{"latent_dim": 3, **settings})


def test_kl_is_that_of_torch_distributions():
    mean, log_variance = torch.randn(5, 4, 3), torch.randn(5, 4, 3)
    posterior = Independent(Normal(mean, (0.5 * log_variance).exp()), 2)
    prior = Independent(Normal(torch.zeros(4, 3), torch.ones(4, 3)), 2)
    torch.testing.assert_close(
        kl_to_standard_normal(mean, log_variance), kl_divergence(posterior, prior)
    )
    assert (kl_to_standard_normal(torch.zeros(2, 3), torch.zeros(2, 3)) == 0).all()


def test_reparameterised_latents_have_the_moments_asked_for():
    torch.manual_seed(0)
    mean, log_variance = torch.tensor([-1.0, 2.0]), torch.tensor([0.0, math.log(9.0)])
    z = reparameterise(mean.expand(40_000, 2), log_variance.expand(40_000, 2))
    torch.testing.assert_close(z.mean(0), mean, atol=0.06, rtol=0)
    torch.testing.assert_close(z.std(0), torch.tensor([1.0, 3.0]), atol=0.06, rtol=0)


def test_gradients_pass_through_the_draw():
    """d E[z^2] / d mean = 2 mean, and with respect to the log-variance it is the variance."""
    torch.manual_seed(0)
    mean = torch.tensor(1.5, requires_grad=True)
    log_variance = torch.tensor(math.log(4.0), requires_grad=True)
    z = reparameterise(mean.expand(100_000), log_variance.expand(100_000))
    z.square().mean().backward()
    assert mean.grad is not None
    assert log_variance.grad is not None
    assert mean.grad.item() == pytest.approx(3.0, abs=0.05)
    assert log_variance.grad.item() == pytest.approx(4.0, abs=0.1)


@pytest.mark.parametrize("variance", [0.01, 1.0])
def test_fixed_variance_likelihood_is_that_of_torch_distributions(variance):
    x, mean = torch.randn(4, 6), torch.randn(4, 6)
    expected = -Normal(mean, variance**0.5).log_prob(x).mean()
    torch.testing.assert_close(gaussian_nll((x - mean).square().mean(), variance), expected)


def test_the_fitted_variance_is_the_most_likely_one():
    error = torch.tensor(0.3, requires_grad=True)
    fitted = gaussian_nll(error, None)
    assert fitted.item() == pytest.approx(gaussian_nll(error, 0.3).item())
    assert all(fitted < gaussian_nll(error, variance) for variance in (0.2, 0.29, 0.31, 0.5))
    (slope,) = torch.autograd.grad(fitted, error)
    assert slope.item() == pytest.approx(1 / (2 * 0.3))  # as if the variance were fixed at 0.3
    assert torch.isfinite(gaussian_nll(torch.tensor(0.0), None))


def test_the_loss_is_the_weighted_sum_of_its_parts():
    batch = Batch(torch.rand(6, *SHAPE) * 2 - 1)
    logs = make(kl_weight=0.25).autoencoder_loss(batch)
    torch.testing.assert_close(logs["loss"].detach(), logs["reconstruction"] + 0.25 * logs["kl"])
    assert logs["kl"] > 0


def test_the_kl_is_counted_per_dimension_of_the_data():
    vae = make()
    batch = Batch(torch.rand(6, *SHAPE) * 2 - 1)
    mean, log_variance = vae.encoder(batch.x)
    expected = kl_to_standard_normal(mean, log_variance).mean() / 64
    torch.testing.assert_close(vae.autoencoder_loss(batch)["kl"], expected.detach())


def test_samples_are_the_decoded_prior():
    vae = make().eval()
    z = torch.randn(5, 3, generator=torch.Generator().manual_seed(4))
    with torch.inference_mode():
        x = vae.generate(5, torch.Generator().manual_seed(4))
        torch.testing.assert_close(x, vae.decoder(z))


def test_it_learns_two_points():
    """Reconstructions tell two images apart, and samples look like them rather than like noise."""
    vae = make(latent_dim=2)
    x = torch.stack([torch.full(SHAPE, -0.8), torch.full(SHAPE, 0.8)]).repeat(16, 1, 1, 1)
    optimizer = torch.optim.Adam(vae.parameters(), 3e-3)
    for _ in range(150):
        optimizer.zero_grad()
        vae.autoencoder_loss(Batch(x))["loss"].backward()
        optimizer.step()
    vae.eval()
    with torch.inference_mode():
        decoded = vae.decoder(vae.encoder(x)[0])
        drawn = vae.generate(256, torch.Generator().manual_seed(0)).mean((1, 2, 3))
    assert (decoded - x).abs().mean() < 0.2
    assert drawn.abs().median() > 0.5
    assert 0.2 < (drawn > 0).float().mean() < 0.8


@pytest.mark.parametrize(
    ("shape", "latent"),
    [((1, 8, 8), (4, 4, 4)), ((1, 28, 28), (4, 7, 7)), ((3, 32, 40), (4, 8, 10))],
)
def test_maps_are_halved_but_not_below_4(shape, latent):
    encoder, decoder = MapEncoder(4, shape, width=8), MapDecoder(4, shape, width=8)
    mean, log_variance = encoder(torch.rand(2, *shape))
    assert encoder.latent_shape == latent
    assert mean.shape == log_variance.shape == (2, *latent)
    x = decoder(mean)
    assert x.shape == (2, *shape)
    assert x.abs().max() <= 1


def test_odd_sizes_come_back():
    encoder, decoder = MapEncoder(2, (1, 9, 13), width=8), MapDecoder(2, (1, 9, 13), width=8)
    assert decoder(encoder(torch.rand(2, 1, 9, 13))[0]).shape == (2, 1, 9, 13)
    assert VectorEncoder(2, (1, 9, 13), width=8)(torch.rand(3, 1, 9, 13))[0].shape == (3, 2)


@pytest.mark.parametrize("encoder", [VectorEncoder, MapEncoder])
def test_the_latents_of_an_image_do_not_depend_on_its_batch(encoder):
    network, x = encoder(3, SHAPE, width=8), torch.rand(4, *SHAPE)
    torch.testing.assert_close(network(x)[0][:1], network(x[:1])[0])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"kl_weight": -1.0}, "kl_weight must not be negative, got -1.0"),
        ({"decoder_variance": 0.0}, "decoder_variance must be positive or null, got 0.0"),
    ],
)
def test_numbers_out_of_range_are_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.parametrize("network", [VectorEncoder, MapEncoder, MapDecoder])
def test_networks_refuse_what_they_cannot_be_built_for(network):
    with pytest.raises(ValueError, match=r"data_shape .*got \(2,\)"):
        network(2, (2,))
    with pytest.raises(ValueError, match="width must be a positive multiple of 8, got 12"):
        network(2, SHAPE, width=12)


@pytest.mark.parametrize("network", [MapEncoder, MapDecoder])
def test_maps_need_a_level(network):
    with pytest.raises(ValueError, match="levels must be at least 1, got 0"):
        network(2, SHAPE, levels=0)


def test_a_decoder_of_other_latents_is_refused():
    with pytest.raises(ValueError, match="give both the same kind of latents and as many levels"):
        VAE(
            DataSpec((1, 16, 16), 0, lambda index: index, 0),
            partial(MapEncoder, levels=2),
            partial(MapDecoder, levels=1),
            latent_dim=4,
        )
    with pytest.raises(ValueError, match="does not map the encoder's latents"):
        VAE(DataSpec((1, 16, 16), 0, lambda index: index, 0), VectorEncoder, MapDecoder)


def test_a_weight_that_is_no_number_is_refused():
    with pytest.raises(ValueError, match="kl_weight"):
        make(kl_weight=float("nan"))
