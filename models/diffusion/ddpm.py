"""DDPM (Ho et al. 2020): a noise-predicting denoiser, its simple loss and its samplers."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.diffusion.samplers import VARIANCES, ddim_timesteps, sample_ancestral, sample_ddim
from models.diffusion.schedules import cumulative_alphas, linear_betas


class DDPM(GenerativeModel):
    """Denoising diffusion with the linear schedule, trained on L_simple.

    One trained network gives several samplers: "ddpm-<T>", the ancestral sampler, and one
    "ddim-<S>" per number of steps S.
    """

    betas: Tensor
    sqrt_alpha_bar: Tensor
    sqrt_one_minus_alpha_bar: Tensor

    def __init__(
        self,
        data: DataSpec,
        network: Callable[[tuple[int, ...]], nn.Module],
        *,
        num_timesteps: int = 1000,
        beta_first: float = 1e-4,
        beta_last: float = 0.02,
        ancestral: bool = True,
        variance: Literal["fixed_large", "fixed_small"] = "fixed_large",
        ddim_steps: Sequence[int] = (50,),
        ddim_eta: float = 0.0,
        ddim_spacing: Literal["trailing", "leading"] = "trailing",
    ) -> None:
        """Build the network and the schedule.

        Args:
            data: the data to model; only its shape is used.
            network: builds the denoiser from the shape of one sample; the denoiser maps x_t
                (B, *data_shape) and t (B,) int64 to the noise in x_t, (B, *data_shape).
            num_timesteps: T, steps of the forward process.
            beta_first: variance of its first step.
            beta_last: variance of its last step.
            ancestral: whether to offer the sampler of T network evaluations.
            variance: sigma_t^2 of the ancestral sampler, see `sample_ancestral`.
            ddim_steps: numbers of steps to offer a DDIM sampler for.
            ddim_eta: noise of the DDIM samplers, see `sample_ddim`.
            ddim_spacing: timesteps of the DDIM samplers, see `ddim_timesteps`.

        Raises:
            ValueError: if the schedule is not valid, an option is not one of its choices, a number
                of DDIM steps is not in [1, T], or no sampler is left.
        """
        super().__init__(data.shape)
        if not ancestral and not ddim_steps:
            raise ValueError("ancestral=False needs at least one entry in ddim_steps, got none")
        if variance not in VARIANCES:
            raise ValueError(f"variance must be one of {VARIANCES}, got {variance!r}")
        if not 0 <= ddim_eta <= 1:
            raise ValueError(f"ddim_eta must be in [0, 1], got {ddim_eta}")
        self.ancestral = ancestral
        self.variance: Literal["fixed_large", "fixed_small"] = variance
        self.ddim_eta = ddim_eta
        self.ddim_timesteps = {
            steps: ddim_timesteps(num_timesteps, steps, ddim_spacing) for steps in ddim_steps
        }
        betas = linear_betas(num_timesteps, beta_first, beta_last)
        alpha_bar = cumulative_alphas(betas)
        self.num_timesteps = num_timesteps
        self.register_buffer("betas", betas, persistent=False)
        self.register_buffer("sqrt_alpha_bar", alpha_bar.sqrt().float(), persistent=False)
        self.register_buffer(
            "sqrt_one_minus_alpha_bar", (1 - alpha_bar).sqrt().float(), persistent=False
        )
        self.network = network(self.data_shape)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase: the denoiser."""
        return (Phase("denoiser", self.network, self.denoiser_loss),)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """The ancestral sampler, where offered, and one DDIM sampler per number of steps."""
        samplers: dict[str, Sampler] = {}
        if self.ancestral:
            name = f"ddpm-{self.num_timesteps}"
            samplers[name] = Sampler(self._draw_ancestral, self.num_timesteps, self.network)
        for steps in self.ddim_timesteps:
            draw = partial(self._draw_ddim, steps)
            samplers[f"ddim-{steps}"] = Sampler(draw, steps, self.network)
        return samplers

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """L_simple: the squared error of the predicted noise (Ho et al. 2020, Eq. 14).

        Args:
            batch: real data; labels are not used.

        Returns:
            "loss", the mean over batch and dimensions, 0-dim float32.
        """
        x_0 = batch.x
        t = torch.randint(self.num_timesteps, (x_0.shape[0],), device=x_0.device)  # (B,)
        eps = torch.randn_like(x_0)
        x_t = self.diffuse(x_0, t, eps)
        return {"loss": F.mse_loss(self.network(x_t, t).float(), eps)}

    def diffuse(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Draw x_t from q(x_t | x_0) with the noise given (Ho et al. 2020, Eq. 4).

        Args:
            x_0: clean samples, (B, *data_shape) in [-1, 1].
            t: timesteps, (B,) int64 in {0, …, T - 1}.
            eps: standard normal noise, same shape as x_0.
        """
        shape = (-1,) + (1,) * (x_0.dim() - 1)
        signal = self.sqrt_alpha_bar[t].view(shape)  # (B, 1, …)
        noise = self.sqrt_one_minus_alpha_bar[t].view(shape)  # (B, 1, …)
        return signal * x_0 + noise * eps

    def _draw_ancestral(self, n: int, generator: Generator, y: Tensor | None = None) -> Tensor:
        x_T = self._draw_noise(n, generator)
        return sample_ancestral(self.network, x_T, self.betas, generator, variance=self.variance)

    def _draw_ddim(
        self, steps: int, n: int, generator: Generator, y: Tensor | None = None
    ) -> Tensor:
        x_T = self._draw_noise(n, generator)
        alpha_bar = cumulative_alphas(self.betas)
        timesteps = self.ddim_timesteps[steps]
        return sample_ddim(self.network, x_T, alpha_bar, timesteps, generator, eta=self.ddim_eta)

    def _draw_noise(self, n: int, generator: Generator) -> Tensor:
        return torch.randn((n, *self.data_shape), generator=generator, device=generator.device)
