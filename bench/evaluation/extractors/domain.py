"""The domain extractor: a classifier trained on the data set itself, shipped or trained once."""

import hashlib
import json
import logging
from collections.abc import Callable
from dataclasses import asdict, replace
from functools import cache
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from bench.cost.measure import Stopwatch
from bench.data.dataset import Dataset, Split
from bench.data.pixels import stored_as
from bench.evaluation.extractors.base import Extractor, made_once
from bench.evaluation.extractors.classifier import (
    DomainClassifier,
    accuracy,
    load_classifier,
    save_classifier,
)
from bench.evaluation.extractors.classifier_training import (
    ClassifierRecipe,
    default_recipe,
    former_recipe,
    train_classifier,
)
from bench.evaluation.extractors.downloads import reason
from bench.evaluation.extractors.fused import fold_batch_norms, fuse_sequences

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights"
"""Weights of the standard datasets, <name>.safetensors, written by scripts/train_classifiers.py.
They are those of every data set with the same data, such as one of fewer training images."""

STACKED_CHANNELS = 3
_FORMAT = 3  # of classifiers trained here: 1 had no checksums, 2 did not name its recipe
_SEED = 0
_TIMED_BATCHES = 4  # of training, to say how long all of it takes


class DomainExtractor(Extractor):
    """Features of the classifier of one dataset.

    Args:
        classifier: its features and logits.
        test_accuracy: accuracy on held-out images; None if unknown.
    """

    names_classes = True

    def __init__(self, classifier: DomainClassifier, test_accuracy: float | None = None) -> None:
        super().__init__("domain", classifier, stored_as(classifier.shape))
        fuse_sequences(fold_batch_norms(classifier))  # last, since the hash is of its weights
        self.test_accuracy = test_accuracy

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Penultimate features (B, D) and class logits (B, K)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.network(images)


