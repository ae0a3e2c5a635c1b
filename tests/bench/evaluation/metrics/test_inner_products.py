import pytest
import torch
from torch import Tensor

from bench.evaluation.metrics.inner_products import clouds, coincide, distance_tiles


def normal(n: int, d: int, seed: int, dtype: torch.dtype = torch.float64) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("size", [1, 7, 20, 64])
def test_tiles_cover_every_pair_once(size):
    x, y = normal(20, 40, seed=0), normal(33, 40, seed=1) + 3
    first, second = clouds(x, y)
    squared, products = torch.full((20, 33), -1.0).double(), torch.zeros(20, 33).double()
    for tile in distance_tiles(first, second, size=size):
        assert (squared[tile.rows, tile.columns] == -1).all()
        squared[tile.rows, tile.columns] = tile.squared
        products[tile.rows, tile.columns] = tile.products()
    torch.testing.assert_close(squared, (x[:, None] - y).square().sum(2))
    torch.testing.assert_close(products, x @ y.T)


@pytest.mark.parametrize("size", [1, 7, 20])
def test_a_set_with_itself_takes_half_the_tiles(size):
    x = normal(20, 40, seed=0)
    (cloud,) = clouds(x)
    squared = torch.full((20, 20), -1.0).double()
    for tile in distance_tiles(cloud, cloud, size=size):
        assert (squared[tile.rows, tile.columns] == -1).all()
        squared[tile.rows, tile.columns] = tile.squared
        if not tile.diagonal:
            assert (squared[tile.columns, tile.rows] == -1).all()
            squared[tile.columns, tile.rows] = tile.squared.T
    expected = (x[:, None] - x).square().sum(2).fill_diagonal_(torch.inf)
    torch.testing.assert_close(squared, expected)


def test_float32_distances_survive_a_distant_mean():
    x, y = (normal(50, 64, seed=seed, dtype=torch.float32) + 1000 for seed in (0, 1))
    (tile,) = distance_tiles(*clouds(x, y))
    expected = (x.double()[:, None] - y.double()).square().sum(2)
    torch.testing.assert_close(tile.squared.double(), expected, rtol=1e-5, atol=0)


def test_few_dimensions_keep_the_distances_of_close_points():
    x = 1 + 1e-5 * normal(50, 2, seed=0, dtype=torch.float32)
    (tile,) = distance_tiles(*clouds(x, x.clone() + 1e-5))
    expected = (x.double()[:, None] - (x + 1e-5).double()).square().sum(2)
    torch.testing.assert_close(tile.squared, expected, rtol=1e-4, atol=1e-20)


@pytest.mark.parametrize("d", [2, 64, 2048])
def test_copies_coincide_and_neighbours_do_not(d):
    x = normal(300, d, seed=0, dtype=torch.float32) + 5
    nearby = x * (1 + 0.01 * normal(300, d, seed=1, dtype=torch.float32))
    first, copy, second = clouds(x, x.clone(), nearby)
    (tile,) = distance_tiles(copy, first)
    assert coincide(tile.squared.amin(0), first).all()
    (tile,) = distance_tiles(second, first)
    assert coincide(tile.squared.amin(0), first).float().mean() < 0.02


@pytest.mark.parametrize("other", [torch.zeros(3), torch.zeros(0, 4), torch.zeros(3, 5)])
def test_clouds_need_sets_of_the_same_dimensions(other):
    with pytest.raises(ValueError, match="features have shapes"):
        clouds(torch.zeros(3, 4), other)
