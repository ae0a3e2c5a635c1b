"""Denoising models: a denoiser to train, with or without classes, and samplers by their names."""

import inspect
from abc import abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.noise_path import Denoiser, Path, Prediction
from models.diffusion.sampler_names import SamplerSpec, parse
from models.diffusion.samplers import ANYWHERE, Churning, Variance
from models.exports import Input, label_input, normal_input

LABEL_DROPOUT = 0.1
"""Share of labels hidden in training, for guidance (Ho & Salimans 2022, Sec. 4)."""

SHARES = tuple(k / 10 for k in range(11))
"""Where along the noise levels errors are measured, from the least noise (0) to the most (1)."""

STRENGTHS = (0.1, 0.5, 1.0)
"""Of edits: shares of a sampler's steps, of which `edit_steps` makes whole steps."""

STATES = 10
"""Most states of a trajectory."""

OnState = Callable[[Tensor], None]
"""Called with every state that the denoiser is given."""


class NoiseLevel(NamedTuple):
    """One level of noise: x = alpha · x_0 + sigma · eps.

    Attributes:
        share: where it lies among the model's levels, in [0, 1].
        alpha: factor of the signal.
        sigma: factor of the noise.
        time: the denoiser's second argument.
    """

    share: float
    alpha: float
    sigma: float
    time: float


