"""Muon: updates of matrices are orthogonalised; all other parameters are trained by Adam."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic iteration, which brings singular values to about 1 in a few rounds (Jordan)."""

ROUNDS = 5
RMS = 0.2
"""Root mean square of Adam's updates, in units of the learning rate (Liu et al. 2025)."""


class Muon(Optimizer):
    """Momentum, orthogonalised by Newton-Schulz iterations (Jordan et al. 2024).

    https://kellerjordan.github.io/posts/muon. `torch.optim.Muon` takes matrices only; here the
    weights of a convolution are a matrix with one row per output channel (per input channel where
    it is transposed), and biases and scales are updated by Adam. Updates of matrices are scaled to
    the root mean square of Adam's (Liu et al. 2025, arXiv 2502.16982, Eq. 4), so that both share
    one learning rate. Matrices of one shape are processed together.

    Args:
        params: parameters.
        lr: learning rate.
        momentum: of the updates of matrices, in Nesterov's form.
        betas: of Adam.
        eps: of Adam.

    Raises:
        ValueError: an argument is out of its range.
    """

    def __init__(
        self,
        params: Iterable[nn.Parameter],
        lr: float = 1e-3,
        momentum: float = 0.95,
        betas: Sequence[float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        if not lr >= 0:
            raise ValueError(f"Invalid learning rate: {lr}")
        for name, value in (("momentum", momentum), ("betas[0]", betas[0]), ("betas[1]", betas[1])):
            if not 0 <= value < 1:
                raise ValueError(f"Invalid {name}: {value}, it must be in [0, 1)")
        if not eps > 0:
            raise ValueError(f"Invalid eps: {eps}, it must be positive")
        super().__init__(params, {"lr": lr, "momentum": momentum, "betas": betas, "eps": eps})

    @torch.no_grad()
    def step(self, closure: Callable[[], float] | None = None) -> None:  # type: ignore[override]
        """Update every parameter that has a gradient.

        Raises:
            ValueError: there is a closure, which Muon does not take.
        """
        if closure is not None:
            raise ValueError("Muon takes no closure, got one: compute gradients before the step")
        for group in self.param_groups:
            trained = [p for p in group["params"] if p.grad is not None]
            matrices = [p for p in trained if p.dim() > 1]
            others = [p for p in trained if p.dim() <= 1]
            if matrices:
                self._update_matrices(matrices, group)
            if others:
                self._update_others(others, group)

    def _update_matrices(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        by_shape: defaultdict[torch.Size, list[Tensor]] = defaultdict(list)
        for parameter in parameters:
            by_shape[parameter.flatten(1).shape].append(parameter)
        stacks = []
        for shape, alike in by_shape.items():
            updates = torch.empty(len(alike), *shape, device=alike[0].device)
            for parameter, update in zip(alike, updates, strict=True):
                momentum = self._kept(parameter, "momentum")
                momentum.lerp_(_gradient(parameter), 1 - group["momentum"])
                ahead = _gradient(parameter).lerp(momentum, group["momentum"])
                _in_shape_of(parameter, update).copy_(ahead)
            stacks.append(updates)
        for (shape, alike), directions in zip(by_shape.items(), orthogonal(stacks), strict=True):
            rate = group["lr"] * RMS * max(shape) ** 0.5
            for parameter, direction in zip(alike, directions, strict=True):
                parameter.add_(_in_shape_of(parameter, direction), alpha=-rate)

    def _update_others(self, parameters: list[Tensor], group: dict[str, Any]) -> None:
        """Adam (Kingma & Ba 2015, Algorithm 1)."""
        gradients = [_gradient(p) for p in parameters]
        means = [self._kept(p, "mean") for p in parameters]
        squares = [self._kept(p, "square") for p in parameters]
        beta1, beta2 = group["betas"]
        step = group["step"] = group.get("step", 0) + 1
        torch._foreach_lerp_(means, gradients, 1 - beta1)  # pyright: ignore
        torch._foreach_mul_(squares, beta2)  # pyright: ignore
        torch._foreach_addcmul_(squares, gradients, gradients, 1 - beta2)  # pyright: ignore
        divisors = torch._foreach_sqrt(squares)  # pyright: ignore
        torch._foreach_mul_(divisors, (1 - beta2**step) ** -0.5)  # pyright: ignore
        torch._foreach_add_(divisors, group["eps"])  # pyright: ignore
        rate = group["lr"] / (1 - beta1**step)
        torch._foreach_addcdiv_(parameters, means, divisors, -rate)  # pyright: ignore

    def _kept(self, parameter: Tensor, name: str) -> Tensor:
        """A part of the state, which starts at zero."""
        state = self.state[parameter]
        if name not in state:
            state[name] = torch.zeros_like(parameter)
        return state[name]


def _gradient(parameter: Tensor) -> Tensor:
    assert parameter.grad is not None
    return parameter.grad


def _in_shape_of(parameter: Tensor, matrix: Tensor) -> Tensor:
    """A view of a matrix, (rows, columns), in the shape of a parameter.

    Columns are in the order of channels_last, in which convolutions lie in memory. Any order of the
    columns would do: a matrix stays orthogonal.
    """
    rows, channels, *sides = parameter.shape
    return matrix.view(rows, *sides, channels).movedim(-1, 1)


def orthogonal(stacks: Sequence[Tensor]) -> list[Tensor]:
    """Bring all singular values to between about 0.7 and 1.2 and keep the singular vectors.

    The iteration X <- (a + b X Xᵀ + c (X Xᵀ)²) X multiplies X by polynomials of its Gram matrix,
    which is small. So it runs on Gram matrices, those of one size at a time, and X is multiplied by
    the product of all polynomials once. This needs float32: in bfloat16 a Gram matrix has
    eigenvalues below zero, which the iteration magnifies.

    Args:
        stacks: matrices of one shape each, (N, rows, columns) float32.

    Returns:
        Matrices of the same shapes, float32.
    """
    wide = [x.mT if x.shape[1] > x.shape[2] else x for x in stacks]
    by_size: defaultdict[int, list[int]] = defaultdict(list)
    for k, x in enumerate(wide):
        by_size[x.shape[1]].append(k)
    results = list(wide)
    for indices in by_size.values():
        grams = torch.cat([wide[k] @ wide[k].mT for k in indices])  # (N, R, R)
        factors = _factors(grams).split([len(wide[k]) for k in indices])
        for k, factor in zip(indices, factors, strict=True):
            results[k] = factor @ wide[k]
    return [y if w is x else y.mT for x, w, y in zip(stacks, wide, results, strict=True)]


def _factors(grams: Tensor) -> Tensor:
    """What the iteration multiplies matrices by that have these Gram matrices, (N, R, R).

    It begins with matrices divided by their Frobenius norm, the root of their Gram matrix's trace.
    """
    a, b, c = COEFFICIENTS
    squares = grams.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-14).view(-1, 1, 1)
    grams = grams / squares
    product = squares.rsqrt() * torch.eye(grams.shape[1], device=grams.device)
    for k in range(ROUNDS):
        factor = torch.baddbmm(grams, grams, grams, beta=b, alpha=c)
        factor.diagonal(dim1=1, dim2=2).add_(a)
        product = factor @ product
        if k < ROUNDS - 1:
            grams = factor @ grams @ factor  # the Gram matrix of factor @ X; all of these commute
    return product
