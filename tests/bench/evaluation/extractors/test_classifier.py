import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.data import sources
from bench.data.dataset import Split
from bench.evaluation.extractors.base import weights_hash
from bench.evaluation.extractors.classifier import (
    DomainClassifier,
    accuracy,
    load_classifier,
    save_classifier,
)
from bench.evaluation.extractors.classifier_training import (
    ClassifierRecipe,
    augment,
    default_recipe,
    train_classifier,
)
from bench.evaluation.extractors.domain import SHIPPED
from scripts.train_classifiers import LOADERS, REQUIRED_ACCURACY

REQUIRED = {
    "digits": 0.97,
    "mnist_5k": 0.98,
    "mnist": 0.99,
    "fashion_mnist": 0.92,
    "fashion_mnist_8": 0.87,
    "fashion_mnist_16": 0.90,
    "cifar10": 0.85,
}
RECIPE = ClassifierRecipe(epochs=3, batch_size=16, peak_lr=0.05, width=4, flip=True, shift=1)


@pytest.fixture(scope="module")
def problem() -> Split:
    """Two classes, dark and bright."""
    generator = np.random.default_rng(0)
    labels = np.arange(64, dtype=np.int64) % 2
    images = generator.integers(0, 100, (64, 1, 8, 8), dtype=np.uint8)
    return Split(images + (150 * labels[:, None, None, None]).astype(np.uint8), labels)


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 32, 32), (1, 28, 28), (2, 9, 13), (3, 128, 96)])
def test_any_image_size(shape):
    classifier = DomainClassifier(shape, 7, width=4).eval()
    features, logits = classifier(torch.zeros(2, *shape, dtype=torch.uint8))
    assert features.shape == (2, 64)
    assert logits.shape == (2, 7)


@pytest.mark.parametrize(("shape", "k"), [((1, 7, 8), 2), ((8,), 2), ((8, 7), 2), ((1, 8, 8), 1)])
def test_rejects_small_images_and_single_classes(shape, k):
    with pytest.raises(ValueError, match="must be"):
        DomainClassifier(shape, k)


@pytest.mark.parametrize(
    "images", [torch.zeros(1, 1, 8, 8), torch.zeros(1, 3, 8, 8, dtype=torch.uint8)]
)
def test_rejects_other_images(images):
    with pytest.raises(ValueError, match=r"torch\.uint8 of shape \(1, 8, 8\)"):
        DomainClassifier((1, 8, 8), 2)(images)


def test_training_learns(problem):
    classifier = train_classifier(problem, 2, recipe=RECIPE)
    assert not classifier.training
    assert accuracy(classifier, problem) > 0.9


def test_training_is_deterministic_and_leaves_the_global_random_state(problem):
    torch.manual_seed(1)
    state = torch.get_rng_state()
    epochs = []
    first = train_classifier(problem, 2, recipe=RECIPE, on_epoch=lambda e, _: epochs.append(e))
    assert torch.equal(torch.get_rng_state(), state)
    torch.manual_seed(2)
    again = train_classifier(problem, 2, recipe=RECIPE)
    other = train_classifier(problem, 2, recipe=RECIPE, seed=1)
    assert weights_hash(first) == weights_hash(again) != weights_hash(other)
    assert epochs == [1, 2, 3]


def test_storing_changes_nothing(problem, tmp_path):
    classifier = train_classifier(problem, 2, recipe=RECIPE)
    save_classifier(tmp_path / "a" / "weights.safetensors", classifier, {"dataset": "dark"})
    loaded, metadata = load_classifier(tmp_path / "a" / "weights.safetensors")
    images = torch.from_numpy(problem.images)
    assert torch.equal(loaded(images)[0], classifier(images)[0])
    assert metadata["dataset"] == "dark"
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["weights.safetensors"]


@pytest.mark.parametrize(
    "labels", [None, np.full(64, 2), np.full(64, -1), np.zeros(3, dtype=np.int64)]
)
def test_training_rejects_labels(problem, labels):
    with pytest.raises(ValueError, match="label"):
        train_classifier(Split(problem.images, labels), 2, recipe=RECIPE)


