"""What diffusion models share: one denoiser to train, samplers by name, and ways to look inside."""

from typing import TYPE_CHECKING

from torch import Generator, Tensor

if TYPE_CHECKING:
    from models.diffusion.denoising import DenoisingModel
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import nn

from models.base import Batch, GenerativeModel, Phase, Sampler
from models.diffusion.noise_path import Denoiser, Path, Prediction
from models.diffusion.sampler_names import SamplerSpec


def edit(
    model: "DenoisingModel",
    x: Tensor,
    name: str,
    strength: float,
    generator: Generator,
    y: Tensor | None = None,
) -> Tensor:
    """Noise samples and denoise them by the share `strength` of a sampler's steps, at least one.

    Args:
        model: in eval mode.
        x: clean samples, (B, *data_shape) in [-1, 1].
        name: of the sampler.
        strength: in (0, 1]; 1 keeps nothing of x.
        generator: source of the noise, on the model's device.
        y: classes of a conditional model, (B,); None if they are not known.

    Returns:
        Samples, (B, *data_shape) float32.

    Raises:
        ValueError: strength is out of its range, or the name is not that of a sampler.
    """
    if not 0 < strength <= 1:
        raise ValueError(f"strength of an edit must be in (0, 1], got {strength}")
    steps = max(1, round(strength * model.path(name).steps))
    return model.refine(x, name, steps, generator, y)


SHARES = tuple(k / 10 for k in range(11))
"""Where along the noise levels errors are looked at, from the least noise (0) to the most (1)."""

STRENGTHS = (0.1, 0.25, 0.5, 0.75, 1.0)
"""Of edits: shares of a sampler's steps, rounded to whole ones."""

STATES = 10
"""Most states of a trajectory."""

OnState = Callable[[Tensor], None]
"""Told of every state that the denoiser is given."""


class NoiseLevel(NamedTuple):
    """One level of noise: x = alpha · x_0 + sigma · eps.

    Attributes:
        share: where it lies among the model's levels, in [0, 1].
        alpha: factor of the signal.
        sigma: factor of the noise.
        time: what the denoiser is told.
    """

    share: float
    alpha: float
    sigma: float
    time: float


