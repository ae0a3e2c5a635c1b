"""The Vendi score and FID by class against their definitions."""

import math

import numpy as np
import pytest
import scipy.linalg
import torch

from bench.evaluation.metrics import diversity
from bench.evaluation.metrics.diversity import enough_per_class, fid_by_class, vendi_score


def published_vendi(features: torch.Tensor) -> float:
    """As vendi-score's `score_X` defines it: rows of length 1, K = X Xᵀ, eigenvalues of K / n."""
    x = features.double().numpy()
    x = x / np.sqrt((x * x).sum(1, keepdims=True))
    values = scipy.linalg.eigvalsh(x @ x.T / len(x))
    values = values[values > 0]
    return float(np.exp(-(values * np.log(values)).sum()))


def published_fid(x: np.ndarray, y: np.ndarray) -> float:
    """pytorch-fid's formula: |μ₁ - μ₂|² + Tr(Σ₁ + Σ₂ - 2 (Σ₁ Σ₂)^½)."""
    a, b = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(a @ b).real
    return float(((x.mean(0) - y.mean(0)) ** 2).sum() + np.trace(a + b - 2 * root))


@pytest.mark.parametrize("n", [1, 5, 40])
@pytest.mark.parametrize("dimensions", [1, 8, 64])
def test_equal_samples_count_as_one(n: int, dimensions: int) -> None:
    direction = torch.randn(1, dimensions, generator=torch.Generator().manual_seed(0))
    scaled = direction * torch.arange(1, n + 1)[:, None]  # a cosine does not see lengths
    assert vendi_score(scaled) == pytest.approx(1, abs=1e-9)


@pytest.mark.parametrize(("n", "dimensions"), [(1, 1), (6, 6), (6, 9), (60, 6)])
def test_orthogonal_samples_count_each(n: int, dimensions: int) -> None:
    basis = torch.eye(dimensions)
    samples = basis[torch.arange(n) % dimensions] * 3
    assert vendi_score(samples) == pytest.approx(min(n, dimensions), rel=1e-9)


@pytest.mark.parametrize("counts", [(3, 1), (50, 25, 25), (1, 2, 3, 94)])
def test_a_mixture_of_orthogonal_groups_has_the_exponential_of_its_entropy(counts) -> None:
    shares = np.array(counts) / sum(counts)
    expected = math.exp(-(shares * np.log(shares)).sum())
    for dimensions in (4, 200):  # through D × D and through n × n
        groups = torch.eye(dimensions)[: len(counts)]
        samples = groups.repeat_interleave(torch.tensor(counts), 0)
        assert vendi_score(samples) == pytest.approx(expected, rel=1e-9)


@pytest.mark.parametrize(("n", "dimensions"), [(30, 7), (7, 30), (20, 20), (21, 20)])
def test_the_score_is_that_of_the_published_package(n: int, dimensions: int, monkeypatch) -> None:
    features = torch.randn(n, dimensions, generator=torch.Generator().manual_seed(1)) + 0.5
    expected = published_vendi(features)
    assert vendi_score(features) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(diversity, "BLOCK", 4)
    assert vendi_score(features) == pytest.approx(expected, rel=1e-9)
    monkeypatch.setattr(diversity, "VENDI_SAMPLES", 5)
    assert vendi_score(features) == pytest.approx(published_vendi(features[:5]), rel=1e-9)


def test_features_that_are_zero_are_one_group_of_their_own() -> None:
    samples = torch.cat([torch.zeros(5, 3), torch.eye(3)[:1].repeat(5, 1)])
    assert vendi_score(samples) == pytest.approx(2, rel=1e-9)
    assert vendi_score(torch.zeros(4, 3)) == pytest.approx(1, rel=1e-9)


@pytest.mark.parametrize("bad", [torch.zeros(0, 3), torch.zeros(3), torch.full((3, 2), math.nan)])
def test_features_that_have_no_score_are_refused(bad: torch.Tensor) -> None:
    with pytest.raises(ValueError, match="features"):
        vendi_score(bad)


def test_fid_by_class_is_the_published_formula_within_each_class() -> None:
    rng = np.random.default_rng(0)
    classes = np.arange(300) % 3
    real = rng.normal(classes[:, None], 1 + classes[:, None], (300, 4))
    fake = rng.normal(classes[:, None] ** 2, 1.0, (300, 4))
    found = fid_by_class(*map(torch.from_numpy, (real, classes, fake, classes)), num_classes=3)
    expected = [published_fid(real[classes == k], fake[classes == k]) for k in range(3)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


def test_samples_of_the_wrong_class_have_a_low_fid_and_a_high_one_by_class() -> None:
    """What FID of the whole does not see: a model that mixes up its classes."""
    rng = np.random.default_rng(1)
    classes = torch.arange(2000) % 2
    real = torch.from_numpy(rng.normal(10 * classes[:, None].numpy(), 1, (2000, 2)))
    right = fid_by_class(real, classes, real, classes, 2)
    wrong = fid_by_class(real, classes, real, 1 - classes, 2)
    assert right.tolist() == pytest.approx([0, 0], abs=1e-8)
    assert wrong.tolist() == pytest.approx([200, 200], rel=0.05)  # |10 - 0|² in both coordinates


def test_a_class_without_samples_has_no_fid() -> None:
    x, classes = torch.randn(8, 2), torch.tensor([0, 0, 0, 0, 1, 1, 1, 1])
    found = fid_by_class(x, classes, x, torch.tensor([0] * 7 + [1]), 3)
    assert [math.isnan(value) for value in found.tolist()] == [False, True, True]


@pytest.mark.parametrize(
    ("dimensions", "real", "expected", "enough"),
    [
        (64, [65, 900], [65.0, 70.5], True),
        (64, [64, 900], [65.0, 70.5], False),
        (64, [65, 900], [64.9, 70.5], False),
        (2, [30, 30], [30.0, 30.0], True),
        (2, [30, 30], [29.0, 30.0], False),
    ],
)
def test_every_class_needs_a_covariance_of_full_rank(dimensions, real, expected, enough) -> None:
    counts = torch.tensor(real), torch.tensor(expected)
    assert enough_per_class(dimensions, *counts) == enough
