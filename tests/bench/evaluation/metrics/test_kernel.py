import numpy as np
import pytest
import torch
from torch import Tensor
from torch_fidelity.metric_kid import kid_features_to_metric

from bench.evaluation.metrics.inner_products import clouds, distance_tiles
from bench.evaluation.metrics.kernel import KernelDistance
from bench.evaluation.metrics.resampling import bootstrap_weights


def features(n: int, d: int, seed: int, mean: float = 0.5, scale: float = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64) + mean


def kid(real: Tensor, fake: Tensor, *, seed: int = 3, size: int = 128, weights=None):
    sets = clouds(real, fake)
    distance = KernelDistance(*sets, seed=seed, weights=weights)
    for tile in distance_tiles(sets[0], sets[0], size=size):
        distance.add_real(tile)
    for tile in distance_tiles(sets[1], sets[1], size=size):
        distance.add_fake(tile)
    for tile in distance_tiles(*sets, size=size):
        distance.add_cross(tile)
    return distance


def theirs(real: Tensor, fake: Tensor, seed: int = 3) -> tuple[float, float]:
    size = min(1000, len(real) // 2, len(fake) // 2)
    result = kid_features_to_metric(fake, real, kid_subset_size=size, rng_seed=seed, verbose=False)
    return tuple(result.values())


@pytest.mark.parametrize(("n", "m", "d"), [(300, 300, 8), (300, 200, 64), (250, 400, 200)])
def test_equals_torch_fidelity_on_float64_features(n, m, d):
    real, fake = features(n, d, seed=0), features(m, d, seed=1, scale=1.1)
    distances = kid(real, fake).distances()
    assert len(distances) == 100
    ours = float(distances.mean()), float(distances.std(correction=0))
    assert ours == pytest.approx(theirs(real, fake), rel=1e-9)


@pytest.mark.parametrize("mean", [0, 0.5, 3])
def test_float32_keeps_four_digits_of_a_small_difference_of_large_sums(mean):
    real, fake = (features(500, 256, seed=seed, mean=mean) for seed in (0, 1))
    ours = float(kid(real.float(), fake.float()).distances().mean())
    assert ours == pytest.approx(theirs(real, fake)[0], rel=1e-4)


@pytest.mark.parametrize("mean", [0, 3, 20, 100])
def test_features_far_from_zero_lose_no_digits(mean):
    """In float64 the same; float32 was 1e-3 off where features lie around 20."""
    real, fake = (features(300, 256, seed, mean, scale) for seed, scale in ((0, 1), (1, 1.1)))
    real, fake = real.float(), fake.float()
    ours, exact = kid(real, fake).distances(), kid(real.double(), fake.double()).distances()
    tolerance = 1e-6 if mean != 3 else 5e-6  # there the estimate is a small difference of pairs
    assert float(ours.mean()) == pytest.approx(float(exact.mean()), rel=tolerance)
    assert float(ours.std()) == pytest.approx(float(exact.std()), rel=1e-5)
    assert float(exact.mean()) == pytest.approx(theirs(real.double(), fake.double())[0], rel=1e-7)


@pytest.mark.parametrize("size", [9, 50, 300])
def test_the_size_of_tiles_changes_nothing(size):
    real, fake = features(60, 40, seed=0), features(70, 40, seed=1)
    torch.testing.assert_close(kid(real, fake, size=size).distances(), kid(real, fake).distances())


def test_replicates_are_weighted_estimates():
    """Against the definition, with the kernel matrix written out."""
    real, fake = features(40, 8, seed=0), features(50, 8, seed=1, scale=1.2)
    weights = bootstrap_weights(50, 6, np.random.default_rng(0))
    distance = kid(real, fake, size=16, weights=weights)

    def kernel(x: Tensor, y: Tensor) -> Tensor:
        return (x @ y.T / 8 + 1) ** 3

    expected = []
    for w in weights:
        pairs = torch.outer(w, w).fill_diagonal_(0)
        within = (pairs * kernel(fake, fake)).sum() / pairs.sum()
        expected.append(within - 2 * (w @ kernel(fake, real)).sum() / (50 * 40))
    distances = distance.distances()
    choice = np.random.default_rng(1).integers(0, 100, (6, 100))
    noise = distances[torch.from_numpy(choice)].mean(1)
    ours = distance.replicates(np.random.default_rng(1)) - noise
    shift = torch.stack(expected) - ours
    torch.testing.assert_close(shift, shift.mean().expand(6))


def test_replicates_need_weights():
    with pytest.raises(ValueError, match="weights is None"):
        kid(features(20, 4, seed=0), features(20, 4, seed=1)).replicates(np.random.default_rng(0))


def test_too_few_samples():
    with pytest.raises(ValueError, match="KID needs at least 4"):
        kid(features(3, 4, seed=0), features(20, 4, seed=1))
