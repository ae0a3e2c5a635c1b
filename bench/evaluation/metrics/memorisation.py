"""Memorisation: distances of generated samples to training and held-out data, and FID to both."""

import math

import torch
from torch import Tensor

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import frechet_distance, statistics
from bench.evaluation.metrics.inner_products import (
    TILE,
    Cloud,
    Tile,
    clouds,
    coincide,
    distance_tiles,
)
from bench.evaluation.metrics.neighbours import Nearest
from bench.evaluation.metrics.resampling import METRIC_SEED, subset

COSINE_BOUND = 0.1
"""Mean cosine distance from which MiFID equals FID (Bai et al.)."""

BASELINE_SIZE = 2000
"""Number of training samples from which the distance to held-out ones is measured."""

MIFID_FLOOR = 1e-14
"""Added to the cosine distance, as torchmetrics does: a copy's MiFID is huge, not infinite."""

FID_FLOOR = 1e-8
"""FID up to which torchmetrics returns MiFID 0."""


def memorisation(
    train: Features,
    test: Features,
    fake: Features,
    *,
    nearest: Tensor | None = None,
    fid: float | None = None,
    seed: int = METRIC_SEED,
    tile: int = TILE,
) -> dict[str, float]:
    """Compare distances from fake samples to training data with those expected without copying.

    - authpct: Alaa et al. 2022 (dgm-eval's definition), percentage of fake samples farther from
      their nearest training sample than that one is from its nearest other training sample. Low if
      the model copies; held-out samples score about 50 in many dimensions, 38 in two.
    - nn_ratio: see `_nn_ratio`. 1 without copying; 0 if most samples are copies.
    - mifid: Bai et al. 2021, FID of all training against fake features divided by the mean cosine
      distance from a training sample to its nearest fake one, if that is below 0.1 (torchmetrics).
      NaN if held-out samples are already that close: otherwise features that all point in similar
      directions, such as those of a small classifier, would be penalised without copying.
    - nn_trained, nn_held_out: median distance from a fake sample to the nearest training and the
      nearest held-out one.
    - nearest_trained, nearest_trained_expected, nearest_trained_error: see `nearest_share`.

    Memory beyond the features: a few tiles of at most tile × tile or tile × D numbers, whatever N.

    Args:
        train: the training data, N samples.
        test: held-out samples of the same data.
        fake: generated samples.
        nearest: `nearest_distances(train.features)`, (N,), if already computed: it takes N² / 2
            pairs.
        fid: Fréchet distance of train and fake, if already computed.
        seed: seed of the split of the test samples.
        tile: samples compared at a time; it changes no result beyond rounding.

    Returns:
        The keys authpct, nn_ratio, mifid, nn_trained, nn_held_out and those of `nearest_share`.

    Raises:
        ValueError: fewer than two samples in a set, other dimensions, or a nearest of other length.
    """
    for name, each in (("training", train), ("test", test), ("fake", fake)):
        if len(each) < 2:
            raise ValueError(f"{len(each)} {name} samples; signs of copying need at least 2")
    if nearest is None:
        nearest = nearest_distances(train.features, tile=tile)
    if nearest.shape != (len(train),):
        raise ValueError(
            f"nearest has shape {tuple(nearest.shape)}; must be ({len(train)},), one distance for "
            "each training sample"
        )
    parted = _parts(test.features, len(train), seed)
    trained, sampled, *parts = clouds(train.features, fake.features, *parted)
    to_train = _Towards(trained, sampled)
    for each in distance_tiles(trained, sampled, size=tile):
        to_train.add(each)
    distances = to_train.distances()  # (M,)
    authentic = distances > nearest.to(distances)[to_train.index]
    (first, at_first), (second, at_second) = (
        _nearest_between(part, sampled, tile) for part in parts
    )  # (M,) each
    held_out = torch.where(first <= second, at_first, len(parted[0]) + at_second)
    if fid is None:
        fid = frechet_distance(*statistics(train.features), *statistics(fake.features))
    close_by_nature = _mean_cosine_distance(train.features, test.features, seed) < COSINE_BOUND
    return {
        "authpct": 100 * float(authentic.double().mean()),
        "nn_ratio": _nn_ratio(distances, first, second),
        "mifid": math.nan if close_by_nature else _mifid(fid, to_train.cosine_distances()),
        "nn_trained": float(distances.double().quantile(0.5)),
        "nn_held_out": float(torch.minimum(first, second).double().quantile(0.5)),
        **nearest_share(
            distances, torch.minimum(first, second), to_train.index, held_out, len(train), len(test)
        ),
    }


