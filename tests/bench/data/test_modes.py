"""Data sets with known modes: mixtures of Gaussians and stacked digits."""

from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data.batches import BatchStream
from bench.data.dataset import as_stored, from_stored
from bench.data.mixtures import load_grid25, load_ring8
from bench.data.sources import load_digits
from bench.data.stacked import load_stacked_digits

CASES = [(load_ring8, 8, 1.25, 0.01), (load_grid25, 25, 5.0, 0.05)]


@pytest.mark.parametrize(("load", "modes", "unit", "sigma"), CASES)
def test_mixtures_are_those_of_the_protocol(load, modes, unit, sigma):
    data = load(data_root=Path())
    assert data.shape == (2,)
    assert data.num_classes == modes
    assert data.train.images.dtype == np.float32
    assert np.abs(data.train.images).max() < 1
    points = data.train.images * unit
    for label in range(modes):
        cluster = points[data.train.labels == label]
        centre = data.mixture.centres[label] * unit
        assert len(cluster) == pytest.approx(len(points) / modes, rel=0.1)
        np.testing.assert_allclose(cluster.mean(0), centre, atol=5 * sigma / len(cluster) ** 0.5)
        np.testing.assert_allclose(cluster.std(0), sigma, rtol=0.05)


def test_the_ring_is_on_the_unit_circle_and_the_grid_on_even_numbers():
    ring, grid = (load(data_root=Path()).mixture for load in (load_ring8, load_grid25))
    np.testing.assert_allclose(np.linalg.norm(ring.centres * 1.25, axis=1), 1)
    assert sorted(map(tuple, np.rint(grid.centres * 5).astype(int).tolist())) == [
        (x, y) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)
    ]


def test_the_data_is_the_same_everywhere():
    assert load_ring8(data_root=Path()).hash == load_ring8(data_root=Path("/else")).hash
    assert load_ring8(data_root=Path()).hash != load_grid25(data_root=Path()).hash


def test_points_are_not_mirrored(tmp_path):
    with pytest.raises(ValueError, match=r"dataset\.flip=true: ring8 holds points"):
        load_ring8(data_root=Path(), flip=True)
    with pytest.raises(ValueError, match=r"dataset\.flip=true: stacked_digits holds digits"):
        load_stacked_digits(data_root=Path(), cache_root=tmp_path, flip=True)


def test_batches_and_held_out_points_are_the_stored_values():
    data = load_ring8(data_root=Path())
    stream = BatchStream(data.train, 16, seed=3, flip=False)
    batch = stream(5)
    np.testing.assert_array_equal(batch.x.numpy(), data.train.images[stream.indices(5)])
    np.testing.assert_array_equal(batch.y.numpy(), data.train.labels[stream.indices(5)])
    held_out = data.spec().held_out(torch.tensor([7, 0]))
    np.testing.assert_array_equal(held_out.numpy(), data.test.images[[7, 0]])


def test_points_are_stored_as_they_are_drawn():
    points = torch.randn(10, 2)
    assert torch.equal(from_stored(as_stored(points)), points)


def test_stacks_are_digits_in_the_channels(tmp_path):
    data = load_stacked_digits(data_root=tmp_path, cache_root=tmp_path)
    base = load_digits(data_root=tmp_path)
    assert data.shape == (3, 8, 8)
    assert (len(data.train), len(data.test), data.num_classes) == (128_000, 26_000, 1000)
    known = {
        image.tobytes(): label
        for image, label in zip(base.train.images, base.train.labels, strict=True)
    }
    for i in range(0, 128_000, 1777):
        digits = [known[data.train.images[i, channel].tobytes()] for channel in range(3)]
        assert data.train.labels[i] == 100 * digits[0] + 10 * digits[1] + digits[2]
        assert data.classes[data.train.labels[i]] == "".join(map(str, digits))


def test_held_out_stacks_are_of_held_out_digits(tmp_path):
    data = load_stacked_digits(data_root=tmp_path, cache_root=tmp_path)
    base = load_digits(data_root=tmp_path)
    held_out = {image.tobytes() for image in base.test.images}
    seen = {channel.tobytes() for stack in data.test.images[:500] for channel in stack}
    assert seen <= held_out


def test_frequencies_are_products_of_the_digits(tmp_path):
    data = load_stacked_digits(data_root=tmp_path, cache_root=tmp_path)
    assert data.frequencies.sum() == pytest.approx(1)
    drawn = np.bincount(data.train.labels, minlength=1000) / len(data.train)
    spread = np.sqrt(data.frequencies / len(data.train))
    assert np.abs(drawn - data.frequencies).max() < 5 * spread.max()
