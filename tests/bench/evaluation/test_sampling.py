from dataclasses import replace

import numpy as np
import pytest
import torch

from bench.data.dataset import Dataset, Split
from bench.evaluation.sampling import (
    SamplesNotFiniteError,
    batch_sizes,
    generate,
    label_frequencies,
)
from models.base import Sampler


@pytest.mark.parametrize(
    ("samples", "scored", "batch_size", "expected"),
    [
        (300, 300, 128, [128, 128, 44]),  # as the evaluator generates them
        (100, 300, 128, [128]),  # more than wanted: a smaller batch would hold other samples
        (257, 300, 128, [128, 128, 44]),
        (500, 300, 128, [128, 128, 44, 128, 72]),
        (1, 10, 250, [10]),
        (10, 10, 5, [5, 5]),
    ],
)
def test_batches_are_the_evaluators_as_far_as_it_generates(samples, scored, batch_size, expected):
    assert list(batch_sizes(samples, scored, batch_size)) == expected


def sampler(value: float = 0.5, shape: tuple[int, ...] = (1, 2, 2)) -> Sampler:
    def noise(n, generator, y):
        return value * torch.randn(n, *shape, generator=generator)

    return Sampler(noise, None)


def stored(one: Sampler, sizes: list[int], seed: int = 0, shape=(1, 2, 2)) -> torch.Tensor:
    device = torch.device("cpu")
    generated = generate(
        "noise", one, sizes, shape=shape, seed=seed, precision="fp32", device=device
    )
    return torch.cat([batch.stored for batch in generated])


def test_samplers_that_take_classes_are_asked_for_uniform_ones():
    def constant(n, generator, y):
        return (y.float() / 10)[:, None, None, None].expand(n, 1, 2, 2)

    device = torch.device("cpu")
    one = Sampler(constant, None, classes=4)
    generated = list(
        generate("told", one, [64, 32], shape=(1, 2, 2), seed=0, precision="fp32", device=device)
    )
    classes = torch.cat([batch.classes for batch in generated])
    assert torch.bincount(classes, minlength=4).min() > 10
    images = torch.cat([batch.stored for batch in generated])
    expected = ((classes / 10 + 1) * 127.5).round()
    assert (images[:, 0, 0, 0].float() - expected).abs().max() <= 1


def classes_asked_for(frequencies: torch.Tensor | None, n: int, seed: int = 0) -> torch.Tensor:
    device = torch.device("cpu")
    one = Sampler(lambda n, generator, y: y.float()[:, None], None, classes=3)
    generated = generate(
        "told",
        one,
        [n // 2, n - n // 2],
        frequencies=frequencies,
        shape=(1,),
        seed=seed,
        precision="fp32",
        device=device,
    )
    batches = list(generated)
    classes = torch.cat([batch.classes for batch in batches])
    assert torch.equal(torch.cat([batch.stored for batch in batches])[:, 0], classes.float())
    return classes


def test_classes_are_as_frequent_as_asked_for():
    """A binomial count of 20,000 stays within five of its standard deviations."""
    frequencies = torch.tensor([0.7, 0.3, 0.0], dtype=torch.float64)
    counts = torch.bincount(classes_asked_for(frequencies, 20_000), minlength=3)
    assert counts[2] == 0
    assert abs(int(counts[0]) - 14_000) < 5 * (20_000 * 0.7 * 0.3) ** 0.5


def test_the_classes_of_two_samples_are_independent():
    """Pairs of successive labels: chi-square with four degrees of freedom, 30 is p = 5e-6."""
    frequencies = torch.tensor([0.5, 0.3, 0.2], dtype=torch.float64)
    classes = classes_asked_for(frequencies, 30_000)
    pairs = torch.bincount(3 * classes[:-1] + classes[1:], minlength=9).double()
    expected = (frequencies[:, None] * frequencies).flatten() * pairs.sum()
    assert float(((pairs - expected).square() / expected).sum()) < 30
    assert not torch.equal(classes[:15_000], classes[15_000:])


def test_equal_frequencies_are_those_of_earlier_versions():
    """Scores of class-conditional models of balanced data stay bit for bit."""
    generator = torch.Generator().manual_seed(4)
    expected = torch.randint(3, (6,), generator=generator)
    assert torch.equal(classes_asked_for(None, 12, seed=4)[:6], expected)


def test_frequencies_of_another_number_of_classes_are_refused():
    with pytest.raises(ValueError, match=r"have shape \(2,\), must be \(3,\)"):
        classes_asked_for(torch.tensor([0.5, 0.5]), 4)


def counted(*counts: int) -> Dataset:
    labels = np.repeat(np.arange(len(counts)), counts)
    split = Split(np.zeros((len(labels), 1, 2, 2), np.uint8), labels)
    return Dataset("counted", split, split, tuple("abcdef"[: len(counts)]), False, "0" * 16)


def test_frequencies_are_those_of_the_training_images():
    frequencies = label_frequencies(counted(1800, 200), "data")
    assert frequencies is not None
    assert frequencies.tolist() == [0.9, 0.1]
    assert label_frequencies(counted(1800, 200), "uniform") is None
    assert label_frequencies(counted(7, 7, 7), "data") is None
    designed = replace(counted(7, 7), frequencies=np.array([0.25, 0.75]))
    frequencies = label_frequencies(designed, "data")
    assert frequencies is not None
    assert frequencies.tolist() == [0.25, 0.75]


def test_data_without_classes_have_no_frequencies():
    split = Split(np.zeros((4, 1, 2, 2), np.uint8))
    assert label_frequencies(Dataset("plain", split, split, (), False, "0" * 16), "data") is None


def test_images_are_bytes_and_the_seed_decides_them():
    first = stored(sampler(), [16, 16])
    assert first.shape == (32, 1, 2, 2)
    assert first.dtype == torch.uint8
    assert torch.equal(first, stored(sampler(), [16, 16]))
    assert not torch.equal(first, stored(sampler(), [16, 16], seed=1))


def test_points_stay_as_generated():
    points = stored(sampler(shape=(2,)), [16], shape=(2,))
    expected = 0.5 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(points, expected)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(SamplesNotFiniteError, match="sampler noise returned values that are not"):
        stored(sampler(float("inf")), [4])
    with pytest.raises(ValueError, match=r"returned shape \(4, 1, 2, 2\), not \(4, 3, 2, 2\)"):
        stored(sampler(), [4], shape=(3, 2, 2))
