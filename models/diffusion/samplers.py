"""Samplers of diffusion models: pure functions along a path of noise levels, and their registry.

Every coefficient is a Python float computed in float64, so that no step waits for the device.
Each starts from x at the first level of its path and returns x_0, float32, clipped only where the
denoiser clips. To add a sampler, write its function and its entry in `METHODS`, at the end.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Generator, Tensor

from models.diffusion.noise_path import Denoiser, Path, Prediction, Time

Variance = Literal["fixed_large", "fixed_small", "learned"]
VARIANCES = ("fixed_large", "fixed_small", "learned")


def _first_level(path: Path) -> str:
    return f"alpha {path.alphas[0]:g} and sigma {path.sigmas[0]:g} at the first"


@dataclass(frozen=True)
class Need:
    """What a sampler needs of its path of noise levels.

    Attributes:
        words: the need, as in "ddim-50 needs <words>".
        met: whether a path meets it.
        remedy: what to change where it is not met; empty where the model has to say it.
        found: what a path has instead, as in "got <found>".
    """

    words: str
    met: Callable[[Path], bool]
    remedy: str = ""
    found: Callable[[Path], str] = _first_level

    def require(self, sampler: str, path: Path, more_noise: str) -> None:
        """Raise ValueError, naming the sampler, the need and the remedy, if a path lacks it.

        Args:
            sampler: its name.
            path: its path.
            more_noise: what makes the path begin with more noise, as its model is configured.
        """
        if not self.met(path):
            raise ValueError(
                f"samplers: {sampler} needs {self.words}, got {self.found(path)}: "
                f"{self.remedy or more_noise}"
            )


NOISE_FIRST = Need(
    "noise levels that begin with more noise than signal, since it starts from pure noise",
    lambda path: path.alphas[0] <= path.sigmas[0],
)
UNSCALED = Need(
    "noise levels whose alphas are all 1, such as those of karras_path",
    lambda path: all(alpha == 1.0 for alpha in path.alphas),
    "leave out -churn, without which heun follows any path",
)
STRAIGHT = Need(
    "noise levels on a straight line from noise to data, such as those of rectified_flow",
    lambda path: all(
        math.isclose(alpha + sigma, 1.0)
        for alpha, sigma in zip(path.alphas, path.sigmas, strict=True)
    ),
    "ddim is Euler's method on any other path",
)
AVERAGES = Need(
    "a model that predicts average velocities, such as meanflow",
    lambda path: all(isinstance(time, tuple) for time in path.times),
    "choose euler, heun, ddim or dpmpp",
    lambda path: "one that predicts at single noise levels",
)


@dataclass(frozen=True)
class Churning:
    """Where and how Heun's sampler adds noise, if its churn is positive (Karras et al. 2022).

    Attributes:
        least: S_tmin, the least sigma at which noise is added.
        most: S_tmax, the greatest.
        noise: S_noise, the standard deviation of the noise, in units of what theory asks for.

    Raises:
        ValueError: the levels or the noise are out of their range.
    """

    least: float = 0.0
    most: float = math.inf
    noise: float = 1.0

    def __post_init__(self) -> None:
        """Refuse numbers without a meaning."""
        if not 0 <= self.least <= self.most or not self.noise > 0:
            raise ValueError(
                "churning must satisfy 0 <= least <= most and 0 < noise, got "
                f"{self.least}, {self.most}, {self.noise}"
            )


ANYWHERE = Churning()


@torch.no_grad()
def sample_ancestral(
    denoiser: Denoiser,
    x: Tensor,
    path: Path,
    generator: Generator,
    *,
    variance: Variance = "fixed_large",
) -> Tensor:
    """Sample by the learned reverse process (Ho et al. 2020, Algorithm 2 and Eq. 7).

    On a path of fewer steps than the model has, betas are re-spaced (Nichol & Dhariwal 2021,
    Sec. 4, Eq. 19). The mean is computed from x_0, clipped where the denoiser clips. On a path that
    does not preserve the variance these are the steps of the path that does, with the same ratios
    of signal to noise (Kingma et al. 2021, Sec. 5.1 and App. A.2), in units of each level's scale.

    Args:
        denoiser: predicts x_0, and the variance where that is learned.
        x: noise, (B, *shape) float32.
        path: any path.
        generator: source of the noise of every step, on the device of x.
        variance: sigma_t², beta_t ("fixed_large") or beta~_t ("fixed_small"), Sec. 3.2, or what
            the model says ("learned", Nichol & Dhariwal 2021, Eq. 15).

    Raises:
        ValueError: if variance is unknown.
    """
    if variance not in VARIANCES:
        raise ValueError(f"variance must be one of {VARIANCES}, got {variance!r}")
    scales = path.scales  # all exactly 1 where the variance is preserved
    powers = [(alpha / scale) ** 2 for alpha, scale in zip(path.alphas, scales, strict=True)]
    for k in range(path.steps):
        a, a_next = powers[k], powers[k + 1]
        beta = 1.0 - a / a_next
        prediction = _predict(denoiser, x, path.times[k])
        if k == path.steps - 1:
            return prediction.x_0
        posterior = beta * (1.0 - a_next) / (1.0 - a)
        scale_next = scales[k + 1]
        weight_x_0 = scale_next * (beta * math.sqrt(a_next) / (1.0 - a))
        weight_x = scale_next / scales[k] * (math.sqrt(1.0 - beta) * (1.0 - a_next) / (1.0 - a))
        x = weight_x_0 * prediction.x_0 + weight_x * x
        noise = _noise_like(x, generator)
        if variance == "learned":
            if prediction.fraction is None:
                raise ValueError("variance='learned' needs a denoiser that predicts a variance")
            low, high = math.log(posterior), math.log(beta)
            deviation = (0.5 * (low + (high - low) * prediction.fraction)).exp()
            x += scale_next * deviation * noise
        else:
            deviation = math.sqrt(beta if variance == "fixed_large" else posterior)
            x += scale_next * deviation * noise
    return x


@torch.no_grad()
def sample_ddim(
    denoiser: Denoiser, x: Tensor, path: Path, generator: Generator, *, eta: float = 0.0
) -> Tensor:
    """Sample by the non-Markovian process of DDIM (Song et al. 2021, Eq. 12, Eq. 16 for sigma).

    The noise is recomputed from x_0, so that clipping x_0 changes it, as in guided-diffusion. With
    eta = 0 this is Euler's method on the probability flow in the noise-to-signal ratio.

    Args:
        denoiser: predicts x_0.
        x: noise, (B, *shape) float32.
        path: any path.
        generator: source of the noise where eta > 0, on the device of x.
        eta: in [0, 1]; 0 is deterministic DDIM, 1 has DDPM's posterior variance.

    Raises:
        ValueError: if eta is not in [0, 1].
    """
    if not 0 <= eta <= 1:
        raise ValueError(f"eta must be in [0, 1], got {eta}")
    for k in range(path.steps):
        (alpha, alpha_next), (sigma, sigma_next) = path.alphas[k : k + 2], path.sigmas[k : k + 2]
        x_0 = _predict(denoiser, x, path.times[k]).x_0
        eps = (x - alpha * x_0) / sigma
        added = sigma**2 - (alpha / alpha_next * sigma_next) ** 2  # variance of this step's noise
        noise = eta * sigma_next / sigma * math.sqrt(max(0.0, added))
        x = alpha_next * x_0 + math.sqrt(max(0.0, sigma_next**2 - noise**2)) * eps
        if noise > 0:
            x += noise * _noise_like(x, generator)
    return x


@torch.no_grad()
def sample_dpmpp_2m(denoiser: Denoiser, x: Tensor, path: Path) -> Tensor:
    """Sample by DPM-Solver++(2M) (Lu et al. 2022, arXiv 2211.01095, Algorithm 2).

    Second order with one network call a step, by the prediction of the step before. The first step
    and the last one, which ends without noise, are of first order.

    Args:
        denoiser: predicts x_0.
        x: noise, (B, *shape) float32.
        path: any path.
    """
    before: Tensor | None = None  # x_0 of the step before
    h_before = 0.0
    for k in range(path.steps):
        (alpha, alpha_next), (sigma, sigma_next) = path.alphas[k : k + 2], path.sigmas[k : k + 2]
        x_0 = _predict(denoiser, x, path.times[k]).x_0
        if sigma_next == 0.0:
            return alpha_next * x_0
        decay = alpha * sigma_next / (alpha_next * sigma)  # exp(-h), h the step in log(alpha/sigma)
        h = -math.log(decay) if decay > 0 else math.inf  # infinite from a level without signal
        direction = x_0 if before is None else x_0 + h / (2 * h_before) * (x_0 - before)
        x = sigma_next / sigma * x + alpha_next * (1.0 - decay) * direction
        before, h_before = x_0, h
    return x


@torch.no_grad()
def sample_heun(
    denoiser: Denoiser,
    x: Tensor,
    path: Path,
    generator: Generator,
    *,
    churn: float = 0.0,
    churning: Churning = ANYWHERE,
) -> Tensor:
    """Sample by Heun's method of second order (Karras et al. 2022, Algorithm 2; 1 without churn).

    Two network calls a step, one in the last. Every step goes straight from one level to the next,
    along which the probability flow is dx = dalpha x_0 + dsigma eps: without scaling this is the
    paper's ODE in sigma, on a rectified flow's path that of the velocity eps - x_0.

    Args:
        denoiser: predicts x_0; where churn > 0 its time is sigma.
        x: noise of the first level, (B, *shape) float32.
        path: any path; one without scaling, all alphas 1, where churn > 0.
        generator: source of the noise where churn > 0, on the device of x.
        churn: S_churn, at least 0; noise is added and removed again in every step.
        churning: at which levels this is done, and with how much noise.

    Raises:
        ValueError: if churn is negative, or positive on a path that scales the signal.
    """
    if churn < 0:
        raise ValueError(f"churn must not be negative, got {churn}")
    if churn > 0:
        UNSCALED.require("Heun's method with churn", path, "")
    for k in range(path.steps):
        (alpha, alpha_next), (sigma, sigma_next) = path.alphas[k : k + 2], path.sigmas[k : k + 2]
        gamma = 0.0
        if churning.least <= sigma <= churning.most:
            gamma = min(churn / path.steps, math.sqrt(2.0) - 1.0)
        sigma_hat = sigma * (1.0 + gamma)
        if gamma > 0:
            added = churning.noise * math.sqrt(sigma_hat**2 - sigma**2)
            x = x + added * _noise_like(x, generator)
        d_alpha, d_sigma = alpha_next - alpha, sigma_next - sigma_hat
        x_0 = _predict(denoiser, x, sigma_hat if gamma > 0 else path.times[k]).x_0
        eps = (x - alpha * x_0) / sigma_hat
        euler = x + (d_alpha * x_0 + d_sigma * eps)
        if sigma_next == 0.0:
            return euler
        x_0_next = _predict(denoiser, euler, path.times[k + 1]).x_0
        eps_next = (euler - alpha_next * x_0_next) / sigma_next
        x = x + (d_alpha * 0.5 * (x_0 + x_0_next) + d_sigma * 0.5 * (eps + eps_next))
    return x


def _predict(denoiser: Denoiser, x: Tensor, time: Time) -> Prediction:
    """The denoiser's prediction for a batch at one time."""

    def full(value: float) -> Tensor:
        return torch.full((x.shape[0],), value, device=x.device, dtype=torch.float32)  # (B,)

    if isinstance(time, tuple):
        return denoiser(x, torch.stack([full(value) for value in time], dim=1))  # (B, 2)
    return denoiser(x, full(time))


