"""Class-conditional GAN: generator and discriminator receive the class label."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from models.base import DataSpec, Sampler
from models.exports import Input, label_input
from models.gan.augmentation import Augmentation
from models.gan.gan import GAN
from models.gan.objectives import Objective
from models.gan.regularisers import Regulariser


class ConditionalGAN(GAN):
    """min max over pairs of samples and classes (Mirza & Osindero 2014, Eq. 2).

    In training fakes get the class labels of the real batch, as in the paper (Sec. 3.2), so that
    real and fake pairs have equal classes, as have both ends of a gradient penalty. Miyato & Koyama
    2018 sample labels uniformly, which is equivalent for balanced classes. Sampling without given
    labels uses uniform ones.

    Args:
        data: shape and classes of the data; it must have classes.
        generator: as of `GAN`, called with `num_classes` as well; forward takes (z, y).
        discriminator: as of `GAN`, called with `num_classes` as well; forward takes (x, y).
        objective, latent_dim, regularisers, critic_repeats, augmentation: as of `GAN`.

    Raises:
        ValueError: as for `GAN`, or the data has no classes.
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
        data.require_labels("a conditional GAN")
        super().__init__(
            data,
            partial(generator, num_classes=data.num_classes),
            partial(discriminator, num_classes=data.num_classes),
            objective,
            latent_dim,
            regularisers,
            critic_repeats,
            augmentation,
        )
        self.num_classes = data.num_classes

    def fake(self, z: Tensor, y: Tensor | None) -> Tensor:
        """Generated samples, (B, *data_shape), of latents (B, latent_dim) and classes (B,)."""
        return self.generator(z, y)

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The discriminator's logits of samples given their classes, (B,) float32."""
        return self.discriminator(x, y).float()

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One: the class-conditional generator."""
        return {"generator": Sampler(self.generate, {self.generator: 1}, classes=self.num_classes)}

    @property
    def further_inputs(self) -> tuple[Input, ...]:
        """Classes."""
        return (label_input("y", self.num_classes, f"classes in {{0, …, {self.num_classes - 1}}}"),)

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
        """Generate n samples of classes y, (n,), or of uniform classes."""
        if y is None:
            device = self.progress.device
            y = torch.randint(self.num_classes, (n,), generator=generator, device=device)
        return super().generate(n, generator, y)
