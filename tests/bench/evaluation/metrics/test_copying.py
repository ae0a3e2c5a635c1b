"""The test for copying detects copies and rarely raises a false alarm."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from scipy import stats
from torch import Tensor

from bench.evaluation.metrics.copying import (
    LEVEL,
    closest,
    copying,
    held_out_closeness,
    hypergeometric_cdf,
)

Sampling = Callable[[torch.Generator, Tensor, int], Tensor]
"""(generator, training images, number) → samples."""


def gaussians(n: int, seed: int, d: int = 8) -> Tensor:
    return torch.randn(n, d, generator=torch.Generator().manual_seed(seed))


def fresh(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
    return torch.randn(n, train.shape[1], generator=generator)


def timid(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
    """Near the mean, where every training image is nearer than to held-out images."""
    return 0.4 * fresh(generator, train, n)


def wild(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
    return 2 * fresh(generator, train, n) + 1


def flat(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
    """Of fewer dimensions than the data."""
    samples = fresh(generator, train, n)
    samples[:, 2:] = 0
    return samples


def collapsed(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
    return fresh(generator, train, 3).repeat(n, 1)[:n] + 1e-3 * fresh(generator, train, n)


def copies(share: float, noise: float = 0.0) -> Sampling:
    def sample(generator: torch.Generator, train: Tensor, n: int) -> Tensor:
        samples, k = fresh(generator, train, n), round(share * n)
        chosen = torch.randperm(len(train), generator=generator)[:k]
        samples[: len(chosen)] = train[chosen] + noise * fresh(generator, train, len(chosen))
        return samples

    return sample


def alarms(sample: Sampling, sizes: tuple[int, int, int], d: int, repetitions: int) -> int:
    """How often copying is found, over fresh data, splits and samples."""
    found = 0
    for seed in range(repetitions):
        generator = torch.Generator().manual_seed(seed)
        n, t, m = sizes
        real = torch.randn(n + t, d, generator=generator)
        fake = sample(generator, real[:n], m)
        found += copying(real[:n], real[n:], fake).found
    return found


SIZES = [((900, 100, 100), 2), ((900, 100, 100), 16), ((200, 150, 300), 6), ((60, 10, 40), 3)]


@pytest.mark.parametrize("sample", [fresh, timid, wild, flat, collapsed])
@pytest.mark.parametrize(("sizes", "d"), SIZES)
def test_whoever_does_not_copy_is_rarely_said_to(sample, sizes, d):
    """At a rate of 1 in 1,000 a single alarm among 40 has a probability of 4 %, two of 0.08 %."""
    assert alarms(sample, sizes, d, 40) <= 1


def test_each_test_keeps_to_its_level_alone():
    """Samples nearer to real images than held-out ones are, of no split: half of them held out."""
    found = 0
    for seed in range(40):
        real = gaussians(400, seed)
        near = real[torch.randperm(400, generator=torch.Generator().manual_seed(seed))[:100]]
        fake = near + 0.05 * gaussians(100, 1000 + seed)
        found += copying(real[:300], real[300:], fake).found
    assert found <= 1


@pytest.mark.parametrize(
    ("sample", "sizes"),
    [
        (copies(1), (2361, 263, 263)),
        (copies(0.1), (2361, 263, 263)),  # some, as they are
        (copies(1, noise=0.1), (2361, 263, 263)),  # all, with noise
        (copies(0.5, noise=0.1), (2361, 263, 263)),
        (copies(0.1, noise=0.05), (2000, 1500, 1500)),
        (copies(1), (300, 30, 30)),
        (copies(1), (100, 20, 12)),
    ],
)
def test_copies_are_found(sample, sizes):
    assert alarms(sample, sizes, 8, 5) == 5


def test_copies_are_counted():
    real = gaussians(2600, 0)
    fake = torch.cat([real[:50], gaussians(150, 1)])
    found = copying(real[:2400], real[2400:], fake)
    assert found.share == pytest.approx(0.25)
    assert found.held_out == 0


def test_two_held_out_images_tell_nothing():
    real = gaussians(102, 0)
    assert not copying(real[:100], real[100:], real[:10]).found


def test_held_out_images_are_no_copies():
    """The row of the real data, and a file of held-out images."""
    real = gaussians(500, 0)
    assert copying(real[:400], real[400:], real[400:]).p == 1


def test_the_same_image_many_times():
    """Each training image is there ten times: copies are found, fresh samples are not."""
    real = gaussians(400, 0)
    train, test = real[:300].repeat(10, 1), real[300:]
    order = torch.randperm(3000, generator=torch.Generator().manual_seed(0))
    assert copying(train[order], test, real[:100]).found
    assert not copying(train[order], test, gaussians(100, 1)).found


def test_held_out_images_that_are_copies_of_training_images_tell_nothing():
    """Also a perfect sampler of such data gives back training images."""
    train = gaussians(400, 0)
    for size in (400, 100):
        assert not copying(train, train[:size].clone(), train[torch.arange(0, 400, 3)]).found
    assert not copying(train, train[:100].clone(), gaussians(100, 1)).found


def test_some_held_out_images_that_are_copies_hide_nothing():
    real = gaussians(1300, 0)
    train, test = real[:1000], torch.cat([real[:30], real[1000:]])  # 9 % of those held out
    assert copying(train, test, real[200:500]).found
    again = torch.cat([real[500:527], gaussians(273, 1)])  # 9 % of the samples
    assert not copying(train, test, again).found


def test_closeness_by_hand():
    """Distance of the nearest image over that of the next farther one; a tie is held out."""
    train = torch.tensor([[0.0], [0.0], [10.0]])
    test = torch.tensor([[4.0], [20.0]])
    fake = torch.tensor([[1.0], [2.0], [10.0], [14.0], [7.0]])
    found = closest(train, test, fake)
    torch.testing.assert_close(
        found.closeness, torch.tensor([1 / 3, 2 / 8, 0.0, 4 / 6, 3 / 7], dtype=torch.float64)
    )
    assert found.index.tolist() == [0, 3, 2, 2, 3]
    expected = torch.tensor([4 / 6, 10 / 16], dtype=torch.float64).sort().values
    torch.testing.assert_close(held_out_closeness(train, test), expected)


@pytest.mark.parametrize("d", [4, 40])
def test_closeness_of_held_out_images_is_that_without_themselves(d):
    real = gaussians(260, 0, d)
    train, test = real[:200], real[200:]
    alone = [
        closest(train, torch.cat([test[:i], test[i + 1 :]]), test[i : i + 1]).closeness
        for i in range(60)
    ]
    ours = held_out_closeness(train, test, tile=32)
    torch.testing.assert_close(ours, torch.cat(alone).sort().values, atol=1e-5, rtol=1e-4)


def test_the_size_of_tiles_changes_nothing():
    real, fake = gaussians(700, 0), gaussians(130, 1)
    one, other = (closest(real[:500], real[500:], fake, tile=tile) for tile in (2048, 37))
    torch.testing.assert_close(one.closeness, other.closeness)
    assert torch.equal(one.index, other.index)


def test_p_values_are_exact_where_copies_coincide():
    """12 of 12 samples before all 20 held-out images: 1 / C(32, 12), for each of 6 bounds."""
    from math import comb

    real = gaussians(120, 0)
    found = copying(real[:100], real[100:], real[:12])
    assert found.p == pytest.approx(6 / comb(32, 12))
    assert found.found == (found.p < LEVEL)


def test_the_hypergeometric_distribution_is_that_of_scipy():
    generator = np.random.default_rng(0)
    for size in (1, 5, 50, 1_000, 70_000):
        for _ in range(40):
            marked, taken = (int(n) for n in generator.integers(0, size + 1, 2))
            mean, spread = taken * marked / size, 3 + (taken * marked / size) ** 0.5
            x = max(0, int(generator.normal(mean, 3 * spread)))
            expected = float(stats.hypergeom.cdf(x, size, marked, taken))
            found = hypergeometric_cdf(x, size, marked, taken)
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-300), (x, size, marked, taken)


@pytest.mark.parametrize(
    ("given", "p"),
    [
        ((0, 10, 4, 0), 1.0),  # nothing is taken
        ((0, 10, 0, 4), 1.0),  # nothing is marked
        ((0, 10, 4, 3), 1 / 6),  # 6 · 5 · 4 / (10 · 9 · 8)
        ((1, 10, 9, 3), 0.0),  # at most one unmarked is among three
        ((2, 10, 9, 3), 0.3),
        ((3, 10, 9, 3), 1.0),
    ],
)
def test_the_hypergeometric_distribution_at_its_ends(given, p):
    assert hypergeometric_cdf(*given) == pytest.approx(p, abs=1e-15)
