import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from bench.metrics.fid import frechet_distance, statistics


def features(n: int, d: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(d, d, generator=generator)
    return torch.randn(n, d, generator=generator) @ mixing + torch.randn(d, generator=generator)


def theirs(mu1, sigma1, mu2, sigma2) -> float:
    records = {"mu": mu1, "sigma": sigma1}, {"mu": mu2, "sigma": sigma2}
    return fid_statistics_to_metric(*records, verbose=False)["frechet_inception_distance"]


def test_statistics_equal_torch_fidelity():
    x = features(200, 32, seed=0)
    mu, sigma = statistics(x)
    expected = fid_features_to_statistics(x.double())
    assert mu.dtype == sigma.dtype == np.float64
    np.testing.assert_allclose(mu, expected["mu"], rtol=1e-12)
    np.testing.assert_allclose(sigma, expected["sigma"], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize(
    "x", [torch.zeros(1, 4), torch.zeros(5), torch.tensor([[0.0], [float("nan")]])]
)
def test_statistics_rejects(x):
    with pytest.raises(ValueError, match="features"):
        statistics(x)


@pytest.mark.parametrize("n", [500, 20])
def test_identical_sets_have_distance_zero(n):
    mu, sigma = statistics(features(n, 64, seed=1))
    assert abs(frechet_distance(mu, sigma, mu, sigma)) < 1e-6 * np.trace(sigma)


@pytest.mark.parametrize("n", [500, 20])
def test_shifted_gaussians_are_the_squared_shift_apart(n):
    mu, sigma = statistics(features(n, 64, seed=2))
    shift = np.linspace(1, 2, 64)
    distance = frechet_distance(mu, sigma, mu + shift, sigma)
    assert distance == pytest.approx(shift @ shift, rel=1e-5)


def test_scaled_isotropic_gaussians():
    mu, eye = np.zeros(10), np.eye(10)
    assert frechet_distance(mu, 4 * eye, mu, 9 * eye) == pytest.approx(10 * (3 - 2) ** 2)


def test_equals_torch_fidelity():
    pair = (*statistics(features(2000, 128, seed=3)), *statistics(features(900, 128, seed=4)))
    assert frechet_distance(*pair) == pytest.approx(theirs(*pair), rel=1e-6)


@pytest.mark.parametrize(("n1", "n2"), [(50, 900), (900, 50), (50, 60)])
def test_equals_torch_fidelity_where_covariances_are_singular(n1, n2):
    pair = (*statistics(features(n1, 128, seed=5)), *statistics(features(n2, 128, seed=6)))
    assert frechet_distance(*pair) == pytest.approx(theirs(*pair), rel=1e-6)
    assert frechet_distance(*pair) == pytest.approx(frechet_distance(*pair[2:], *pair[:2]))


def test_a_constant_generator():
    mu, sigma = statistics(features(100, 8, seed=7))
    point = np.zeros(8), np.zeros((8, 8))
    assert frechet_distance(mu, sigma, *point) == pytest.approx(mu @ mu + np.trace(sigma))
    assert frechet_distance(*point, *point) == 0


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="do not agree"):
        frechet_distance(np.zeros(3), np.eye(3), np.zeros(4), np.eye(4))
