"""Penalties on the discriminator's gradients at chosen samples.

A penalty with an interval k above 1 is "lazy" (Karras et al. 2020, StyleGAN2, App. B): it is not
added to the discriminator's loss, but minimised on its own, by the discriminator's optimizer, in
every k-th step, with k times its weight.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, Protocol

import torch
from torch import Tensor

Critic = Callable[[Tensor], Tensor]
"""Maps samples, (B, *shape), to logits, (B,)."""


class Regulariser(Protocol):
    """A penalty on the discriminator, 0-dim float32, that is added to its loss.

    Attributes:
        uses_fakes: whether it depends on the fake samples. For one that does not, a phase of its
            own generates none.
    """

    uses_fakes: ClassVar[bool]

    @property
    def name(self) -> str:
        """The name under which it is logged."""
        ...

    @property
    def interval(self) -> int:
        """Steps from one use to the next, at least 1."""
        ...

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty for real and fake samples, each (B, *shape).

        Fake samples may be missing, (0, *shape), if they are not used.
        """
        ...


@dataclass(frozen=True)
class GradientPenalty:
    """WGAN-GP's penalty: gradients between real and fake samples should have norm 1.

    weight · E[(|∇D(x̂)| / target - 1)²], x̂ uniform on the line from a real to a fake sample
    (Gulrajani et al. 2017, Eq. 3; another target: the authors' code of Karras et al. 2018).

    Attributes:
        weight: λ; 10 in both papers.
        target: the norm; 1, but 750 in Karras et al.'s recipe for CIFAR-10.
        interval: steps from one use to the next.
    """

    weight: float = 10.0
    name: str = "gradient_penalty"
    target: float = 1.0
    interval: int = 1
    uses_fakes: ClassVar[bool] = True

    def __post_init__(self) -> None:
        _check(self.weight, self.interval)
        if not self.target > 0:
            raise ValueError(f"target of a gradient penalty must be positive, got {self.target}")

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty; interpolation weights come from torch's global generator."""
        share = torch.rand(len(real), *(1,) * (real.dim() - 1), device=real.device)
        between = torch.lerp(real.float(), fake.float(), share)
        norms = torch.linalg.vector_norm(gradients(critic, between), dim=1)  # (B,)
        return self.weight * (norms / self.target - 1.0).square().mean()


@dataclass(frozen=True)
class R1:
    """weight / 2 · E[|∇D(x)|²] at real samples (Mescheder et al. 2018, Eq. 9).

    Attributes:
        weight: γ; 10 in the paper.
        interval: steps from one use to the next; 16 in Karras et al. 2020.
    """

    weight: float = 10.0
    name: str = "r1"
    interval: int = 1
    uses_fakes: ClassVar[bool] = False

    def __post_init__(self) -> None:
        _check(self.weight, self.interval)

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty; fake samples are not used."""
        return 0.5 * self.weight * gradients(critic, real).square().sum(dim=1).mean()


@dataclass(frozen=True)
class R2(R1):
    """weight / 2 · E[|∇D(G(z))|²] at fake samples (Mescheder et al. 2018, Eq. 10).

    Attributes:
        weight: γ.
        interval: steps from one use to the next.
    """

    name: str = "r2"
    uses_fakes: ClassVar[bool] = True

    def __call__(self, critic: Critic, real: Tensor, fake: Tensor) -> Tensor:
        """The weighted penalty; real samples are not used."""
        return super().__call__(critic, fake, real)


def gradients(critic: Critic, x: Tensor) -> Tensor:
    """The critic's gradient at each sample, differentiable in its weights.

    The critic must process each sample independently: then the gradient of the sum is the gradient
    of each sample. Compute norms with `torch.linalg.vector_norm`, whose derivative at zero is 0;
    that of the root of a sum of squares is nan.

    Args:
        critic: maps samples to logits.
        x: points at which to compute the gradient, (B, *shape).

    Returns:
        (B, D) float32, D values per sample.
    """
    with torch.enable_grad():
        x = x.detach().float().requires_grad_()
        # A view, because torch's FLOP counter cannot follow gradients at a module's leaf input.
        (gradient,) = torch.autograd.grad(critic(x.view_as(x)).sum(), x, create_graph=True)
    return gradient.float().flatten(1)


def _check(weight: float, interval: int) -> None:
    if not weight > 0:
        raise ValueError(f"weight of a penalty must be positive, got {weight}")
    if interval < 1 or interval != int(interval):
        raise ValueError(
            f"interval of a penalty must be a whole number of steps, at least 1, got {interval}"
        )
