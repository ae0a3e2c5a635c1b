"""The forward process of discrete-time, variance-preserving diffusion, and its posterior."""

import torch
from torch import Tensor, nn

from models.diffusion.schedules import (
    cumulative_alphas,
    posterior_mean_coefficients,
    posterior_variances,
)


class ForwardProcess(nn.Module):
    """q(x_t | x_0) and q(x_{t-1} | x_t, x_0) of a schedule (Ho et al. 2020, Eq. 4 and 7).

    Its tables are constants: they move with the model and are not saved with it.

    Attributes:
        num_timesteps: T.
        alpha_bar: cumulative signal power, (T,) float64.
    """

    alpha_bar: Tensor
    log_ratio: Tensor
    weight_x_0: Tensor
    weight_x_t: Tensor
    log_betas: Tensor
    log_posterior_variances: Tensor

    def __init__(self, betas: Tensor) -> None:
        """Take betas, (T,) float64, each in (0, 1), T at least 2.

        Raises:
            ValueError: betas are not such, or float64 cannot tell their noise levels apart.
        """
        super().__init__()
        if betas.ndim != 1 or len(betas) < 2 or not bool(((betas > 0) & (betas < 1)).all()):
            raise ValueError(
                f"betas must be at least 2 numbers in (0, 1), got shape {tuple(betas.shape)} with "
                f"values {betas.flatten()[:3].tolist()}, …"
            )
        betas = betas.double()
        alpha_bar = cumulative_alphas(betas)
        log_ratio = ((1 - alpha_bar) / alpha_bar).log() / 2
        if not bool(log_ratio.isfinite().all() and (log_ratio.diff() > 0).all()):
            raise ValueError(
                "betas must leave a signal power that falls at every timestep and stays in (0, 1), "
                f"got betas {betas[0]:g} to {betas[-1]:g} with powers {alpha_bar[0]:g} to "
                f"{alpha_bar[-1]:g}: choose larger betas where it stays at 1, smaller ones or "
                "fewer timesteps where it reaches 0"
            )
        posterior = posterior_variances(betas)
        posterior[0] = posterior[1]  # zero at the first step: its logarithm is clipped, as usual
        weight_x_0, weight_x_t = posterior_mean_coefficients(betas)
        self.num_timesteps = len(betas)
        for name, table in {
            "alpha_bar": alpha_bar,
            "log_ratio": log_ratio,  # log(sigma / alpha), rising
            "weight_x_0": weight_x_0.float(),
            "weight_x_t": weight_x_t.float(),
            "log_betas": betas.log().float(),
            "log_posterior_variances": posterior.log().float(),
        }.items():
            self.register_buffer(name, table, persistent=False)

    def levels(self, t: Tensor, dim: int) -> tuple[Tensor, Tensor]:
        """Factors of signal and noise at timesteps, between two of them linear in log(sigma/alpha).

        Args:
            t: (B,), float or integer, in [0, T - 1].
            dim: number of dimensions of the samples that they are for.

        Returns:
            alpha and sigma, each (B, 1, …) float32 with alpha² + sigma² = 1.
        """
        t = t.double()
        low = t.long().clamp(0, self.num_timesteps - 2)  # (B,)
        log_ratio = torch.lerp(self.log_ratio[low], self.log_ratio[low + 1], t - low)
        shape = (-1, *(1,) * (dim - 1))
        alpha = torch.sigmoid(-2 * log_ratio).sqrt().float().view(shape)
        sigma = torch.sigmoid(2 * log_ratio).sqrt().float().view(shape)
        return alpha, sigma

    def diffuse(self, x_0: Tensor, t: Tensor, eps: Tensor) -> Tensor:
        """Draw x_t from q(x_t | x_0) with the noise given (Ho et al. 2020, Eq. 4).

        Args:
            x_0: clean samples, (B, *shape).
            t: timesteps, (B,) int64 in {0, …, T - 1}.
            eps: standard normal noise, same shape as x_0.
        """
        alpha, sigma = self.levels(t, x_0.dim())
        return alpha * x_0 + sigma * eps

    def posterior_mean(self, x_0: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, Eq. 7), (B, *shape)."""
        shape = (-1, *(1,) * (x_0.dim() - 1))
        return self.weight_x_0[t].view(shape) * x_0 + self.weight_x_t[t].view(shape) * x_t

    def log_variance(self, t: Tensor, dim: int, fraction: Tensor | float) -> Tensor:
        """Logarithm of the reverse step's variance (Nichol & Dhariwal 2021, Eq. 15).

        Args:
            t: timesteps, (B,) int64.
            dim: number of dimensions of the samples.
            fraction: place between the posterior's variance (0) and beta_t (1).
        """
        shape = (-1, *(1,) * (dim - 1))
        low, high = self.log_posterior_variances[t].view(shape), self.log_betas[t].view(shape)
        # At the first step beta_0 may lie below the posterior's clipped value: see `__init__`.
        return low + (high - low) * fraction
