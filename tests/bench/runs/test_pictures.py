"""Pictures: points over their modes, images as a grid."""

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from bench.data.dataset import Mixture
from bench.runs.pictures import save_curves, save_grid, save_scatter

MIXTURE = Mixture(np.array([[-0.5, 0.0], [0.5, 0.0]]), 0.05)


def coloured(path: Path) -> tuple[int, int]:
    """How many pixels are more blue than red, and more red than blue."""
    pixels = np.asarray(Image.open(path).convert("RGB")).astype(int)
    excess = pixels[..., 2] - pixels[..., 0]
    return int((excess > 30).sum()), int((excess < -30).sum())


def test_high_quality_points_are_blue_and_others_red(tmp_path):
    centres = torch.from_numpy(MIXTURE.centres)
    save_scatter(centres.repeat(100, 1), MIXTURE, tmp_path / "good.png")
    save_scatter(torch.zeros(200, 2), MIXTURE, tmp_path / "bad.png")
    good, bad = coloured(tmp_path / "good.png"), coloured(tmp_path / "bad.png")
    assert good[0] > 0
    assert good[1] == 0
    assert bad[1] > 0
    assert bad[0] == 0


def test_the_same_points_give_the_same_picture(tmp_path):
    points = torch.rand(50, 2) - 0.5
    for name in ("a.png", "b.png"):
        save_scatter(points, MIXTURE, tmp_path / name)
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_images_are_shown_as_a_grid(tmp_path):
    save_grid(torch.zeros(3, 1, 8, 8), tmp_path / "grid.png")
    assert Image.open(tmp_path / "grid.png").width == 3 * (64 + 2) + 2


@pytest.mark.parametrize("shape", [(0, 2), (5, 1), (5, 2, 2)])
def test_only_points_of_a_plane_can_be_shown(shape, tmp_path):
    with pytest.raises(ValueError, match="save_scatter takes"):
        save_scatter(torch.zeros(shape), MIXTURE, tmp_path / "x.png")


def test_signals_are_curves_over_real_ones(tmp_path):
    rng = np.random.default_rng(0)
    real, samples = rng.random((70, 3, 24)), rng.random((20, 3, 24))
    save_curves(samples, real, tmp_path / "curves.png")
    blue, red = coloured(tmp_path / "curves.png")
    assert blue > 1000
    assert red == 0
    pixels = np.asarray(Image.open(tmp_path / "curves.png").convert("RGB")).astype(int)
    grey = (np.ptp(pixels, axis=2) < 5) & (abs(pixels[..., 0] - 191) < 20)
    assert grey.sum() > 1000


def test_signals_of_another_shape_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"got \(2, 3, 9\) and \(5, 3, 8\)"):
        save_curves(np.zeros((2, 3, 9)), np.zeros((5, 3, 8)), tmp_path / "curves.png")
