import math

import numpy as np
import pytest
import torch
from prdc import compute_prdc
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.quality import quality
from bench.evaluation.metrics.resampling import subset
from bench.schema import INTERVAL_METRICS, QUALITY


def normal(n: int, d: int = 8, k: int = 5, *, seed: int, scale: float = 1) -> Features:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator)
    return Features(scale * torch.randn(n, d, generator=generator), logits)


def test_keys_are_those_of_the_protocol():
    scores = quality(normal(300, seed=0), normal(200, seed=1), seed=0)
    assert tuple(scores) == QUALITY
    assert all(isinstance(value, float) and np.isfinite(value) for value in scores.values())
    scores = quality(normal(300, seed=0), normal(200, seed=1), seed=0, resamples=20)
    bounds = [f"{metric}_{side}" for metric in INTERVAL_METRICS for side in ("low", "high")]
    assert list(scores) == [*QUALITY, *bounds]


def test_the_real_data_itself():
    real = normal(200, seed=0)
    scores = quality(real, real, seed=0)
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert scores["precision"] == scores["recall"] == 1
    assert scores["kid"] < 0.01


def test_inception_score_is_missing_without_logits():
    scores = quality(normal(50, seed=0), Features(normal(50, seed=1).features), seed=0)
    assert np.isnan(scores["is"])
    assert np.isnan(scores["is_std"])
    assert np.isfinite(scores["fid"])


def test_parity_with_torch_fidelity():
    real, fake = normal(400, seed=0), normal(400, seed=1, scale=1.3)
    scores = quality(real, fake, seed=7)
    inception = isc_features_to_metric(fake.logits, splits=10, shuffle=True, rng_seed=7)
    kid = kid_features_to_metric(
        fake.features, real.features, kid_subset_size=200, rng_seed=7, verbose=False
    )
    prc = prc_features_to_metric(fake.features, real.features, verbose=False)
    prdc = compute_prdc(real.features.numpy(), fake.features.numpy(), nearest_k=5)
    expected = {
        "fid": fid_statistics_to_metric(
            *(fid_features_to_statistics(x.features.double()) for x in (real, fake)), verbose=False
        )["frechet_inception_distance"],
        "is": inception["inception_score_mean"],
        "is_std": inception["inception_score_std"],
        "kid": kid["kernel_inception_distance_mean"],
        "kid_std": kid["kernel_inception_distance_std"],
        "precision": prc["precision"],
        "recall": prc["recall"],
        "density": prdc["density"],
        "coverage": prdc["coverage"],
    }
    assert {metric: scores[metric] for metric in expected} == pytest.approx(expected, rel=1e-5)


def test_the_seed_decides_everything():
    real, fake = normal(900, seed=0), normal(300, seed=1)
    assert quality(real, fake, seed=1) == quality(real, fake, seed=1)
    assert quality(real, fake, seed=1) != quality(real, fake, seed=2)


@pytest.mark.parametrize("tile", [64, 150])
def test_the_size_of_tiles_changes_nothing(tile):
    real, fake = normal(500, 40, seed=0), normal(300, 40, seed=1)
    scores = quality(real, fake, resamples=20)
    assert quality(real, fake, resamples=20, tile=tile) == pytest.approx(scores, rel=1e-5)


def test_the_order_of_samples_matters_to_random_subsets_only():
    real, fake = normal(300, seed=0), normal(300, seed=1)
    back = [Features(x.features.flip(0), x.logits.flip(0)) for x in (real, fake)]
    scores, again = quality(real, fake), quality(*back)
    random = ("kid", "kid_std", "is", "is_std")
    assert [again[m] for m in QUALITY if m not in random] == pytest.approx(
        [scores[m] for m in QUALITY if m not in random], rel=1e-9
    )
    assert again["kid"] == pytest.approx(scores["kid"], abs=scores["kid_std"])


def test_one_real_subset_serves_every_metric():
    """With 900 real and 300 fake samples, the scores are those of 300 of the real ones."""
    real, fake = normal(900, seed=0), normal(300, seed=1)
    scores = quality(real, fake, seed=5)
    matched = Features(subset(real.features, 300, seed=5))
    expected = quality(matched, fake, seed=5)
    assert scores["fid"] != expected["fid"]
    assert {m: scores[m] for m in QUALITY[1:]} == {m: expected[m] for m in QUALITY[1:]}


def test_the_global_random_state_is_untouched():
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    quality(normal(300, seed=0), normal(100, seed=1), seed=3, resamples=5)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize(
    ("n_real", "n_fake", "d_fake", "message"),
    [
        (100, 5, 8, "IS needs at least 10"),
        (100, 3, 8, "more than 3"),
        (3, 100, 8, "more than 3"),
        (5, 100, 8, "density and coverage need more than 5"),
        (100, 100, 9, "dimensions"),
    ],
)
def test_too_few_samples_or_other_dimensions(n_real, n_fake, d_fake, message):
    with pytest.raises(ValueError, match=message):
        quality(normal(n_real, seed=0), normal(n_fake, d_fake, seed=1), seed=0)


@pytest.mark.parametrize("kind", ["dying", "one image", "zero"])
def test_a_collapsed_set_of_twelve_samples_has_scores(kind):
    """Most of the features are always zero; no covariance ends in a traceback."""
    generator = torch.Generator().manual_seed(0)
    real = torch.randn(60, 640, generator=generator).relu()
    fake = torch.zeros(12, 640)
    fake[:, :56] = (0.02 * torch.randn(12, 56, generator=generator)).relu()
    fake = {"dying": fake, "one image": fake[:1].repeat(12, 1), "zero": 0 * fake}[kind]
    scores = quality(Features(real), Features(fake), resamples=5)
    known = {name: score for name, score in scores.items() if not name.startswith("is")}
    assert all(math.isfinite(score) for score in known.values())
    if kind != "dying":  # a point: |μ₁ - μ₂|² + Tr Σ₁
        x = real.double()
        expected = (x.mean(0) - fake[0].double()).square().sum() + x.var(0).sum()
        assert scores["fid"] == pytest.approx(float(expected), rel=1e-6)
