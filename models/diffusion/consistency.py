"""Consistency models: one network that maps any noisy sample to the data at once.

Trained from scratch by improved consistency training (Song & Dhariwal 2024, "iCT"): the network's
outputs at two neighbouring noise levels are pulled together, the teacher being the network itself,
without gradient and without an average of its own.
"""

import math
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import pairwise

import torch
from torch import Generator, Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.diffusion.augmentation import GeometricAugmentation
from models.diffusion.denoising import OnState, built, shown_states
from models.diffusion.edm import TIME_SCALE
from models.exports import NetworkCall, log_uniform_input, normal_input

HUBER = 0.00054
"""The pseudo-Huber loss's constant for samples of one number (iCT, Table 1)."""

_NAME = re.compile(r"consistency-([1-9]\d*)")


class ConsistencyFunction(GenerativeModel):
    """A function f(x, sigma) that is one along the probability flow, and samplers of few steps.

    A subclass has the function, and says what neighbours on the flow are.
    """

    def __init__(
        self,
        data: DataSpec,
        *,
        samplers: Sequence[str],
        between: Sequence[float],
        discretisation: Sequence[int],
        log_normal: tuple[float, float],
        levels: tuple[float, float, float],
        huber: float = HUBER,
    ) -> None:
        """Check the settings.

        Args:
            data: the data to model.
            samplers: their names, consistency-<steps>.
            between: noise levels to which samplers return after their first step, descending.
            discretisation: s_0 and s_1, the numbers of its steps at the start and at the end of
                training; the second is the first times a power of two.
            log_normal: mean and standard deviation of ln(sigma) in training.
            levels: sigma_min, at which f is the identity, sigma_max, from which samplers start, and
                rho, how much closer noise levels are where there is little noise.
            huber: distances below it count as squares, in units of √(numbers of a sample).

        Raises:
            ValueError: a number is out of its range, or a sampler's name does not fit.
        """
        super().__init__(data.shape)
        _check(discretisation, between, log_normal, levels)
        if not 0 < huber < math.inf:
            raise ValueError(f"huber must be positive and finite, got {huber}")
        self.between = tuple(between)
        self.discretisation = (discretisation[0], discretisation[1])
        self.log_normal = log_normal
        self.levels = levels
        self.huber = huber * math.sqrt(math.prod(self.data_shape))
        if isinstance(samplers, str) or not samplers:
            raise ValueError(f"samplers must be a list of at least one name, got {samplers!r}")
        self.named = {name: self._steps_of(name) for name in samplers}

    @property
    @abstractmethod
    def called(self) -> nn.Module:
        """The network that f calls once."""

    @abstractmethod
    def predict(self, x: Tensor, sigma: Tensor) -> Tensor:
        """f(x; sigma), not clipped.

        Args:
            x: noisy samples, (B, *shape).
            sigma: their noise levels, (B,) float32.

        Returns:
            The data at the other end of the probability flow, (B, *shape) float32.
        """

    @abstractmethod
    def closer(self, x_0: Tensor, noise: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
        """The noisy sample x_0 + upper · noise, moved along the flow to the lower level.

        Args:
            x_0: data, (B, *shape).
            noise: standard normal, (B, *shape).
            upper: noise levels, (B,).
            lower: noise levels to move to, (B,).
        """

    @property
    def samplers(self) -> dict[str, Sampler]:
        """One sampler per name."""
        return {
            name: Sampler(
                partial(self._generate, steps),
                {self.called: steps},
                trajectory=partial(self._trajectory, steps),
            )
            for name, steps in self.named.items()
        }

    @property
    def network_calls(self) -> Mapping[str, NetworkCall]:
        """One, f."""
        low, high, _ = self.levels
        inputs = (
            normal_input("x_t", self.data_shape, "noisy samples x_0 + sigma * eps"),
            log_uniform_input("sigma", low, high, f"noise levels in [{low:g}, {high:g}]"),
        )
        outputs = {"x_0": "predicted clean samples, not clipped"}
        constants = {"sigma_min": [low], "sigma_max": [high], "between": self.between}
        compute = NetworkCall(
            lambda x, sigma: (self.predict(x, sigma),), inputs, outputs, constants
        )
        return {"consistency": compute}

    def consistency_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Weighted pseudo-Huber distance between f at two neighbouring levels (iCT, Table 1).

        Student and teacher see equal noise and drop equal units.

        Returns:
            "loss", and "steps", the number of discretisation steps; 0-dim.
        """
        return self._neighbours_loss(batch.x, self.predict)

    def _neighbours_loss(
        self, x_0: Tensor, f: Callable[[Tensor, Tensor], Tensor]
    ) -> dict[str, Tensor]:
        """`consistency_loss` of clean samples, (B, *shape), for f as `predict` describes it."""
        steps = discretisation_steps(self.progress, self.discretisation)
        lower, upper = self.neighbours(steps, len(x_0))  # each (B,)
        noise = torch.randn_like(x_0)
        with torch.no_grad():
            nearer = self.closer(x_0, noise, upper, lower)
            with _repeated_randomness(x_0):
                target = f(nearer, lower)
        student = f(x_0 + _per_sample(upper, x_0) * noise, upper)
        distances = pseudo_huber(student, target, self.huber)  # (B,)
        loss = (distances / (upper - lower)).mean()
        return {"loss": loss, "steps": steps.float()}

    def neighbours(self, steps: Tensor, n: int) -> tuple[Tensor, Tensor]:
        """Sample pairs of neighbouring noise levels, each (n,) float32, the lower one first.

        Pair i has the probability mass of a log-normal distribution between its two levels (iCT,
        Table 1): the pair that holds a log-normal sample, truncated to the range, is taken.

        Args:
            steps: the number of pairs, N(k) - 1, 0-dim.
            n: number of samples.
        """
        low, high, rho = self.levels
        mean, std = self.log_normal
        first, last = (0.5 * math.erf((math.log(s) - mean) / (std * 2**0.5)) for s in (low, high))
        device = self.progress.device
        mass = first + (last - first) * torch.rand(n, dtype=torch.float64, device=device)
        sigma = (mean + std * 2**0.5 * torch.erfinv(2 * mass)).exp()  # (n,) float64
        start, end = low ** (1 / rho), high ** (1 / rho)
        place = (sigma ** (1 / rho) - start) / (end - start) * steps
        i = place.floor().clamp(torch.zeros_like(steps), steps - 1)  # (n,)
        pair = ((start + (i + k) / steps * (end - start)) ** rho for k in (0, 1))
        lower, upper = (sigma.float() for sigma in pair)
        return lower, upper

    def _steps_of(self, name: str) -> int:
        """The number of steps of a sampler's name.

        Raises:
            ValueError: it is none, or there is no noise level for each step.
        """
        match = _NAME.fullmatch(name) if isinstance(name, str) else None
        if match is None:
            raise ValueError(
                f"samplers: {name!r} is not consistency-<steps>, such as consistency-1, and "
                "consistency models have no other samplers"
            )
        steps, most = int(match[1]), len(self.between) + 1
        if steps > most:
            raise ValueError(
                f"samplers: {name} needs {steps - 1} noise levels between its steps, and "
                f"model.build.between has {most - 1}: add levels there, or take at most {most}"
            )
        return steps

    def _generate(
        self,
        steps: int,
        n: int,
        generator: Generator,
        y: Tensor | None = None,
        on_state: OnState | None = None,
    ) -> Tensor:
        """Multistep consistency sampling (Song et al. 2023, Algorithm 1); y is ignored."""
        low, high, _ = self.levels
        x_0 = torch.zeros((n, *self.data_shape), device=self.progress.device)
        for sigma in (high, *self.between)[:steps]:
            added = high if sigma == high else math.sqrt(sigma**2 - low**2)
            noise = torch.randn(x_0.shape, generator=generator, device=x_0.device)
            x = x_0 + added * noise
            if on_state is not None:
                on_state(x)
            times = torch.full((n,), sigma, device=x.device)
            x_0 = self.predict(x, times).clamp(-1.0, 1.0)
        return x_0

    def _trajectory(
        self, steps: int, n: int, generator: Generator, y: Tensor | None = None
    ) -> list[Tensor]:
        states: list[Tensor] = []
        result = self._generate(steps, n, generator, y, states.append)
        return shown_states(states, result)


class ConsistencyModel(ConsistencyFunction):
    """Improved consistency training: f is trained from scratch, without a diffusion model.

    Departures from iCT: the U-Net is that of `ddpm` at other sizes, with its embedding of the noise
    level; in bf16 the difference of two close outputs is rounded, so that long curricula need fp32.
    """

    def __init__(
        self,
        data: DataSpec,
        network: Callable[..., nn.Module],
        *,
        samplers: Sequence[str] = ("consistency-1", "consistency-2"),
        between: Sequence[float] = (0.821,),
        discretisation: Sequence[int] = (10, 1280),
        sigma_data: float = 0.5,
        log_normal: Sequence[float] = (-1.1, 2.0),
        levels: Sequence[float] = (0.002, 80.0, 7.0),
        huber: float = HUBER,
        augmentation: GeometricAugmentation | None = None,
    ) -> None:
        """Build the network; see `ConsistencyFunction` for the settings that are not listed.

        Args:
            data: the data to model.
            network: builds F from the shape of one sample; it maps scaled samples (B, *shape) and
                the noise level's code (B,) to (B, *shape). With an augmentation it is called with
                `augment_dim`, the number of its parameters.
            samplers: their names.
            between: noise levels between the steps of samplers.
            discretisation: its steps at the start and at the end of training.
            sigma_data: standard deviation of the data.
            log_normal: mean and standard deviation of ln(sigma) in training.
            levels: sigma_min, sigma_max and rho.
            huber: of the loss.
            augmentation: of training images; None for none.

        Raises:
            ValueError: a number is out of its range, a sampler's name does not fit, or the data is
                no images for an augmentation or the network cannot be told of it.
        """
        (p_mean, p_std), (low, high, rho) = log_normal, levels
        super().__init__(
            data,
            samplers=samplers,
            between=between,
            discretisation=discretisation,
            log_normal=(p_mean, p_std),
            levels=(low, high, rho),
            huber=huber,
        )
        if not 0 < sigma_data < math.inf:
            raise ValueError(f"sigma_data must be positive and finite, got {sigma_data}")
        if augmentation is not None:
            augmentation.require(self.data_shape)
        self.sigma_data = sigma_data
        self.augmentation = augmentation
        options = {} if augmentation is None else {"augment_dim": augmentation.size}
        self.network = built(network, self.data_shape, options)

    @property
    def phases(self) -> tuple[Phase, ...]:
        """One phase: the consistency function."""
        return (Phase("consistency", self.network, self.consistency_loss),)

    @property
    def called(self) -> nn.Module:
        """F."""
        return self.network

    def consistency_loss(self, batch: Batch) -> dict[str, Tensor]:
        """That of `ConsistencyFunction`; student and teacher are told of an augmentation."""
        if self.augmentation is None:
            return super().consistency_loss(batch)
        x_0, augmented = self.augmentation(batch.x)
        return self._neighbours_loss(x_0, partial(self.predict, augmented=augmented))

    def predict(self, x: Tensor, sigma: Tensor, augmented: Tensor | None = None) -> Tensor:
        """f(x; sigma) = c_skip x + c_out F(c_in x; sigma); see `ConsistencyFunction.predict`.

        The parameters of an augmentation, (B, P), are given in training.
        """
        told = {} if augmented is None else {"augmented": augmented}
        c_skip, c_out, c_in = (
            _per_sample(c, x) for c in coefficients(sigma, self.sigma_data, self.levels[0])
        )
        output = self.network(c_in * x, TIME_SCALE * sigma.log(), **told).float()
        return c_skip * x + c_out * output

    def closer(self, x_0: Tensor, noise: Tensor, upper: Tensor, lower: Tensor) -> Tensor:
        """Data with less of an equal noise: right on average (Song et al. 2023, Theorem 2)."""
        return x_0 + _per_sample(lower, x_0) * noise


def coefficients(
    sigma: Tensor, sigma_data: float, sigma_min: float
) -> tuple[Tensor, Tensor, Tensor]:
    """c_skip, c_out and c_in of noise levels (Song et al. 2023, App. C), shaped as sigma.

    At sigma_min they are 1, 0 and EDM's, so that f is exactly the identity.
    """
    above = sigma - sigma_min
    c_in = (sigma.square() + sigma_data**2).rsqrt()
    return sigma_data**2 / (above.square() + sigma_data**2), sigma_data * above * c_in, c_in


def discretisation_steps(progress: Tensor, steps: tuple[int, int]) -> Tensor:
    """N(k) - 1, the number of steps between noise levels (iCT, Table 1), 0-dim float64.

    It doubles from s_0 to s_1 in equal parts of training.

    Args:
        progress: share of the training budget spent, k / K in [0, 1], 0-dim.
        steps: s_0 and s_1.
    """
    first, last = steps
    doublings = (progress.double() * (math.floor(math.log2(last // first)) + 1)).floor()
    return (first * 2.0**doublings).clamp(max=last)


def pseudo_huber(x: Tensor, y: Tensor, c: float) -> Tensor:
    """sqrt(|x - y|² + c²) - c of each sample, (B,) (iCT, Table 1).

    Written as a quotient, which is exact where the difference is small against c.
    """
    square = (x - y).square().flatten(1).sum(1)  # (B,)
    return square / ((square + c**2).sqrt() + c)


def _per_sample(values: Tensor, x: Tensor) -> Tensor:
    """One value for each sample, (B, 1, …), of as many dimensions as x."""
    return values.view(-1, *(1,) * (x.dim() - 1))


def _repeated_randomness(x: Tensor) -> torch.random.fork_rng:  # pyright: ignore[reportGeneralTypeIssues]
    """A context after which torch's random numbers are as before it."""
    return torch.random.fork_rng(devices=[x.device] if x.is_cuda else [])


def _check(
    steps: Sequence[int],
    between: Sequence[float],
    log_normal: tuple[float, float],
    levels: tuple[float, float, float],
) -> None:
    """Raise ValueError on settings of `ConsistencyFunction` that have no meaning."""
    low, high, rho = levels
    if not 0 < low < high < math.inf or not 0 < rho < math.inf:
        raise ValueError(
            "levels must be sigma_min, sigma_max and rho with 0 < sigma_min < sigma_max and "
            f"0 < rho, got {list(levels)}"
        )
    if not math.isfinite(log_normal[0]) or not 0 < log_normal[1] < math.inf:
        raise ValueError(
            "log_normal must be the mean and the standard deviation of ln(sigma), the second one "
            f"positive, got {list(log_normal)}"
        )
    doublings = math.log2(steps[1] / steps[0]) if len(steps) == 2 and min(steps) > 0 else -1.0
    if doublings < 0 or doublings % 1:
        raise ValueError(
            "discretisation must be the numbers of its steps at the start and at the end of "
            f"training, the second one the first times a power of two, got {list(steps)}"
        )
    if any(above <= below for above, below in pairwise((high, *between, low))):
        raise ValueError(
            f"between must be noise levels from sigma_max={high:g} down to sigma_min={low:g}, "
            f"descending, got {list(between)}"
        )
