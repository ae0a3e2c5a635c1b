"""The drifting field (Deng et al. 2026, arXiv 2602.04770) and the loss that follows it.

A sample is moved by a mean shift: towards real samples near it and away from generated ones near
it. Both sides enter alike, so that the field vanishes where the two distributions are equal.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from models.layers.precision import full_precision

ITSELF = 1e6
"""Added to the distance of a sample from itself, which thereby does not repel it."""

PAIRS = 2**21
"""Pairs of samples, times vectors of features, that are compared at a time."""

LEAST = 1e-8
"""Least scale of features and drifts: below it they are taken to be constant."""


@dataclass(frozen=True)
class Features:
    """Feature vectors of samples, in groups that share their normalisation.

    Attributes:
        values: (B, L, C): L vectors of C numbers for each sample.
        groups: numbers of vectors of the groups, which follow each other; their sum is L.
    """

    values: Tensor
    groups: tuple[int, ...] = (1,)


def drift(
    x: Tensor, positives: Tensor, negatives: Tensor | None = None, *, temperature: float
) -> Tensor:
    """The drifting field V at x (Algorithm 2; Eq. 8 to 12 and 17).

    V is the sum of k(x, y⁺) k(x, y⁻) (y⁺ - y⁻) over pairs of a positive and a negative sample,
    with the kernel k(x, y) = exp(-|x - y| / temperature), normalised over all y and over all x.
    Exchanging positives and negatives reverses it.

    Args:
        x: where the field is wanted, (…, N, C).
        positives: samples that attract, (…, P, C).
        negatives: samples that repel, (…, M, C); None for x itself, each sample without itself.
        temperature: of the kernel, in units of distance.

    Returns:
        V, (…, N, C).
    """
    others = x if negatives is None else negatives
    distances = _distances(x, positives, others)
    if negatives is None:
        ignore_self(distances)
    return _weighted(distances, positives, others, temperature)


def ignore_self(distances: Tensor) -> None:
    """Move samples away from themselves, in place.

    Args:
        distances: of N samples from P positives and from the same N samples, (…, N, P + N).
    """
    n = distances.shape[-2]
    distances[..., -n:].diagonal(dim1=-2, dim2=-1).add_(ITSELF)


def _weighted(
    distances: Tensor, positives: Tensor, negatives: Tensor, temperature: float
) -> Tensor:
    """The field from distances to positives and negatives side by side, (…, N, P + M).

    It is a small difference of large sums, and computed without mixed precision.
    """
    logits = distances / -temperature
    rows, columns = logits.logsumexp(-1, keepdim=True), logits.logsumexp(-2, keepdim=True)
    kernel = logits.sub_(rows, alpha=0.5).sub_(columns, alpha=0.5).exp_()  # (…, N, P + M)
    near, far = kernel.split([positives.shape[-2], negatives.shape[-2]], dim=-1)
    with full_precision(kernel):
        attraction = (near * far.sum(-1, keepdim=True)) @ positives  # (…, N, C)
        return attraction - (far * near.sum(-1, keepdim=True)) @ negatives


def drifting_loss(
    x: Features, positives: Features, temperatures: Sequence[float]
) -> tuple[Tensor, Tensor]:
    """Squared distance of normalised features from where they drift (App. A.6, Eq. 18 to 26).

    In every group, features are scaled so that their mean distance is √C, and the drift of every
    temperature so that its mean square is 1; the drifts are added. The target is a constant, so
    that the gradient at a feature is the negative drift, up to a factor.

    Args:
        x: of generated samples, (B, L, C), with a gradient.
        positives: of real samples, (P, L, C).
        temperatures: of the kernels, in units of the mean distance.

    Returns:
        The loss, summed over vectors and averaged over samples and numbers, 0-dim; and the root
        mean square of the drifts before they are scaled, averaged over groups and temperatures,
        which falls to the noise of a batch as the distributions become equal, 0-dim.
    """
    values = x.values.float()
    with torch.no_grad():
        scale, total, size = _normalised_drift(values, positives, x.groups, temperatures)
        target = values / scale + total
    errors = (values / scale - target).square().mean(dim=(0, 2))  # (L,)
    return errors.sum(), size


def _normalised_drift(
    values: Tensor, positives: Features, groups: tuple[int, ...], temperatures: Sequence[float]
) -> tuple[Tensor, Tensor, Tensor]:
    """The scale of every vector, (L, 1), the drift in units of it, (B, L, C), and its size.

    Features are centred first, which changes neither distances nor drifts, but their rounding. Few
    vectors at a time are compared, and distances computed twice, so that what is held for pairs of
    samples is bounded.
    """
    centre = positives.values.float().mean(0)  # (L, C)
    x = (values - centre).transpose(0, 1)  # (L, B, C)
    y = (positives.values.float() - centre).transpose(0, 1)  # (L, P, C)
    count, width = x.shape[1] + y.shape[1], x.shape[2] ** 0.5
    at_once = max(1, PAIRS // (x.shape[1] * count))
    parts = [slice(k, k + at_once) for k in range(0, len(x), at_once)]
    sums = torch.cat([_distances(x[part], y[part], x[part]).sum((1, 2)) for part in parts])  # (L,)
    means = sums / (x.shape[1] * (count - 1))  # a sample's distance from itself does not count
    scale = (_shared(means, groups) / width).clamp_min(LEAST)[:, None, None]  # (L, 1, 1)
    x, y = x / scale, y / scale
    drifts = x.new_empty(len(temperatures), *x.shape)  # (T, L, B, C)
    for part in parts:
        distances = _distances(x[part], y[part], x[part])  # (l, B, P + B)
        ignore_self(distances)
        for into, temperature in zip(drifts, temperatures, strict=True):
            into[part] = _weighted(distances, y[part], x[part], temperature * width)
    sizes = torch.stack([_shared(v.square().mean((1, 2)), groups).sqrt() for v in drifts])  # (T, L)
    total = (drifts / sizes.clamp_min(LEAST)[:, :, None, None]).sum(0)  # (L, B, C)
    return scale[:, 0], total.transpose(0, 1), sizes.mean()


def _distances(x: Tensor, positives: Tensor, negatives: Tensor) -> Tensor:
    """Distances of N samples from positives and negatives side by side, (…, N, P + M)."""
    with full_precision(x):
        return torch.cat([torch.cdist(x, positives), torch.cdist(x, negatives)], dim=-1)


def _shared(values: Tensor, groups: tuple[int, ...]) -> Tensor:
    """The mean over its group in place of every value, (L,)."""
    return torch.cat([part.mean().expand(len(part)) for part in values.split(groups)])