class DenoisingModel(GenerativeModel):
    """A network that is trained to denoise, and drawn from along paths of noise levels.

    Attributes:
        network: the denoiser.
        specs: its samplers by name.
        num_classes: K, if it is told classes; 0 otherwise.
    """

    network: nn.Module
    specs: Mapping[str, SamplerSpec]
    num_classes: int = 0

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase: the denoiser."""
        return () if self.trained else (Phase("denoiser", self.network, self.denoiser_loss),)

    @property
    def samplers(self) -> Mapping[str, Sampler]:
        """One sampler per name."""
        return {name: self.sampler(name) for name in self.specs}

    def sampler(self, name: str) -> Sampler:
        """The sampler of this name, whether or not it is one of `samplers`."""
        spec = self._spec(name)
        return Sampler(
            partial(self._draw, spec),
            {self.network: spec.evaluations()},
            classes=self.num_classes,
            trajectory=partial(self._trajectory, spec),
        )

    @abstractmethod
    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """What training minimises, with "loss" among its values."""

    @abstractmethod
    def denoiser(self, y: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """The model as samplers see it."""

    @abstractmethod
    def path(self, name: str) -> Path:
        """The noise levels that a sampler of this name visits."""

    @abstractmethod
    def noise_levels(self) -> Iterable[NoiseLevel]:
        """Levels from the least noise to the most, at about `SHARES` of the way."""

    @abstractmethod
    def _spec(self, name: str) -> SamplerSpec:
        """What a sampler's name says, checked against the model."""

    @abstractmethod
    def _sample(
        self,
        spec: SamplerSpec,
        path: Path,
        x: Tensor,
        generator: Generator,
        y: Tensor | None,
        on_state: OnState | None = None,
    ) -> Tensor:
        """Run a sampler from x at the first level of a path."""

    def refine(
        self,
        x: Tensor,
        name: str,
        steps: int,
        generator: Generator,
        y: Tensor | None = None,
        on_state: OnState | None = None,
    ) -> Tensor:
        """Noise samples and denoise them again by the last steps of a sampler (SDEdit).

        Meng et al. 2022, Algorithm 1: the fewer steps, the closer to what was given.

        Args:
            x: clean samples, (B, *data_shape) in [-1, 1].
            name: of the sampler.
            steps: how many of its last steps to take, in [1, its steps].
            generator: source of the noise, on the model's device.
            y: classes of a conditional model, (B,); None if they are not known.
            on_state: told of every state on the way, each (B, *data_shape).

        Returns:
            Samples, (B, *data_shape) float32, in [-1, 1] if the model clips.
        """
        path = self.path(name).last(steps)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        x_t = path.alphas[0] * x + path.sigmas[0] * noise
        return self._sample(self._spec(name), path, x_t, generator, y, on_state)

    def held_out_curves(
        self, batch: Batch, generator: Generator
    ) -> dict[str, list[tuple[float, Tensor]]]:
        """What the model does to held-out samples along its noise levels, and along edits.

        Returns:
            "x0_error", the mean squared error of the predicted clean sample against the share of
            the noise levels; "edit_distance", the root mean square distance of an edit by the
            cheapest sampler (SDEdit) from its input against the strength. Each value is (B,).
        """
        x, y = batch.x, batch.y if self.num_classes else None
        denoise = self.denoiser(y)
        errors = []
        for level in self.noise_levels():
            noise = torch.randn(x.shape, generator=generator, device=x.device)
            time = torch.full((len(x),), level.time, device=x.device)
            x_0 = denoise(level.alpha * x + level.sigma * noise, time).x_0
            errors.append((level.share, (x_0 - x).square().flatten(1).mean(1)))
        name = min(self.specs, key=lambda name: self.specs[name].evaluations())
        edits = []
        for strength in STRENGTHS:
            edited = edit(self, x, name, strength, generator, y)
            edits.append((strength, (edited - x).square().flatten(1).mean(1).sqrt()))
        return {"x0_error": errors, "edit_distance": edits}

    def _draw(
        self,
        spec: SamplerSpec,
        n: int,
        generator: Generator,
        y: Tensor | None = None,
        on_state: OnState | None = None,
    ) -> Tensor:
        path = self.path(spec.name)
        device = self.progress.device
        noise = torch.randn((n, *self.data_shape), generator=generator, device=device)
        if self.num_classes and y is None:
            y = torch.randint(self.num_classes, (n,), generator=generator, device=device)
        return self._sample(spec, path, path.noise_scale * noise, generator, y, on_state)

    def _trajectory(
        self, spec: SamplerSpec, n: int, generator: Generator, y: Tensor | None = None
    ) -> list[Tensor]:
        states: list[Tensor] = []
        result = self._draw(spec, n, generator, y, states.append)
        return shown_states(states, result)


def watched(denoise: Denoiser, on_state: OnState | None) -> Denoiser:
    """The same denoiser, telling what it is given before it answers; itself if no one is told."""
    if on_state is None:
        return denoise

    def tell(x: Tensor, time: Tensor) -> Prediction:
        on_state(x)
        return denoise(x, time)

    return tell


def shown_states(states: Sequence[Tensor], result: Tensor) -> list[Tensor]:
    """At most `STATES` states of a draw, the result last, none of larger variance than noise.

    Args:
        states: what the denoiser was given, from pure noise on, each (n, *shape).
        result: what was drawn, (n, *shape).
    """
    count = min(STATES - 1, len(states))
    kept = [states[round(k * (len(states) - 1) / max(1, count - 1))] for k in range(count)]
    return [*(x / x.std().clamp(min=1.0) for x in kept), result]