def _noise_like(x: Tensor, generator: Generator) -> Tensor:
    """Standard normal noise of x's shape, type and device, drawn from the generator."""
    return torch.randn(x.shape, generator=generator, device=x.device, dtype=x.dtype)


@dataclass(frozen=True)
class Settings:
    """What a sampler is told beside its path.

    Attributes:
        eta: noise of DDIM, in [0, 1], from the sampler's name.
        churn: S_churn of Heun's method along this path, from the sampler's name.
        variance: of the ancestral sampler, from the model.
        churning: where and how Heun's method adds noise, from the model.
    """

    eta: float = 0.0
    churn: float = 0.0
    variance: Variance = "fixed_large"
    churning: Churning = ANYWHERE


@dataclass(frozen=True)
class Method:
    """One way of sampling: its entry in `METHODS`.

    Attributes:
        name: the first word of its samplers' names.
        sample: (denoiser, x, path, generator, settings) to x_0, (B, *shape) float32.
        options: least and greatest value of each number that a name may set beside the guidance:
            "eta" or "churn", as in `Settings`.
        spacing: whether it visits the timesteps of a model that has them, and a name may say which;
            otherwise it visits Karras's levels on such a model.
        needs: what its path must be like.
        evaluations: of the denoiser, as a function of the number of steps.
    """

    name: str
    sample: Callable[[Denoiser, Tensor, Path, Generator, Settings], Tensor]
    options: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    spacing: bool = True
    needs: tuple[Need, ...] = (NOISE_FIRST,)
    evaluations: Callable[[int], int] = lambda steps: steps


