"""Discrete-time Gaussian diffusion: one network, what it predicts and how it is trained."""

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.bound import estimate, terms
from models.diffusion.denoising import SHARES, DenoisingModel, NoiseLevel
from models.diffusion.networks.diffusers_weights import load_diffusers, to_diffusers
from models.diffusion.noise_path import (
    Denoiser,
    Path,
    Prediction,
    in_sigma,
    spaced,
    vp_karras_path,
    vp_path,
)
from models.diffusion.parameterisations import (
    PARAMETERISATIONS,
    Parameterisation,
    Weighting,
    simple,
    target,
    to_x_0,
)
from models.diffusion.sampler_names import SamplerSpec
from models.diffusion.samplers import VARIANCES, Variance
from models.diffusion.schedules import ForwardProcess, Timesteps
from models.exports import DiffusersPipeline, NetworkCall, NoCounterpartError, uniform_input

OUTPUTS = {
    "eps": "predicted noise eps",
    "x_0": "predicted clean samples, not clipped",
    "v": "predicted alpha * eps - sigma * x_0",
}
"""What the network's output is, for users of other software."""

DIFFUSERS = {"eps": "epsilon", "x_0": "sample", "v": "v_prediction"}
"""Its name in diffusers."""


class GaussianDiffusion(DenoisingModel):
    """DDPM (Ho et al. 2020) and its descendants, as far as they share the forward process.

    Schedule, parameterisation, weighting, variance, network and samplers are independent parts.
    """

    weights: Tensor
    visited: Tensor | None

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        betas: Tensor,
        samplers: Sequence[str],
        predicts: Parameterisation = "eps",
        weighting: Weighting | None = None,
        timesteps: Timesteps | None = None,
        variance: Variance = "fixed_large",
        bound_weight: float = 0.0,
        conditional: bool = False,
        clip: bool = True,
        pretrained: str | None = None,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Build the network and the schedule.

        Args:
            data: the data to model.
            network: builds the denoiser from the shape of one sample, called with
                `out_channels` = 2 C where the variance is learned, and with `num_classes` = K where
                the model is conditional. It maps x_t (B, *shape), t (B,) float32, and labels (B,)
                in {0, …, K} if conditional, K standing for none, to its prediction.
            betas: variances of the forward process, (T,) float64, see `schedules`.
            samplers: their names, see `sampler_names`.
            predicts: what the network gives: "eps", "x_0" or "v".
            weighting: of its squared error over timesteps, see `weightings`; None is simple.
            timesteps: how often training visits each timestep, see `schedules`; None is uniform.
            variance: of the reverse steps; "learned" doubles the network's channels.
            bound_weight: weight of T times the bound's term at t, in bits per dimension, that is
                added to the loss; where the variance is learned the term trains nothing else
                (L_hybrid, Nichol & Dhariwal 2021, Eq. 16, who have 0.001).
            conditional: whether the model is class-conditional.
            clip: whether x_0 is known to lie in [-1, 1], so that predictions are clipped to it.
            pretrained: directory of a diffusers `UNet2DModel` whose weights are taken; the model
                is then not trained.
            augmentation: of training images; None for none.

        Raises:
            ValueError: an option is not one of its choices, a sampler's name is not one or does not
                fit, there is none, or the data has no labels for a conditional model.
        """
        super().__init__(data, conditional=conditional, augmentation=augmentation)
        if augmentation is not None:
            augmentation.require(data.shape, clip=clip)
        _check(data.shape, predicts, variance, bound_weight, clip)
        self.predicts: Parameterisation = predicts
        self.variance = variance
        self.bound_weight = bound_weight
        self.clip = clip
        self.process = ForwardProcess(betas)
        weights = (weighting or simple())(self.process.alpha_bar, predicts).float()
        self.register_buffer("weights", weights, persistent=False)
        visited = None if timesteps is None else timesteps(self.process.alpha_bar).cumsum(0)
        self.register_buffer("visited", visited, persistent=False)  # distribution function, (T,)
        self._build(network, samplers, 2 * data.shape[0] if variance == "learned" else None)
        if pretrained is not None:
            load_diffusers(self.network, pretrained)
            self.trained = True

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted squared error of what is predicted, and the bound where it has a weight.

        Returns:
            "loss", 0-dim float32; where the bound has a weight also its parts, "error" and "bound".
        """
        x_0, augmented = self._training_images(batch)
        t = self._timesteps(x_0)  # (B,)
        eps = torch.randn_like(x_0)
        alpha, sigma = self.process.levels(t, x_0.dim())
        x_t = alpha * x_0 + sigma * eps
        y = self._training_labels(batch)
        output, fraction = self._output(x_t, t.float(), y, augmented=augmented)
        wanted = target(self.predicts, x_0, eps, alpha, sigma)
        errors = (output - wanted).square().flatten(1).mean(dim=1)  # (B,)
        error = (self.weights[t] * errors).mean()
        if not self.bound_weight:
            return {"loss": error}
        mean_output = output if fraction is None else output.detach()
        predicted = self._x_0(mean_output, x_t, alpha, sigma)
        bound = terms(
            self.process, x_0, x_t, t, Prediction(predicted, fraction), self.variance
        ).mean()
        loss = error + self.bound_weight * self.process.num_timesteps * bound
        return {"loss": loss, "error": error.detach(), "bound": bound.detach()}

    def predict(
        self, x: Tensor, time: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> Prediction:
        """Predict clean samples; the time is the timestep. See `DenoisingModel.predict`."""
        alpha, sigma = self.process.levels(time, x.dim())
        output, fraction = self._output(x, time, y, guidance)
        return Prediction(self._x_0(output, x, alpha, sigma), fraction)

    def noise_levels(self) -> list[NoiseLevel]:
        """Timesteps from the first to the last, at `SHARES` of the way."""
        last = self.process.num_timesteps - 1
        levels = []
        for t in sorted({round(share * last) for share in SHARES}):
            power = float(self.process.alpha_bar[t])
            levels.append(NoiseLevel(t / last, math.sqrt(power), math.sqrt(1 - power), float(t)))
        return levels

    def held_out_scores(self, batch: Batch, generator: Generator) -> dict[str, Tensor]:
        """The variational bound of 8-bit images, its divergences estimated at few timesteps."""
        if batch.x.dim() != 4 or not self.clip:
            return {}
        denoise = self.denoiser(batch.y if self.num_classes else None)
        return estimate(self.process, denoise, batch.x, self.variance, generator)

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, the denoiser; the schedule is among its constants."""
        last = self.process.num_timesteps - 1
        levels = "alpha * x_0 + sigma * eps, alpha^2 = alpha_bar[t] and sigma^2 = 1 - alpha_bar[t]"
        inputs = self._inputs(levels, uniform_input("t", 0, last, f"timesteps in [0, {last}]"))
        outputs = {self.predicts: OUTPUTS[self.predicts]}
        if self.variance == "learned":
            outputs["fraction"] = (
                "place of the logarithm of the reverse step's variance between that of the "
                "posterior, 0, and that of beta_t, 1"
            )

        def compute(x_t: Tensor, t: Tensor, y: Tensor | None = None) -> tuple[Tensor, ...]:
            output, fraction = self._output(x_t, t, y)
            return (output,) if fraction is None else (output, fraction)

        constants = {"alpha_bar": self.process.alpha_bar.tolist()}
        return {"denoiser": NetworkCall(compute, inputs, outputs, constants)}

    def for_diffusers(self) -> DiffusersPipeline:
        """`DDPMPipeline`, if the network is a U-Net that diffusers has, too."""
        if self.num_classes:
            raise NoCounterpartError("it is class-conditional, and DDPMPipeline gives no classes")
        unet, weights = to_diffusers(self.network, self.data_shape)
        alpha_bar = self.process.alpha_bar
        before = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
        scheduler = {
            "num_train_timesteps": self.process.num_timesteps,
            "trained_betas": (1.0 - alpha_bar / before).tolist(),
            "prediction_type": DIFFUSERS[self.predicts],
            "variance_type": "learned_range" if self.variance == "learned" else self.variance,
            "clip_sample": self.clip,
            "timestep_spacing": "trailing",
        }
        return DiffusersPipeline(unet, weights, scheduler)

    def _path(self, spec: SamplerSpec) -> Path:
        if not spec.method.spacing:
            return vp_karras_path(self.process.alpha_bar, spec.steps)
        num_timesteps = self.process.num_timesteps
        if spec.steps > num_timesteps:
            raise ValueError(
                f"samplers: {spec.name} needs as many timesteps as steps, and the model has "
                f"{num_timesteps}: take at most {num_timesteps} steps"
            )
        timesteps = spaced(num_timesteps, spec.steps, spec.spacing)
        return vp_path(self.process.alpha_bar, timesteps)

    def _more_noise(self, spec: SamplerSpec) -> str:
        if spec.spacing == "uniform":
            return "take more steps, or leave out -uniform"
        return "take more timesteps or larger betas"

    def _along_path(self, spec: SamplerSpec, denoiser: Denoiser) -> Denoiser:
        if not spec.method.spacing:
            return in_sigma(denoiser, self.process.alpha_bar)
        return denoiser

    def _timesteps(self, x_0: Tensor) -> Tensor:
        """Timesteps to train on, (B,) int64, one for each sample."""
        last = self.process.num_timesteps - 1
        if self.visited is None:
            return torch.randint(last + 1, (len(x_0),), device=x_0.device)
        places = torch.rand(len(x_0), device=x_0.device, dtype=torch.float64)
        return torch.searchsorted(self.visited, places, right=True).clamp(max=last)

    def _output(
        self,
        x_t: Tensor,
        t: Tensor,
        y: Tensor | None,
        guidance: float = 1.0,
        augmented: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """The network's prediction and, where it is learned, the variance's fraction; float32."""
        output, raw = self._call(x_t, t, y, guidance, augmented)
        return output, None if raw is None else (raw + 1.0) / 2.0

    def _x_0(self, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        x_0 = to_x_0(self.predicts, output, x_t, alpha, sigma)
        return x_0.clamp(-1.0, 1.0) if self.clip else x_0


def _check(
    data_shape: tuple[int, ...],
    predicts: str,
    variance: str,
    bound_weight: float,
    clip: bool,
) -> None:
    """Raise ValueError on options of `GaussianDiffusion` that are none."""
    if predicts not in PARAMETERISATIONS:
        raise ValueError(f"predicts must be one of {PARAMETERISATIONS}, got {predicts!r}")
    if variance not in VARIANCES:
        raise ValueError(f"variance must be one of {VARIANCES}, got {variance!r}")
    if not bound_weight >= 0:
        raise ValueError(f"bound_weight must not be negative, got {bound_weight}")
    if variance == "learned" and not bound_weight:
        raise ValueError("variance='learned' needs a positive bound_weight, which alone trains it")
    if bound_weight and not clip:
        raise ValueError("bound_weight is for 8-bit images in [-1, 1]: it needs clip=true")
    if bound_weight and len(data_shape) != 3:
        raise ValueError(
            "data_shape must be (C, H, W) where bound_weight is positive, since the bound is "
            f"that of 8-bit images, got {data_shape}"
        )
