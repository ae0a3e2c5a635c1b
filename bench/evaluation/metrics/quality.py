"""Quality metrics of one extractor, with bootstrap intervals."""

import math

import numpy as np
import torch
from torch import Tensor

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import Array, frechet_distance, influences, statistics
from bench.evaluation.metrics.inception_score import inception_score, inception_score_replicates
from bench.evaluation.metrics.inner_products import TILE, clouds, distance_tiles
from bench.evaluation.metrics.kernel import KernelDistance
from bench.evaluation.metrics.neighbours import (
    NEIGHBOURHOOD,
    Nearest,
    Neighbourhoods,
    check_enough,
    duplicate_share,
)
from bench.evaluation.metrics.resampling import METRIC_SEED, bootstrap_weights, interval, subset
from bench.schema import INTERVAL_METRICS, QUALITY

OVER_REAL = frozenset({"recall", "coverage"})
"""Metrics that are shares of real samples."""


def quality(
    real: Features,
    fake: Features,
    *,
    seed: int = METRIC_SEED,
    resamples: int = 0,
    tile: int = TILE,
    reference: tuple[Array, Array] | None = None,
) -> dict[str, float]:
    """Compare two sets of features.

    FID uses every real feature. The others compare sets of equal size: if there are more real
    features than fake ones, they use one random subset of the real features. One pass over the
    pairs of samples serves KID, neighbourhoods and duplicates. The global random state is neither
    read nor changed.

    - fid: Heusel et al. 2017, unbiased covariances, float64.
    - kid, kid_std: Bińkowski et al. 2018, cubic kernel, mean and standard deviation over 100
      subsets of min(1000, n / 2). Not scaled.
    - is, is_std: Salimans et al. 2016, mean and standard deviation over 10 splits of the fake
      logits in a random order.
    - precision, recall: Kynkäänniemi et al. 2019, third nearest neighbours. A generator that
      collapses to a few good images has high precision and low recall.
    - density, coverage: Naeem et al. 2020, fifth nearest neighbours.
    - duplicates: share of fake samples as close to another one as 1 % of real samples are.

    Intervals hold the reference fixed and resample the fake samples; those of recall and coverage,
    which are shares of real samples, resample the real ones instead and exclude the randomness of
    the fake ones. Neighbourhoods are held fixed. FID's replicates are linearised in the weights,
    which preserves their spread if covariances are singular (a resample would lose rank). See
    `interval` for the bias.

    Memory beyond the features, the subset of the real ones and a dozen D × D matrices for FID: 206
    MiB were measured at 10,000 samples of 2048 dimensions. No array holds N × N numbers; what grows
    with N is about a kilobyte a sample, and 16 bytes more for each resample.

    Args:
        real: the reference.
        fake: generated samples, with features of the same extractor.
        seed: seed of the real subset, the splits, the subsets and the resamples.
        resamples: bootstrap replicates for the intervals; 0 for no intervals.
        tile: samples compared at a time; it changes no result beyond rounding.
        reference: `statistics` of the real features, if already computed.

    Returns:
        The keys of `bench.schema.QUALITY`, and with resamples <metric>_low and <metric>_high, the
        bounds of a 95 % interval, for each of `bench.schema.INTERVAL_METRICS`. Those of IS are
        NaN without logits.

    Raises:
        ValueError: too few samples, other dimensions, or features are not finite.
    """
    _check(real, fake)
    scores, replicates = _inception(fake, seed, resamples)
    check_enough(len(real), len(fake))
    weights = None
    reference = reference or statistics(real.features)
    scores["fid"] = frechet_distance(*reference, *statistics(fake.features))
    if resamples:
        weights = bootstrap_weights(len(fake), resamples, _stream(seed, 0))
        replicates["fid"] = weights @ influences(*reference, fake.features) / len(fake)
    matched = subset(real.features, len(fake), seed)
    paired = _pairs(matched, fake.features, seed, weights, tile)
    scores, replicates = scores | paired[0], replicates | paired[1]
    bounds = {
        f"{metric}_{side}": bound
        for metric in INTERVAL_METRICS
        if resamples
        for side, bound in zip(
            ("low", "high"), interval(scores[metric], replicates[metric]), strict=True
        )
    }
    return {metric: scores[metric] for metric in QUALITY} | bounds


def _inception(
    fake: Features, seed: int, resamples: int
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """IS of the fake logits and its replicates; NaN without logits."""
    if fake.logits is None:
        unknown = torch.full((resamples,), math.nan, dtype=torch.float64)
        return {"is": math.nan, "is_std": math.nan}, {"is": unknown}
    mean, std = inception_score(fake.logits, seed=seed)
    replicates = {}
    if resamples:
        replicates["is"] = inception_score_replicates(
            fake.logits, seed=seed, resamples=resamples, rng=_stream(seed, 1)
        )
    return {"is": mean, "is_std": std}, replicates


def _pairs(
    real: Tensor, fake: Tensor, seed: int, weights: Tensor | None, tile: int
) -> tuple[dict[str, float], dict[str, Tensor]]:
    """All metrics of pairs of samples, in one pass, and replicates if weights (R, N) are given."""
    real_cloud, fake_cloud = clouds(real, fake)
    kid = KernelDistance(real_cloud, fake_cloud, seed=seed, weights=weights)
    nearest = Nearest(real_cloud), Nearest(fake_cloud)
    for each in distance_tiles(real_cloud, real_cloud, size=tile):
        kid.add_real(each)
        nearest[0].add(each)
    for each in distance_tiles(fake_cloud, fake_cloud, size=tile):
        kid.add_fake(each)
        nearest[1].add(each)
    neighbourhoods = Neighbourhoods(*nearest)
    for each in distance_tiles(real_cloud, fake_cloud, size=tile):
        kid.add_cross(each)
        neighbourhoods.add(each)
    distances = kid.distances()  # (S,)
    shares = {name: share.cpu() for name, share in neighbourhoods.shares().items()}
    scores = {name: float(share.mean()) for name, share in shares.items()} | {
        "kid": float(distances.mean()),
        "kid_std": float(distances.std(correction=0)),
        "duplicates": duplicate_share(*nearest, fake_cloud),
    }
    if weights is None:
        return scores, {}
    over_real = bootstrap_weights(len(real), len(weights), _stream(seed, 2))
    replicates = {
        name: (over_real if name in OVER_REAL else weights) @ share / len(share)
        for name, share in shares.items()
    }
    return scores, replicates | {"kid": kid.replicates(_stream(seed, 3))}


def _stream(seed: int, use: int) -> np.random.Generator:
    """Random numbers for one use of the seed, independent of the others."""
    return np.random.default_rng((seed, use))


def _check(real: Features, fake: Features) -> None:
    if real.features.shape[1] != fake.features.shape[1]:
        raise ValueError(
            f"real features have {real.features.shape[1]} dimensions and fake ones "
            f"{fake.features.shape[1]}; both must come from one extractor"
        )
    for name, features in (("real", real), ("fake", fake)):
        if len(features) <= NEIGHBOURHOOD:
            raise ValueError(
                f"{len(features)} {name} samples; precision and recall need more than "
                f"{NEIGHBOURHOOD}"
            )