DDPM = Method(
    "ddpm",
    lambda denoiser, x, path, generator, settings: sample_ancestral(
        denoiser, x, path, generator, variance=settings.variance
    ),
)
DDIM = Method(
    "ddim",
    lambda denoiser, x, path, generator, settings: sample_ddim(
        denoiser, x, path, generator, eta=settings.eta
    ),
    options={"eta": (0.0, 1.0)},
)
DPMPP = Method(
    "dpmpp",
    lambda denoiser, x, path, generator, settings: sample_dpmpp_2m(denoiser, x, path),
)
HEUN = Method(
    "heun",
    lambda denoiser, x, path, generator, settings: sample_heun(
        denoiser, x, path, generator, churn=settings.churn, churning=settings.churning
    ),
    options={"churn": (0.0, math.inf)},
    spacing=False,
    evaluations=lambda steps: 2 * steps - 1,
)
EULER = Method(
    "euler",  # DDIM's step where the path is straight (Liu et al. 2023, Eq. 5 for the flow)
    lambda denoiser, x, path, generator, settings: sample_ddim(denoiser, x, path, generator),
    spacing=False,
    needs=(NOISE_FIRST, STRAIGHT),
)
MEANFLOW = Method(
    "meanflow",  # Euler's step by the step's average velocity (Geng et al. 2025, Eq. 12)
    lambda denoiser, x, path, generator, settings: sample_ddim(denoiser, x, path, generator),
    spacing=False,
    needs=(AVERAGES,),
)

METHODS: Mapping[str, Method] = {
    method.name: method for method in (DDPM, DDIM, DPMPP, HEUN, EULER, MEANFLOW)
}
"""Every method by the first word of its samplers' names."""