def nearest_share(
    to_train: Tensor, to_test: Tensor, train_index: Tensor, test_index: Tensor, n: int, t: int
) -> dict[str, float]:
    """How often the real image nearest to a fake sample is one that was trained on.

    Whatever the samples are like, if they do not depend on which images were trained on, then the
    N training images are a random part of all N + T: the expected share is N / (N + T), and its
    standard error over such parts follows from how many samples each image is the nearest to
    (variance of a sum over a random part of a finite population; Cochran 1977, Sec. 2.4). No other
    split is needed for it, and no number of samples makes it vanish.

    Args:
        to_train: distance from each fake sample to its nearest training image, (M,).
        to_test: the same to its nearest held-out image, (M,); a tie counts half for each.
        train_index: which training image that is, (M,) int64 in [0, N).
        test_index: which held-out image that is, (M,) int64 in [0, T).
        n: number of training images.
        t: number of held-out images.

    Returns:
        The keys nearest_trained, nearest_trained_expected and nearest_trained_error; NaN if most
        fake samples are held-out images.
    """
    names = ("nearest_trained", "nearest_trained_expected", "nearest_trained_error")
    if float((to_test == 0).double().mean()) > 0.5:
        return dict.fromkeys(names, math.nan)
    trained = (to_train < to_test).double() + 0.5 * (to_train == to_test).double()  # (M,)
    weights = torch.zeros(n + t, dtype=torch.float64, device=to_train.device)
    weights.index_add_(0, train_index, trained)
    weights.index_add_(0, n + test_index, 1 - trained)
    weights /= len(to_train)
    squares = float(((weights - 1 / (n + t)) ** 2).sum())
    error = math.sqrt(n * t / ((n + t) * (n + t - 1)) * squares)
    return dict(zip(names, (float(trained.mean()), n / (n + t), error), strict=True))


def generalisation(
    trained: Tensor, held_out: Tensor, fake: Tensor, *, seed: int = METRIC_SEED
) -> dict[str, float]:
    """FID of fake samples to the images trained on, and to held-out ones.

    FID falls with the size of its reference, so both have that of the smaller set, as a fixed
    random part of the larger one. Their difference then measures memory of the training images.

    Args:
        trained: features of the images trained on, (N, D), N at least 2.
        held_out: features of the held-out images, (T, D), T at least 2.
        fake: features of the samples, (M, D).
        seed: seed of the random part.

    Returns:
        The keys fid_trained and fid_held_out.
    """
    size = min(len(trained), len(held_out))
    sampled = statistics(fake)
    return {
        name: frechet_distance(*statistics(subset(features, size, seed)), *sampled)
        for name, features in (("fid_trained", trained), ("fid_held_out", held_out))
    }


def nearest_distances(features: Tensor, *, tile: int = TILE) -> Tensor:
    """Distance from each sample to the nearest other one, (N,), zero to within rounding for copies.

    Args:
        features: (N, D) floating point, N at least 2.
        tile: samples compared at a time.
    """
    (cloud,) = clouds(features)
    nearest = Nearest(cloud, k=1)
    for each in distance_tiles(cloud, cloud, size=tile):
        nearest.add(each)
    return _distances(nearest.squared[:, 0], cloud)


