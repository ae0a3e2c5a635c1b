"""The likelihood of a flow: its probability flow ODE, with a stochastic estimate of the trace.

Along dx = v(x, t) dt a log-density changes by minus the divergence of v (Chen et al. 2018, Theorem
1). Data lies at t = 0 and standard normal noise at t = 1, so that
log p(x) = log N(x(1); 0, I) + the integral of div v(x(t), t) over t from 0 to 1 (Song et al. 2021,
arXiv 2011.13456, App. D.2).
"""

import math
from collections.abc import Callable, Iterator
from itertools import pairwise

import torch
from torch import Generator, Tensor

from models.diffusion.bound import BIN

Velocity = Callable[[Tensor, Tensor], Tensor]
"""(x (B, *shape), t (B,) in [0, 1]) → dx/dt, (B, *shape) float32."""

STEPS = 12
"""Steps of the Runge-Kutta method, of four evaluations each. On Gaussian data of a standard
deviation from that of a constant value's dequantisation (0.00226) to 1 they give at most 0.0065
bits per dimension too little, and from 0.1 on at most 0.0012."""

GROWTH = 6.0
"""Logarithm of how much denser steps are at the data than at the noise. The velocities of a mode of
standard deviation s change around t = s, and exp(-6) is about the least s, 0.00226."""


def bits_per_dim(velocity: Velocity, x: Tensor, generator: Generator, steps: int = STEPS) -> Tensor:
    """Bits per dimension of 8-bit images, dequantised by uniform noise.

    An estimate and no bound: an exact density of the dequantised values would bound the negative
    log-likelihood of the 8-bit values from above in expectation (Theis et al. 2016, Sec. 3.1), but
    the integration errs, and for narrow modes in favour of the model, see `STEPS`.

    Args:
        velocity: of the flow.
        x: 8-bit values scaled to [-1, 1], (B, *shape).
        generator: source of every random number, on the device of x.
        steps: see `log_likelihood`.

    Returns:
        (B,) float64.
    """
    uniform = torch.rand(x.shape, generator=generator, device=x.device)
    nats = log_likelihood(velocity, x + BIN * (uniform - 0.5), generator, steps)
    return (-nats / x[0].numel() - math.log(BIN)) / math.log(2.0)


def log_likelihood(
    velocity: Velocity, x: Tensor, generator: Generator, steps: int = STEPS
) -> Tensor:
    """Log-density of samples, without bias by the estimate of the divergence.

    The classical Runge-Kutta method in steps that shorten geometrically towards the data, where
    velocities change within the width of a mode: see `times`. The divergence is Hutchinson's
    estimate by one random vector of signs a sample (Hutchinson 1990), the same at every time as in
    FFJORD (Grathwohl et al. 2019, Sec. 3.1). No gradient passes through it; inference mode, in
    which nothing can be differentiated, must be off.

    Args:
        velocity: of the flow.
        x: samples, (B, *shape).
        generator: source of the signs, on the device of x.
        steps: at least 1.

    Returns:
        Nats, (B,) float64.
    """
    signs = torch.rand(x.shape, generator=generator, device=x.device)
    probe = torch.where(signs < 0.5, -1.0, 1.0)
    integral = torch.zeros(len(x), device=x.device, dtype=torch.float64)
    for t, t_next in pairwise(times(steps)):
        h = t_next - t
        stages = list(_stages(velocity, x, t, h, probe))
        for weight, (slope, divergence) in zip((1, 2, 2, 1), stages, strict=True):
            x = x + h * weight / 6 * slope
            integral += h * weight / 6 * divergence
    log_prior = -0.5 * (x.double().square() + math.log(2.0 * math.pi))
    return log_prior.flatten(1).sum(1) + integral


def times(steps: int) -> list[float]:
    """Where steps begin and end, from 0 to 1: each is exp(GROWTH / steps) times the one before."""
    return [math.expm1(GROWTH * k / steps) / math.expm1(GROWTH) for k in range(steps + 1)]


def _stages(
    velocity: Velocity, x: Tensor, t: float, h: float, probe: Tensor
) -> Iterator[tuple[Tensor, Tensor]]:
    """Velocity, (B, *shape), and divergence, (B,), at the four stages of a Runge-Kutta step."""
    slope = torch.zeros_like(x)
    for share in (0.0, 0.5, 0.5, 1.0):
        slope, divergence = velocity_and_divergence(
            velocity, x + share * h * slope, t + share * h, probe
        )
        yield slope, divergence


def velocity_and_divergence(
    velocity: Velocity, x: Tensor, t: float, probe: Tensor
) -> tuple[Tensor, Tensor]:
    """Velocity, (B, *shape), and Hutchinson's estimate of its divergence, probeᵀ J probe, (B,).

    Args:
        velocity: of the flow.
        x: samples, (B, *shape).
        t: their time.
        probe: random signs, (B, *shape).
    """
    with torch.enable_grad():
        x = x.detach().requires_grad_()
        times = torch.full((len(x),), t, device=x.device)  # (B,)
        slope = velocity(x, times)
        (product,) = torch.autograd.grad(slope, x, probe)
    return slope.detach(), (product * probe).flatten(1).double().sum(1)
