"""StyleGAN2: style mixing, noise in every layer, and path-length regularisation."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec, Phase
from models.exports import Input, normal_input
from models.gan.augmentation import Augmentation
from models.gan.gan import GAN
from models.gan.networks.stylegan2 import Generator
from models.gan.objectives import Objective
from models.gan.regularisers import Regulariser


@dataclass(frozen=True)
class PathLength:
    """weight · E[(|J^T y| - a)²], y ~ N(0, I) (Karras et al. 2020, Eq. 4).

    J is the Jacobian of an image with respect to its styles, and a the average length so far: steps
    of equal size in the styles should change images by equal amounts.

    Attributes:
        weight: γ_pl; 2 in the authors' code, whose y is scaled by 1 / sqrt(H W), and whose squared
            lengths are means over layers, as here.
        interval: steps from one use to the next; it is a phase of its own, and its weight is
            multiplied by the interval.
        decay: share by which a moves to the average length of a batch.
        shrink: its batch is the training batch divided by this.

    Raises:
        ValueError: an attribute is out of its range.
    """

    weight: float = 2.0
    interval: int = 4
    decay: float = 0.01
    shrink: int = 2

    def __post_init__(self) -> None:
        if not self.weight > 0:
            raise ValueError(f"weight of path_length must be positive, got {self.weight}")
        if not 0 < self.decay <= 1:
            raise ValueError(f"decay of path_length must be in (0, 1], got {self.decay}")
        for name, value in (("interval", self.interval), ("shrink", self.shrink)):
            if value < 1 or value != int(value):
                raise ValueError(
                    f"{name} of path_length must be a whole number, at least 1, got {value}"
                )


class StyleGAN2(GAN):
    """A GAN whose generator is controlled by styles (Karras et al. 2020, arXiv:1912.04958).

    Departures: the mean length a of the path-length penalty is that before the update, and its
    update takes the batches of all processes; style mixing is chosen for each sample.
    Class labels are ignored.

    Args:
        data: shape of the data.
        generator, discriminator: as of `GAN`, of `models.gan.networks.stylegan2`.
        objective, latent_dim, regularisers, augmentation: as of `GAN`.
        mixing: share of training samples whose styles come from two latents, in [0, 1]; 0.9 in the
            paper.
        path_length: penalty on the generator; None for none.

    Raises:
        ValueError: as for `GAN`, or mixing is out of its range.
    """

    mean_length: Tensor
    lengths: Tensor

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        objective: Objective,
        latent_dim: int = 512,
        regularisers: Sequence[Regulariser] = (),
        augmentation: Augmentation | None = None,
        mixing: float = 0.9,
        path_length: PathLength | None = None,
    ) -> None:
        if not 0 <= mixing <= 1:
            raise ValueError(f"mixing must be in [0, 1], got {mixing}")
        super().__init__(
            data,
            generator,
            discriminator,
            objective,
            latent_dim,
            regularisers,
            augmentation=augmentation,
        )
        self.mixing = mixing
        self.path_length = path_length
        self.register_buffer("mean_length", torch.zeros(()))  # a
        self.register_buffer("lengths", torch.zeros(2))  # of one batch: their sum and number

    @property
    def network(self) -> Generator:
        """The generator, with its parts."""
        return cast(Generator, self.generator)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """As of `GAN`, and the path-length penalty by the generator's optimizer."""
        if self.path_length is None:
            return super().phases
        path = Phase(
            "path_length",
            self.generator,
            self.path_loss,
            every=self.path_length.interval,
            optimizer="generator",
            after_update=self.follow_lengths,
            summed=(self.lengths,),
        )
        return (*super().phases, path)

    def fake(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Images of latents, (B, latent_dim), with mixed styles and random noise, for training."""
        return self.network.synthesise(self.styles(z), self.noise(z))

    def styles(self, z: Tensor) -> Tensor:
        """Styles of all layers, (B, L, W), a share of them mixed (Karras et al. 2019, Sec. 3.1).

        Mixed styles come from z up to a layer, uniform in [1, L), and from new latents after it.
        """
        count, layers = len(z), self.network.num_styles
        w = self.network.mapped(z)[:, None].expand(-1, layers, -1)  # (B, L, W)
        if not self.mixing:
            return w
        other = self.network.mapped(self.latents(z))[:, None]  # (B, 1, W)
        first = torch.randint(1, layers, (count,), device=z.device)
        mixed = torch.rand(count, device=z.device) < self.mixing
        first = torch.where(mixed, first, layers)
        own = torch.arange(layers, device=z.device) < first[:, None]  # (B, L)
        return torch.where(own[:, :, None], w, other)

    def noise(self, z: Tensor) -> Tensor:
        """Noise of as many samples as there are latents, from torch's global generator."""
        return torch.randn(len(z), self.network.noise_size, device=z.device)

    def path_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The path-length penalty on new fakes, times its interval.

        Returns:
            "loss", and the mean "length", detached; both 0-dim.
        """
        assert self.path_length is not None
        penalty = self.path_length
        z = self.latents(batch.x[: max(1, len(batch.x) // penalty.shrink)])
        lengths = self.path_lengths(self.styles(z), self.noise(z))
        with torch.no_grad():
            self.lengths.copy_(torch.stack([lengths.sum(), torch.ones_like(lengths).sum()]))
        loss = (lengths - self.mean_length).square().mean()
        return {
            "loss": penalty.interval * penalty.weight * loss,
            "length": lengths.detach().mean(),
        }

    def path_lengths(self, styles: Tensor, noise: Tensor) -> Tensor:
        """|J^T y| of every sample for a random y, (B,), the root mean square over layers.

        Args:
            styles: (B, L, W).
            noise: (B, P).
        """
        with torch.enable_grad():
            if not styles.requires_grad:
                styles = styles.detach().requires_grad_()
            images = self.network.synthesise(styles, noise).float()
            y = torch.randn_like(images) / math.sqrt(images.shape[2] * images.shape[3])
            (gradient,) = torch.autograd.grad((images * y).sum(), styles, create_graph=True)
        return (gradient.float().square().sum(dim=2).mean(dim=1) + 1e-16).sqrt()

    def follow_lengths(self) -> None:
        """Move the mean length towards that of the last batch."""
        assert self.path_length is not None
        self.mean_length.lerp_(self.lengths[0] / self.lengths[1], self.path_length.decay)

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, C, H, W) float32 in [-1, 1], without truncation or mixing.

        Latents and noise come from `generator`.
        """
        device = self.progress.device
        z = torch.randn(n, self.latent_dim, generator=generator, device=device)
        noise = torch.randn(n, self.network.noise_size, generator=generator, device=device)
        return self.sampled(z, noise)

    def sampled(self, z: Tensor, further: Tensor | None = None) -> Tensor:
        """Samples in [-1, 1] of latents, (B, latent_dim), and noise, (B, P)."""
        return self.generator(z, further).float().clamp(-1.0, 1.0)

    @property
    def further_inputs(self) -> tuple[Input, ...]:
        """Noise."""
        return (
            normal_input("noise", (self.network.noise_size,), "noise of all layers, from N(0, I)"),
        )
