"""Semi-supervised GAN: the discriminator also classifies, trained on few labels and all images."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, Phase
from models.gan.augmentation import Augmentation
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator
from models.gan.objectives import non_saturating

LABELLED_BATCH = 50
"""Labelled samples per update and process, sampled with replacement."""


class SemiSupervisedGAN(GAN):
    """A discriminator with K classes plus "fake" (Salimans et al. 2016, Sec. 5).

    The discriminator returns K logits l; that of "fake" is fixed at 0, so that D(x) = Z / (Z + 1)
    with Z = sum of exp l, and the logit of "real" is log Z. Labels are known for few training
    samples; the generator uses feature matching (Sec. 3.1), which gives the best classification.

    A third phase trains an identical network on the labelled samples alone, with as many updates:
    the baseline that shows the benefit of unlabelled images.
    """

    labelled_x: Tensor
    labelled_y: Tensor

    def __init__(
        self,
        data: DataSpec,
        generator: Callable[..., nn.Module],
        discriminator: Callable[..., nn.Module],
        latent_dim: int = 100,
        labels_per_class: int = 10,
        label_classes: str = "uniform",
        augmentation: Augmentation | None = None,
    ) -> None:
        """Build three networks.

        Args:
            data: shape and classes of the data; it must have classes.
            generator: as for `GAN`.
            discriminator: called with `outputs` = K; returns logits (B, K), and features (B, D)
                from its method `features`.
            latent_dim: length of z ~ N(0, I).
            labels_per_class: number of labelled training samples per class, on average.
            label_classes: "data" for labelled samples with the class frequencies of the data, at
                least one per class; "uniform" for equally many per class, as in the paper.
            augmentation: as for `GAN`; not of the labelled samples, which are classified.

        Raises:
            ValueError: label_classes is unknown, the data has no classes, or too few samples.
        """
        if label_classes not in ("data", "uniform"):
            raise ValueError(f"label_classes must be data or uniform, got {label_classes!r}")
        data.require_labels("a semi-supervised GAN")
        if data.labelled is None:
            raise ValueError("a semi-supervised GAN needs labels on the training images")

        def classifier(data_shape: tuple[int, ...]) -> nn.Module:
            return discriminator(data_shape, outputs=data.num_classes)

        super().__init__(
            data,
            generator,
            classifier,
            non_saturating(),
            latent_dim,
            augmentation=augmentation,
        )
        self.supervised = classifier(self.data_shape)
        labels = labels_per_class * data.num_classes
        labelled = data.labelled(labels, uniform=label_classes == "uniform")
        self.register_buffer("labelled_x", labelled.x, persistent=False)
        self.register_buffer("labelled_y", labelled.y, persistent=False)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """Discriminator, generator, and the baseline."""
        return (*super().phases, Phase("supervised", self.supervised, self.supervised_loss))

    def judge(self, x: Tensor, y: Tensor | None) -> Tensor:
        """The logit of "real", log Z, (B,) float32."""
        return self.discriminator(x).float().logsumexp(dim=1)

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over K + 1 classes: real or fake, and the class of labelled samples.

        Returns:
            As for `GAN`, and "class", the cross-entropy of labelled samples over the K classes.
        """
        values = super().discriminator_loss(batch)
        told = self._cross_entropy(self.discriminator)
        return {**values, "loss": values["loss"] + told, "class": told.detach()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Squared distance of mean features (Salimans et al. 2016, Sec. 3.1), over their number."""
        with torch.no_grad():
            real = self.features(batch.x).mean(dim=0)  # (D,)
        fake = self.features(self.fake(self.latents(batch.x), None))  # (B, D)
        return {"loss": (fake.mean(dim=0) - real).square().mean()}

    def features(self, x: Tensor) -> Tensor:
        """Inputs of the discriminator's last layer for samples as seen in training, (B, D)."""
        return cast(Discriminator, self.discriminator).features(self.augmented(x)).float()

    def supervised_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The baseline's cross-entropy on labelled samples; the batch is not used."""
        return {"loss": self._cross_entropy(self.supervised)}

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Whether each sample is classified correctly by the discriminator and by the baseline."""
        if batch.y is None:
            return {}
        return {
            "accuracy": (self.discriminator(batch.x).argmax(dim=1) == batch.y).float(),
            "accuracy_supervised": (self.supervised(batch.x).argmax(dim=1) == batch.y).float(),
        }

    def _cross_entropy(self, network: nn.Module) -> Tensor:
        """Cross-entropy on a batch of labelled samples, 0-dim float32."""
        chosen = torch.randint(
            len(self.labelled_y), (LABELLED_BATCH,), device=self.labelled_y.device
        )
        return F.cross_entropy(network(self.labelled_x[chosen]).float(), self.labelled_y[chosen])
