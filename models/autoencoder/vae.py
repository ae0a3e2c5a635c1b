"""The variational autoencoder (Kingma & Welling 2014): one phase and a one-step sampler."""

import math
from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.autoencoder.networks import Encoder
from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.exports import NetworkCall, normal_input


class VAE(GenerativeModel):
    """An encoder and a decoder that maximise a lower bound on the likelihood of the data.

    The decoder is Gaussian: it returns the mean of an image, and all pixels share one variance,
    fixed or fitted. Samples are means of the decoder, without its noise. Labels are not used.
    """

    def __init__(
        self,
        data: DataSpec,
        encoder: Callable[[int, tuple[int, ...]], Encoder],
        decoder: Callable[[int, tuple[int, ...]], nn.Module],
        *,
        latent_dim: int = 64,
        kl_weight: float = 1.0,
        decoder_variance: float | None = None,
    ) -> None:
        """Build the networks.

        Args:
            data: shape of the data.
            encoder: (latent_dim, data_shape) to a network from images to Gaussians.
            decoder: (latent_dim, data_shape) to a network from latents, (B, *latent_shape), to
                images in [-1, 1].
            latent_dim: length of latent vectors, channels of latent maps.
            kl_weight: weight of the KL divergence; 1 is the variational bound, more a beta-VAE
                (Higgins et al. 2017, Eq. 4), much less only limits the range of latents.
            decoder_variance: variance of every pixel; None for the maximum-likelihood value (Rybkin
                et al. 2021, Eq. 7), which balances the two terms without a hyper-parameter.

        Raises:
            ValueError: a number is out of its range, or the data are not images that fit.
        """
        super().__init__(data.shape)
        if latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
        if not kl_weight >= 0:
            raise ValueError(f"kl_weight must not be negative, got {kl_weight}")
        if decoder_variance is not None and not decoder_variance > 0:
            raise ValueError(f"decoder_variance must be positive or null, got {decoder_variance}")
        self.kl_weight = kl_weight
        self.decoder_variance = decoder_variance
        self.encoder = encoder(latent_dim, self.data_shape)
        self.decoder = decoder(latent_dim, self.data_shape)
        self._check_decoder()

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """Shape of the latents of one image."""
        return self.encoder.latent_shape

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase, of both networks."""
        return (Phase("autoencoder", self, self.autoencoder_loss),)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """The decoder, applied to latents from the prior, N(0, I)."""
        return {"decoder": Sampler(self.generate, {self.decoder: 1})}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the decoder."""
        latents = normal_input("z", self.latent_shape, "latents from N(0, I)")
        outputs = {"sample": "samples in [-1, 1]"}
        return {"decoder": NetworkCall(lambda z: (self.decoder(z).float(),), (latents,), outputs)}

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The negative bound per dimension of the data, with one latent per image (Eq. 10).

        Returns:
            "loss" = "reconstruction" + kl_weight * "kl", the parts detached; all 0-dim, in nats per
            dimension of the data.
        """
        mean, log_variance = self.encoder(batch.x)  # each (B, *latent_shape)
        return self.negative_bound(batch.x, mean, log_variance)

    def negative_bound(self, x: Tensor, mean: Tensor, log_variance: Tensor) -> dict[str, Tensor]:
        """`autoencoder_loss` of images, (B, *data_shape), that the encoder mapped to Gaussians."""
        z = reparameterise(mean, log_variance)  # (B, *latent_shape)
        error = (self.decoder(z).float() - x).square().mean()
        reconstruction = gaussian_nll(error, self.decoder_variance)
        kl = kl_to_standard_normal(mean, log_variance).mean() / math.prod(self.data_shape)
        return {
            "loss": reconstruction + self.kl_weight * kl,
            "reconstruction": reconstruction.detach(),
            "kl": kl.detach(),
        }

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        The model should be in eval mode. The latents come from `generator`, which lives on the
        model's device.
        """
        z = torch.randn((n, *self.latent_shape), generator=generator, device=generator.device)
        return self.decoder(z).float()  # (n, *data_shape)

    @torch.no_grad()
    def _check_decoder(self) -> None:
        """Raise ValueError if the decoder does not map latents to the shape of the data."""
        training = self.decoder.training
        try:
            shape = self.decoder.eval()(torch.zeros(1, *self.latent_shape)).shape[1:]
        except RuntimeError:
            shape = None
        self.decoder.train(training)
        if shape != self.data_shape:
            raise ValueError(
                f"the decoder does not map the encoder's latents {self.latent_shape} to data_shape "
                f"{self.data_shape}: give both the same kind of latents and as many levels"
            )


def reparameterise(mean: Tensor, log_variance: Tensor) -> Tensor:
    """Sample from N(mean, exp(log_variance)), differentiably (Kingma & Welling 2014, Sec. 2.4).

    The noise comes from torch's global generator.
    """
    return mean + (0.5 * log_variance).exp() * torch.randn_like(mean)


def kl_to_standard_normal(mean: Tensor, log_variance: Tensor) -> Tensor:
    """KL(N(mean, exp(log_variance)) || N(0, I)) (Kingma & Welling 2014, App. B).

    Args:
        mean: (B, *latent_shape).
        log_variance: logarithm of the diagonal of the covariance, (B, *latent_shape).

    Returns:
        Nats per image, (B,), at least 0.
    """
    return 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).flatten(1).sum(1)


def gaussian_nll(error: Tensor, variance: float | None) -> Tensor:
    """Negative log-likelihood of data under Gaussians of one variance.

    Args:
        error: mean squared distance of the data from the Gaussians' means, 0-dim.
        variance: sigma^2; None for the maximum-likelihood value, the error itself
            (Rybkin et al. 2021, Eq. 7), kept above 1e-8.

    Returns:
        Nats per dimension, 0-dim: (log(2 pi sigma^2) + error / sigma^2) / 2.
    """
    if variance is None:
        return 0.5 * (math.log(2 * math.pi) + error.clamp_min(1e-8).log() + 1)
    return 0.5 * (math.log(2 * math.pi * variance) + error / variance)
