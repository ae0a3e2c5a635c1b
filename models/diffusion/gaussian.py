"""Discrete-time Gaussian diffusion: one network, what it predicts, how it is trained and drawn."""

import inspect
import math
from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.bound import estimate, terms
from models.diffusion.denoising import SHARES, DenoisingModel, NoiseLevel, OnState, watched
from models.diffusion.networks.diffusers_weights import load_diffusers
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
from models.diffusion.sampler_names import SamplerSpec, parse, run
from models.diffusion.samplers import VARIANCES, Variance
from models.diffusion.schedules import ForwardProcess

LABEL_DROPOUT = 0.1
"""Share of labels hidden in training, for guidance (Ho & Salimans 2022, Sec. 4)."""


class GaussianDiffusion(DenoisingModel):
    """DDPM (Ho et al. 2020) and its descendants, as far as they share the forward process.

    Schedule, parameterisation, weighting, variance, network and samplers are independent parts.
    """

    weights: Tensor

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        betas: Tensor,
        samplers: Sequence[str],
        predicts: Parameterisation = "eps",
        weighting: Weighting | None = None,
        variance: Variance = "fixed_large",
        bound_weight: float = 0.0,
        conditional: bool = False,
        clip: bool = True,
        pretrained: str | None = None,
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
            variance: of the reverse steps; "learned" doubles the network's channels.
            bound_weight: weight of T times the bound's term at t, in bits per dimension, that is
                added to the loss; where the variance is learned the term trains nothing else
                (L_hybrid, Nichol & Dhariwal 2021, Eq. 16, who have 0.001).
            conditional: whether classes are given to the network.
            clip: whether x_0 is known to lie in [-1, 1], so that predictions are clipped to it.
            pretrained: directory of a diffusers `UNet2DModel` whose weights are taken; the model
                is then not trained.

        Raises:
            ValueError: an option is not one of its choices, a sampler's name is not one or does not
                fit, there is none, or the data has no labels for a conditional model.
        """
        super().__init__(data.shape)
        _check(data.shape, predicts, variance, bound_weight, clip, samplers)
        if conditional:
            data.require_labels("a conditional diffusion model")
        self.predicts: Parameterisation = predicts
        self.variance: Variance = variance
        self.bound_weight = bound_weight
        self.num_classes = data.num_classes if conditional else 0
        self.clip = clip
        self.process = ForwardProcess(betas)
        weights = (weighting or simple())(self.process.alpha_bar, predicts).float()
        self.register_buffer("weights", weights, persistent=False)
        options = {"num_classes": self.num_classes} if conditional else {}
        if variance == "learned":
            options["out_channels"] = 2 * data.shape[0]
        self.network = _build(network, self.data_shape, options)
        self.specs = {name: self._spec(name) for name in samplers}
        for name in samplers:
            self.path(name)  # refuses levels that cannot be followed
        if pretrained is not None:
            load_diffusers(self.network, pretrained)
            self.trained = True

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """The weighted squared error of what is predicted, and the bound where it has a weight.

        Args:
            batch: real data, with labels if the model is conditional.

        Returns:
            "loss", 0-dim float32; where the bound has a weight also its parts, "error" and "bound".
        """
        x_0 = batch.x
        t = torch.randint(self.process.num_timesteps, (x_0.shape[0],), device=x_0.device)  # (B,)
        eps = torch.randn_like(x_0)
        alpha, sigma = self.process.levels(t, x_0.dim())
        x_t = alpha * x_0 + sigma * eps
        output, fraction = self._call(x_t, t.float(), self._some_labels(batch))
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

    def denoiser(self, y: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """The model as samplers see it, by timestep.

        Args:
            y: classes, (B,) int64, of a conditional model, None for no class; ignored by others.
            guidance: w of classifier-free guidance (Ho & Salimans 2022, with w there one less):
                predictions without a class, plus w times the difference that the class makes.
        """

        def denoise(x_t: Tensor, t: Tensor) -> Prediction:
            alpha, sigma = self.process.levels(t, x_t.dim())
            output, fraction = self._call(x_t, t, y)
            if guidance != 1.0 and y is not None:
                without, _ = self._call(x_t, t, torch.full_like(y, self.num_classes))
                output = without + guidance * (output - without)
            return Prediction(self._x_0(output, x_t, alpha, sigma), fraction)

        return denoise

    def path(self, name: str) -> Path:
        """The noise levels that a sampler of this name visits."""
        spec = self._spec(name)
        if spec.method == "heun":
            return vp_karras_path(self.process.alpha_bar, spec.steps)
        timesteps = spaced(self.process.num_timesteps, spec.steps, spec.spacing)
        return vp_path(self.process.alpha_bar, timesteps)

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

    def _call(self, x_t: Tensor, t: Tensor, y: Tensor | None) -> tuple[Tensor, Tensor | None]:
        """The network's prediction and, where it is learned, the variance's fraction; float32."""
        if self.num_classes and y is None:
            y = torch.full((len(x_t),), self.num_classes, device=x_t.device)
        output = (self.network(x_t, t, y) if self.num_classes else self.network(x_t, t)).float()
        if self.variance != "learned":
            return output, None
        output, raw = output.chunk(2, dim=1)  # each (B, C, …)
        return output, (raw + 1.0) / 2.0

    def _x_0(self, output: Tensor, x_t: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
        x_0 = to_x_0(self.predicts, output, x_t, alpha, sigma)
        return x_0.clamp(-1.0, 1.0) if self.clip else x_0

    def _some_labels(self, batch: Batch) -> Tensor | None:
        """The batch's labels, a part of them replaced by "no class"; None if unconditional."""
        if not self.num_classes or batch.y is None:
            return None
        hidden = torch.rand(batch.y.shape, device=batch.y.device) < LABEL_DROPOUT
        return torch.where(hidden, self.num_classes, batch.y)

    def _sample(
        self,
        spec: SamplerSpec,
        path: Path,
        x: Tensor,
        generator: Generator,
        y: Tensor | None,
        on_state: OnState | None = None,
    ) -> Tensor:
        denoise = self.denoiser(y if self.num_classes else None, spec.guidance)
        denoise = watched(denoise, on_state)
        if spec.method == "heun":
            denoise = in_sigma(denoise, self.process.alpha_bar)
        x_0 = run(spec, denoise, x, path, generator, variance=self.variance)
        return x_0.clamp(-1.0, 1.0) if self.clip else x_0

    def _spec(self, name: str) -> SamplerSpec:
        """What a sampler's name says, checked against the model."""
        spec = parse(name)
        if spec.method != "heun":
            spaced(self.process.num_timesteps, spec.steps, spec.spacing)
        if spec.guidance != 1.0 and not self.num_classes:
            raise ValueError(f"samplers: {name} is guided, which needs a conditional model")
        return spec


def _build(
    network: Callable[..., nn.Module], data_shape: tuple[int, ...], options: dict[str, int]
) -> nn.Module:
    """The denoiser; ValueError where it does not take what the model needs of it."""
    known = inspect.signature(network).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        missing = set(options) - {parameter.name for parameter in known}
        if missing:
            raise ValueError(
                f"the network does not take {' and '.join(sorted(missing))}, which a conditional "
                "model or a learned variance needs: choose UNet or DiT"
            )
    return network(data_shape, **options)


def _check(
    data_shape: tuple[int, ...],
    predicts: str,
    variance: str,
    bound_weight: float,
    clip: bool,
    samplers: Sequence[str],
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
    if isinstance(samplers, str) or not samplers:
        raise ValueError(f"samplers must be a list of at least one name, got {samplers!r}")