class DenoisingModel(GenerativeModel):
    """A network that is trained to denoise, and sampled along paths of noise levels.

    A subclass says what its loss is, what its network's output stands for and which noise levels a
    sampler visits. Its constructor ends with `_build`.

    Attributes:
        network: the denoiser's network, called with noisy samples (B, *shape), their noise level's
            code (B,) and, if the model is class-conditional, labels (B,) in {0, …, K}, K standing
            for none. Its output has the channels of the data first.
        num_times: numbers in a noise level's code; with two, codes are (B, 2).
        specs: what the names of its samplers say, by name.
        num_classes: K of a class-conditional model, 0 of any other.
        clip: whether samples lie in [-1, 1], and are clipped to it.
        variance: of the ancestral sampler.
        churning: where and how samplers with churn add noise.
        augmentation: of training images, None for none. Its parameters are a further input of the
            network, `augmented`, in training.
    """

    network: nn.Module
    specs: Mapping[str, SamplerSpec]
    num_times: int = 1
    clip: bool = True
    variance: Variance = "fixed_large"
    churning: Churning = ANYWHERE

    def __init__(
        self,
        data: DataSpec,
        *,
        conditional: bool = False,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Take the data's shape and, for a class-conditional model, its number of classes.

        Raises:
            ValueError: the data has no labels for a conditional model, or is no images for an
                augmentation.
        """
        super().__init__(data.shape)
        if augmentation is not None:
            augmentation.require(data.shape)
        self.augmentation = augmentation
        if conditional:
            data.require_labels("a conditional diffusion model")
        self.num_classes = data.num_classes if conditional else 0

    def _build(
        self,
        network: Callable[..., nn.Module],
        samplers: Sequence[str],
        out_channels: int | None = None,
    ) -> None:
        """Check the samplers against the model's noise levels, then build the network.

        Args:
            network: called with the shape of one sample, with `num_classes` = K if the model is
                class-conditional, with `num_times` if that is not 1, with `out_channels` if that
                is given, and with `augment_dim`, the number of parameters of an augmentation, if
                there is one.
            samplers: their names, see `sampler_names`.
            out_channels: of the network, if not those of the data.

        Raises:
            ValueError: there is no sampler, one does not fit the model, or the network does not
                take what the model asks of it.
        """
        if isinstance(samplers, str) or not samplers:
            raise ValueError(f"samplers must be a list of at least one name, got {samplers!r}")
        for name in samplers:
            self.path(name)
        self.specs = {name: self._spec(name) for name in samplers}
        options = {"num_classes": self.num_classes} if self.num_classes else {}
        if self.num_times != 1:
            options["num_times"] = self.num_times
        if out_channels is not None:
            options["out_channels"] = out_channels
        if self.augmentation is not None:
            options["augment_dim"] = self.augmentation.size
        self.network = built(network, self.data_shape, options)

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
            partial(self._generate, spec),
            {self.network: spec.evaluations()},
            classes=self.num_classes,
            trajectory=partial(self._trajectory, spec),
        )

    def further_sampler(self, name: str) -> Sampler | None:
        """Any sampler whose name says what it is.

        Raises:
            ValueError: the model does not have what it needs, such as as many timesteps.
        """
        try:
            parse(name)
        except ValueError:
            return None
        self.path(name)
        return self.sampler(name)

    # What a subclass is

    @abstractmethod
    def denoiser_loss(self, batch: Batch) -> dict[str, Tensor]:
        """What training minimises on real data, with "loss" among its values.

        The batch has labels if the model is class-conditional.
        """

    @abstractmethod
    def predict(
        self, x: Tensor, time: Tensor, y: Tensor | None = None, guidance: float = 1.0
    ) -> Prediction:
        """Predict clean samples.

        Args:
            x: noisy samples, (B, *shape).
            time: what the model's paths call the time of their noise level, (B,) float32; (B, 2)
                for the ends of steps.
            y: classes, (B,) int64, of a conditional model, None for no class; ignored by others.
            guidance: w of classifier-free guidance (Ho & Salimans 2022, with w there one less):
                predictions without a class, plus w times the difference that the class makes.
        """

    @abstractmethod
    def noise_levels(self) -> Iterable[NoiseLevel]:
        """Levels from the least noise to the most, at about `SHARES` of the way."""

    @abstractmethod
    def _path(self, spec: SamplerSpec) -> Path:
        """The noise levels that a sampler visits; ValueError if the model has none for it."""

    @abstractmethod
    def _more_noise(self, spec: SamplerSpec) -> str:
        """What makes a sampler's path begin with more noise, as an instruction to users."""

    def _along_path(self, spec: SamplerSpec, denoiser: Denoiser) -> Denoiser:
        """The denoiser at the scales and times of the sampler's path, if these are others."""
        return denoiser

    # Classes

    def _training_labels(self, batch: Batch) -> Tensor | None:
        """The batch's labels, a share of them hidden; None if the model or the batch has none."""
        if not self.num_classes or batch.y is None:
            return None
        hidden = torch.rand(batch.y.shape, device=batch.y.device) < LABEL_DROPOUT
        return torch.where(hidden, self.num_classes, batch.y)

    def _training_images(self, batch: Batch) -> tuple[Tensor, Tensor | None]:
        """The batch's images, augmented if the model does so, and the augmentation's parameters."""
        return (batch.x, None) if self.augmentation is None else self.augmentation(batch.x)

    def _call(
        self,
        x: Tensor,
        code: Tensor,
        y: Tensor | None,
        guidance: float = 1.0,
        augmented: Tensor | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Call the network, twice for guidance.

        Args:
            x: its input, (B, *shape).
            code: of the noise level, (B,) or (B, 2).
            y: classes, (B,); None if they are not known.
            guidance: scale of classifier-free guidance, see `predict`; only where y is given.
            augmented: parameters of the augmentation, (B, P); None for images as they are.

        Returns:
            The output's channels for the data, guided, (B, *shape) float32; and the channels beyond
            these, as given for y, (B, C', …) float32, None if there are none.
        """
        more = {} if augmented is None else {"augmented": augmented}
        if not self.num_classes:
            return self._split(self.network(x, code, **more))
        unknown = torch.full((len(x),), self.num_classes, device=x.device)  # (B,)
        output, beyond = self._split(self.network(x, code, unknown if y is None else y, **more))
        if guidance != 1.0 and y is not None:
            without, _ = self._split(self.network(x, code, unknown))
            output = without + guidance * (output - without)
        return output, beyond

    def _split(self, output: Tensor) -> tuple[Tensor, Tensor | None]:
        output, channels = output.float(), self.data_shape[0]
        if output.shape[1] == channels:
            return output, None
        output, beyond = output.split([channels, output.shape[1] - channels], dim=1)
        return output, beyond

    def _inputs(self, noisy: str, *times: Input) -> tuple[Input, ...]:
        """Inputs of the denoiser as other software calls it.

        Args:
            noisy: what the noisy samples are, as a formula.
            times: inputs that say their noise level.
        """
        x_t = normal_input("x_t", self.data_shape, f"noisy samples {noisy}")
        if not self.num_classes:
            return x_t, *times
        last = self.num_classes - 1
        classes = f"classes in {{0, …, {last}}}, or {self.num_classes} for no class"
        return x_t, *times, label_input("y", self.num_classes + 1, classes)

    # Sampling

    def denoiser(self, y: Tensor | None = None, guidance: float = 1.0) -> Denoiser:
        """`predict` for given classes, as samplers call it."""
        return lambda x, time: self.predict(x, time, y, guidance)

    def in_sigma(self, y: Tensor | None = None) -> Denoiser:
        """`denoiser` of samples without scaling, x_0 + sigma · eps: its time is sigma."""
        return self._along_path(parse("heun-2"), self.denoiser(y))

    def path(self, name: str) -> Path:
        """The noise levels that a sampler of this name visits.

        Raises:
            ValueError: it is no sampler's name, or the model does not have what the sampler needs.
        """
        spec = self._spec(name)
        path = self._path(spec)
        spec.require(path, self._more_noise(spec))
        return path

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

        Meng et al. 2022, Algorithm 1: the fewer steps, the closer the result is to x.

        Args:
            x: clean samples, (B, *data_shape) in [-1, 1].
            name: of the sampler.
            steps: how many of its last steps to take, in [1, its steps].
            generator: source of the noise, on the model's device.
            y: classes of a conditional model, (B,); None if they are not known.
            on_state: called with every state on the way, each (B, *data_shape).

        Returns:
            Samples, (B, *data_shape) float32, in [-1, 1] if the model clips.
        """
        path = self.path(name).last(steps)
        noise = torch.randn(x.shape, generator=generator, device=x.device)
        x_t = path.alphas[0] * x + path.sigmas[0] * noise
        return self._sample(self._spec(name), path, x_t, generator, y, on_state)

    def edit(
        self,
        x: Tensor,
        name: str,
        strength: float,
        generator: Generator,
        y: Tensor | None = None,
    ) -> Tensor:
        """`refine` by a share of the sampler's steps, rounded to whole ones, at least one.

        The strength is that share, in (0, 1]; 1 keeps nothing of x.

        Raises:
            ValueError: strength is out of its range, or the name is not that of a sampler.
        """
        if not 0 < strength <= 1:
            raise ValueError(f"strength of an edit must be in (0, 1], got {strength}")
        return self.refine(x, name, edit_steps(strength, self._spec(name).steps), generator, y)

    def _spec(self, name: str) -> SamplerSpec:
        """What a sampler's name says; ValueError if it is guided and the model knows no classes."""
        spec = parse(name)
        if spec.guidance != 1.0 and not self.num_classes:
            raise ValueError(
                f"samplers: {name} is guided, which needs a conditional model: leave out -cfg, or "
                "choose a class-conditional model such as cond_ddpm or cond_edm"
            )
        return spec

    def _generate(
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
        result = self._generate(spec, n, generator, y, states.append)
        return shown_states(states, result)

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
        denoiser = _watched(self.denoiser(y, spec.guidance), on_state)
        x_0 = spec.run(
            self._along_path(spec, denoiser),
            x,
            path,
            generator,
            variance=self.variance,
            churning=self.churning,
        )
        return x_0.clamp(-1.0, 1.0) if self.clip else x_0

    # Held-out data

    def held_out_curves(
        self, batch: Batch, generator: Generator
    ) -> dict[str, list[tuple[float, Tensor]]]:
        """Errors on held-out samples along the noise levels, and how far edits go from them.

        Returns:
            "x0_error", the mean squared error of the predicted clean sample against the share of
            the noise levels; "edit_distance", the root mean square distance of an edit by the
            cheapest sampler (SDEdit) from its input against the share of the sampler's steps that
            the edit takes, near `STRENGTHS`, each once. Each value is (B,).
        """
        x, y = batch.x, batch.y if self.num_classes else None
        errors = []
        for level in self.noise_levels():
            noise = torch.randn(x.shape, generator=generator, device=x.device)
            time = torch.full((len(x),), level.time, device=x.device)
            x_0 = self.predict(level.alpha * x + level.sigma * noise, time, y).x_0
            errors.append((level.share, (x_0 - x).square().flatten(1).mean(1)))
        name = min(self.specs, key=lambda name: self.specs[name].evaluations())
        edits, most = [], self.specs[name].steps
        for steps in dict.fromkeys(edit_steps(strength, most) for strength in STRENGTHS):
            edited = self.refine(x, name, steps, generator, y)
            edits.append((steps / most, (edited - x).square().flatten(1).mean(1).sqrt()))
        return {"x0_error": errors, "edit_distance": edits}


def edit_steps(strength: float, steps: int) -> int:
    """The whole number of steps nearest to a share of a sampler's steps, at least one.

    Args:
        strength: the share, in (0, 1].
        steps: of the sampler.
    """
    return max(1, round(strength * steps))


def built(
    network: Callable[..., nn.Module], data_shape: tuple[int, ...], options: Mapping[str, int]
) -> nn.Module:
    """The network of samples of this shape, with what a model asks of it.

    Raises:
        ValueError: it does not take an option.
    """
    known = inspect.signature(network).parameters.values()
    if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in known):
        missing = set(options) - {parameter.name for parameter in known}
        if missing:
            raise ValueError(
                f"the network does not take {' and '.join(sorted(missing))}, which a "
                "conditional model, a learned variance, an average velocity or an "
                "augmentation needs: choose UNet or DiT"
            )
    return network(data_shape, **options)


def _watched(denoiser: Denoiser, on_state: OnState | None) -> Denoiser:
    """The denoiser, calling `on_state`, if there is one, with what it is given."""
    if on_state is None:
        return denoiser

    def watched(x: Tensor, time: Tensor) -> Prediction:
        on_state(x)
        return denoiser(x, time)

    return watched


def shown_states(states: Sequence[Tensor], result: Tensor) -> list[Tensor]:
    """At most `STATES` states on the way to samples, which come last, scaled to at most unit std.

    Args:
        states: what the denoiser was given, from pure noise on, each (n, *shape).
        result: the samples, (n, *shape).
    """
    count = min(STATES - 1, len(states))
    kept = [states[round(k * (len(states) - 1) / max(1, count - 1))] for k in range(count)]
    return [*(x / x.std().clamp(min=1.0) for x in kept), result]
