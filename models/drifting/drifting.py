"""Drifting models (Deng et al. 2026, arXiv 2602.04770): no game, no noise levels, one step.

A generator's samples are regressed onto themselves, moved a little towards real samples and away
from each other. What "near" means is decided by features of a network that is trained on the same
data without labels, in the first part of the budget.
"""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.drifting.features import FeatureNetwork
from models.drifting.field import Features, drifting_loss
from models.exports import NetworkCall, normal_input


class Drifting(GenerativeModel):
    """A generator, and the features that its samples drift in, beside the data space itself.

    Departures: neither classes nor guidance; the positive samples are the batch, without a queue.
    Under torchrun each process moves its own samples by its own part of the batch.
    """

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        features: Callable[[tuple[int, ...]], FeatureNetwork] | None = None,
        *,
        latent_dim: int | None = None,
        temperatures: Sequence[float] = (0.02, 0.05, 0.2),
        split: float = 0.2,
    ) -> None:
        """Build the networks.

        Args:
            data: the data to model.
            generator: (latent_dim, data_shape) to a network from (B, latent_dim) to
                (B, *data_shape).
            features: builds a `FeatureNetwork` from data_shape; None for the data space alone.
            latent_dim: length of z ~ N(0, I); None for as many as a sample has values.
            temperatures: of the kernels, in units of the mean distance of features.
            split: share of the budget in which the features are trained, in (0, 1).

        Raises:
            ValueError: an argument is out of its range, or a network does not fit the data.
        """
        super().__init__(data.shape)
        if latent_dim is not None and latent_dim < 1:
            raise ValueError(f"latent_dim must be at least 1, got {latent_dim}")
        if not temperatures or not all(0 < t < math.inf for t in temperatures):
            raise ValueError(f"temperatures must be positive numbers, got {list(temperatures)}")
        if not 0 < split < 1:
            raise ValueError(f"split must be in (0, 1), got {split}")
        self.latent_dim = math.prod(self.data_shape) if latent_dim is None else latent_dim
        self.temperatures = tuple(temperatures)
        self.split = split
        self.generator = generator(self.latent_dim, self.data_shape)
        self.features = None if features is None else features(self.data_shape)
        self.trains_on = () if self.features is None else self.features.extractors

    @property
    def phases(self) -> tuple[Phase, ...]:
        """The features up to `split`, if there are some, then the generator."""
        if self.features is None:
            return (Phase("generator", self.generator, self.generator_loss, pairwise=True),)
        learn = Phase("features", self.features, self.features.loss, span=(0.0, self.split))
        span = (self.split, 1.0)
        move = Phase("generator", self.generator, self.generator_loss, span=span, pairwise=True)
        return (learn, move)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One pass through the generator."""
        return {"generator": Sampler(self.generate, {self.generator: 1})}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the generator."""
        latents = normal_input("z", (self.latent_dim,), "latents from N(0, I)")

        def compute(z: Tensor) -> tuple[Tensor, ...]:
            return (self.generator(z).float().clamp(-1.0, 1.0),)

        return {"generator": NetworkCall(compute, (latents,), {"sample": "samples in [-1, 1]"})}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The drifting loss of as many samples as there are real ones, in all features (Eq. 13).

        Returns:
            "loss"; and "drift", the size of the drift in units of the mean distance, averaged over
            features. Drifts are normalised, so that the loss tells nothing; their size does. 0-dim.
        """
        z = torch.randn(len(batch.x), self.latent_dim, device=batch.x.device)
        x = self.generator(z)  # (B, *data_shape)
        with torch.no_grad():
            positives = self.compared(batch.x)
        terms = [
            drifting_loss(ours, theirs, self.temperatures)
            for ours, theirs in zip(self.compared(x), positives, strict=True)
        ]
        losses, sizes = (torch.stack(values) for values in zip(*terms, strict=True))
        return {"loss": losses.sum(), "drift": sizes.mean()}

    def compared(self, x: Tensor) -> list[Features]:
        """The samples themselves, and their features; x is (B, *data_shape)."""
        itself = Features(x.float().flatten(1)[:, None])  # (B, 1, D)
        return [itself, *(() if self.features is None else self.features.features(x))]

    def generate(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, *data_shape) float32 in [-1, 1]; y is ignored.

        The model should be in eval mode. The latents come from `generator`, which lives on the
        model's device.
        """
        z = torch.randn(n, self.latent_dim, generator=generator, device=self.progress.device)
        return self.generator(z).float().clamp(-1.0, 1.0)


class FromNoise(nn.Module):
    """A network of images and timesteps, such as DiT, as a generator: noise in, one image out.

    Args:
        latent_dim: number of values of one sample.
        data_shape: its shape.
        network: builds the network from data_shape; it maps (B, *data_shape) and (B,) timesteps,
            all 0 here, to (B, *data_shape).

    Raises:
        ValueError: latent_dim is another number.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        network: Callable[[tuple[int, ...]], nn.Module],
    ) -> None:
        super().__init__()
        if latent_dim != math.prod(data_shape):
            raise ValueError(
                f"latent_dim must be {math.prod(data_shape)}, the values of one sample, or null "
                f"for a generator of noise of the sample's shape, got {latent_dim}"
            )
        self.data_shape = tuple(data_shape)
        self.network = network(self.data_shape)

    def forward(self, z: Tensor) -> Tensor:
        """Map noise, (B, latent_dim), to samples, (B, *data_shape)."""
        return self.network(z.unflatten(1, self.data_shape), torch.zeros(len(z), device=z.device))