def test_augmentation_shifts_and_mirrors():
    row = torch.arange(8, dtype=torch.uint8).expand(50, 1, 8, 8)
    generator = torch.Generator().manual_seed(0)
    rows = augment(row, generator, ClassifierRecipe(flip=True, shift=1))[:, 0, 0].tolist()
    shifted = [[1, *range(7)], [*range(8)], [*range(1, 8), 6]]
    assert {tuple(r) for r in rows} == {tuple(r) for s in shifted for r in (s, s[::-1])}
    assert torch.equal(augment(row, generator, ClassifierRecipe(flip=False, shift=0)), row)


def test_default_recipe_scales_with_the_data():
    assert default_recipe((3, 32, 32), 50_000, flip=True).epochs == 10
    assert default_recipe((1, 8, 8), 1097, flip=False).epochs == 100
    assert default_recipe((1, 28, 28), 60_000, flip=False).shift == 3
    assert default_recipe((1, 28, 28), 60_000, flip=False).epochs == 8


@pytest.mark.parametrize(
    ("side", "images", "epochs"),
    [(32, 2361, 20), (32, 10_000, 20), (64, 2361, 20), (32, 300, 100), (16, 2361, 80)],
)
def test_small_sets_are_shown_more_often_while_that_is_quick(side, images, epochs):
    """2,361 pictures of 32 x 32 took 100 epochs, which was most of the wait for a first score."""
    assert default_recipe((3, side, side), images, flip=False).epochs == epochs


@pytest.mark.parametrize("name", sorted(REQUIRED))
def test_shipped_weights(name):
    path = SHIPPED / f"{name}.safetensors"
    assert path.stat().st_size < 1_000_000
    _, metadata = load_classifier(path)
    assert metadata["dataset"] == name
    assert float(metadata["test_accuracy"]) >= REQUIRED[name]
    assert len(json.loads(metadata["classes"])) == 10
    assert {"data_hash", "seed", "recipe", "shape", "torch_version"} <= metadata.keys()


@pytest.mark.parametrize(("name", "side"), [("fashion_mnist_8", 8), ("fashion_mnist_16", 16)])
def test_shipped_weights_of_smaller_images_are_those_that_first_use_would_train(name, side):
    _, metadata = load_classifier(SHIPPED / f"{name}.safetensors", unsigned=False)
    recipe = default_recipe((1, side, side), 60_000, flip=False)
    assert json.loads(metadata["recipe"]) == asdict(recipe)
    assert (metadata["shape"], metadata["seed"]) == (f"1,{side},{side}", "0")


def test_the_script_has_every_shipped_classifier():
    shipped = {path.stem for path in SHIPPED.glob("*.safetensors")}
    assert shipped == set(LOADERS) == set(REQUIRED)
    assert REQUIRED_ACCURACY == REQUIRED


@pytest.mark.parametrize("name", ["digits", "mnist_5k"])
def test_shipped_accuracy_of_embedded_data(name):
    data = getattr(sources, f"load_{name}")(data_root=Path())
    classifier, metadata = load_classifier(SHIPPED / f"{name}.safetensors")
    assert metadata["data_hash"] == data.hash
    assert metadata["classes"] == json.dumps(data.classes)
    assert accuracy(classifier, data.test) == pytest.approx(
        float(metadata["test_accuracy"]), abs=0.002
    )


@pytest.mark.parametrize(
    ("name", "path"),
    [
        ("mnist", None),
        ("fashion_mnist", None),
        ("fashion_mnist_8", None),
        ("fashion_mnist_16", None),
        ("cifar10", "cifar10-jpeg.zip"),
    ],
)
def test_shipped_accuracy(name, path):
    root = os.environ.get("BENCH_DATA")
    if not root:
        pytest.skip("BENCH_DATA is not set")
    local = Path(root) / path if path else None
    if local is not None and not local.is_file():
        pytest.skip(f"no {local}")
    data = LOADERS[name](data_root=Path(root), path=None if local is None else str(local))
    classifier, metadata = load_classifier(SHIPPED / f"{name}.safetensors")
    assert metadata["dataset"] == data.name
    assert local is not None or metadata["data_hash"] == data.hash  # not of images made JPEGs
    every = slice(None, None, 5)  # 2000 images of all classes
    sample = Split(data.test.images[every], data.test.labels[every])
    margin = 0.02  # three standard errors of an accuracy of 0.9 over 2000 images
    assert accuracy(classifier, sample) > float(metadata["test_accuracy"]) - margin
