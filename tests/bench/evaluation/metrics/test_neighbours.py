from types import SimpleNamespace

import pytest
import torch
from prdc import compute_prdc
from torch import Tensor
from torch_fidelity.metric_prc import prc_features_to_metric

from bench.evaluation.metrics.inner_products import clouds, distance_tiles
from bench.evaluation.metrics.neighbours import (
    Nearest,
    Neighbourhoods,
    check_enough,
    duplicate_share,
    smallest,
)


def normal(n: int, d: int = 40, *, seed: int, scale: float = 1) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return scale * torch.randn(n, d, generator=generator, dtype=torch.float64)


def manifolds(real: Tensor, fake: Tensor, *, tile: int = 2048) -> SimpleNamespace:
    """Precision, recall, density and coverage, as `quality` has them of sets of equal size."""
    sets = clouds(real, fake)
    nearest = [Nearest(cloud) for cloud in sets]
    for cloud, own in zip(sets, nearest, strict=True):
        for each in distance_tiles(cloud, cloud, size=tile):
            own.add(each)
    neighbourhoods = Neighbourhoods(*nearest)
    for each in distance_tiles(*sets, size=tile):
        neighbourhoods.add(each)
    shares = neighbourhoods.shares()
    return SimpleNamespace(**{name: float(share.mean()) for name, share in shares.items()})


def duplicates(real: Tensor, fake: Tensor) -> float:
    sets = clouds(real, fake)
    nearest = [Nearest(cloud) for cloud in sets]
    for cloud, own in zip(sets, nearest, strict=True):
        for tile in distance_tiles(cloud, cloud, size=100):
            own.add(tile)
    return duplicate_share(nearest[0], nearest[1], sets[1])


@pytest.mark.parametrize("shape", [(5, 3), (5, 90), (5, 96), (7, 500), (300, 517)])
@pytest.mark.parametrize("transposed", [False, True])
def test_smallest_finds_what_sorting_finds(shape, transposed):
    values = torch.rand(shape, generator=torch.Generator().manual_seed(0))
    given = values.T.contiguous().T if transposed else values
    found = smallest(given, 5).sort(1).values
    assert torch.equal(found, values.sort(1).values[:, :5])


@pytest.mark.parametrize("size", [30, 64, 1000])
def test_nearest_neighbours_of_a_set(size):
    x = normal(150, seed=0)
    (cloud,) = clouds(x)
    nearest = Nearest(cloud, k=5)
    for tile in distance_tiles(cloud, cloud, size=size):
        nearest.add(tile)
    squared = (x[:, None] - x).square().sum(2).fill_diagonal_(torch.inf)
    torch.testing.assert_close(nearest.squared, squared.sort(1).values[:, :5])


@pytest.mark.parametrize(
    ("d", "scale", "shift"), [(2, 1, 0.3), (8, 1.2, 0), (8, 0.7, 0), (40, 1, 0.1), (64, 1.05, 0)]
)
@pytest.mark.parametrize(("n", "m"), [(400, 400), (350, 500)])
def test_parity_with_the_published_implementations(d, scale, shift, n, m, capsys):
    real, fake = normal(n, d, seed=0), normal(m, d, seed=1, scale=scale) + shift
    ours = manifolds(real, fake, tile=128)
    prc = prc_features_to_metric(fake, real, verbose=False)
    prdc = compute_prdc(real.numpy(), fake.numpy(), nearest_k=5)
    assert "Num real" in capsys.readouterr().out
    assert ours.precision == pytest.approx(prc["precision"], abs=1e-6)  # theirs is in float32
    assert ours.recall == pytest.approx(prc["recall"], abs=1e-6)
    assert ours.density == pytest.approx(prdc["density"], abs=1e-12)
    assert ours.coverage == pytest.approx(prdc["coverage"], abs=1e-12)


@pytest.mark.parametrize("tile", [50, 333, 5000])
def test_the_size_of_tiles_and_the_order_of_samples_change_nothing(tile):
    real, fake = normal(600, seed=0).float(), normal(500, seed=1).float()
    other = manifolds(real.flip(0), fake.flip(0))
    ours = manifolds(real, fake, tile=tile)
    assert vars(ours) == pytest.approx(vars(other), rel=1e-12)


def test_a_collapsed_generator_has_high_precision_and_low_recall():
    ours = manifolds(normal(500, 8, seed=0), normal(500, 8, seed=1, scale=0.05))
    assert ours.precision > 0.95
    assert ours.recall < 0.05
    assert ours.density > 1
    assert ours.coverage < 0.3


def test_a_generator_of_noise_has_low_precision():
    ours = manifolds(normal(500, 8, seed=0), normal(500, 8, seed=1, scale=10))
    assert ours.precision < 0.05
    assert ours.recall > 0.5
    assert ours.density < 0.05


def test_density_and_coverage_of_equal_distributions():
    """Naeem et al. 2020: the mean density is 1, the mean coverage 1 - (N-1)…(N-k)/(2N-1)…(2N-k)."""
    n, k = 1000, 5
    scores = [manifolds(normal(n, 8, seed=2 * s), normal(n, 8, seed=2 * s + 1)) for s in range(4)]
    uncovered = 1.0
    for i in range(1, k + 1):
        uncovered *= (n - i) / (2 * n - i)
    assert sum(s.density for s in scores) / 4 == pytest.approx(1, abs=0.04)
    assert sum(s.coverage for s in scores) / 4 == pytest.approx(1 - uncovered, abs=0.01)


@pytest.mark.parametrize(("n", "m"), [(2000, 2000), (1000, 2000)])
def test_fresh_samples_have_as_many_duplicates_as_the_data(n, m):
    shares = [duplicates(normal(n, 6, seed=s), normal(m, 6, seed=99 + s)) for s in range(6)]
    assert sum(shares) / 6 == pytest.approx(0.01, abs=0.004)


def test_copies_are_duplicates():
    real, fake = normal(400, seed=0).float(), normal(400, seed=1).float()
    unique = duplicates(real, fake)
    copied = torch.cat([fake[:300], fake[:100] * (1 + 1e-7)])
    assert duplicates(real, copied) == pytest.approx(0.5, abs=unique)
    assert duplicates(real, fake[:1].expand(400, -1)) == 1
    assert duplicates(copied, copied) == 0.5  # the data's own copies are no excuse


@pytest.mark.parametrize(("n", "m"), [(5, 50), (50, 5)])
def test_too_few_samples(n, m):
    with pytest.raises(ValueError, match=r"5 (real|fake) samples; density and coverage need"):
        check_enough(n, m)
