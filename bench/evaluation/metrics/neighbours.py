"""Nearest neighbours in and across two sets: precision, recall, density, coverage, duplicates."""

import torch
from torch import Tensor

from bench.evaluation.metrics.inner_products import Cloud, Tile, coincide

NEIGHBOURHOOD = 3
"""k of precision and recall, as in Kynkäänniemi et al. and torch-fidelity."""

DENSITY_NEIGHBOURHOOD = 5
"""k of density and coverage, as in Naeem et al. and prdc."""

DUPLICATE_SHARE = 0.01
GROUP = 16


class Nearest:
    """The k smallest squared distances from each sample to the others of its set.

    Attributes:
        squared: (N, k), ascending.
    """

    def __init__(self, cloud: Cloud, k: int = DENSITY_NEIGHBOURHOOD) -> None:
        self.squared = cloud.norms.new_full((len(cloud), k), torch.inf)

    def add(self, tile: Tile) -> None:
        """Add a tile of the set compared with itself."""
        self._merge(tile.rows, tile.squared)
        if not tile.diagonal:
            self._merge(tile.columns, tile.squared.T)

    def _merge(self, samples: slice, squared: Tensor) -> None:
        k = self.squared.shape[1]
        candidates = torch.cat([self.squared[samples], smallest(squared, k)], 1)
        self.squared[samples] = candidates.topk(k, largest=False).values


def smallest(values: Tensor, k: int) -> Tensor:
    """The k smallest of each row of (R, C), or all C if there are fewer, unordered.

    The k smallest lie in the k groups of columns with the smallest minima, so the slow search
    covers 1/16 of the row, and then the k groups.
    """
    width = values.shape[1] // GROUP
    if width <= k:
        return values.topk(min(k, values.shape[1]), largest=False).values
    minima = values[:, : GROUP * width].unflatten(1, (GROUP, width)).amin(1)  # (R, width)
    groups = minima.contiguous().topk(k, largest=False, sorted=False).indices  # (R, k)
    steps = torch.arange(0, GROUP * width, width, device=values.device)
    members = values.gather(1, (groups[:, :, None] + steps).flatten(1))  # (R, k · GROUP)
    candidates = torch.cat([members, values[:, GROUP * width :]], 1)
    return candidates.topk(k, largest=False, sorted=False).values


class Neighbourhoods:
    """Membership of samples in neighbourhoods, from tiles of real (rows) × fake (columns).

    A neighbourhood reaches to the k-th nearest other sample of the same set. Precision and recall
    include its border (torch-fidelity), density and coverage do not (prdc).

    Args:
        real: nearest real neighbours of the real samples.
        fake: nearest fake neighbours of the fake samples.
    """

    def __init__(self, real: Nearest, fake: Nearest) -> None:
        self._real_radii = real.squared[:, NEIGHBOURHOOD - 1]
        self._fake_radii = fake.squared[:, NEIGHBOURHOOD - 1]
        self._density_radii = real.squared[:, DENSITY_NEIGHBOURHOOD - 1]
        self._in_real = torch.zeros_like(self._fake_radii, dtype=torch.bool)
        self._in_fake = torch.zeros_like(self._real_radii, dtype=torch.bool)
        self._real_around = torch.zeros_like(self._fake_radii)
        self._nearest_fake = torch.full_like(self._real_radii, torch.inf)

    def add(self, tile: Tile) -> None:
        """Add a tile of real × fake."""
        real, fake = tile.rows, tile.columns
        self._in_real[fake] |= (tile.squared <= self._real_radii[real, None]).any(0)
        self._in_fake[real] |= (tile.squared <= self._fake_radii[fake]).any(1)
        within = tile.squared < self._density_radii[real, None]
        self._real_around[fake] += within.to(tile.squared.dtype).sum(0)
        nearest = self._nearest_fake[real]
        torch.minimum(nearest, tile.squared.amin(1), out=nearest)

    def shares(self) -> dict[str, Tensor]:
        """Contribution of each sample to each metric, float64; the metric is the mean.

        Returns:
            precision and density over the fake samples, (N,); recall and coverage over the real
            ones, (M,).
        """
        return {
            "precision": self._in_real.double(),
            "recall": self._in_fake.double(),
            "density": self._real_around.double() / DENSITY_NEIGHBOURHOOD,
            "coverage": (self._nearest_fake < self._density_radii).double(),
        }


def duplicate_share(real: Nearest, fake: Nearest, fake_cloud: Cloud) -> float:
    """Share of fake samples whose nearest other one is closer than for 99 % of real samples.

    The threshold is a quantile of the distances from real samples to their nearest other one,
    chosen so that 1 % of equally many independent real samples would be below it: the first
    percentile for sets of equal size, and less for more fake samples, because the chance of a close
    pair is proportional to their number. Samples that are equal up to rounding always count.

    Args:
        real: nearest neighbours among the real samples.
        fake: nearest neighbours among the fake samples.
        fake_cloud: the fake samples.

    Returns:
        About 0.01 for independent samples of the data, 1 for a constant generator.
    """
    closest = fake.squared[:, 0]
    share = min(1.0, DUPLICATE_SHARE * (len(real.squared) - 1) / (len(fake.squared) - 1))
    bound = torch.quantile(real.squared[:, 0], share)
    return float(((closest < bound) | coincide(closest, fake_cloud)).double().mean())


def check_enough(real: int, fake: int) -> None:
    """Refuse sets without a fifth neighbour.

    Raises:
        ValueError: a set has at most 5 samples.
    """
    for name, n in (("real", real), ("fake", fake)):
        if n <= DENSITY_NEIGHBOURHOOD:
            raise ValueError(
                f"{n} {name} samples; density and coverage need more than {DENSITY_NEIGHBOURHOOD}"
            )
