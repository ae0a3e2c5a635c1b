import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric
from torch_fidelity.metric_kid import kid_features_to_metric
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.metrics import quality
from bench.metrics.features import Features
from bench.metrics.quality import inception_score, kernel_distance, precision_recall
from bench.protocol import QUALITY


def normal(n: int, d: int = 8, k: int = 5, *, seed: int, scale: float = 1) -> Features:
    generator = torch.Generator().manual_seed(seed)
    logits = torch.randn(n, k, generator=generator)
    return Features(scale * torch.randn(n, d, generator=generator), logits)


def test_keys_are_those_of_the_protocol():
    scores = quality(normal(300, seed=0), normal(200, seed=1), seed=0)
    assert tuple(scores) == QUALITY
    assert all(isinstance(value, float) and np.isfinite(value) for value in scores.values())


def test_the_real_data_itself():
    real = normal(200, seed=0)
    scores = quality(real, real, seed=0)
    assert scores["fid"] == pytest.approx(0, abs=1e-6)
    assert scores["precision"] == scores["recall"] == 1
    assert scores["kid"] < 0.01


def test_inception_score_of_uniform_logits_is_one():
    fake = Features(torch.zeros(100, 2), torch.zeros(100, 7))
    assert inception_score(fake, seed=0) == pytest.approx((1, 0))


def test_inception_score_of_balanced_classes_is_their_number():
    logits = 1e3 * torch.eye(5).repeat(2000, 1)
    mean, _ = inception_score(Features(torch.zeros(len(logits), 2), logits), seed=0)
    assert mean == pytest.approx(5, rel=0.01)  # splits are shuffled, so not exactly balanced


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
    assert scores["is"] == inception["inception_score_mean"]
    assert scores["is_std"] == inception["inception_score_std"]
    assert scores["kid"] == kid["kernel_inception_distance_mean"]
    assert scores["kid_std"] == kid["kernel_inception_distance_std"]
    assert scores["precision"] == prc["precision"]
    assert scores["recall"] == prc["recall"]


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    real = normal(500, seed=0)
    collapsed = Features(0.05 * normal(500, seed=1).features)
    precision, recall = precision_recall(real, collapsed)
    assert precision > 0.95
    assert recall < 0.05


def test_a_generator_of_noise_has_low_precision():
    precision, recall = precision_recall(normal(500, seed=0), normal(500, seed=1, scale=10))
    assert precision < 0.05
    assert recall > 0.5


def test_kid_subsets_never_exceed_the_samples():
    kid, std = kernel_distance(normal(60, seed=0), normal(50, seed=1), seed=0)
    assert np.isfinite(kid)
    assert std >= 0


def test_the_seed_decides_everything():
    real, fake = normal(900, seed=0), normal(300, seed=1)
    assert quality(real, fake, seed=1) == quality(real, fake, seed=1)
    assert quality(real, fake, seed=1) != quality(real, fake, seed=2)


def test_the_global_random_state_is_untouched():
    torch.manual_seed(0)
    np.random.seed(0)
    before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()
    quality(normal(300, seed=0), normal(100, seed=1), seed=3)
    assert torch.equal(torch.get_rng_state(), before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)


@pytest.mark.parametrize(
    ("n_real", "n_fake", "d_fake", "message"),
    [
        (100, 5, 8, "IS needs at least 10"),
        (100, 3, 8, "more than 3"),
        (3, 100, 8, "more than 3"),
        (100, 100, 9, "dimensions"),
    ],
)
def test_too_few_samples_or_other_dimensions(n_real, n_fake, d_fake, message):
    with pytest.raises(ValueError, match=message):
        quality(normal(n_real, seed=0), normal(n_fake, d_fake, seed=1), seed=0)
