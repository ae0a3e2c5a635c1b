import math
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.mixtures import load_grid25, load_ring8
from bench.data.stacked import load_stacked_digits
from bench.evaluation.metrics.modes import (
    class_histogram,
    conditional_accuracy,
    mixture_modes,
    perfect_sampler,
)
from bench.schema import MODES, PERFECT


def logits_of(*classes: int, k: int = 4) -> torch.Tensor:
    return torch.eye(k)[list(classes)]


def test_keys_are_those_of_the_protocol():
    centres = torch.zeros(1, 2)
    assert set(class_histogram(logits_of(0, 1), [1] * 4)) == set(MODES) - {
        "high_quality",
        "conditional_accuracy",
    }
    assert set(mixture_modes(torch.zeros(3, 2), centres, 1.0)) == set(MODES) - {
        "conditional_accuracy"
    }
    perfect = perfect_sampler(np.ones(1), 10, dimensions=2)
    assert set(perfect) == set(PERFECT) - {"classifier_error"}


def test_conditional_accuracy_is_that_of_a_classifier():
    asked = torch.tensor([0, 1, 2, 3])
    assert conditional_accuracy(logits_of(0, 1, 2, 0), asked) == 0.75
    with pytest.raises(ValueError, match=r"classes \(3,\) must be"):
        conditional_accuracy(logits_of(0, 1), torch.tensor([0, 1, 2]))


def test_the_data_itself():
    scores = class_histogram(logits_of(0, 1, 1, 2, 2, 2, 3), torch.tensor([10, 20, 30, 10]))
    assert scores["modes"] == 4
    assert scores["class_kl"] == pytest.approx(0, abs=1e-12)
    assert scores["class_tv"] == pytest.approx(0, abs=1e-12)


def test_one_of_k_classes():
    scores = class_histogram(logits_of(2, 2, 2), [5, 5, 5, 5])
    assert scores["modes"] == 1
    assert scores["class_kl"] == pytest.approx(math.log(4))
    assert scores["class_tv"] == pytest.approx(3 / 4)
    assert scores["reverse_kl"] == pytest.approx(math.log(4))


def test_reverse_kl_is_to_uniform_and_class_kl_to_the_data():
    scores = class_histogram(logits_of(0, 1, 1, 1, k=2), [1, 3])
    assert scores["class_kl"] == pytest.approx(0, abs=1e-12)
    expected = 0.25 * math.log(0.25 * 2) + 0.75 * math.log(0.75 * 2)
    assert scores["reverse_kl"] == pytest.approx(expected)


@pytest.mark.parametrize("reference", [[1, 1, 1], [1, 1, 1, 0], [[1, 1, 1, 1]]])
def test_reference_must_be_k_positive_numbers(reference):
    with pytest.raises(ValueError, match="positive"):
        class_histogram(logits_of(0), reference)


def test_no_samples():
    with pytest.raises(ValueError, match="N ≥ 1"):
        class_histogram(torch.zeros(0, 4), [1] * 4)
    with pytest.raises(ValueError, match="N ≥ 1"):
        mixture_modes(torch.zeros(0, 2), torch.zeros(3, 2), 1.0)
    with pytest.raises(ValueError, match=r"must be \(N, 2\)"):
        mixture_modes(torch.zeros(5, 3), torch.zeros(3, 2), 1.0)


def test_points_by_hand():
    centres = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 10.0]])
    points = torch.tensor([[0.0, 2.9], [0.0, 3.1], [10.0, 0.0], [0.0, 6.0]])
    scores = mixture_modes(points, centres, sigma=1.0)
    assert scores["modes"] == 2  # the third mode has a point, but none of high quality
    assert scores["high_quality"] == 0.5
    drawn = [0.5, 0.25, 0.25]
    assert scores["reverse_kl"] == pytest.approx(sum(q * math.log(3 * q) for q in drawn))
    assert scores["class_tv"] == pytest.approx(0.5 - 1 / 3)


