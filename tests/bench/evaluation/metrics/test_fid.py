from pathlib import Path

import numpy as np
import pytest
import torch
from torch_fidelity.metric_fid import fid_features_to_statistics, fid_statistics_to_metric

from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import fid_infinity, frechet_distance, influences, statistics


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


def test_statistics_do_not_depend_on_blocks(monkeypatch):
    x = features(200, 32, seed=0)
    whole = statistics(x)
    monkeypatch.setattr("bench.evaluation.metrics.fid.BLOCK", 7)
    for ours, expected in zip(statistics(x), whole, strict=True):
        np.testing.assert_allclose(ours, expected, rtol=1e-10, atol=1e-12)


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


def by_singular_values(x, y):
    """The distance from the features themselves: Tr (Σ₁Σ₂)^½ = |X Yᵀ|_* / ((n - 1) (m - 1))^½."""
    means, roots = [], []
    for each in (x.double(), y.double()):
        means.append(each.mean(0))
        centred = (each - means[-1]) / (len(each) - 1) ** 0.5
        roots.append(torch.linalg.qr(centred, mode="r")[1])  # (min(N, D), D)
    trace = torch.linalg.svdvals(roots[0] @ roots[1].T).sum()
    total = sum(root.square().sum() for root in roots)
    return float((means[0] - means[1]).square().sum() + total - 2 * trace)


@pytest.mark.parametrize("spread", [1.0, 1e3, 1e6])
@pytest.mark.parametrize(("n", "m"), [(400, 300), (400, 110), (400, 60), (60, 50), (60, 300)])
def test_columns_may_differ_in_scale(spread, n, m):
    """No small direction is left out: 5e-6 was missing where columns differ by a thousand."""
    scales = torch.logspace(0, np.log10(spread), 96)
    x, y = features(n, 96, seed=0) * scales, features(m, 96, seed=1) * scales
    distance = frechet_distance(*statistics(x), *statistics(y))
    assert distance == pytest.approx(by_singular_values(x, y), rel=1e-9)


def test_a_decaying_spectrum_loses_nothing():
    """Variances over seven decades, as Inception's: 1.7e-5 of the distance was missing."""
    scales = torch.exp(-torch.arange(128) / 16)
    mixing = torch.randn(128, 128, generator=torch.Generator().manual_seed(9)) * scales
    x, y = (gaussian(n, torch.ones(128), seed=n) @ mixing.T for n in (500, 400))
    distance = frechet_distance(*statistics(x), *statistics(1.02 * y))
    assert distance == pytest.approx(by_singular_values(x, 1.02 * y), rel=1e-9)


@pytest.mark.parametrize("scale", [1e-100, 1e-20, 1e20, 1e100])
def test_covariances_of_any_scale(scale):
    mu, sigma = statistics(features(500, 16, seed=0))
    _, other = statistics(features(400, 16, seed=1))
    expected = frechet_distance(mu, sigma, mu, other)
    distance = frechet_distance(mu, sigma * scale, mu, other * scale)
    assert distance == pytest.approx(expected * scale, rel=1e-9)


def rank_eight() -> np.ndarray:
    """A covariance of twelve features of dying ReLUs, on which torch.linalg.eigh has failed."""
    stored = np.load(Path(__file__).with_name("rank_eight_covariance.npz"))
    sigma = np.zeros((int(stored["size"]),) * 2)
    sigma[np.ix_(stored["index"], stored["index"])] = stored["block"]
    return sigma


def test_twelve_samples_of_dying_relus_have_a_distance():
    sigma, zero = rank_eight(), np.zeros(1280)
    values = np.linalg.eigvalsh(sigma)[-8:]
    root = 2 * np.sqrt(values).sum()  # against the unit Gaussian
    expected = np.trace(sigma) + 1280 - root
    assert frechet_distance(zero, sigma, zero, np.eye(1280)) == pytest.approx(expected, rel=1e-12)
    assert abs(frechet_distance(zero, sigma, zero, sigma)) < 1e-12 * np.trace(sigma)


