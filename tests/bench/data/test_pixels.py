import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from bench.data.pixels import from_uint8, to_uint8
from bench.runs.pictures import save_grid


def test_every_pixel_value_survives_the_round_trip():
    x = torch.arange(256, dtype=torch.uint8)
    assert torch.equal(to_uint8(from_uint8(x)), x)


def test_range_ends_are_exact():
    assert from_uint8(torch.tensor([0, 255], dtype=torch.uint8)).tolist() == [-1.0, 1.0]
    assert to_uint8(torch.tensor([-7.0, -1.0, 1.0, float("inf")])).tolist() == [0, 0, 255, 255]


@given(st.floats(-1, 1, width=32))
def test_quantisation_errs_by_at_most_half_a_step(value):
    x = torch.tensor(value, dtype=torch.float32)
    assert abs(from_uint8(to_uint8(x)) - x) <= 0.5 / 127.5 + 1e-6


def test_memory_format_is_kept():
    x = torch.zeros(2, 3, 4, 4, dtype=torch.uint8).contiguous(memory_format=torch.channels_last)
    assert from_uint8(x).is_contiguous(memory_format=torch.channels_last)


def test_conversions_refuse_wrong_types_and_nan():
    with pytest.raises(ValueError, match=r"floating-point tensor in \[-1, 1\], got torch.uint8"):
        to_uint8(torch.zeros(1, dtype=torch.uint8))
    with pytest.raises(ValueError, match=r"uint8 tensor, got torch.float32"):
        from_uint8(torch.zeros(1))
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.tensor([float("nan")]))


@pytest.mark.parametrize("channels", [1, 3])
def test_grid_places_and_enlarges_images(tmp_path, channels):
    x = torch.full((3, channels, 8, 8), -1.0)
    x[1] = 0.0
    path = tmp_path / "deep" / "grid.png"
    save_grid(x, path, columns=2)
    grid = np.asarray(Image.open(path).convert("L"))
    assert grid.shape == (2 * 66 + 2, 2 * 66 + 2)
    assert (grid[2:66, 2:66] == 0).all()
    assert (grid[2:66, 68:132] == 128).all()
    assert (grid[68:132, 68:132] == 255).all()  # no fourth image
    assert [p.name for p in path.parent.iterdir()] == ["grid.png"]


def test_grid_keeps_large_images_as_they_are(tmp_path):
    save_grid(torch.zeros(1, 3, 100, 80), tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").size == (84, 104)


@pytest.mark.parametrize("shape", [(0, 1, 8, 8), (1, 2, 8, 8), (4, 2)])
def test_grid_refuses_what_is_no_image(tmp_path, shape):
    with pytest.raises(ValueError, match="save_grid takes"):
        save_grid(torch.zeros(shape), tmp_path / "grid.png")
