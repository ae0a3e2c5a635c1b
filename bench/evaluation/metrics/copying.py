"""Whether samples are copies: a test of how near they lie to single training images."""

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.metrics.inner_products import TILE, Cloud, clouds, distance_tiles, rounding

LEVEL = 1e-3
"""Probability with which a generator that knows nothing of the training images is said to copy, at
most; each of the two tests keeps to it by itself."""


@dataclass(frozen=True)
class Copying:
    """How many samples look like copies, and how sure that is.

    Attributes:
        share: share of the samples that are copies, or nearly.
        held_out: share of held-out images that would count as such.
        p: p-value of `copying`, corrected for the bounds that were tried.
    """

    share: float
    held_out: float
    p: float

    @property
    def found(self) -> bool:
        """Whether this is more than chance, at `LEVEL`."""
        return self.p < LEVEL


@dataclass(frozen=True, eq=False)
class Closest:
    """How near samples lie to one real image, training or held out.

    Attributes:
        closeness: distance to the nearest image, over that to the nearest one that is farther away
            (copies of one image are equally far), (M,) float64 in [0, 1]: 0 for a copy.
        index: the nearest image, (M,): i < N is a training image, N + j a held-out one, which also
            stands for two equally near.
    """

    closeness: Tensor
    index: Tensor


def held_out_closeness(train: Tensor, test: Tensor, *, tile: int = TILE) -> Tensor:
    """Closeness of each held-out image to the training and the other held-out images.

    What the samples of a generator are compared with that follows the data and copies nothing.

    Args:
        train: features of the training images, (N, D).
        test: of the held-out ones, (T, D).
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
    """How near each sample lies to one image; features (N, D), (T, D) and (M, D)."""
    trained, held_out, sampled = clouds(train, test, fake)
    nearest = _Two(sampled)
    for each in distance_tiles(held_out, sampled, size=tile):  # first, as a tie is held out
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

    A sample is close if it is nearer to one image than r of the T held-out images are to theirs
    (`Closest`). Two things are tested, and both must be beyond chance:

    - More samples are close than held-out images are: samples that are as independent of the
      training images as held-out ones rank among these at random.
    - The images that close samples are nearest to, each counted once, are training images more
      often than N / (N + T): for a generator that does not know which images were held out, they
      are a random part of all images, whatever else is wrong with its samples.

    The first alone would take samples from where the data has few dimensions for copies, the second
    alone any memory of the training images, however faint. Where samples coincide with training
    images there is no doubt of that kind, and the first test decides alone, on the number of images
    that were copied.

    Bounds r = 1, 2, 4, … are tried, and p-values multiplied by their number (Bonferroni). Images
    that lie on both sides of the split count as held out: data of which most held-out images are
    copies of training images tells nothing, and neither do a few held-out images; then nothing is
    found.

    Args:
        train: features of the training images, (N, D).
        test: of the held-out ones, (T, D).
        fake: of the samples, (M, D).
        held_out: `held_out_closeness(train, test)`, if it is at hand.
        tile: samples compared at a time; it changes no result beyond rounding.

    Returns:
        What is found at the bound where it is clearest.
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
    results = [result(same, same_held_out, _at_most(of_both, m + t, t, copied + of_both))]
    for rank in ranks:
        close = closeness < bounds[rank - 1]
        images = np.unique(index[close])
        # The |images| smallest of all T + M closenesses hold at most rank - 1 held-out ones.
        more = _at_most(rank - 1, m + t, t, len(images) + rank - 1)
        trained = _at_most(int((images >= n).sum()), n + t, t, len(images))
        results.append(result(close, bounds < bounds[rank - 1], max(more, trained)))
    return min(results, key=lambda each: each.p)


def _at_most(x: int, population: int, marked: int, taken: int) -> float:
    """P(X ≤ x), X of `taken` without replacement being marked (hypergeometric)."""
    from scipy.stats import hypergeom  # takes a second to import

    return float(hypergeom.cdf(x, population, marked, taken)) if taken else 1.0


class _Two:
    """The nearest image of each sample, and the nearest one that is farther away."""

    def __init__(self, samples: Cloud) -> None:
        self._tolerance = rounding(samples)  # (M,)
        self._first = torch.full_like(samples.norms, torch.inf)  # squared distances, (M,)
        self._second = torch.full_like(samples.norms, torch.inf)
        self.index = torch.zeros_like(samples.norms, dtype=torch.int64)

    def add(self, samples: slice, squared: Tensor, start: int) -> None:
        """Take in squared distances, (R, C), of images from `start` on to these samples."""
        first, second = self._first[samples], self._second[samples]  # (C,)
        tolerance = self._tolerance[samples]
        nearest, index = squared.min(0)  # (C,)
        apart = torch.where(squared > nearest + tolerance, squared, torch.inf).amin(0)
        closer = nearest < first - tolerance  # strictly: a tie keeps what came before
        self.index[samples] = torch.where(closer, index + start, self.index[samples])
        both = torch.minimum(first, nearest)
        rest = torch.stack([first, second, nearest, apart])  # (4, C)
        rest = torch.where(rest > both + tolerance, rest, torch.inf)
        self._first[samples], self._second[samples] = both, rest.amin(0)

    def closeness(self) -> Tensor:
        """As of `Closest`, (M,) float64; 1 where no image is farther away."""
        first = torch.where(self._first <= self._tolerance, 0, self._first)
        ratio = (first.double() / self._second.double()).sqrt()
        return torch.where(torch.isfinite(self._second), ratio, 1.0)
