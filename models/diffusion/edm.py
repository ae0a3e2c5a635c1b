"""EDM (Karras et al. 2022): diffusion over continuous noise levels, a preconditioned network."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.denoising import SHARES, DenoisingModel, NoiseLevel
from models.diffusion.noise_path import Path, Prediction, karras_path
from models.diffusion.sampler_names import SamplerSpec
from models.diffusion.samplers import ANYWHERE, Churning
from models.exports import NetworkCall, log_uniform_input

TIME_SCALE = 250.0
"""c_noise is ln(sigma) / 4 in the paper, and here 1000 times that: our U-Net's sinusoids, like
DDPM's, are made for timesteps from 0 to 1000."""


class EDM(DenoisingModel):
    """A denoiser D(x; sigma) trained on log-normal noise levels; its sampler is Heun's method.

    Other samplers visit the same noise levels. There are no timesteps to space.
    """

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        samplers: Sequence[str],
        sigma_data: float = 0.5,
        p_mean: float = -1.2,
        p_std: float = 1.2,
        sigma_min: float = 0.002,
        sigma_max: float = 80.0,
        rho: float = 7.0,
        churning: Churning = ANYWHERE,
        conditional: bool = False,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            data: the data to model.
            network: builds F from the shape of one sample, called with `num_classes` = K if the
                model is conditional. F maps scaled samples (B, *shape), the noise level's code (B,)
                and, if conditional, labels (B,) in {0, …, K}, K standing for none, to (B, *shape).
            samplers: their names, see `sampler_names`.
            sigma_data: standard deviation of the data.
            p_mean: mean of ln(sigma) in training.
            p_std: its standard deviation.
            sigma_min: least noise level of the samplers.
            sigma_max: greatest.
            rho: see `karras_path`.
            churning: where and how samplers with churn add noise.
            conditional: whether the model is class-conditional.
            augmentation: of training images; None for none.

        Raises:
            ValueError: a number is out of its range, a sampler's name does not fit, or the data has
                no labels for a conditional model or is no images for an augmentation.
        """
        super().__init__(data, conditional=conditional, augmentation=augmentation)
        for name, value in (("sigma_data", sigma_data), ("p_std", p_std)):
            if not value > 0:
                raise ValueError(f"{name} must be positive, got {value}")
        if not math.isfinite(p_mean):
            raise ValueError(f"p_mean must be finite, got {p_mean}")
        self.sigma_data = sigma_data
        self.p_mean = p_mean
        self.p_std = p_std
        self.levels = (sigma_min, sigma_max, rho)
        self.churning = churning
        self._build(network, samplers)

    def predict(
        self,
        x: Tensor,
        time: Tensor,
        y: Tensor | None = None,
        guidance: float = 1.0,
        augmented: Tensor | None = None,
    ) -> Prediction:
        """D(x; sigma), the preconditioned network, not clipped (Eq. 7, coefficients of Table 1).

        The time is sigma. See `DenoisingModel.predict`. Guiding the network's output is guiding D,
        which is affine in it. The parameters of an augmentation, (B, P), are given in training.
        """
        c_skip, c_out, c_in = coefficients(time, self.sigma_data)
        shape = (-1, *(1,) * (x.dim() - 1))
        output, _ = self._call(
            c_in.view(shape) * x, TIME_SCALE * time.log(), y, guidance, augmented
        )
        return Prediction(c_skip.view(shape) * x + c_out.view(shape) * output)

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted squared error of D, the weight undoing c_out² (Eq. 8; Sec. 5 for the levels).

        Returns:
            "loss", 0-dim float32.
        """
        x_0, augmented = self._training_images(batch)
        sigma = (self.p_mean + self.p_std * torch.randn(len(x_0), device=x_0.device)).exp()  # (B,)
        noise = sigma.view(-1, *(1,) * (x_0.dim() - 1)) * torch.randn_like(x_0)
        y = self._training_labels(batch)
        predicted = self.predict(x_0 + noise, sigma, y, augmented=augmented).x_0
        errors = (predicted - x_0).square().flatten(1).mean(dim=1)  # (B,)
        return {"loss": (errors / coefficients(sigma, self.sigma_data)[1].square()).mean()}

    def noise_levels(self) -> list[NoiseLevel]:
        """Values of sigma at `SHARES` of the way, on a logarithmic scale."""
        low, high, _ = self.levels
        sigmas = [low * (high / low) ** share for share in SHARES]
        return [NoiseLevel(q, 1.0, s, s) for q, s in zip(SHARES, sigmas, strict=True)]

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, D."""
        low, high, rho = self.levels
        sigma = log_uniform_input("sigma", low, high, f"noise levels in [{low:g}, {high:g}]")

        def compute(x_t: Tensor, sigma: Tensor, y: Tensor | None = None) -> tuple[Tensor, ...]:
            return (self.predict(x_t, sigma, y).x_0,)

        inputs = self._inputs("x_0 + sigma * eps", sigma)
        outputs = {"x_0": "predicted clean samples, not clipped"}
        constants = {"sigma_min": [low], "sigma_max": [high], "rho": [rho]}
        return {"denoiser": NetworkCall(compute, inputs, outputs, constants)}

    def _path(self, spec: SamplerSpec) -> Path:
        spec.refuse_spacing("EDM")
        return karras_path(spec.steps, *self.levels)

    def _more_noise(self, spec: SamplerSpec) -> str:
        return "take a larger sigma_max"


def coefficients(sigma: Tensor, sigma_data: float) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in of a noise level (Karras et al. 2022, Table 1), shaped as sigma."""
    total = sigma.square() + sigma_data**2
    return sigma_data**2 / total, sigma * sigma_data * total.rsqrt(), total.rsqrt()
