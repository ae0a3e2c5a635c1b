"""The generative adversarial network: two phases and a one-step sampler around any two networks."""

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from functools import partial

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.exports import Input, NetworkCall, normal_input
from models.gan.augmentation import Augmentation
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
        regularisers: penalties on the discriminator: added to its loss, or phases of their own if
            their interval is above 1.
        critic_repeats: discriminator updates per generator update, each on a fresh batch.
        augmentation: of all samples, real and fake, that the discriminator sees in training;
            penalties see through it. None for none.

    Raises:
        ValueError: latent_dim or critic_repeats is not a positive integer, two penalties have equal
            names, a discriminator with penalties has batch norm, or the augmentation is not one of
            such data or of such an objective.
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
        augmentation: Augmentation | None = None,
    ) -> None:
        super().__init__(data.shape)
        for name, value in (("latent_dim", latent_dim), ("critic_repeats", critic_repeats)):
            if value < 1 or value != int(value):
                raise ValueError(f"{name} must be a whole number, at least 1, got {value}")
        names = [regulariser.name for regulariser in regularisers]
        if len(set(names)) < len(names):
            raise ValueError(f"regularisers must have distinct names, got {names}: set their name")
        if augmentation is not None:
            augmentation.require(self.data_shape)
            augmentation.require_objective(objective)
        self.latent_dim = latent_dim
        self.objective = objective
        self.regularisers = tuple(regularisers)
        self.critic_repeats = critic_repeats
        self.generator = generator(latent_dim, self.data_shape)
        self.discriminator = discriminator(self.data_shape)
        self.augmentation = deepcopy(augmentation)  # its state is the model's own
        if regularisers and any(isinstance(m, _BatchNorm) for m in self.discriminator.modules()):
            raise ValueError(
                "a gradient penalty needs each sample's own gradient, and batch norm mixes the "
                "samples of a batch: set the discriminator's norm to none or layer, or leave "
                "model.build.regularisers out"
            )

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The discriminator's updates and its lazy penalties, then one generator update."""
        repeats, augmentation = self.critic_repeats, self.augmentation
        first = Phase("discriminator", self.discriminator, self.discriminator_loss, repeats)
        if augmentation is not None:
            follow = augmentation.after_update
            first = replace(first, after_update=follow, summed=augmentation.summed)
        return (
            first,
            *(
                Phase(
                    penalty.name,
                    self.discriminator,
                    partial(self.penalty_loss, penalty),
                    every=penalty.interval,
                    optimizer="discriminator",
                )
                for penalty in self.regularisers
                if penalty.interval > 1
            ),
            Phase("generator", self.generator, self.generator_loss),
        )

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One pass through the generator."""
        return {"generator": Sampler(self.generate, {self.generator: 1})}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the generator, which gives what `generate` does for given random numbers."""
        latents = normal_input("z", (self.latent_dim,), "latents from N(0, I)")

        def compute(z: Tensor, further: Tensor | None = None) -> tuple[Tensor, ...]:
            return (self.sampled(z, further),)

        inputs = (latents, *self.further_inputs)
        return {"generator": NetworkCall(compute, inputs, {"sample": "samples in [-1, 1]"})}

    @property
    def further_inputs(self) -> tuple[Input, ...]:
        """What `sampled` takes after the latents, one at most."""
        return ()

    def fake(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Generated samples, (B, *data_shape), of latents (B, latent_dim); y is ignored here."""
        return self.generator(z)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The discriminator's logits of samples, (B,) float32; y is ignored here."""
        logits = self.discriminator(x).float()
        if logits.dim() != 1:
            raise ValueError(f"a discriminator must give (B,) logits, got {tuple(logits.shape)}")
        return logits

    def augmented(self, x: Tensor) -> Tensor:
        """Samples as the discriminator sees them in training, (B, *shape)."""
        return x if self.augmentation is None else self.augmentation(x)

    def critic(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The logits of samples as they are seen in training, (B,) float32."""
        return self.judge(self.augmented(x), y)

    def real(self, batch: Batch) -> Tensor:
        """The real samples in the form that the discriminator receives, (B, *shape)."""
        return batch.x

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Discriminator loss on batch.x, (B, *data_shape), and as many new fakes, with penalties.

        Returns:
            "loss", the mean logits "real_logit" and "fake_logit", every penalty by its name and
            what the augmentation logs, detached; all 0-dim.
        """
        real, y = self.real(batch), batch.y
        with torch.no_grad():
            fake = self.fake(self.latents(real), y)  # (B, *data_shape)
        real_logits = self.critic(real, y)  # (B,)
        fake_logits = self.critic(fake, y)  # (B,)
        penalties = {
            regulariser.name: regulariser(lambda x: self.critic(x, y), real, fake)
            for regulariser in self.regularisers
            if regulariser.interval == 1
        }
        seen: Mapping[str, Tensor] = {}
        if self.augmentation is not None:
            self.augmentation.observe(real_logits)
            seen = self.augmentation.logged
        loss = self.objective.discriminator(real_logits, fake_logits)
        return {
            "loss": loss + sum(penalties.values()),
            "real_logit": real_logits.detach().mean(),
            "fake_logit": fake_logits.detach().mean(),
            **{name: penalty.detach() for name, penalty in penalties.items()},
            **seen,
        }

    def penalty_loss(self, penalty: Regulariser, batch: Batch) -> dict[str, Tensor]:
        """A lazy penalty on batch.x and, if it uses them, as many new fakes, times its interval.

        Returns:
            "loss", 0-dim.
        """
        real, y = self.real(batch), batch.y
        fake = real[:0]
        if penalty.uses_fakes:
            with torch.no_grad():
                fake = self.fake(self.latents(real), y)  # (B, *data_shape)
        return {"loss": penalty.interval * penalty(lambda x: self.critic(x, y), real, fake)}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Generator loss on len(batch.x) new fakes.

        Returns:
            "loss", and the mean logit "fake_logit", detached; both 0-dim.
        """
        y = batch.y
        real = self.real(batch)
        fake_logits = self.critic(self.fake(self.latents(real), y), y)  # (B,)
        real_logits = self.critic(real, y) if self.objective.paired else None
        return {
            "loss": self.objective.generator(fake_logits, real_logits),
            "fake_logit": fake_logits.detach().mean(),
        }

    def real_logits(self, batch: Batch) -> Tensor:
        """The discriminator's logits of real samples, not augmented, (B,)."""
        return self.judge(self.real(batch), batch.y)

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored here.

        The model should be in eval mode. The latents come from `generator`, which lives on the
        model's device.
        """
        z = torch.randn(n, self.latent_dim, generator=generator, device=self.progress.device)
        return self.sampled(z, y)

    def sampled(self, z: Tensor, further: Tensor | None = None) -> Tensor:
        """Samples in [-1, 1], (B, *data_shape) float32, as `generate` returns them.

        Args:
            z: latents, (B, latent_dim).
            further: classes, (B,), of a class-conditional model; ignored here.
        """
        return self.fake(z, further).float().clamp(-1.0, 1.0)

    def latents(self, x: Tensor) -> Tensor:
        """As many latents as there are samples in x, from torch's global generator."""
        return torch.randn(x.shape[0], self.latent_dim, device=x.device)  # (B, latent_dim)
