import numpy as np
import pytest
import torch
from torch_fidelity.metric_isc import isc_features_to_metric

from bench.evaluation.metrics.inception_score import inception_score, inception_score_replicates


def logits(n: int, k: int = 6) -> torch.Tensor:
    return 3 * torch.randn(n, k, generator=torch.Generator().manual_seed(n))


@pytest.mark.parametrize("n", [10, 57, 400])
def test_equals_torch_fidelity(n):
    theirs = isc_features_to_metric(logits(n), splits=10, shuffle=True, rng_seed=7)
    assert inception_score(logits(n), seed=7) == pytest.approx(tuple(theirs.values()), rel=1e-9)


def test_uniform_logits_score_one():
    assert inception_score(torch.zeros(100, 7), seed=0) == pytest.approx((1, 0))


def test_balanced_classes_score_their_number():
    mean, _ = inception_score(1e4 * torch.eye(5).repeat(2000, 1), seed=0)
    assert mean == pytest.approx(5, rel=0.01)  # splits are shuffled, so not exactly balanced


def test_replicates_of_uniform_logits_score_one():
    replicates = inception_score_replicates(
        torch.zeros(25, 7), seed=0, resamples=30, rng=np.random.default_rng(0)
    )
    assert replicates.shape == (30,)
    torch.testing.assert_close(replicates, torch.ones(30, dtype=torch.float64))


def test_too_few_samples():
    with pytest.raises(ValueError, match="9 fake samples; IS needs at least 10"):
        inception_score(logits(9), seed=0)
