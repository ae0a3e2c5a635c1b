"""Progressive growing: a GAN trained on small images first, then on larger ones."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.exports import NetworkCall
from models.gan.augmentation import Augmentation
from models.gan.gan import GAN
from models.gan.networks.progressive import LAST_LENGTH, Generator, Place, place_at
from models.gan.objectives import Objective
from models.gan.regularisers import Regulariser


class ProGAN(GAN):
    """A GAN whose image size is a function of progress (Karras et al. 2018, Sec. 2).

    Until the last level is reached samples are enlarged to the size of the data. Departures:
    growing is measured in shares of the budget instead of images, and optimizers are not reset when
    a level starts. With the minibatch standard deviation, the gradient of a sample in a penalty
    depends on the other samples of its batch, as in the paper.

    Args:
        data: shape of the data.
        generator: as of `GAN`; forward takes (z, place); `sizes`, the smallest first.
        discriminator: as of `GAN`; its forward takes (x, place).
        objective, latent_dim, regularisers, critic_repeats, augmentation: as of `GAN`.
        last_length: length of training at the last level, in units of one fade-in or one other
            level.

    Raises:
        ValueError: as for `GAN`, or last_length is not positive and finite.
    """

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        objective: Objective,
        latent_dim: int = 512,
        regularisers: Sequence[Regulariser] = (),
        critic_repeats: int = 1,
        last_length: float = LAST_LENGTH,
        augmentation: Augmentation | None = None,
    ) -> None:
        if not 0 < last_length < math.inf:
            raise ValueError(f"last_length must be positive and finite, got {last_length}")
        super().__init__(
            data,
            generator,
            discriminator,
            objective,
            latent_dim,
            regularisers,
            critic_repeats,
            augmentation,
        )
        self.last_length = last_length
        self.sizes = cast(Generator, self.generator).sizes
        self._place = Place(0, 1.0)  # set once by each loss and by sampling

    @property
    def stage(self) -> int:
        """Twice the level, one less while it fades in."""
        place = self.place()
        return 2 * place.level - (place.alpha < 1.0)

    def place(self) -> Place:
        """The current stage of growing; reads `progress` and may wait for the device."""
        return place_at(self.progress.item(), len(self.sizes), self.last_length)

    def real(self, batch: Batch) -> Tensor:
        """The images at the level's size, blended with those of the level below during the fade-in.

        Images are averaged over squares of pixels, as in the authors' code.
        """
        level, alpha = self._place
        x = F.adaptive_avg_pool2d(batch.x, self.sizes[level])
        if alpha < 1.0:
            small = F.adaptive_avg_pool2d(x, self.sizes[level - 1])
            x = torch.lerp(F.interpolate(small, self.sizes[level]), x, alpha)
        return x  # (B, C, *sizes[level])

    def fake(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Generated images at the level's size."""
        return self.generator(z, self._place)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The discriminator's logits of images at the level's size, (B,) float32."""
        return self.discriminator(x, self._place).float()

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """As of `GAN`, at the level's size."""
        self._place = self.place()
        return super().discriminator_loss(batch)

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """As of `GAN`, at the level's size."""
        self._place = self.place()
        return super().generator_loss(batch)

    def penalty_loss(self, penalty: Regulariser, batch: Batch) -> dict[str, Tensor]:
        """As of `GAN`, at the level's size."""
        self._place = self.place()
        return super().penalty_loss(penalty, batch)

    def real_logits(self, batch: Batch) -> Tensor:
        """As of `GAN`, at the level's size."""
        self._place = self.place()
        return super().real_logits(batch)

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples, (n, C, H, W) float32 in [-1, 1], enlarged before the last level."""
        self._place = self.place()
        return super().generate(n, generator, y)

    def sampled(self, z: Tensor, further: Tensor | None = None) -> Tensor:
        """As of `GAN`, enlarged before the last level."""
        return F.interpolate(super().sampled(z, further), self.data_shape[1:])  # nearest neighbour

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """As of `GAN`, at the present level."""
        self._place = self.place()
        return super().network_calls