def test_far_from_the_origin_distances_are_exact():
    """The product form of distances would lose a sigma of 1e-4 at 1e3."""
    centres = torch.tensor([[1e3, 1e3], [1e3, 1e3 + 1]])
    points = centres.double().repeat(50, 1) + 1e-4
    scores = mixture_modes(points, centres, sigma=1e-4)
    assert (scores["modes"], scores["high_quality"]) == (2, 1)


def test_published_values_of_a_perfect_sampler():
    ring = perfect_sampler(np.full(8, 1 / 8), 2500, dimensions=2)
    grid = perfect_sampler(np.full(25, 1 / 25), 2500, dimensions=2)
    assert ring["high_quality_perfect"] == pytest.approx(1 - math.exp(-4.5))
    assert ring["high_quality_perfect"] == pytest.approx(0.9889, abs=5e-5)
    assert (ring["modes_perfect"], grid["modes_perfect"]) == pytest.approx((8, 25))
    assert ring["reverse_kl_perfect"] == pytest.approx(0.0014, abs=5e-5)
    assert grid["reverse_kl_perfect"] == pytest.approx(0.0048, abs=5e-5)


def test_published_floor_of_stacked_mnist():
    """MNIST's own digit frequencies; 0.0192 if they were uniform."""
    counts = np.array([5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949])
    digit = counts / counts.sum()
    triple = np.einsum("a,b,c->abc", digit, digit, digit).reshape(-1)
    floor = perfect_sampler(triple, 26_000)
    assert floor["reverse_kl_perfect"] == pytest.approx(0.0235, abs=2e-4)  # to first order
    assert floor["modes_perfect"] == pytest.approx(1000, abs=0.01)
    uniform = perfect_sampler(np.full(1000, 1e-3), 26_000)
    assert uniform["reverse_kl_perfect"] == pytest.approx(0.0193, abs=1e-4)


@pytest.mark.parametrize("n", [1, 5, 60])
def test_the_mean_is_that_of_simulated_draws(n):
    p = np.array([0.5, 0.3, 0.15, 0.05])
    rng = np.random.default_rng(0)
    counts = torch.from_numpy(rng.multinomial(n, p, size=20_000)).double()  # (R, K)
    drawn = counts / n
    reverse_kl = torch.xlogy(drawn, drawn * 4).sum(1)
    hit = (counts > 0).double().sum(1)
    perfect = perfect_sampler(p, n)
    for simulated, expected in ((reverse_kl, "reverse_kl_perfect"), (hit, "modes_perfect")):
        error = float(simulated.std()) / math.sqrt(len(simulated))
        assert abs(float(simulated.mean()) - perfect[expected]) <= 4 * error + 1e-9


@pytest.mark.parametrize("load", [load_ring8, load_grid25])
def test_the_data_scores_as_a_perfect_sampler(load):
    data = load(data_root=Path())
    points = torch.tensor(data.test.images)
    centres = torch.from_numpy(data.mixture.centres)
    scores = mixture_modes(points, centres, data.mixture.sigma)
    perfect = perfect_sampler(data.frequencies, len(points), dimensions=2)
    assert scores["modes"] == perfect["modes_perfect"] == len(centres)
    spread = math.sqrt(0.9889 * 0.0111 / len(points))
    assert abs(scores["high_quality"] - perfect["high_quality_perfect"]) < 4 * spread
    assert scores["reverse_kl"] < 3 * perfect["reverse_kl_perfect"]


def test_stacked_labels_score_as_a_perfect_sampler(tmp_path):
    data = load_stacked_digits(data_root=tmp_path, cache_root=tmp_path)
    labels = torch.tensor(data.train.labels[:26_000])
    scores = class_histogram(torch.nn.functional.one_hot(labels, 1000).float(), data.frequencies)
    perfect = perfect_sampler(data.frequencies, 26_000)
    assert scores["reverse_kl"] == pytest.approx(perfect["reverse_kl_perfect"], abs=0.003)
    assert scores["modes"] == 1000
