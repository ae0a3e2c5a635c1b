"""MeanFlow (Geng et al. 2025, arXiv 2505.13447): average velocities, for samples in one step.

u(x_t, r, t) is the average over [r, t] of the velocity along the flow that passes through x_t at
time t, so that x_r = x_t - (t - r) u exactly. Departures: the derivative of u is computed by a
second pass through the network, of those samples alone whose r differs from t and without
gradients, which costs less than differentiating the pass that is trained; where the network has
dropout, the two passes drop different units.
"""

import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial

import torch
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.flow_times import Times
from models.diffusion.noise_path import Path, Prediction
from models.diffusion.rectified_flow import STRAIGHT, RectifiedFlow, like, noised
from models.diffusion.sampler_names import SamplerSpec
from models.diffusion.samplers import AVERAGES
from models.exports import NetworkCall, uniform_input

SMALL = 1e-3
"""c of the adaptive weight (Sec. 4.3, App. B.2)."""

AverageVelocity = Callable[[Tensor, Tensor, Tensor], Tensor]
"""(x_t (B, *shape), r (B,), t (B,)) → u, (B, *shape)."""


class MeanFlow(RectifiedFlow):
    """A network u(x_t, r, t) that is told t and t - r; u(x_t, t, t) is the flow's velocity.

    Samplers meanflow-N take N steps of it; all others follow the velocity, and so does the
    likelihood.
    """

    num_times = 2
    time_scale = 10.0
    """Less than a rectified flow's: the derivative by t would magnify fast sinusoids."""

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        samplers: Sequence[str],
        times: Times | None = None,
        of_four: int = 1,
        power: float = 1.0,
        clip: bool = True,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Build the network.

        Args:
            data: the data to model.
            network: builds u's network from the shape of one sample and `num_times` = 2. It maps
                x_t (B, *shape) and the code of t and t - r (B, 2) to (B, *shape).
            samplers: their names, see `sampler_names`.
            times: of which two are taken for each sample, the greater as t and the other as r; see
                `flow_times`; None is uniform.
            of_four: of four samples, how many keep their r; that of all others is t (Sec. 4.3: one
                for ImageNet, three for CIFAR-10).
            power: p of the adaptive weight, 0 for a constant weight (Sec. 4.3, App. B.2).
            clip: whether samples lie in [-1, 1], and are clipped to it.
            augmentation: of training images; None for none.

        Raises:
            ValueError: a number is out of its range, a sampler's name does not fit, or the data is
                no images for an augmentation.
        """
        if not isinstance(of_four, int) or not 0 <= of_four <= 4:
            raise ValueError(f"of_four must be 0, 1, 2, 3 or 4, got {of_four}")
        if not 0 <= power <= 1:
            raise ValueError(f"power of the adaptive weight must be in [0, 1], got {power}")
        super().__init__(
            data, network, samplers=samplers, times=times, clip=clip, augmentation=augmentation
        )
        self.of_four = of_four
        self.power = power

    @property
    def batch_unit(self) -> int:
        """Four samples, of which `of_four` are a whole number."""
        return 4

    def average_velocity(
        self, x: Tensor, r: Tensor, t: Tensor, augmented: Tensor | None = None
    ) -> Tensor:
        """u(x, r, t).

        Args:
            x: samples at times t, (B, *shape).
            r: starts of the intervals, (B,) in [0, t].
            t: their ends, (B,) in [0, 1].
            augmented: parameters of the augmentation, (B, P), in training.

        Returns:
            (B, *shape) float32.
        """
        code = self.time_scale * torch.stack([t, t - r], dim=1)  # (B, 2)
        return self._call(x, code, None, augmented=augmented)[0]

    def velocity(
        self,
        x: Tensor,
        t: Tensor,
        y: Tensor | None = None,
        guidance: float = 1.0,
        augmented: Tensor | None = None,
    ) -> Tensor:
        """The flow's velocity, u(x, t, t). See `RectifiedFlow.velocity`."""
        return self.average_velocity(x, t, t, augmented)

    def predict(
        self, x: Tensor, time: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> Prediction:
        """Predict clean samples; the time is t, or an interval's two ends, t and r, (B, 2).

        The prediction is x - t v, or x - t u(x, r, t) for an interval: Euler's step from t to r by
        that is x - (t - r) u, which ends at x_r.
        """
        if time.dim() == 1:
            return super().predict(x, time, y, guidance)
        t, r = time.unbind(dim=1)  # each (B,)
        return Prediction(x - like(t, x) * self.average_velocity(x, r, t))

    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of u against its target, weighted (Algorithm 1; Eq. 9).

        Returns:
            "loss", and "error", the mean squared error without weights; 0-dim float32.
        """
        x_0, augmented = self._training_images(batch)
        t, r = self._intervals(len(x_0), x_0.device)  # each (B,)
        x_t, velocity = noised(x_0, t)
        wanted = velocity.clone()
        kept = self._kept(len(x_t))
        if kept:
            parameters = None if augmented is None else augmented[:kept]
            u = partial(self.average_velocity, augmented=parameters)
            wanted[:kept] = target(u, x_t[:kept], velocity[:kept], r[:kept], t[:kept])
        found = self.average_velocity(x_t, r, t, augmented)
        errors = (found - wanted).square().flatten(1)  # (B, D)
        totals = errors.sum(dim=1)  # (B,)
        weights = (totals.detach() + SMALL) ** -self.power
        return {"loss": (weights * totals).mean(), "error": errors.detach().mean()}

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, u."""

        def compute(x_t: Tensor, r: Tensor, t: Tensor) -> tuple[Tensor, ...]:
            return (self.average_velocity(x_t, r, t),)

        times = uniform_input("r", 0, 0.5, "starts of the intervals, in [0, t]")
        ends = uniform_input("t", 0.5, 1, "ends of the intervals, in [0, 1], 1 for pure noise")
        outputs = {"velocity": "average velocity of the flow in [r, t]: x_r = x_t - (t - r) * it"}
        inputs = self._inputs(STRAIGHT, times, ends)
        return {"average_velocity": NetworkCall(compute, inputs, outputs)}

    def _kept(self, batch_size: int) -> int:
        """How many samples of a batch, its first ones, have an r that differs from t."""
        return -(-batch_size * self.of_four // 4)

    def _intervals(self, batch_size: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """Ends t and starts r of every interval, each (B,), r at most t."""
        first, second = (self.times(batch_size, device) for _ in range(2))
        t = torch.maximum(first, second)
        kept = torch.arange(batch_size, device=device) < self._kept(batch_size)
        return t, torch.where(kept, torch.minimum(first, second), t)

    def _path(self, spec: SamplerSpec) -> Path:
        path = super()._path(spec)
        if AVERAGES not in spec.method.needs:
            return path
        return replace(path, times=tuple(zip(path.sigmas[:-1], path.sigmas[1:], strict=True)))


def target(
    average_velocity: AverageVelocity, x_t: Tensor, velocity: Tensor, r: Tensor, t: Tensor
) -> Tensor:
    """What u should be by the MeanFlow identity, u = v - (t - r) du/dt (Geng et al. 2025, Eq. 6).

    The total derivative along the flow, du/dt = v ∂u/∂x + ∂u/∂t (Eq. 8), is one forward-mode
    derivative. No gradient passes through it.

    Args:
        average_velocity: u.
        x_t: samples at times t, (B, *shape).
        velocity: v, (B, *shape): that of each sample's own path, of which u's is the mean.
        r: starts of the intervals, (B,).
        t: their ends, (B,).

    Returns:
        (B, *shape) float32.
    """
    _load_forward_mode()
    with torch.no_grad():
        derivative = torch.func.jvp(
            lambda x, end: average_velocity(x, r, end), (x_t, t), (velocity, torch.ones_like(t))
        )[1]
        return velocity - like(t - r, x_t) * derivative


@cache
def _load_forward_mode() -> None:
    """Let torch load its forward mode, without its warning about what it calls itself then."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        torch.func.jvp(torch.sin, (torch.zeros(()),), (torch.ones(()),))