class _Towards:
    """Nearest row for each column, and smallest cosine distance from each row to the columns."""

    def __init__(self, rows: Cloud, columns: Cloud) -> None:
        self._columns = columns
        self._squared = torch.full_like(columns.norms, torch.inf)
        self._cosines = torch.zeros_like(rows.norms)
        self._inverse = tuple(_inverse_length(cloud) for cloud in (rows, columns))
        self.index = torch.zeros_like(columns.norms, dtype=torch.int64)

    def add(self, tile: Tile) -> None:
        squared, index = tile.squared.min(0)  # (C,)
        closer = squared < self._squared[tile.columns]
        self._squared[tile.columns] = torch.where(closer, squared, self._squared[tile.columns])
        self.index[tile.columns] = torch.where(
            closer, index + tile.rows.start, self.index[tile.columns]
        )
        rows, columns = self._inverse
        cosines = tile.products().mul_(columns[tile.columns]).abs_().amax(1) * rows[tile.rows]
        self._cosines[tile.rows] = torch.maximum(self._cosines[tile.rows], cosines)

    def distances(self) -> Tensor:
        """Distance from each column to its nearest row, (M,)."""
        return _distances(self._squared, self._columns)

    def cosine_distances(self) -> Tensor:
        """Cosine distance from each non-zero row to its nearest column, float64 in [0, 1]."""
        rows, _ = self._inverse
        return (1 - self._cosines[rows > 0].double()).clamp(min=0)


def _nn_ratio(train: Tensor, first: Tensor, second: Tensor) -> float:
    """Median ratio of distances from fake samples to training and to test data, normalised.

    Even without copying the ratio is below 1 if there are more training than test samples. This
    effect of the sizes is measured on the test samples, split into parts with equal ratio of sizes,
    and divided out. (Using equally many training samples would need no correction, but would miss
    the originals of most copies.)

    If both distances are zero, the ratio is 1.

    Args:
        train: distance from each fake sample to its nearest training sample, (M,).
        first: the same to the first of two parts of the test samples, whose sizes have the ratio
            of training to test set, (M,).
        second: the same to the second part, (M,).

    Returns:
        The ratio, 1 without copying; NaN if most fake samples are test samples.
    """
    by_size = _median_ratio(first, second)
    observed = _median_ratio(train, torch.minimum(first, second))
    if by_size == 0 or not math.isfinite(observed):
        return math.nan
    return observed / by_size


def _nearest_between(rows: Cloud, columns: Cloud, tile: int) -> tuple[Tensor, Tensor]:
    """Distance from each column to its nearest row, and which row that is, (M,) each."""
    squared = torch.full_like(columns.norms, torch.inf)
    index = torch.zeros_like(columns.norms, dtype=torch.int64)
    for each in distance_tiles(rows, columns, size=tile):
        found, at = each.squared.min(0)
        closer = found < squared[each.columns]
        squared[each.columns] = torch.where(closer, found, squared[each.columns])
        index[each.columns] = torch.where(closer, at + each.rows.start, index[each.columns])
    return _distances(squared, columns), index


def _parts(features: Tensor, training: int, seed: int) -> tuple[Tensor, Tensor]:
    """Split test features randomly into parts with the sizes in the ratio `training` to N."""
    n = len(features)
    size = min(max(round(n * training / (n + training)), 1), n - 1)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(seed)).to(features.device)
    return features[order[:size]], features[order[size:]]


def _median_ratio(above: Tensor, below: Tensor) -> float:
    ratio = torch.where((above == 0) & (below == 0), 1, above / below)
    return float(ratio.double().quantile(0.5))


def _mean_cosine_distance(train: Tensor, test: Tensor, seed: int) -> float:
    """Mean distance from up to 2000 training samples to the nearest test sample."""
    some = torch.nn.functional.normalize(subset(train, BASELINE_SIZE, seed).float(), dim=1)
    others = torch.nn.functional.normalize(test.float(), dim=1)
    closest = torch.stack([(rows @ others.T).abs().amax(1).mean() for rows in some.split(100)])
    return 1 - float(closest.mean())


def _mifid(fid: float, cosine_distances: Tensor) -> float:
    """Divide FID by the mean cosine distance of real from fake samples, (N,), if that is small."""
    distance = float(cosine_distances.mean()) if len(cosine_distances) else 1.0
    penalty = distance if distance < COSINE_BOUND else 1.0
    return fid / (penalty + MIFID_FLOOR) if fid > FID_FLOOR else 0.0


def _distances(squared: Tensor, cloud: Cloud) -> Tensor:
    """Roots of squared distances from a set's samples, (N,); 0 if within rounding error."""
    return torch.where(coincide(squared, cloud), 0, squared).sqrt()


def _inverse_length(cloud: Cloud) -> Tensor:
    """One over the length of each feature, (N,); 0 for features that are zero."""
    return torch.where(cloud.products > 0, cloud.products.rsqrt(), 0)
