"""Names of samplers: a name says all that a sampler does, and is what a result row carries.

    <method>-<steps>[-uniform | -quadratic][-eta<η>][-churn<S>][-cfg<w>]

The methods and their options are those of `models.diffusion.samplers.METHODS`: ddpm (ancestral),
ddim, dpmpp (DPM-Solver++ 2M), heun (EDM), euler (rectified flow) and meanflow. Without a spacing
timesteps are trailing; without -cfg there is no guidance. Examples: ddim-50, ddpm-1000,
ddim-20-quadratic-eta0.5, heun-18-churn40, ddim-50-cfg3, euler-10. A sampler has one name only: an
option at its default is left out, and numbers have no needless digits.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from torch import Generator, Tensor

from models.diffusion.noise_path import Denoiser, Path, Spacing
from models.diffusion.samplers import (
    ANYWHERE,
    METHODS,
    UNSCALED,
    Churning,
    Method,
    Settings,
    Variance,
)

MOST_STEPS = 100_000
"""Largest number of steps: more would take days for a sample, and the memory of a path."""

_NUMBER = r"\d+(?:\.\d+)?"
_NAME = re.compile(
    rf"(?P<method>{'|'.join(METHODS)})-(?P<steps>[1-9]\d{{0,9}})(?:-(?P<spacing>uniform|quadratic))?"
    rf"(?:-eta(?P<eta>{_NUMBER}))?(?:-churn(?P<churn>{_NUMBER}))?(?:-cfg(?P<guidance>{_NUMBER}))?"
)


@dataclass(frozen=True)
class SamplerSpec:
    """What a sampler's name says.

    Attributes:
        method: one of `METHODS`.
        steps: S, steps along the path.
        spacing: which timesteps are visited, see `models.diffusion.noise_path.spaced`.
        eta: noise of DDIM, in [0, 1].
        churn: S_churn of Heun's method, along all S steps.
        guidance: scale of classifier-free guidance; 1 for none.
    """

    method: Method
    steps: int
    spacing: Spacing = "trailing"
    eta: float = 0.0
    churn: float = 0.0
    guidance: float = 1.0

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        name = f"{self.method.name}-{self.steps}"
        if self.spacing != "trailing":
            name += f"-{self.spacing}"
        for key, value, default in (
            ("eta", self.eta, 0.0),
            ("churn", self.churn, 0.0),
            ("cfg", self.guidance, 1.0),
        ):
            if value != default:
                name += f"-{key}{_digits(value)}"
        return name

    def evaluations(self, steps: int | None = None) -> int:
        """Network calls of the last `steps` steps, or of all; guidance takes two each."""
        denoised = self.method.evaluations(self.steps if steps is None else steps)
        return denoised * (1 if self.guidance == 1.0 else 2)

    def require(self, path: Path, more_noise: str) -> None:
        """Raise ValueError if its path lacks what the method needs; see `Need.require`."""
        for need in (*self.method.needs, *((UNSCALED,) if self.churn else ())):
            need.require(self.name, path, more_noise)

    def refuse_spacing(self, model: str) -> None:
        """Raise ValueError if it chooses among timesteps: the model of this name has none."""
        if self.spacing != "trailing":
            raise ValueError(
                f"samplers: {self.name} chooses among timesteps, and {model} has noise levels "
                f"instead: leave out -{self.spacing}"
            )

    def run(
        self,
        denoiser: Denoiser,
        x: Tensor,
        path: Path,
        generator: Generator,
        *,
        variance: Variance = "fixed_large",
        churning: Churning = ANYWHERE,
    ) -> Tensor:
        """Sample along a path.

        Args:
            denoiser: predicts x_0 at the times of the path, with guidance where the name asks for
                it.
            x: noise at the path's first level, (B, *shape) float32.
            path: noise levels to visit, all or the last ones.
            generator: source of noise, on the device of x.
            variance: of the ancestral sampler.
            churning: of heun, where its churn is positive.

        Returns:
            x_0, (B, *shape) float32.
        """
        # The last steps of a path add as much noise each as they do in the whole of it.
        churn = self.churn * path.steps / self.steps
        settings = Settings(self.eta, churn, variance, churning)
        return self.method.sample(denoiser, x, path, generator, settings)


def parse(name: str) -> SamplerSpec:
    """Read a sampler's name.

    Raises:
        ValueError: it is not one, names an option that its method does not have, or is not spelled
            as it should be.
    """
    match = _NAME.fullmatch(name) if isinstance(name, str) else None
    if match is None:
        raise ValueError(
            f"samplers: {name!r} is not <method>-<steps>[-uniform|-quadratic][-eta<η>]"
            f"[-churn<S>][-cfg<w>] with a method of {', '.join(METHODS)}, such as ddim-50"
        )
    spec = SamplerSpec(
        method=METHODS[match["method"]],
        steps=int(match["steps"]),
        spacing=cast(Spacing, match["spacing"] or "trailing"),
        eta=float(match["eta"] or 0.0),
        churn=float(match["churn"] or 0.0),
        guidance=float(match["guidance"] or 1.0),
    )
    method = spec.method
    if match["spacing"] and not method.spacing:
        raise ValueError(
            f"samplers: {name!r} sets a spacing of timesteps, which {method.name} has not"
        )
    for option, value in (("eta", spec.eta), ("churn", spec.churn)):
        if match[option] is None:
            continue
        if option not in method.options:
            having = " and ".join(m.name for m in METHODS.values() if option in m.options)
            raise ValueError(f"samplers: {name!r} sets {option}, which only {having} has")
        least, most = method.options[option]
        if not least <= value <= most:
            raise ValueError(
                f"samplers: {name!r} sets {option}, which must be in [{least:g}, {most:g}]"
            )
    if spec.steps > MOST_STEPS:
        raise ValueError(f"samplers: {name!r} takes more than {MOST_STEPS:,} steps: ask for fewer")
    if name != spec.name:
        raise ValueError(f"samplers: {name!r} must be spelled {spec.name!r}, its only name")
    return spec


def _digits(value: float) -> str:
    """The shortest decimal digits that are read as this number, without an exponent."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
