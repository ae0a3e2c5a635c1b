import pytest
import torch

from bench.drawing import SamplesNotFiniteError, batch_sizes, draw
from models.base import Sampler


@pytest.mark.parametrize(
    ("samples", "scored", "batch_size", "expected"),
    [
        (300, 300, 128, [128, 128, 44]),  # as the evaluator draws
        (100, 300, 128, [128]),  # more than wanted: a smaller batch would hold other samples
        (257, 300, 128, [128, 128, 44]),
        (500, 300, 128, [128, 128, 44, 128, 72]),
        (1, 10, 250, [10]),
        (10, 10, 5, [5, 5]),
    ],
)
def test_batches_are_the_evaluators_as_far_as_it_draws(samples, scored, batch_size, expected):
    assert list(batch_sizes(samples, scored, batch_size)) == expected


def sampler(value: float = 0.5, shape: tuple[int, ...] = (1, 2, 2)) -> Sampler:
    def noise(n, generator, y):
        return value * torch.randn(n, *shape, generator=generator)

    return Sampler(noise, None)


def stored(one: Sampler, sizes: list[int], seed: int = 0, shape=(1, 2, 2)) -> torch.Tensor:
    device = torch.device("cpu")
    drawn = draw("noise", one, sizes, shape=shape, seed=seed, precision="fp32", device=device)
    return torch.cat([batch.stored for batch in drawn])


def test_samplers_that_take_classes_are_asked_for_uniform_ones():
    def constant(n, generator, y):
        return (y.float() / 10)[:, None, None, None].expand(n, 1, 2, 2)

    device = torch.device("cpu")
    one = Sampler(constant, None, classes=4)
    drawn = list(
        draw("told", one, [64, 32], shape=(1, 2, 2), seed=0, precision="fp32", device=device)
    )
    classes = torch.cat([batch.classes for batch in drawn])
    assert torch.bincount(classes, minlength=4).min() > 10
    images = torch.cat([batch.stored for batch in drawn])
    expected = ((classes / 10 + 1) * 127.5).round()
    assert (images[:, 0, 0, 0].float() - expected).abs().max() <= 1


def test_images_are_bytes_and_the_seed_decides_them():
    first = stored(sampler(), [16, 16])
    assert first.shape == (32, 1, 2, 2)
    assert first.dtype == torch.uint8
    assert torch.equal(first, stored(sampler(), [16, 16]))
    assert not torch.equal(first, stored(sampler(), [16, 16], seed=1))


def test_points_stay_as_drawn():
    points = stored(sampler(shape=(2,)), [16], shape=(2,))
    expected = 0.5 * torch.randn(16, 2, generator=torch.Generator().manual_seed(0))
    assert torch.equal(points, expected)


def test_what_cannot_be_scored_is_refused():
    with pytest.raises(SamplesNotFiniteError, match="sampler noise drew values that are not"):
        stored(sampler(float("inf")), [4])
    with pytest.raises(ValueError, match=r"noise drew shape \(4, 1, 2, 2\), not \(4, 3, 2, 2\)"):
        stored(sampler(), [4], shape=(3, 2, 2))
