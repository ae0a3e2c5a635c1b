"""Test for copied training images, from distances of samples to single real images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.metrics.inner_products import TILE, Cloud, clouds, distance_tiles, rounding

LEVEL = 1e-3
"""Significance level of each of the two tests: the largest probability of a false alarm for a
generator that is independent of the training images."""


@dataclass(frozen=True)
class Copying:
    """Share of copies among the samples, and its significance.

    Attributes:
        share: share of samples that are copies or near-copies.
        held_out: share of held-out images that would count as copies.
        p: p-value of `copying`, corrected for the number of bounds tried.
    """

    share: float
    held_out: float
    p: float

    @property
    def found(self) -> bool:
        """Whether the result is significant at `LEVEL`."""
        return self.p < LEVEL


@dataclass(frozen=True, eq=False)
class Closest:
    """Closeness of samples to single real images, training or held out.

    Attributes:
        closeness: distance to the nearest image divided by that to the next farther one (duplicates
            of an image are equally far), (M,) float64 in [0, 1]: 0 for a copy.
        index: the nearest image, (M,): i < N is a training image, N + j a held-out one, also in
            case of a tie.
    """

    closeness: Tensor
    index: Tensor


def held_out_closeness(train: Tensor, test: Tensor, *, tile: int = TILE) -> Tensor:
    """Closeness of each held-out image to the training and the other held-out images.

    The baseline for samples: what a perfect generator that copies nothing would show.

    Args:
        train: features of the training images, (N, D).
        test: features of the held-out images, (T, D).
        tile: samples compared at a time.

    Returns:
        (T,) float64 as in `Closest`, ascending.
    """
    trained, held_out = clouds(train, test)
    nearest = _Two(held_out)
    for each in distance_tiles(trained, held_out, size=tile):
        nearest.add(each.columns, each.squared, each.rows.start)
    for each in distance_tiles(held_out, held_out, size=tile):
        nearest.add(each.columns, each.squared, 0)
        if not each.diagonal:
            nearest.add(each.rows, each.squared.T, 0)
    return nearest.closeness().sort().values


def closest(train: Tensor, test: Tensor, fake: Tensor, *, tile: int = TILE) -> Closest:
    """Closeness of each sample to its nearest image; features (N, D), (T, D) and (M, D)."""
    trained, held_out, sampled = clouds(train, test, fake)
    nearest = _Two(sampled)
    for each in distance_tiles(held_out, sampled, size=tile):  # first: ties count as held out
        nearest.add(each.columns, each.squared, len(train) + each.rows.start)
    for each in distance_tiles(trained, sampled, size=tile):
        nearest.add(each.columns, each.squared, each.rows.start)
    return Closest(nearest.closeness(), nearest.index)


def copying(
    train: Tensor,
    test: Tensor,
    fake: Tensor,
    *,
    held_out: Tensor | None = None,
    tile: int = TILE,
) -> Copying:
    """Test whether samples copy training images, against held-out images of the same data.

    A sample is close if its closeness (`Closest`) is below that of r of the T held-out images. Two
    hypotheses are tested, and both must be rejected:

    - Samples are close no more often than held-out images: samples that are independent of the
      training images are exchangeable with held-out ones.
    - The images nearest to close samples, each counted once, are training images no more often than
      N / (N + T): for a generator that does not know the split they are a random subset of all
      images, however bad its samples are.

    The first test alone would mistake samples from low-dimensional parts of the data for copies,
    the second alone the faintest memory of training images. If samples coincide with training
    images, the first test decides alone, on the number of copied images.

    Bounds r = 1, 2, 4, … are tried, and p-values multiplied by their number (Bonferroni). Images on
    both sides of the split count as held out. If most held-out images are copies of training
    images, or there are only a few, the test cannot decide and nothing is found.

    Args:
        train: features of the training images, (N, D).
        test: of the held-out ones, (T, D).
        fake: features of the samples, (M, D).
        held_out: `held_out_closeness(train, test)`, if already computed.
        tile: samples compared at a time; it changes no result beyond rounding.

    Returns:
        The result at the most significant bound.
    """
    if held_out is None:
        held_out = held_out_closeness(train, test, tile=tile)
    found = closest(train, test, fake, tile=tile)
    closeness, index = found.closeness.cpu().numpy(), found.index.cpu().numpy()
    bounds = held_out.cpu().numpy()  # (T,)
    n, t, m = len(train), len(test), len(fake)
    ranks = [2**k for k in range(t.bit_length())]  # 1, 2, 4, … up to T

    def result(close: np.ndarray, held_out: np.ndarray, p: float) -> Copying:
        tests = len(ranks) + 1
        return Copying(float(close.mean()), float(held_out.mean()), min(1.0, tests * p))

    same, same_held_out = (closeness == 0) & (index < n), bounds == 0
    of_both = int(same_held_out.sum())
    copied = len(np.unique(index[same]))
    results = [result(same, same_held_out, hypergeometric_cdf(of_both, m + t, t, copied + of_both))]
    for rank in ranks:
        close = closeness < bounds[rank - 1]
        images = np.unique(index[close])
        # The |images| smallest of all T + M closenesses hold at most rank - 1 held-out ones.
        more = hypergeometric_cdf(rank - 1, m + t, t, len(images) + rank - 1)
        trained = hypergeometric_cdf(int((images >= n).sum()), n + t, t, len(images))
        results.append(result(close, bounds < bounds[rank - 1], max(more, trained)))
    return min(results, key=lambda each: each.p)


def hypergeometric_cdf(x: int, population: int, marked: int, taken: int) -> float:
    """P(X ≤ x), X of `taken` without replacement being marked.

    Probabilities follow from the ratios of successive ones, so that their sum is 1 up to rounding.
    `scipy.stats.hypergeom`, with equal values, takes a second to import.

    Args:
        x: number of marked ones.
        population: size of the population.
        marked: how many of it are marked.
        taken: how many are taken.
    """
    low, high = max(0, taken - (population - marked)), min(marked, taken)
    if x >= high:
        return 1.0
    if x < low:
        return 0.0
    k = np.arange(low, high, dtype=np.float64)
    rest = population - marked - taken
    ratios = (marked - k) / (k + 1) * ((taken - k) / (rest + k + 1))  # P(X = k + 1) / P(X = k)
    logs = np.concatenate([[0.0], np.log(ratios).cumsum()])
    weights = np.exp(logs - logs.max())
    return float(weights[: x - low + 1].sum() / weights.sum())


class _Two:
    """Running distances from each sample to the nearest image and to the next farther one."""

    def __init__(self, samples: Cloud) -> None:
        self._tolerance = rounding(samples)  # (M,)
        self._first = torch.full_like(samples.norms, torch.inf)  # squared distances, (M,)
        self._second = torch.full_like(samples.norms, torch.inf)
        self.index = torch.zeros_like(samples.norms, dtype=torch.int64)

    def add(self, samples: slice, squared: Tensor, start: int) -> None:
        """Add squared distances, (R, C), from images starting at index `start` to these samples."""
        first, second = self._first[samples], self._second[samples]  # (C,)
        tolerance = self._tolerance[samples]
        nearest, index = squared.min(0)  # (C,)
        apart = torch.where(squared > nearest + tolerance, squared, torch.inf).amin(0)
        closer = nearest < first - tolerance  # strictly: a tie keeps the earlier image
        self.index[samples] = torch.where(closer, index + start, self.index[samples])
        both = torch.minimum(first, nearest)
        rest = torch.stack([first, second, nearest, apart])  # (4, C)
        rest = torch.where(rest > both + tolerance, rest, torch.inf)
        self._first[samples], self._second[samples] = both, rest.amin(0)

    def closeness(self) -> Tensor:
        """`Closest.closeness`, (M,) float64; 1 if no image is farther away."""
        first = torch.where(self._first <= self._tolerance, 0, self._first)
        ratio = (first.double() / self._second.double()).sqrt()
        return torch.where(torch.isfinite(self._second), ratio, 1.0)