class StackedExtractor(Extractor):
    """The classifier of grey images, applied to each channel of a stack of three.

    Args:
        classifier: a classifier of images (1, H, W) with K classes.
        test_accuracy: accuracy on single held-out images; None if unknown.

    Raises:
        ValueError: the classifier is not for grey images.
    """

    names_classes = True

    def __init__(self, classifier: DomainClassifier, test_accuracy: float | None = None) -> None:
        channels, height, width = classifier.shape
        if channels != 1:
            raise ValueError(f"the classifier takes {channels} channels; must be 1")
        words = f"{STACKED_CHANNELS} channels each as 1x{height}x{width} uint8 to [-1,1]"
        super().__init__("domain", classifier, words)
        fuse_sequences(fold_batch_norms(classifier))  # last, since the hash is of its weights
        self.test_accuracy = test_accuracy

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, 3, H, W) uint8 to features (B, 3 D) and log-probabilities (B, K³).

        Class a K² + b K + c is class a in channel 0, b in channel 1 and c in channel 2, each
        classified independently.

        Raises:
            ValueError: images of another type or shape.
        """
        if images.ndim != 4 or images.shape[1] != STACKED_CHANNELS:
            raise ValueError(
                f"images have shape {tuple(images.shape)}; must be (B, {STACKED_CHANNELS}, H, W)"
            )
        with torch.autocast(images.device.type, enabled=False):
            features, logits = self.network(images.flatten(0, 1).unsqueeze(1))  # (3 B, ...)
        a, b, c = logits.log_softmax(1).unflatten(0, (-1, STACKED_CHANNELS)).unbind(1)  # (B, K)
        joint = a[:, :, None, None] + b[:, None, :, None] + c[:, None, None, :]  # (B, K, K, K)
        return features.reshape(len(images), -1), joint.flatten(1)


def build_domain(
    name: str, dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    """The classifier of a dataset: given, shipped, or trained once on the device and cached.

    For stacked images the classifier of single ones is used.

    Raises:
        ValueError: the weights do not fit the dataset, which has no labels, or stacks images for
            which no classifier is shipped.
    """
    del name
    if dataset.stacked_from is not None:
        return StackedExtractor(*_stacked_classifier(dataset, weights))
    learned = is_learned(dataset, weights)
    if weights is not None:
        if not _fits(weights, dataset):
            raise ValueError(
                f"evaluator.weights.domain={weights} is not a classifier of the "
                f"{dataset.num_classes} classes of {dataset.name}, shape {dataset.shape}: give one "
                "that scripts/train_classifiers.py wrote for it, or null"
            )
        return DomainExtractor(*_with_accuracy(weights))
    shipped = _shipped(dataset)
    if not learned and shipped is not None:
        return DomainExtractor(*_with_accuracy(shipped))
    return DomainExtractor(*_trained_here(dataset, device, cache_dir))


def is_learned(dataset: Dataset, weights: Path | None) -> bool:
    """Whether the classifier of a dataset is trained here: none is given or shipped.

    Raises:
        ValueError: the dataset has no labels.
    """
    if weights is not None or dataset.stacked_from is not None:
        return False
    if _shipped(dataset) is not None:
        return False
    check_labelled(dataset.name, dataset.num_classes)
    return True


def _shipped(dataset: Dataset) -> Path | None:
    """The shipped classifier of a dataset, also where the same data have another name; or None."""
    named = SHIPPED / f"{dataset.name}.safetensors"
    same = (path for path, data_hash in _shipped_data() if data_hash == dataset.hash)
    return next((p for p in (named, *same) if p.exists() and _fits(p, dataset)), None)


@cache
def _shipped_data() -> tuple[tuple[Path, str], ...]:
    """Each shipped classifier with the hash of the data that it was trained on."""
    found = []
    for path in sorted(SHIPPED.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            found.append((path, file.metadata().get("data_hash", "")))
    return tuple(found)


def check_labelled(name: str, num_classes: int) -> None:
    """Refuse data without classes, for which no classifier can be trained.

    Raises:
        ValueError: naming the data set and other extractors.
    """
    if num_classes < 2:
        raise ValueError(
            f"{name} has no class labels, so it has no domain classifier: choose "
            "evaluator.extractor=patches or, for images, evaluator.extractor=efficientnet-lite0"
        )


def _trained_here(
    dataset: Dataset, device: torch.device | str, cache_dir: Path
) -> tuple[DomainClassifier, float | None]:
    """The dataset's classifier, trained on first use; a damaged one is trained again.

    A classifier trained on another device is reused, so that runs on both devices are scored by one
    classifier.
    """
    path = _path(dataset, cache_dir)

    def make(partial: Path) -> None:
        log.info("training the domain classifier of %s, once: %s", dataset.name, path)
        train_and_save(dataset, partial, device=device)

    def read(path: Path) -> tuple[DomainClassifier, float | None]:
        classifier, metadata = load_classifier(path, unsigned=False)
        return classifier, float(metadata["test_accuracy"])

    return made_once(path, make, read)


def _path(dataset: Dataset, cache_dir: Path) -> Path:
    """Where its classifier is kept: all that training depends on, except the machine, names it.

    One that an earlier version has trained by its longer recipe stays in use, so that runs of then
    go on with the classifier that scored them.
    """
    recipe = _recipe(dataset)
    paths = []
    for each in (former_recipe(recipe, len(dataset.train)), recipe):
        depends_on = repr((_FORMAT, _SEED, dataset.num_classes, each))
        key = hashlib.sha256(depends_on.encode()).hexdigest()[:8]
        name = f"{dataset.name}-{dataset.hash}-{key}.safetensors"
        paths.append(cache_dir / "classifiers" / name)
    former, present = paths
    return former if former.exists() else present


def stand_in(
    dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> tuple[Extractor, float] | None:
    """An extractor that is as fast as the one that has to be trained, and the seconds of training.

    None where nothing has to be trained.

    Raises:
        ValueError: the dataset has no labels.
    """
    if not is_learned(dataset, weights) or _path(dataset, cache_dir).exists():
        return None
    recipe, train = _recipe(dataset), dataset.train
    n = min(len(train), _TIMED_BATCHES * recipe.batch_size)
    part = Split(train.images[:n], None if train.labels is None else train.labels[:n])
    stopwatch = Stopwatch(torch.device(device))
    classifier = train_classifier(
        part, dataset.num_classes, recipe=replace(recipe, epochs=1), device=device
    )
    seconds = stopwatch.read() * recipe.epochs * len(train) / n
    return DomainExtractor(classifier), seconds


def train_and_save(
    dataset: Dataset,
    path: Path,
    *,
    seed: int = _SEED,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, DomainClassifier], None] | None = None,
) -> float:
    """Train a dataset's classifier by the default recipe and write it with its provenance.

    Returns:
        Its accuracy on the test split, in [0, 1].
    """
    recipe = _recipe(dataset)
    classifier = train_classifier(
        dataset.train,
        dataset.num_classes,
        seed=seed,
        recipe=recipe,
        device=device,
        on_epoch=on_epoch,
    )
    test_accuracy = accuracy(classifier, dataset.test)
    metadata = {
        "dataset": dataset.name,
        "data_hash": dataset.hash,
        "classes": json.dumps(dataset.classes),
        "test_accuracy": f"{test_accuracy:.4f}",
        "test_images": str(len(dataset.test)),
        "seed": str(seed),
        "recipe": json.dumps(asdict(recipe)),
        "torch_version": str(torch.__version__),
    }
    save_classifier(path, classifier, metadata)
    return test_accuracy


def _recipe(dataset: Dataset) -> ClassifierRecipe:
    return default_recipe(dataset.shape, len(dataset.train), flip=dataset.flip)


def _read(path: Path) -> tuple[DomainClassifier, dict[str, str]]:
    try:
        return load_classifier(path)
    except (KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path} is not a domain classifier ({reason(error)}): give a file that "
            "scripts/train_classifiers.py wrote"
        ) from error


def _fits(path: Path, dataset: Dataset) -> bool:
    classifier, metadata = _read(path)
    classes = json.loads(metadata.get("classes", "[]"))
    return classifier.shape == dataset.shape and classes == list(dataset.classes)


def _with_accuracy(path: Path) -> tuple[DomainClassifier, float | None]:
    classifier, metadata = _read(path)
    test_accuracy = metadata.get("test_accuracy")
    return classifier, None if test_accuracy is None else float(test_accuracy)


def _stacked_classifier(
    dataset: Dataset, weights: Path | None
) -> tuple[DomainClassifier, float | None]:
    """The classifier of the single images that a dataset stacks."""
    path = SHIPPED / f"{dataset.stacked_from}.safetensors"
    if weights is None and not path.exists():
        raise ValueError(
            f"no classifier is shipped for {dataset.stacked_from}, whose images {dataset.name} "
            "stacks: give one as evaluator.weights.domain=<path>"
        )
    classifier, test_accuracy = _with_accuracy(path if weights is None else weights)
    shape = (1, *dataset.shape[1:])
    if classifier.shape != shape or classifier.num_classes**STACKED_CHANNELS != dataset.num_classes:
        raise ValueError(
            f"{path if weights is None else weights} is a classifier of {classifier.num_classes} "
            f"classes, shape {classifier.shape}; {dataset.name} needs shape {shape} and the cube "
            f"root of {dataset.num_classes} classes"
        )
    return classifier, test_accuracy
