"""A GAN whose discriminator also tells classes, learned from few labels and all images."""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, Phase
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator
from models.gan.objectives import non_saturating

LABELLED_BATCH = 50
"""Labelled samples shown in one update of each process, drawn with replacement."""


class SemiSupervisedGAN(GAN):
    """K classes and "fake" as one more (Salimans et al. 2016, Sec. 5).

    The discriminator gives K logits l; that of "fake" is fixed at 0, so that D(x) = Z / (Z + 1)
    with Z = sum of exp l, and the logit of being real is log Z. Labels are known of few training
    samples; the generator matches features (Sec. 3.1), which serves classification best.

    A third phase trains another such network on the labelled samples alone, with as many updates:
    the baseline that says what the unlabelled images were good for. It draws nothing.
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
    ) -> None:
        """Build three networks.

        Args:
            data: what the data looks like; it must have classes.
            generator: as of `GAN`.
            discriminator: called with `outputs` = K: gives logits (B, K), and features (B, D) by
                its method of that name.
            latent_dim: length of z ~ N(0, I).
            labels_per_class: how many training samples of each class have a known label, on
                average over the classes.
            label_classes: "data" for labelled samples whose classes are as frequent as in the data,
                at least one of each; "uniform" for as many of each, as in the paper.

        Raises:
            ValueError: label_classes is neither, the data has no classes, or not so many samples.
        """
        if label_classes not in ("data", "uniform"):
            raise ValueError(f"label_classes must be data or uniform, got {label_classes!r}")
        data.require_labels("a semi-supervised GAN")
        if data.labelled is None:
            raise ValueError("a semi-supervised GAN needs labels on the training images")

        def classifier(data_shape: tuple[int, ...]) -> nn.Module:
            return discriminator(data_shape, outputs=data.num_classes)

        super().__init__(data, generator, classifier, non_saturating(), latent_dim)
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
        """The logit of being real, log Z, (B,) float32."""
        return self.discriminator(x).float().logsumexp(dim=1)

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Cross-entropy over K + 1 classes: real or fake, and the class of labelled samples.

        Returns:
            As of `GAN`, and "class", the labelled samples' cross-entropy over the K classes.
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
        """What the discriminator's last layer sees of samples, (B, D) float32."""
        return cast(Discriminator, self.discriminator).features(x).float()

    def supervised_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The baseline's cross-entropy on labelled samples; the batch is not looked at."""
        return {"loss": self._cross_entropy(self.supervised)}

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """Whether each sample's class is told: by the discriminator, and by the baseline."""
        if batch.y is None:
            return {}
        return {
            "accuracy": (self.discriminator(batch.x).argmax(dim=1) == batch.y).float(),
            "accuracy_supervised": (self.supervised(batch.x).argmax(dim=1) == batch.y).float(),
        }

    def _cross_entropy(self, network: nn.Module) -> Tensor:
        """Of the classes of some labelled samples, 0-dim float32."""
        chosen = torch.randint(
            len(self.labelled_y), (LABELLED_BATCH,), device=self.labelled_y.device
        )
        return F.cross_entropy(network(self.labelled_x[chosen]).float(), self.labelled_y[chosen])
