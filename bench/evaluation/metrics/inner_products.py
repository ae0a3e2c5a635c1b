"""Distances between all pairs of two sets of features, tile by tile without an N × N matrix."""

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

TILE = 2048
"""Samples along each side of a tile. It changes no result beyond rounding."""

FEW_DIMENSIONS = 32
"""Largest D whose products are computed in float64: in few dimensions neighbours are so much closer
to each other than to the centre that float32 would cancel all digits, and the cost is small."""

ROUNDING_STEPS = 64


@dataclass(frozen=True, eq=False)
class Cloud:
    """A set of features prepared for inner products, which are taken around a common centre.

    Attributes:
        features: (N, D) floating point, as given; centred one tile at a time.
        centre: (D,), subtracted before the products, so that distances cancel fewer digits.
        norms: squared distance of each feature from the centre, (N,).
        products: inner product of each feature with itself, around zero, (N,).
        along: inner product of the centre and each feature less the centre, (N,) float64.
    """

    features: Tensor
    centre: Tensor
    norms: Tensor
    products: Tensor
    along: Tensor

    def __len__(self) -> int:
        return len(self.features)

    def centred(self, rows: slice) -> Tensor:
        """Features of these rows less the centre, (R, D), in the type of the centre."""
        return self.features[rows].to(self.centre.dtype) - self.centre


@dataclass(frozen=True, eq=False)
class Tile:
    """Squared distances of some samples of one set to some of another, valid until the next tile.

    Attributes:
        rows: which samples of the first set.
        columns: which samples of the second.
        squared: (R, C), never negative; infinite where a sample would meet itself.
        diagonal: rows and columns are the same samples of one set. Any other tile of a set with
            itself stands for (columns, rows) as well, which is not visited.
        halves: half the products of the rows and of the columns with themselves, (R,) and (C,).
    """

    rows: slice
    columns: slice
    squared: Tensor
    diagonal: bool
    halves: tuple[Tensor, Tensor]

    def products(self) -> Tensor:
        """Inner products x · y of the features as given, (R, C), by the law of cosines."""
        rows, columns = self.halves
        return torch.add(rows[:, None], columns).add_(self.squared, alpha=-0.5)


def clouds(*sets: Tensor) -> tuple[Cloud, ...]:
    """Prepare sets of features, (N, D) each, around the mean of the first.

    Raises:
        ValueError: a set is not two-dimensional, is empty or has other dimensions than the first.
    """
    for features in sets:
        if features.ndim != 2 or len(features) == 0 or features.shape[1] != sets[0].shape[1]:
            shapes = ", ".join(str(tuple(each.shape)) for each in sets)
            raise ValueError(f"features have shapes {shapes}; must be (N, D), N ≥ 1, D the same")
    few = sets[0].shape[1] <= FEW_DIMENSIONS
    dtype = torch.float64 if few else torch.promote_types(sets[0].dtype, torch.float32)
    # In blocks, as a sum in float64 would first copy the whole set into float64.
    sums = [sets[0][rows].sum(0, dtype=torch.float64) for rows in _blocks(0, len(sets[0]), TILE)]
    centre = (torch.stack(sums).sum(0) / len(sets[0])).to(dtype)  # (D,)
    return tuple(_cloud(features, centre) for features in sets)


def distance_tiles(first: Cloud, second: Cloud, *, size: int = TILE) -> Iterator[Tile]:
    """Visit all pairs of two sets, or all pairs of different samples of one set, each pair once.

    A set is compared with itself if both arguments are the same object; then only tiles on and
    above the diagonal are visited, half the work. Besides the tile and what its consumer makes of
    it, three arrays of size × max(size, D) numbers are alive: 48 MiB in float32 with D = 2048.

    Args:
        first: N samples.
        second: M samples, prepared in the same call of `clouds`.
        size: samples along each side of a tile.
    """
    same = first is second
    buffer = first.centre.new_empty(min(size, len(first)) * min(size, len(second)))
    for rows in _blocks(0, len(first), size):
        left = first.centred(rows)  # (R, D)
        for columns in _blocks(rows.start if same else 0, len(second), size):
            diagonal = same and columns == rows
            right = left if diagonal else second.centred(columns)  # (C, D)
            squared = buffer[: len(left) * len(right)].view(len(left), len(right))
            torch.add(first.norms[rows, None], second.norms[columns], out=squared)
            squared.addmm_(left, right.T, alpha=-2).clamp_(min=0)  # (R, C)
            if diagonal:
                squared.fill_diagonal_(torch.inf)
            halves = first.products[rows] / 2, second.products[columns] / 2
            yield Tile(rows, columns, squared, diagonal, halves)


def coincide(squared: Tensor, cloud: Cloud) -> Tensor:
    """Whether squared distances from each sample of a set, (N,), are zero to within rounding.

    The same image leaves an extractor with slightly different features in different batches, and
    the distance of equal features is a difference of rounded products.
    """
    return squared <= rounding(cloud)


def rounding(cloud: Cloud) -> Tensor:
    """How far squared distances from each sample of a set may be off by rounding, (N,)."""
    return ROUNDING_STEPS * torch.finfo(cloud.norms.dtype).eps * cloud.norms


def _cloud(features: Tensor, centre: Tensor) -> Cloud:
    empty = Cloud(features, centre, centre, centre, centre)
    norms, products, along = [], [], []
    for rows in _blocks(0, len(features), TILE):
        centred = empty.centred(rows)
        norms.append(centred.square().sum(1))
        products.append(features[rows].to(centre.dtype).square().sum(1))
        along.append(centred.double() @ centre.double())
    return Cloud(features, centre, torch.cat(norms), torch.cat(products), torch.cat(along))


def _blocks(start: int, stop: int, size: int) -> Iterator[slice]:
    for first in range(start, stop, size):
        yield slice(first, min(first + size, stop))
