"""Names of samplers: a name says all that a sampler does, and is what a result row carries.

    <method>-<steps>[-uniform | -quadratic][-eta<η>][-churn<S>][-cfg<w>]

Methods are ddpm (ancestral), ddim, dpmpp (DPM-Solver++ 2M) and heun (EDM), which has noise levels
of its own. Without a spacing timesteps are trailing; without -cfg there is no guidance. Examples:
ddim-50, ddpm-1000, ddim-20-quadratic-eta0.5, heun-18-churn40, ddim-50-cfg3. A sampler has one
name only: what is not asked for is left out, and numbers have no needless digits.
"""

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import cast

from torch import Generator, Tensor

from models.diffusion.noise_path import Denoiser, Path, Spacing
from models.diffusion.samplers import (
    ANYWHERE,
    Churning,
    Variance,
    sample_ancestral,
    sample_ddim,
    sample_dpmpp_2m,
    sample_heun,
)

METHODS = ("ddpm", "ddim", "dpmpp", "heun")

_NUMBER = r"\d+(?:\.\d+)?"
_NAME = re.compile(
    rf"(?P<method>{'|'.join(METHODS)})-(?P<steps>[1-9]\d*)(?:-(?P<spacing>uniform|quadratic))?"
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
        churn: S_churn of Heun's method.
        guidance: scale of classifier-free guidance; 1 for none.
    """

    method: str
    steps: int
    spacing: Spacing = "trailing"
    eta: float = 0.0
    churn: float = 0.0
    guidance: float = 1.0

    @property
    def name(self) -> str:
        """The name that `parse` reads."""
        name = f"{self.method}-{self.steps}"
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
        """Network calls of the last `steps` steps, or of all."""
        steps = self.steps if steps is None else steps
        denoised = 2 * steps - 1 if self.method == "heun" else steps
        return denoised * (1 if self.guidance == 1.0 else 2)


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
        method=match["method"],
        steps=int(match["steps"]),
        spacing=cast(Spacing, match["spacing"] or "trailing"),
        eta=float(match["eta"] or 0.0),
        churn=float(match["churn"] or 0.0),
        guidance=float(match["guidance"] or 1.0),
    )
    if match["eta"] and (spec.method != "ddim" or spec.eta > 1):
        raise ValueError(f"samplers: {name!r} sets eta, which only ddim has, in [0, 1]")
    if match["spacing"] and spec.method == "heun":
        raise ValueError(f"samplers: {name!r} sets a spacing of timesteps, which heun has not")
    if match["churn"] and spec.method != "heun":
        raise ValueError(f"samplers: {name!r} sets churn, which only heun has")
    if name != spec.name:
        raise ValueError(f"samplers: {name!r} must be spelled {spec.name!r}, its only name")
    return spec


def run(
    spec: SamplerSpec,
    denoiser: Denoiser,
    x: Tensor,
    path: Path,
    generator: Generator,
    *,
    variance: Variance = "fixed_large",
    churning: Churning = ANYWHERE,
) -> Tensor:
    """Run the sampler that a name stands for along a path.

    Args:
        spec: what its name says; guidance is the denoiser's business.
        denoiser: predicts x_0 at the times of the path.
        x: noise at the path's first level, (B, *shape) float32.
        path: noise levels to visit, all or the last ones; without scaling for heun.
        generator: source of noise, on the device of x.
        variance: of the ancestral sampler.
        churning: of heun, where its churn is positive.

    Returns:
        x_0, (B, *shape) float32.
    """
    match spec.method:
        case "ddpm":
            return sample_ancestral(denoiser, x, path, generator, variance=variance)
        case "ddim":
            return sample_ddim(denoiser, x, path, generator, eta=spec.eta)
        case "dpmpp":
            return sample_dpmpp_2m(denoiser, x, path)
        case "heun":
            # The last steps of a path add as much noise each as they do in the whole of it.
            churn = spec.churn * path.steps / spec.steps
            return sample_heun(denoiser, x, path, generator, churn=churn, churning=churning)
    raise ValueError(f"method must be one of {METHODS}, got {spec.method!r}")


def _digits(value: float) -> str:
    """The shortest decimal digits that are read as this number, without an exponent."""
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
