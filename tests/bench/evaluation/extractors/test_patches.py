"""Patch features: sensitivity and determinism."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from smooth_images import checked, smooth_images
from tiny_datasets import unlabelled
from torch import Tensor

from bench.data.dataset import Dataset, Split
from bench.evaluation.blind_spots import GAUSSIAN, UNIFORM
from bench.evaluation.extractors import patches
from bench.evaluation.extractors.patches import PatchExtractor, build_patches, learn_patches
from bench.evaluation.extractors.registry import build_extractor


def build(data: Dataset, cache: Path) -> PatchExtractor:
    extractor = build_extractor("patches", data, device="cpu", cache_dir=cache)
    assert isinstance(extractor, PatchExtractor)
    return extractor


def features(extractor: PatchExtractor, images: np.ndarray) -> Tensor:
    found, logits = extractor(torch.from_numpy(images))
    assert logits is None
    return found


@pytest.mark.parametrize(("channels", "side"), [(1, 8), (3, 32), (3, 70)])
def test_features_have_one_width_for_every_size(tmp_path, channels, side):
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (20, channels, side, side), dtype=np.uint8)
    data = Dataset("any", Split(images), Split(images), (), False, "hash")
    assert features(build(data, tmp_path), images).shape == (20, 64)


def test_features_are_distances_to_the_centres(tmp_path):
    """Against the definition, one patch at a time."""
    data = smooth_images()
    extractor = build(data, tmp_path)
    mean, whitening, centres = (
        extractor.network.get_buffer(name).double() for name in ("mean", "whitening", "centres")
    )
    image = torch.from_numpy(data.test.images[0]).double() / 127.5 - 1  # (1, 16, 16)
    codes = torch.zeros(16, 11, 11, dtype=torch.float64)
    for i in range(11):
        for j in range(11):
            z = (image[:, i : i + 6, j : j + 6].flatten() - mean) @ whitening
            distances = (z - centres).norm(dim=1) / 6
            codes[:15, i, j] = (distances.mean() - distances).clamp(min=0)
            codes[15, i, j] = distances.mean()
    quarters = [codes[:, a : a + 6, b : b + 6].mean((1, 2)) for a in (0, 5) for b in (0, 5)]
    expected = torch.stack(quarters, 1).flatten()
    found = features(extractor, data.test.images[:1])[0]
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=2e-4)


def test_whitened_patches_have_no_correlations():
    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (200, 1, 12, 12), dtype=np.uint8)
    learnt = learn_patches(images)
    x = patches.patches_of(torch.from_numpy(images), images.shape[1:]).flatten(0, 1).double()
    z = (x - learnt["mean"]) @ learnt["whitening"].double()
    covariance = z.T @ z / len(z)
    torch.testing.assert_close(covariance, torch.eye(36, dtype=torch.float64), rtol=0, atol=0.15)


def test_the_same_data_gives_the_same_features_and_leaves_the_random_state(tmp_path):
    data, state = smooth_images(), torch.get_rng_state()
    first, second = build(data, tmp_path / "a"), build(data, tmp_path / "b")
    assert first.hash == second.hash
    assert torch.equal(torch.get_rng_state(), state)
    images = data.test.images
    together = features(first, images)
    alone = torch.cat([features(first, images[k : k + 1]) for k in range(len(images))])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-4)


def test_it_is_learnt_once(tmp_path, monkeypatch):
    data = smooth_images()
    first = build(data, tmp_path)
    monkeypatch.setattr(patches, "learn_patches", lambda images: pytest.fail("learnt again"))
    assert build(data, tmp_path).hash == first.hash


def test_it_sees_noise_without_labels(tmp_path):
    data = smooth_images()
    spots = checked(build(data, tmp_path), data)
    assert not {spot.kind for spot in spots if spot.metric != "recall"} & {UNIFORM, GAUSSIAN}


def test_data_of_one_value_is_learnt_from_without_dividing_by_zero():
    learnt = learn_patches(np.full((10, 1, 8, 8), 7, np.uint8))
    assert all(torch.isfinite(tensor).all() for tensor in learnt.values())


def test_weights_small_images_and_other_images_are_refused(tmp_path):
    data = unlabelled(1)
    with pytest.raises(ValueError, match="patches are learned from the data; leave it out"):
        build_patches("patches", data, "cpu", tmp_path, Path("weights"))
    small = Split(np.zeros((10, 1, 7, 7), np.uint8))
    with pytest.raises(ValueError, match="need sides of at least 8"):
        build_patches("patches", replace(data, train=small), "cpu", tmp_path, None)
    with pytest.raises(ValueError, match=r"must be torch\.uint8 of shape"):
        build(data, tmp_path)(torch.zeros(1, 3, 8, 8, dtype=torch.uint8))
