"""Latent diffusion (Rombach et al. 2022): a diffusion model of the latents of an autoencoder.

The autoencoder is trained in the first part of the budget; after it the diffusion model, on the
latents that the autoencoder then gives. The model of the latents must sample without bounds, since
they have none: `GaussianDiffusion` with clip=false.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial

import torch
from torch import Generator, Tensor, nn

from models.autoencoder.vae import VAE, reparameterise
from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler, Trajectory
from models.exports import NetworkCall, normal_input

Loss = Callable[[Batch], dict[str, Tensor]]


class LatentDiffusion(GenerativeModel):
    """An autoencoder and a generative model of its standardised latents.

    With averaged weights the decoder used for sampling is the average too; it has caught up with
    the encoder that the latents come from soon after the autoencoder's phase.
    """

    def __init__(
        self,
        data: DataSpec,
        autoencoder: Callable[[DataSpec], VAE],
        diffusion: Callable[[DataSpec], GenerativeModel],
        *,
        split: float = 0.4,
    ) -> None:
        """Build both models.

        Args:
            data: the data to model.
            autoencoder: builds the autoencoder for the data.
            diffusion: builds the model of the latents, which are not bounded: they have mean 0 and
                variance 1 in every channel.
            split: share of the budget after which the autoencoder is done, in (0, 1).

        Raises:
            ValueError: split is out of its range, or a part does not fit the data.
        """
        super().__init__(data.shape)
        if not 0 < split < 1:
            raise ValueError(f"split must be in (0, 1), got {split}")
        self.split = split
        self.autoencoder = autoencoder(data)
        latents = DataSpec(self.autoencoder.latent_shape, data.num_classes, _not_held_out, 0)
        self.standardise = Standardise(self.autoencoder.latent_shape[0])
        self.diffusion = diffusion(latents)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The autoencoder up to `split`, then the phases of the model of its latents."""
        first = Phase("autoencoder", self.autoencoder, self.autoencoder_loss, span=(0, self.split))
        return (
            first,
            *(
                replace(
                    phase,
                    loss=partial(self._latent_loss, phase.loss),
                    span=(self._after(phase.span[0]), self._after(phase.span[1])),
                )
                for phase in self.diffusion.phases
            ),
        )

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """The samplers of the model of latents, each followed by one pass through the decoder."""
        return {
            name: Sampler(
                partial(self._generate, sampler),
                None if sampler.calls is None else {**sampler.calls, self.autoencoder.decoder: 1},
                classes=sampler.classes,
                trajectory=sampler.trajectory and partial(self._trajectory, sampler.trajectory),
            )
            for name, sampler in self.diffusion.samplers.items()
        }

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """Those of the model of latents, and the decoder of its samples."""
        latents = normal_input(
            "z", self.autoencoder.latent_shape, "latents, samples of the other call"
        )
        outputs = {"sample": "samples in [-1, 1]"}
        decoder = NetworkCall(lambda z: (self.decode(z),), (latents,), outputs)
        return {**self.diffusion.network_calls, "decoder": decoder}

    @property
    def stage(self) -> int:
        """That of the model of latents."""
        self._pass_progress_on()
        return self.diffusion.stage

    @property
    def batch_unit(self) -> int:
        """That of the model of latents."""
        return self.diffusion.batch_unit

    def autoencoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The autoencoder's own loss; the statistics of its latents are kept up to date."""
        mean, log_variance = self.autoencoder.encoder(batch.x)  # each (B, C, h, w)
        self.standardise.update(mean, log_variance)
        return self.autoencoder.negative_bound(batch.x, mean, log_variance)

    @torch.no_grad()
    def encode(self, x: Tensor) -> Tensor:
        """Sample standardised latents of images, (B, *latent_shape) float32, with no gradient."""
        return self.standardise(reparameterise(*self.autoencoder.encoder(x)))

    def decode(self, z: Tensor) -> Tensor:
        """Map standardised latents to images in [-1, 1], (B, *data_shape) float32."""
        return self.autoencoder.decoder(self.standardise.undo(z)).float()

    def _latent_loss(self, loss: Loss, batch: Batch) -> dict[str, Tensor]:
        self._pass_progress_on()
        return loss(Batch(self.encode(batch.x), batch.y))

    def _generate(self, sampler: Sampler, n: int, generator: Generator, y: Tensor | None) -> Tensor:
        return self.decode(sampler.generate(n, generator, y))

    def _trajectory(
        self, trajectory: Trajectory, n: int, generator: Generator, y: Tensor | None = None
    ) -> list[Tensor]:
        """What the latents on the way look like once decoded, each (n, *data_shape)."""
        return [self.decode(z) for z in trajectory(n, generator, y)]

    def _after(self, share: float) -> float:
        """The share of the whole budget at a share of the part after `split`."""
        return 1.0 if share == 1.0 else self.split + (1.0 - self.split) * share

    def _pass_progress_on(self) -> None:
        share = (self.progress - self.split) / (1.0 - self.split)
        self.diffusion.progress.copy_(share.clamp(0.0, 1.0))


class Standardise(nn.Module):
    """Shifts and scales latents to mean 0 and variance 1 in every channel.

    The statistics are those of all latents seen while these are few, then an exponential average
    over about a hundred batches. (Rombach et al. 2022, App. G, divide by the deviation of the first
    batch.) Under torchrun each process averages over its own batches, and the average of the first
    is what is saved and used for sampling.

    Args:
        channels: of the latents.
    """

    mean: Tensor
    square: Tensor
    batches: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(channels))
        self.register_buffer("square", torch.ones(channels))
        self.register_buffer("batches", torch.zeros(()))

    @torch.no_grad()
    def update(self, mean: Tensor, log_variance: Tensor) -> None:
        """Take in the latents' distributions given a batch of images, each (B, channels, …)."""
        square = mean.square() + log_variance.exp()
        self.batches += 1
        weight = (1 / self.batches).clamp_min(0.01)
        for statistic, values in ((self.mean, mean), (self.square, square)):
            statistic.lerp_(values.transpose(0, 1).flatten(1).mean(1), weight)  # (channels,)

    def forward(self, z: Tensor) -> Tensor:
        """Standardise latents, (B, channels, …)."""
        mean, deviation = self._shift_and_scale(z.dim())
        return (z - mean) / deviation

    def undo(self, z: Tensor) -> Tensor:
        """The latents that were standardised to z, (B, channels, …)."""
        mean, deviation = self._shift_and_scale(z.dim())
        return z * deviation + mean

    def _shift_and_scale(self, dim: int) -> tuple[Tensor, Tensor]:
        """Mean and standard deviation, to be broadcast against latents of `dim` dimensions."""
        shape = (-1, *(1,) * (dim - 2))
        variance = (self.square - self.mean.square()).clamp_min(1e-8)
        return self.mean.view(shape), variance.sqrt().view(shape)


def _not_held_out(index: Tensor) -> Tensor:
    raise ValueError(f"there are no held-out latents, got {len(index)} indices of some")
