"""The generative adversarial network: two phases and a one-step sampler around any two networks."""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.gan.objectives import Objective
from models.gan.regularisers import Regulariser


class GAN(GenerativeModel):
    """A generator and a discriminator playing a game (Goodfellow et al. 2014, Algorithm 1).

    Networks, objective and regularisers are independent parts. Batch normalisation: the
    discriminator processes real and fake samples in separate batches, each with its own statistics,
    as DCGAN's authors did. Sampling requires eval mode with running statistics, so that a sample
    does not depend on its batch. Class labels are ignored here; a conditional model overrides
    `fake`, `judge` and `generate`.

    Args:
        data: shape of the data.
        generator: (latent_dim, data_shape) to a network from (B, latent_dim) to
            (B, *data_shape) in [-1, 1].
        discriminator: data_shape to a network from (B, *data_shape) to logits, (B,).
        objective: the losses of the two players.
        latent_dim: length of z ~ N(0, I).
        regularisers: penalties that are added to the discriminator's loss.
        critic_repeats: discriminator updates per generator update, each on a fresh batch.

    Raises:
        ValueError: latent_dim or critic_repeats is not a positive integer, two penalties have equal
            names, or a discriminator with penalties has batch norm.
    """

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        objective: Objective,
        latent_dim: int = 100,
        regularisers: Sequence[Regulariser] = (),
        critic_repeats: int = 1,
    ) -> None:
        super().__init__(data.shape)
        for name, value in (("latent_dim", latent_dim), ("critic_repeats", critic_repeats)):
            if value < 1 or value != int(value):
                raise ValueError(f"{name} must be a whole number, at least 1, got {value}")
        names = [regulariser.name for regulariser in regularisers]
        if len(set(names)) < len(names):
            raise ValueError(f"regularisers must have distinct names, got {names}: set their name")
        self.latent_dim = latent_dim
        self.objective = objective
        self.regularisers = tuple(regularisers)
        self.critic_repeats = critic_repeats
        self.generator = generator(latent_dim, self.data_shape)
        self.discriminator = discriminator(self.data_shape)
        if regularisers and any(isinstance(m, _BatchNorm) for m in self.discriminator.modules()):
            raise ValueError(
                "a gradient penalty needs each sample's own gradient, and batch norm mixes the "
                "samples of a batch: set the discriminator's norm to none or layer, or leave "
                "model.build.regularisers out"
            )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The discriminator's updates, then one generator update."""
        repeats = self.critic_repeats
        return (
            Phase("discriminator", self.discriminator, self.discriminator_loss, repeats),
            Phase("generator", self.generator, self.generator_loss),
        )

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One pass through the generator."""
        return {"generator": Sampler(self.generate, {self.generator: 1})}

    def fake(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Generated samples, (B, *data_shape), of latents (B, latent_dim); y is ignored here."""
        return self.generator(z)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The discriminator's logits of samples, (B,) float32; y is ignored here."""
        logits = self.discriminator(x).float()
        if logits.dim() != 1:
            raise ValueError(f"a discriminator must give (B,) logits, got {tuple(logits.shape)}")
        return logits

    def real(self, batch: Batch) -> Tensor:
        """The real samples in the form that the discriminator receives, (B, *shape)."""
        return batch.x

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Discriminator loss on batch.x, (B, *data_shape), and as many new fakes, with penalties.

        Returns:
            "loss", the mean logits "real_logit" and "fake_logit", and every penalty by its name,
            detached; all 0-dim.
        """
        real, y = self.real(batch), batch.y
        with torch.no_grad():
            fake = self.fake(self.latents(real), y)  # (B, *data_shape)
        real_logits = self.judge(real, y)  # (B,)
        fake_logits = self.judge(fake, y)  # (B,)
        penalties = {
            regulariser.name: regulariser(lambda x: self.judge(x, y), real, fake)
            for regulariser in self.regularisers
        }
        loss = self.objective.discriminator(real_logits, fake_logits)
        return {
            "loss": loss + sum(penalties.values()),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
            **{name: penalty.detach() for name, penalty in penalties.items()},
        }

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Generator loss on len(batch.x) new fakes.

        Returns:
            "loss", and the mean logit "fake_logit", detached; both 0-dim.
        """
        y = batch.y
        real = self.real(batch)
        fake_logits = self.judge(self.fake(self.latents(real), y), y)  # (B,)
        real_logits = self.judge(real, y) if self.objective.paired else None
        return {
            "loss": self.objective.generator(fake_logits, real_logits),
            "fake_logit": fake_logits.detach().mean(),
        }

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored here.

        The model should be in eval mode. The latents come from `generator`, which lives on the
        model's device.
        """
        z = torch.randn(n, self.latent_dim, generator=generator, device=self.progress.device)
        return self.fake(z, y).float().clamp(-1.0, 1.0)  # (n, *data_shape)

    def latents(self, x: Tensor) -> Tensor:
        """As many latents as there are samples in x, from torch's global generator."""
        return torch.randn(x.shape[0], self.latent_dim, device=x.device)  # (B, latent_dim)
