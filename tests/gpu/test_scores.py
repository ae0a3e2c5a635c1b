"""Extractors and the whole evaluator: CPU against the device."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from equal_randomness import EqualRandomness
from tiny_datasets import tiny_dataset
from torch import Tensor

from bench.data.dataset import Dataset, Split, content_hash
from bench.data.mixtures import load_ring8
from bench.data.sources import load_digits
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.extractors.base import extract
from bench.evaluation.extractors.imagenet import installed
from bench.evaluation.extractors.registry import build_extractor
from bench.evaluation.metrics.copying import held_out_closeness
from bench.evaluation.metrics.memorisation import nearest_distances
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from models.stored import RealData

CPU = torch.device("cpu")
ROUNDING = 1e-4
"""Largest error of features relative to the largest feature."""

SCORES = 1e-3
"""Largest relative error of a score; those that count neighbours may change by some samples."""

PUBLISHED = {
    "inception": lambda of: of.inception(),
    "clip-vit-b-32": lambda of: of.clip(),
    "dinov2-vit-s-14": lambda of: of.dinov2(),
    "vgg16": lambda of: of.SmallVgg16().state_dict(),
}
"""Random weights of extractors whose weights are published, made by `fidelity_weights`."""


def digits() -> Dataset:
    return load_digits(
        data_root=Path(), name="digits", flip=False, image_size=8, channels=1, path=None
    )


def few_points(data: Dataset) -> Dataset:
    """The first points of each split: distances are between all pairs."""
    parts = [
        Split(split.images[:500], None if split.labels is None else split.labels[:500])
        for split in (data.train, data.test)
    ]
    return replace(data, train=parts[0], test=parts[1], hash=content_hash(*parts))


def features_on(
    device: torch.device, name: str, data: Dataset, folder: Path, weights: Path | None = None
) -> tuple[Tensor, Tensor | None]:
    """Features and logits of 16 images."""
    extractor = build_extractor(name, data, device=device, cache_dir=folder, weights=weights)
    found = extract(extractor, [torch.tensor(data.train.images[:16])], device)
    return found.features, found.logits


def assert_features_agree(*arguments: object, device: torch.device) -> None:
    expected, found = (features_on(place, *arguments) for place in (CPU, device))  # type: ignore[arg-type]
    for one, other in zip(expected, found, strict=True):
        assert (one is None) == (other is None)
        if one is not None and other is not None:
            assert float(one.std(0).max()) > 0
            assert float((one - other).abs().max()) <= ROUNDING * float(one.abs().max())


@pytest.mark.parametrize("extractor", ["domain", "patches"])
def test_features_of_digits_agree(extractor: str, device: torch.device, tmp_path: Path) -> None:
    assert_features_agree(extractor, digits(), tmp_path, device=device)


@pytest.mark.slow_on_cpu
def test_features_of_imagenet_agree(device: torch.device, tmp_path: Path) -> None:
    if not installed():
        pytest.skip("the extra imagenet is not installed")
    data = tiny_dataset(channels=3)
    assert_features_agree("efficientnet-lite0", data, tmp_path, device=device)


@pytest.mark.parametrize("extractor", PUBLISHED)
@pytest.mark.slow_on_cpu
def test_features_of_published_networks_agree(
    extractor: str, device: torch.device, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With random weights: those published are large and need the network."""
    for package in ("torchvision", "torch_fidelity"):
        pytest.importorskip(package)
    import fidelity_weights
    import torchvision

    monkeypatch.setattr(torchvision.models, "vgg16", fidelity_weights.SmallVgg16)
    torch.manual_seed(0)
    file = tmp_path / f"{extractor}.pth"
    torch.save(PUBLISHED[extractor](fidelity_weights), file)
    data = tiny_dataset(channels=3)
    assert_features_agree(extractor, data, tmp_path, file, device=device)


def test_distances_within_the_data_agree(device: torch.device) -> None:
    generator = torch.Generator().manual_seed(0)
    train, test = (torch.randn(n, 64, generator=generator) for n in (400, 100))
    torch.testing.assert_close(
        nearest_distances(train.to(device)).cpu(), nearest_distances(train), rtol=1e-4, atol=1e-4
    )
    closeness = held_out_closeness(train.to(device), test.to(device)).cpu()
    torch.testing.assert_close(closeness, held_out_closeness(train, test), rtol=1e-3, atol=1e-3)


def scores_on(device: torch.device, data: Dataset, extractor: str, folder: Path) -> dict:
    """All scores of held-out data at the last evaluation point."""
    cache = folder / device.type
    built = build_extractor(extractor, data, device=device, cache_dir=cache)
    reference = Reference(data, [built], device=device, cache_dir=cache)
    options = EvaluatorOptions(samples=200, batch_size=64, seed=1, cost_seconds=0, resamples=20)
    model = RealData(data.spec()).to(device)
    with EqualRandomness(seed=7):
        (evaluation,) = Evaluator(reference, options).evaluate(model, last=True)
    return {name: value for name, value in evaluation.values.items() if value is not None}


@pytest.mark.parametrize("kind", ["images", "points"])
def test_every_metric_agrees(kind: str, device: torch.device, tmp_path: Path) -> None:
    data = digits() if kind == "images" else few_points(load_ring8(data_root=tmp_path))
    extractor = "domain" if kind == "images" else "identity"
    # One cache each: what is computed on the device must not be read from the other's.
    expected = scores_on(CPU, data, extractor, tmp_path / "expected")
    found = scores_on(device, data, extractor, tmp_path / "found")
    assert found.keys() == expected.keys()
    assert len(found) > 20
    for name, value in expected.items():
        sampled = any(word in name for word in ("precision", "recall", "density", "coverage"))
        wide = {"rel": SCORES, "abs": 2 / 200 if sampled else 1e-4}
        assert found[name] == pytest.approx(value, **wide, nan_ok=True), name