@pytest.fixture
def no_convergence(monkeypatch):
    """torch's drivers fail on everything, as they do on some matrices."""

    def fail(*_):
        raise torch.linalg.LinAlgError("failed to converge")

    for name in ("eigh", "eigvalsh", "svdvals"):
        monkeypatch.setattr(torch.linalg, name, fail)


@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e30])
@pytest.mark.parametrize("n", [300, 40])
def test_scores_do_not_depend_on_torchs_convergence(n, scale, request):
    reference, fake = statistics(features(500, 64, seed=2)), features(n, 64, seed=3)
    mu, sigma = statistics(fake)
    pair = (reference[0], reference[1] * scale, mu, sigma * scale)
    distance, influence = frechet_distance(*pair), influences(*reference, fake)
    request.getfixturevalue("no_convergence")
    assert frechet_distance(*pair) == pytest.approx(distance, rel=1e-9)
    torch.testing.assert_close(influences(*reference, fake), influence, rtol=1e-7, atol=1e-7)


def test_influences_of_one_image_repeated_are_zero():
    reference = statistics(features(100, 8, seed=7))
    assert influences(*reference, torch.ones(12, 8)).abs().max() == 0
    dead = np.zeros(8), np.zeros((8, 8))
    assert influences(*dead, features(12, 8, seed=1)).isfinite().all()


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="do not agree"):
        frechet_distance(np.zeros(3), np.eye(3), np.zeros(4), np.eye(4))


def gaussian(n: int, scale: torch.Tensor, seed: int) -> torch.Tensor:
    return scale * torch.randn(n, len(scale), generator=torch.Generator().manual_seed(seed))


def test_fid_infinity_is_nearer_to_the_truth_than_fid():
    scale = torch.linspace(0.5, 2, 32)
    truth = float((0.1 * scale).square().sum())  # of N(0, s²) and N(0, (1.1 s)²)
    reference = gaussian(20_000, scale, seed=0)
    finite, infinite = [], []
    for seed in range(1, 5):
        fake = gaussian(1000, 1.1 * scale, seed)
        finite.append(frechet_distance(*statistics(reference), *statistics(fake)) - truth)
        infinite.append(fid_infinity(reference, Features(fake)) - truth)
    assert np.mean(finite) > 0.3 * truth
    assert abs(np.mean(infinite)) < 0.2 * np.mean(finite)
    assert max(map(abs, infinite)) < min(finite)


def test_fid_infinity_depends_on_its_seed_alone():
    real, fake = features(300, 8, seed=0), features(200, 8, seed=1)
    before = torch.get_rng_state()
    assert fid_infinity(real, fake, seed=1) == fid_infinity(real, fake, seed=1)
    assert fid_infinity(real, fake, seed=1) != fid_infinity(real, fake, seed=2)
    assert torch.equal(torch.get_rng_state(), before)


def test_fid_infinity_needs_four_samples():
    with pytest.raises(ValueError, match="3 fake samples"):
        fid_infinity(features(30, 2, seed=0), features(3, 2, seed=1))


@pytest.mark.parametrize("n", [300, 40])
def test_influences_are_derivatives(n):
    """Of the distance, when every weight changes by a little; 40 do not span 64 dimensions."""
    reference = statistics(features(500, 64, seed=2))
    fake = features(n, 64, seed=3)
    influence = influences(*reference, fake)
    assert abs(float(influence.mean())) < 1e-9 * float(influence.abs().max())
    change = torch.randn(n, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    change -= change.mean()

    def distance(step: float) -> float:
        w = (1 + step * change) / n
        x = fake.double()
        mean = w @ x
        covariance = (x - mean).T @ (w[:, None] * (x - mean)) * n / (n - 1)
        return frechet_distance(*reference, mean.numpy(), covariance.numpy())

    numeric = (distance(1e-4) - distance(-1e-4)) / 2e-4
    assert float(change @ influence) / n == pytest.approx(numeric, rel=1e-3)


def test_influences_vanish_where_the_gaussians_are_equal():
    x = features(200, 8, seed=4)
    influence = influences(*statistics(x), x)
    assert influence.abs().max() < 1e-8 * np.trace(statistics(x)[1])
