"""Images under affine maps: exact where the map keeps the grid, bilinear elsewhere."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from models.layers.affine import reflected, rotation, scaling, translation, warp


@pytest.fixture
def images() -> Tensor:
    return torch.randn(3, 2, 6, 6, generator=torch.Generator().manual_seed(0))


def test_the_identity_changes_no_bit(images):
    one = torch.ones(3)
    assert torch.equal(warp(images, scaling(one, one)), images)
    assert torch.equal(warp(images, rotation(0 * one)), images)
    assert torch.equal(warp(images, translation(0 * one, 0 * one)), images)


def test_a_shift_by_whole_pixels_reflects_at_the_border(images):
    """numpy's padding of mode "reflect", cropped elsewhere for every sample."""
    x, y = torch.tensor([0.0, 2.0, -3.0]), torch.tensor([1.0, -4.0, 0.0])
    result = warp(images, translation(x, y))
    for k in range(3):
        padded = np.pad(images[k].numpy(), [(0, 0), (5, 5), (5, 5)], mode="reflect")
        top, left = 5 + int(y[k]), 5 + int(x[k])
        assert np.array_equal(result[k].numpy(), padded[:, top : top + 6, left : left + 6])


@pytest.mark.parametrize("turns", range(4))
def test_quarter_turns_are_exact(images, turns):
    source = rotation(torch.full((3,), turns * math.pi / 2)).round()
    assert torch.equal(warp(images, source), torch.rot90(images, turns, (2, 3)))


def test_a_plane_stays_a_plane():
    """Bilinear interpolation of a linear function is exact: the result at p is f(source · p)."""
    side = 9
    place = torch.arange(side) - (side - 1) / 2
    y, x = torch.meshgrid(place, place, indexing="ij")
    image = (0.3 * x - 0.7 * y + 0.1)[None, None]
    angle, factor, shift = torch.tensor([0.4]), torch.tensor([0.6]), torch.tensor([0.35])
    source = scaling(factor, factor) @ rotation(angle) @ translation(shift, -shift)
    points = torch.stack([x.flatten(), y.flatten(), torch.ones(side**2)])
    moved = source[0] @ points  # within the image
    expected = 0.3 * moved[0] - 0.7 * moved[1] + 0.1
    torch.testing.assert_close(warp(image, source).flatten(), expected)


def test_it_can_be_differentiated_twice():
    images = torch.randn(2, 1, 3, 4, dtype=torch.float64, requires_grad=True)
    source = rotation(torch.tensor([0.3, -1.0], dtype=torch.float64))

    def squared(x: Tensor) -> Tensor:
        return warp(x, source).square()

    assert torch.autograd.gradcheck(squared, images)
    assert torch.autograd.gradgradcheck(squared, images)


def test_any_index_is_reflected_into_the_image():
    index = torch.arange(-7, 9)
    assert reflected(index, 4).tolist() == [1, 0, 1, 2, 3, 2, 1, 0, 1, 2, 3, 2, 1, 0, 1, 2]
    assert reflected(index, 1).tolist() == [0] * 16
