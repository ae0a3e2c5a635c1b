"""The generative adversarial network: two phases and a one-step sampler around any two networks."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.gan.objectives import Objective


class GAN(GenerativeModel):
    """A generator and a discriminator playing a game (Goodfellow et al. 2014, Algorithm 1).

    Batch normalisation: the discriminator sees real and fake samples in separate batches, so each
    has its own statistics, as DCGAN's authors did. Sampling expects eval mode, hence running
    statistics, so that a sample does not depend on the others in its batch. Class labels are
    ignored: the model is unconditional.

    Args:
        data: what the data looks like.
        generator: (latent_dim, data_shape) to a network from (B, latent_dim) to
            (B, *data_shape) in [-1, 1].
        discriminator: data_shape to a network from (B, *data_shape) to logits, (B,).
        objective: the losses of the two players.
        latent_dim: length of z ~ N(0, I).
    """

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[[int, tuple[int, ...]], nn.Module],
        discriminator: Callable[[tuple[int, ...]], nn.Module],
        objective: Objective,
        latent_dim: int = 100,
    ) -> None:
        super().__init__(data.shape)
        self.latent_dim = latent_dim
        self.objective = objective
        self.generator = generator(latent_dim, self.data_shape)
        self.discriminator = discriminator(self.data_shape)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One discriminator update, then one generator update."""
        return (
            Phase("discriminator", self.discriminator, self.discriminator_loss),
            Phase("generator", self.generator, self.generator_loss),
        )

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One pass through the generator."""
        return {"generator": Sampler(self.draw, nfe=1, network=self.generator)}

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of telling batch.x, (B, *data_shape), from as many fresh fakes.

        Returns:
            "loss", and the mean logits "real_logit" and "fake_logit", detached; all 0-dim.
        """
        with torch.no_grad():
            fake = self.generator(self._latents(batch.x))  # (B, *data_shape)
        real_logits = self.discriminator(batch.x).float()  # (B,)
        fake_logits = self.discriminator(fake).float()  # (B,)
        return {
            "loss": self.objective.discriminator(real_logits, fake_logits),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
        }

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Loss of fooling the discriminator with len(batch.x) fresh fakes.

        Returns:
            "loss", and the mean logit "fake_logit", detached; both 0-dim.
        """
        fake_logits = self.discriminator(self.generator(self._latents(batch.x))).float()  # (B,)
        return {
            "loss": self.objective.generator(fake_logits),
            "fake_logit": fake_logits.detach().mean(),
        }

    def draw(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Draw n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        The model should be in eval mode. The latents come from `generator`, which lives on the
        model's device.
        """
        z = torch.randn(n, self.latent_dim, generator=generator, device=self.progress.device)
        return self.generator(z).float()  # (n, *data_shape)

    def _latents(self, x: Tensor) -> Tensor:
        """As many latents as there are samples in x, from torch's global generator."""
        return torch.randn(x.shape[0], self.latent_dim, device=x.device)  # (B, latent_dim)
