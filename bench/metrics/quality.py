"""The metrics of one extractor: FID, KID, IS, precision, recall of fake against real features."""

import torch
from torch import Generator

from bench.metrics.features import Features
from bench.metrics.fid import frechet_distance, statistics

IS_SPLITS = 10
KID_SUBSETS = 100
KID_SUBSET_SIZE = 1000
NEIGHBOURHOOD = 3
METRIC_SEED = 2020
"""torch-fidelity's default. One for all runs, so that their spread is not that of the metrics."""


def quality(real: Features, fake: Features, *, seed: int = METRIC_SEED) -> dict[str, float]:
    """Compare two sets of features; torch-fidelity computes all but FID.

    FID uses every reference feature. KID, precision and recall compare sets of equal size: when
    there are more real features than fake ones, a subset of the real ones, drawn with the seed.
    The global random state is neither read nor changed.

    - fid: Heusel et al. 2017, unbiased covariances, float64.
    - kid, kid_std: Bińkowski et al. 2018, cubic kernel, mean and standard deviation over 100
      subsets of min(1000, n / 2). Not scaled.
    - is, is_std: Salimans et al. 2016, mean and standard deviation over 10 splits of the fake
      logits in an order drawn with the seed.
    - precision, recall: Kynkäänniemi et al. 2019, third nearest neighbours. A generator that
      collapses to a few good images has high precision and low recall.

    Args:
        real: the reference.
        fake: generated samples, seen by the same extractor.
        seed: of the real subset, the splits and the subsets.

    Returns:
        The keys of `bench.protocol.QUALITY`. "is" and "is_std" are NaN without logits.

    Raises:
        ValueError: too few samples, other dimensions, or features that are not finite.
    """
    _check(real, fake)
    distance = frechet_distance(*statistics(real.features), *statistics(fake.features))
    score, score_std = inception_score(fake, seed=seed)
    matched = _subset(real, len(fake), seed)
    kid, kid_std = kernel_distance(matched, fake, seed=seed)
    precision, recall = precision_recall(matched, fake)
    return {
        "fid": distance,
        "kid": kid,
        "kid_std": kid_std,
        "is": score,
        "is_std": score_std,
        "precision": precision,
        "recall": recall,
    }


def inception_score(fake: Features, *, seed: int) -> tuple[float, float]:
    """Mean and standard deviation over 10 splits (Salimans et al. 2016); NaN without logits."""
    from torch_fidelity.metric_isc import isc_features_to_metric

    if fake.logits is None:
        return float("nan"), float("nan")
    if len(fake) < IS_SPLITS:
        raise ValueError(f"{len(fake)} fake samples; IS needs at least {IS_SPLITS}, one per split")
    result = isc_features_to_metric(fake.logits, splits=IS_SPLITS, shuffle=True, rng_seed=seed)
    return result["inception_score_mean"], result["inception_score_std"]


def kernel_distance(real: Features, fake: Features, *, seed: int) -> tuple[float, float]:
    """Mean and std of KID over subsets of min(1000, n / 2) (Bińkowski et al. 2018)."""
    from torch_fidelity.metric_kid import kid_features_to_metric

    result = kid_features_to_metric(
        fake.features,
        real.features,
        kid_subsets=KID_SUBSETS,
        kid_subset_size=min(KID_SUBSET_SIZE, len(real) // 2, len(fake) // 2),
        rng_seed=seed,
        verbose=False,
    )
    return result["kernel_inception_distance_mean"], result["kernel_inception_distance_std"]


def precision_recall(real: Features, fake: Features) -> tuple[float, float]:
    """Share of fake samples near real ones, and of real near fake (Kynkäänniemi et al. 2019)."""
    from torch_fidelity.metric_prc import prc_features_to_metric

    # torch-fidelity's first argument is the generated set, its second the real one.
    result = prc_features_to_metric(
        fake.features,
        real.features,
        prc_neighborhood=NEIGHBOURHOOD,
        save_cpu_ram=True,
        verbose=False,
    )
    return result["precision"], result["recall"]


def _subset(real: Features, n: int, seed: int) -> Features:
    if len(real) <= n:
        return real
    index = torch.randperm(len(real), generator=Generator().manual_seed(seed))[:n]
    return Features(real.features[index])


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
