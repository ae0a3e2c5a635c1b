"""Noise schedules of discrete-time diffusion in float64, and the forward process of one.

Timesteps are 0-based as in the authors' code: index t here is the paper's t + 1, so that a schedule
of T steps is indexed by t in {0, …, T - 1}. Everywhere betas are the variances of the forward
process, (T,) float64.
"""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

Timesteps = Callable[[Tensor], Tensor]
"""(alpha_bar (T,) float64) → probabilities with which training visits timesteps, (T,) float64."""


def linear_betas(num_timesteps: int, beta_first: float = 1e-4, beta_last: float = 0.02) -> Tensor:
    """Variances beta_t of the forward process, linear in t (Ho et al. 2020, Sec. 4).

    Args:
        num_timesteps: T, at least 2.
        beta_first: beta of the first step, in (0, 1).
        beta_last: beta of the last step, in [beta_first, 1).

    Raises:
        ValueError: if T < 2 or not 0 < beta_first <= beta_last < 1.
    """
    if num_timesteps < 2:
        raise ValueError(f"num_timesteps must be at least 2, got {num_timesteps}")
    if not 0 < beta_first <= beta_last < 1:
        raise ValueError(
            f"betas must satisfy 0 < beta_first <= beta_last < 1, got {beta_first}, {beta_last}"
        )
    return torch.linspace(beta_first, beta_last, num_timesteps, dtype=torch.float64)


def cosine_betas(num_timesteps: int, offset: float = 0.008, beta_max: float = 0.999) -> Tensor:
    """Variances under which alpha_bar is a squared cosine (Nichol & Dhariwal 2021, Eq. 17).

    Args:
        num_timesteps: T, at least 2.
        offset: s, which keeps the first betas from vanishing.
        beta_max: largest beta, in (0, 1), against a singular end.

    Raises:
        ValueError: an argument is out of its range.
    """
    if num_timesteps < 2:
        raise ValueError(f"num_timesteps must be at least 2, got {num_timesteps}")
    if not offset >= 0 or not 0 < beta_max < 1:
        raise ValueError(f"need offset >= 0 and beta_max in (0, 1), got {offset}, {beta_max}")
    share = torch.linspace(0, 1, num_timesteps + 1, dtype=torch.float64)
    signal = torch.cos((share + offset) / (1 + offset) * torch.pi / 2).square()
    return (1 - signal[1:] / signal[:-1]).clamp(max=beta_max)


def sigmoid_betas(
    num_timesteps: int, beta_first: float = 1e-4, beta_last: float = 0.02, width: float = 6.0
) -> Tensor:
    """Variances that rise as a sigmoid (the schedule of GeoDiff, Xu et al. 2022; in diffusers too).

    Args:
        num_timesteps: T, at least 2.
        beta_first: the lower asymptote, in (0, 1).
        beta_last: the upper asymptote, in [beta_first, 1).
        width: the sigmoid is taken from -width to width, positive.

    Raises:
        ValueError: an argument is out of its range.
    """
    linear_betas(num_timesteps, beta_first, beta_last)  # refuses what is out of range
    if not width > 0:
        raise ValueError(f"width must be positive, got {width}")
    rise = torch.sigmoid(torch.linspace(-width, width, num_timesteps, dtype=torch.float64))
    return beta_first + (beta_last - beta_first) * rise


def uniform() -> Timesteps:
    """Every timestep equally often (Ho et al. 2020, Algorithm 1)."""
    return lambda alpha_bar: torch.full_like(alpha_bar, 1 / len(alpha_bar))


def logit_normal(mean: float = 0.0, std: float = 1.0) -> Timesteps:
    """Noise levels with a normal log(sigma / alpha): most training at medium noise.

    On the straight path x_t = (1 - t) x_0 + t eps, logit t is log(sigma / alpha), hence the name
    (Esser et al. 2024, Sec. 3.1); where alpha is 1 it is EDM's log-normal distribution of sigma
    (Karras et al. 2022, Table 1). A timestep stands for the levels up to half-way to its
    neighbours; the first and the last one for all beyond.

    Args:
        mean: of log(sigma / alpha).
        std: its standard deviation, positive.

    Raises:
        ValueError: mean is not finite, or std not positive.
    """
    if not math.isfinite(mean) or not 0 < std < math.inf:
        raise ValueError(f"logit_normal needs a finite mean and a positive std, got {mean}, {std}")

    def probabilities(alpha_bar: Tensor) -> Tensor:
        log_ratio = ((1 - alpha_bar) / alpha_bar).log() / 2  # (T,), rising
        between = (log_ratio[1:] + log_ratio[:-1]) / 2
        below = torch.special.ndtr((between - mean) / std)  # (T - 1,)
        return torch.diff(below, prepend=below.new_zeros(1), append=below.new_ones(1))

    return probabilities


def cumulative_alphas(betas: Tensor) -> Tensor:
    """Cumulative signal power alpha_bar_t = prod_s (1 - beta_s) (Ho et al. 2020, Eq. 4).

    Returns:
        alpha_bar, (T,) float64, decreasing in (0, 1).
    """
    return torch.cumprod(1.0 - betas, dim=0)


def posterior_variances(betas: Tensor) -> Tensor:
    """Variances beta~_t of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, Eq. 7); the first is 0."""
    alpha_bar = cumulative_alphas(betas)
    alpha_bar_prev = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    return betas * (1.0 - alpha_bar_prev) / (1.0 - alpha_bar)


def posterior_mean_coefficients(betas: Tensor) -> tuple[Tensor, Tensor]:
    """Weights of x_0 and x_t in the mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, Eq. 7).

    Returns:
        The weight of x_0 and the weight of x_t, each (T,) float64.
    """
    alpha_bar = cumulative_alphas(betas)
    alpha_bar_prev = torch.cat([alpha_bar.new_ones(1), alpha_bar[:-1]])
    weight_x_0 = betas * alpha_bar_prev.sqrt() / (1.0 - alpha_bar)
    weight_x_t = (1.0 - betas).sqrt() * (1.0 - alpha_bar_prev) / (1.0 - alpha_bar)
    return weight_x_0, weight_x_t


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
            ValueError: betas are out of range, or float64 cannot tell their noise levels apart.
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
        """Sample x_t from q(x_t | x_0) with the noise given (Ho et al. 2020, Eq. 4).

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
