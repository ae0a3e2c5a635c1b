import numpy as np
import pytest
import torch

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.quality import quality
from bench.evaluation.metrics.resampling import bootstrap_weights, interval, subset
from bench.schema import INTERVAL_METRICS


def draw(n: int, seed: int, scale: float = 1.3, d: int = 8) -> Features:
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(n, d, generator=generator)
    return Features(scale * x, 2 * x[:, :4])


def test_a_subset_holds_some_of_the_features():
    x = torch.arange(20.0).view(10, 2)
    chosen = subset(x, 4, seed=0)
    assert len({tuple(row.tolist()) for row in chosen} & {tuple(row.tolist()) for row in x}) == 4
    assert torch.equal(chosen, subset(x, 4, seed=0))
    assert not torch.equal(chosen, subset(x, 4, seed=1))
    assert subset(x, 10, seed=0) is x


def test_weights_are_multinomial_counts():
    weights = bootstrap_weights(50, 2000, np.random.default_rng(0))
    assert weights.shape == (2000, 50)
    assert (weights.sum(1) == 50).all()
    assert weights.var().item() == pytest.approx(1 - 1 / 50, rel=0.02)
    assert (weights == 0).double().mean().item() == pytest.approx((1 - 1 / 50) ** 50, rel=0.02)


def test_an_interval_drops_the_shift_of_its_replicates():
    replicates = torch.linspace(0, 1, 10_001, dtype=torch.float64) + 7
    assert interval(2.0, replicates) == pytest.approx((2 - 0.475, 2 + 0.475))


def test_the_interval_of_a_share_is_the_binomial_one():
    n, p = 1000, 0.3
    share = torch.zeros(n, dtype=torch.float64)
    share[: int(n * p)] = 1
    weights = bootstrap_weights(n, 4000, np.random.default_rng(0))
    low, high = interval(p, weights @ share / n)
    assert (high - low) / 2 == pytest.approx(1.96 * (p * (1 - p) / n) ** 0.5, rel=0.05)
    assert (low + high) / 2 == pytest.approx(p, abs=0.003)


def test_intervals_have_the_width_of_the_spread_over_independent_samples():
    """40 independent sets of fake samples against one reference; recall and coverage need fresh
    real samples and are left to the test of shares."""
    real = draw(2000, seed=0, scale=1)
    metrics = ("fid", "kid", "is", "precision", "density")
    points = {metric: [] for metric in metrics}
    widths = {metric: [] for metric in metrics}
    for trial in range(40):
        scores = quality(real, draw(400, seed=1 + trial), resamples=100 if trial < 8 else 0)
        for metric in metrics:
            points[metric].append(scores[metric])
            if trial < 8:
                widths[metric].append(scores[f"{metric}_high"] - scores[f"{metric}_low"])
    for metric in metrics:
        ratio = np.mean(widths[metric]) / (2 * 1.96 * np.std(points[metric], ddof=1))
        assert 0.65 < ratio < 1.5, metric


def test_intervals_hold_their_metric_and_depend_on_the_seed_alone():
    real, fake = draw(500, seed=0, scale=1), draw(300, seed=1)
    scores = quality(real, fake, resamples=200)
    for metric in INTERVAL_METRICS:
        assert scores[f"{metric}_low"] < scores[metric] < scores[f"{metric}_high"]
    assert scores == quality(real, fake, resamples=200)
    assert {m: v for m, v in scores.items() if "_low" not in m and "_high" not in m} == quality(
        real, fake
    )


def test_the_real_data_vary_in_recall_and_coverage_only():
    """Every fake sample lies among the real ones: shares of fake samples do not vary."""
    real = draw(300, seed=0, scale=1)
    fake = Features(real.features[:100].repeat(3, 1))
    scores = quality(real, fake, resamples=50)
    assert scores["precision_low"] == scores["precision"] == scores["precision_high"] == 1
    assert scores["coverage_low"] < scores["coverage"] < scores["coverage_high"] <= 1
    assert np.isnan(scores["is_low"])
