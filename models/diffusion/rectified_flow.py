"""Rectified flow (Liu et al. 2023): the velocity of straight paths from data to noise.

The path is that of flow matching with optimal-transport conditional paths (Lipman et al. 2023,
Sec. 4.1), with time reversed as in Esser et al. 2024: x_t = (1 - t) x_0 + t eps.
"""

from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.denoising import SHARES, DenoisingModel, NoiseLevel
from models.diffusion.flow_times import Times, uniform
from models.diffusion.likelihood import bits_per_dim
from models.diffusion.noise_path import Path, Prediction, straight_path
from models.diffusion.sampler_names import SamplerSpec
from models.exports import NetworkCall, uniform_input

STRAIGHT = "(1 - t) * x_0 + t * eps"
"""What a noisy sample is."""

LEAST_TIME = 0.001
"""The least noise at which errors are measured; without any, the prediction is the input."""


class RectifiedFlow(DenoisingModel):
    """A velocity v(x_t, t), trained on eps - x_0; its sampler follows dx = v dt from noise to data.

    Since x_0 = x_t - t v, it denoises too, and every other sampler follows the same path. Reflow,
    which straightens the flow by training on samples of its own, is not part of it.
    """

    time_scale: float = 1000.0
    """The network is told 1000 t: sinusoids are made for timesteps from 0 to 1000."""

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        samplers: Sequence[str],
        times: Times | None = None,
        conditional: bool = False,
        clip: bool = True,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            data: the data to model.
            network: builds the velocity's network from the shape of one sample, called with
                `num_classes` = K if the model is conditional. It maps x_t (B, *shape), the time's
                code (B,) and, if conditional, labels (B,) in {0, …, K}, K standing for none, to
                (B, *shape).
            samplers: their names, see `sampler_names`.
            times: how often training visits each time, see `flow_times`; None is uniform.
            conditional: whether the model is class-conditional.
            clip: whether samples lie in [-1, 1], and are clipped to it.
            augmentation: of training images; None for none.

        Raises:
            ValueError: a sampler's name does not fit, or the data has no labels for a conditional
                model or is no images for an augmentation.
        """
        super().__init__(data, conditional=conditional, augmentation=augmentation)
        if augmentation is not None:
            augmentation.require(data.shape, clip=clip)
        self.times = times or uniform()
        self.clip = clip
        self._build(network, samplers)

    def velocity(
        self,
        x: Tensor,
        t: Tensor,
        y: Tensor | None = None,
        guidance: float = 1.0,
        augmented: Tensor | None = None,
    ) -> Tensor:
        """v(x, t), the expected eps - x_0 of samples x at times t.

        Guiding it is guiding the predicted sample, which is affine in it.

        Args:
            x: noisy samples, (B, *shape).
            t: times, (B,) float32 in [0, 1].
            y: classes, (B,), see `DenoisingModel.predict`.
            guidance: scale of classifier-free guidance.
            augmented: parameters of the augmentation, (B, P), in training.

        Returns:
            (B, *shape) float32.
        """
        return self._call(x, self.time_scale * t, y, guidance, augmented)[0]

    def predict(
        self, x: Tensor, time: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> Prediction:
        """x_0 = x - t v, not clipped, so that samplers follow v. See `DenoisingModel.predict`."""
        return Prediction(x - like(time, x) * self.velocity(x, time, y, guidance))

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Mean squared error of the velocity (Liu et al. 2023, Eq. 1).

        Returns:
            "loss", 0-dim float32.
        """
        x_0, augmented = self._training_images(batch)
        t = self.times(len(x_0), x_0.device)  # (B,)
        x_t, velocity = noised(x_0, t)
        predicted = self.velocity(x_t, t, self._training_labels(batch), augmented=augmented)
        return {"loss": (predicted - velocity).square().mean()}

    def noise_levels(self) -> list[NoiseLevel]:
        """Times at `SHARES` of the way from `LEAST_TIME` to 1."""
        times = [LEAST_TIME + share * (1.0 - LEAST_TIME) for share in SHARES]
        return [NoiseLevel(q, 1.0 - t, t, t) for q, t in zip(SHARES, times, strict=True)]

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The negative log-likelihood of 8-bit images by the probability flow."""
        if batch.x.dim() != 4 or not self.clip:
            return {}
        with torch.inference_mode(False):  # the divergence is a derivative
            x = batch.x.clone()
            y = batch.y.clone() if self.num_classes and batch.y is not None else None
            bits = bits_per_dim(lambda x, t: self.velocity(x, t, y), x, generator)
        return {"bits_per_dim": bits}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the velocity."""

        def compute(x_t: Tensor, t: Tensor, y: Tensor | None = None) -> tuple[Tensor, ...]:
            return (self.velocity(x_t, t, y),)

        inputs = self._inputs(
            STRAIGHT, uniform_input("t", 0, 1, "times in [0, 1], 1 for pure noise")
        )
        outputs = {"velocity": "predicted eps - x_0, dx/dt of the flow"}
        return {"velocity": NetworkCall(compute, inputs, outputs)}

    def _path(self, spec: SamplerSpec) -> Path:
        spec.refuse_spacing("a flow")
        return straight_path(spec.steps)

    def _more_noise(self, spec: SamplerSpec) -> str:
        return "a straight path begins with pure noise"


def noised(x_0: Tensor, t: Tensor) -> tuple[Tensor, Tensor]:
    """Samples at times along straight paths to noise from torch's global generator.

    Args:
        x_0: clean samples, (B, *shape).
        t: times, (B,) in [0, 1].

    Returns:
        x_t = (1 - t) x_0 + t eps and its velocity eps - x_0, each (B, *shape).
    """
    eps = torch.randn_like(x_0)
    velocity = eps - x_0
    return x_0 + like(t, x_0) * velocity, velocity


def like(t: Tensor, x: Tensor) -> Tensor:
    """Numbers of samples, (B,), as factors of the samples x, (B, *shape): (B, 1, …)."""
    return t.view(-1, *(1,) * (x.dim() - 1))
