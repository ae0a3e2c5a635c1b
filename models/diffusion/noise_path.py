"""Paths of noise levels from pure noise to data, and the denoisers that samplers call on them."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal, NamedTuple

import numpy as np
from torch import Tensor

Spacing = Literal["trailing", "uniform", "quadratic"]
SPACINGS = ("trailing", "uniform", "quadratic")

MAX_SIGMA = 80.0
"""Noise beside which data in [-1, 1] cannot be seen (Karras et al. 2022, Table 1)."""

ROUNDING = 1e-12
"""Relative error of float64 up to which a level is taken to preserve the variance."""


class Prediction(NamedTuple):
    """What a denoiser says about a noisy sample.

    Attributes:
        x_0: the predicted clean sample, (B, *shape) float32, clipped where the model clips.
        fraction: where the model learns the reverse variance, the place in [0, 1] between the
            posterior's (0) and the forward process's (1), in log space (Nichol & Dhariwal 2021,
            Eq. 15), (B, *shape); None where it does not.
    """

    x_0: Tensor
    fraction: Tensor | None = None


Denoiser = Callable[[Tensor, Tensor], Prediction]
"""Maps noisy samples (B, *shape) and what the path calls their time, (B,) or (B, 2) float32."""

Time = float | tuple[float, float]
"""What a denoiser is told: a noise level, or the levels at which a step starts and ends."""


@dataclass(frozen=True)
class Path:
    """Noise levels in the order of sampling: at each, x = alpha · x_0 + sigma · eps.

    Attributes:
        alphas: factors of the signal, S + 1 values; the first may be 0, the last is 1.
        sigmas: factors of the noise, S + 1 values; the last is 0.
        times: what the denoiser is told at each of the S levels that are visited; both ends of the
            step where it predicts average velocities.

    Raises:
        ValueError: their numbers do not fit, the path does not end at the data, or the ratio of
            signal to noise does not rise at every step.
    """

    alphas: tuple[float, ...]
    sigmas: tuple[float, ...]
    times: tuple[Time, ...]

    def __post_init__(self) -> None:
        """Refuse levels that no sampler could follow."""
        if not len(self.alphas) == len(self.sigmas) == len(self.times) + 1 >= 2:
            raise ValueError(
                "a path of S steps has S + 1 alphas, S + 1 sigmas and S times, got "
                f"{len(self.alphas)} alphas, {len(self.sigmas)} sigmas and {len(self.times)} times"
            )
        if (self.alphas[-1], self.sigmas[-1]) != (1.0, 0.0):
            raise ValueError(
                f"a path must end at alpha 1 and sigma 0, got {self.alphas[-1]:g}, "
                f"{self.sigmas[-1]:g}"
            )
        levels = zip(self.alphas, self.sigmas, strict=True)
        for (alpha, sigma), (alpha_next, sigma_next) in pairwise(levels):
            if not 0 <= alpha * sigma_next < alpha_next * sigma:
                raise ValueError(
                    "a path's ratio of signal to noise must rise at every step, got alphas "
                    f"{alpha:g}, {alpha_next:g}, sigmas {sigma:g}, {sigma_next:g}"
                )

    @property
    def steps(self) -> int:
        """S, the number of steps."""
        return len(self.times)

    @property
    def noise_scale(self) -> float:
        """Standard deviation of the noise that stands for a sample at the first level."""
        return 1.0 if self.scales[0] == 1.0 else self.sigmas[0]

    @property
    def scales(self) -> tuple[float, ...]:
        """Standard deviation of data of variance 1 at each level, (alpha² + sigma²)^½.

        Exactly 1 where the level preserves the variance, whatever rounding makes of the sum.
        """
        scales = (math.hypot(*level) for level in zip(self.alphas, self.sigmas, strict=True))
        return tuple(1.0 if math.isclose(s, 1.0, rel_tol=ROUNDING) else s for s in scales)

    def last(self, steps: int) -> "Path":
        """The last steps alone.

        Raises:
            ValueError: steps is not in [1, S].
        """
        if not 1 <= steps <= self.steps:
            raise ValueError(f"steps must be in [1, {self.steps}], got {steps}")
        first = self.steps - steps
        return Path(self.alphas[first:], self.sigmas[first:], self.times[first:])


def spaced(num_timesteps: int, steps: int, spacing: Spacing = "trailing") -> list[int]:
    """Choose which of the T timesteps to visit.

    "trailing" (Lin et al. 2024, Table 2) starts at the last timestep, where the pure noise belongs
    that sampling starts from; the timesteps are those of diffusers' schedulers. "uniform" is the
    linear choice of DDIM's paper (Song et al. 2021, App. D.2; "leading" in diffusers), which starts
    up to T / S short of it. "quadratic", from the same place, visits floor(c i²) with c such that
    the last is T - 1: more steps at little noise.

    Args:
        num_timesteps: T.
        steps: S, in [1, T].
        spacing: one of `SPACINGS`.

    Returns:
        S distinct timesteps in [0, T), descending.

    Raises:
        ValueError: if steps is out of range or spacing is unknown.
    """
    if not 1 <= steps <= num_timesteps:
        raise ValueError(f"sampler steps must be in [1, {num_timesteps}], got {steps}")
    if spacing == "trailing":
        # Ties are rounded as the floating-point sums of diffusers' formula happen to fall. Where
        # these reach one value too far, to timestep -1, that value is left out.
        counted = np.round(np.arange(num_timesteps, 0, -num_timesteps / steps)[:steps])
        return [int(t) - 1 for t in counted]
    if spacing == "uniform":
        return [k * (num_timesteps // steps) for k in reversed(range(steps))]
    if spacing == "quadratic":
        if steps == 1:
            return [num_timesteps - 1]
        visited = [-1]
        for k in range(steps):
            square = int((num_timesteps - 1) * (k / (steps - 1)) ** 2)
            visited.append(max(square, visited[-1] + 1))
        return visited[:0:-1]
    raise ValueError(f"spacing must be one of {SPACINGS}, got {spacing!r}")


def vp_path(alpha_bar: Tensor, timesteps: Sequence[int]) -> Path:
    """The path of a variance-preserving process (Ho et al. 2020, Eq. 4) along some timesteps.

    Args:
        alpha_bar: cumulative signal power, (T,) float64.
        timesteps: those to visit, descending.
    """
    powers = alpha_bar[list(timesteps)].tolist()  # one transfer from the device
    return Path(
        alphas=(*(math.sqrt(a) for a in powers), 1.0),
        sigmas=(*(math.sqrt(1.0 - a) for a in powers), 0.0),
        times=tuple(float(t) for t in timesteps),
    )


def straight_path(steps: int) -> Path:
    """The straight path x_t = (1 - t) x_0 + t eps in equal steps, its times t (Liu et al. 2023).

    Args:
        steps: at least 1.
    """
    times = [(steps - k) / steps for k in range(steps + 1)]
    return Path(tuple(1.0 - t for t in times), tuple(times), tuple(times[:-1]))


def karras_path(
    steps: int, sigma_min: float = 0.002, sigma_max: float = 80.0, rho: float = 7.0
) -> Path:
    """Noise levels of EDM (Karras et al. 2022, Eq. 5), without scaling of the signal.

    Args:
        steps: N, at least 1.
        sigma_min: the last level before 0.
        sigma_max: the first level.
        rho: how much shorter the steps at little noise are.

    Raises:
        ValueError: an argument is out of its range.
    """
    if steps < 1:
        raise ValueError(f"sampler steps must be at least 1, got {steps}")
    if not 0 < sigma_min < sigma_max or not rho > 0:
        raise ValueError(
            "sigma_min, sigma_max and rho must satisfy 0 < sigma_min < sigma_max and 0 < rho, got "
            f"{sigma_min}, {sigma_max}, {rho}"
        )
    low, high = sigma_min ** (1 / rho), sigma_max ** (1 / rho)
    sigmas = [(high + i / max(1, steps - 1) * (low - high)) ** rho for i in range(steps)]
    return Path(alphas=(1.0,) * (steps + 1), sigmas=(*sigmas, 0.0), times=tuple(sigmas))


def vp_karras_path(alpha_bar: Tensor, steps: int) -> Path:
    """Karras's levels among those of a variance-preserving process, for a denoiser `in_sigma`.

    They begin at `MAX_SIGMA` where the process goes on beyond, as the cosine schedule does: there
    data cannot be told from noise, and a step would magnify the network's error as much.

    Args:
        alpha_bar: cumulative signal power, (T,) float64.
        steps: at least 1.
    """
    least, most = ((1.0 - alpha_bar[[0, -1]]) / alpha_bar[[0, -1]]).sqrt().tolist()
    return karras_path(steps, least, min(most, MAX_SIGMA))


def in_sigma(denoiser: Denoiser, alpha_bar: Tensor) -> Denoiser:
    """A variance-preserving denoiser as one of unscaled samples x_0 + sigma · eps.

    Args:
        denoiser: takes alpha · (x_0 + sigma · eps) and a timestep.
        alpha_bar: cumulative signal power, (T,) float64, on the denoiser's device.

    Returns:
        A denoiser whose time is sigma. Between two timesteps it interpolates linearly in log sigma.
    """
    table = ((1.0 - alpha_bar) / alpha_bar).log() / 2  # log sigma, (T,), rising

    def denoise(x: Tensor, sigma: Tensor) -> Prediction:
        log_sigma = sigma.to(table.dtype).log()  # (B,)
        above = (table < log_sigma[:, None]).sum(1)  # (B,), as ONNX has no `searchsorted`
        above = above.clamp(1, len(table) - 1)
        low, high = table[above - 1], table[above]
        t = above - 1 + ((log_sigma - low) / (high - low)).clamp(0.0, 1.0)  # (B,)
        scale = (1.0 + sigma.square()).rsqrt().view(-1, *(1,) * (x.dim() - 1))
        return denoiser(x * scale, t.float())

    return denoise
