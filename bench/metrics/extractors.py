"""The extractors by name: where their networks and weights come from."""

import json
import logging
import pickle
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from urllib.error import URLError

import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.files import locked
from bench.metrics.classifier import (
    DomainClassifier,
    accuracy,
    load_classifier,
    save_classifier,
)
from bench.metrics.classifier_training import default_recipe, train_classifier
from bench.metrics.features import Extractor

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights"
"""Weights of the standard datasets, <name>.safetensors, written by scripts/train_classifiers.py."""


class DomainExtractor(Extractor):
    """The classifier of one dataset."""

    names_classes = True

    def __init__(self, classifier: DomainClassifier) -> None:
        size = "x".join(map(str, classifier.shape))
        super().__init__("domain", classifier, f"{size} uint8 to [-1,1]")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Penultimate features (B, D) and class logits (B, K)."""
        with torch.autocast(images.device.type, enabled=False):
            return self.network(images)


class InceptionExtractor(Extractor):
    """torch-fidelity's inception-v3-compat: features '2048' and 'logits_unbiased' (K = 1008).

    Args:
        network: its FeatureExtractorInceptionV3.
        channels: 3, or 1 for grey images, whose channel is then repeated.
    """

    def __init__(self, network: nn.Module, channels: int) -> None:
        grey = "grey repeated to 3 channels, " if channels == 1 else ""
        super().__init__("inception", network, f"{grey}TF1 bilinear to 299x299")
        self.channels = channels

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Pool features (B, 2048) and logits without bias (B, 1008)."""
        if images.shape[1] == 1:
            images = images.expand(-1, 3, -1, -1)  # (B, 3, H, W)
        with torch.autocast(images.device.type, enabled=False):
            features, logits = self.network(images)
        return features, logits


def build_extractor(
    name: str,
    dataset: Dataset,
    *,
    device: torch.device | str,
    cache_dir: Path,
    weights: Path | None = None,
) -> Extractor:
    """Build the extractor of this name for a dataset.

    Args:
        name: "domain", the dataset's own classifier: shipped, or trained once and cached; or
            "inception", torch-fidelity's inception-v3-compat.
        dataset: what it will see.
        device: where it will run.
        cache_dir: where a classifier trained here is kept.
        weights: local path of the weights; None for the shipped or published ones.

    Raises:
        ValueError: no such extractor, or it does not fit the dataset or the weights.
        FileNotFoundError: the weights cannot be had; the message says how to get them.
    """
    if name not in BUILDERS:
        raise ValueError(f"evaluator.extractor is {name!r}; must be one of {sorted(BUILDERS)}")
    if weights is not None and not weights.is_file():
        raise FileNotFoundError(f"evaluator.weights.{name}={weights}: there is no such file")
    return BUILDERS[name](dataset, device, cache_dir, weights).to(device)


def _build_domain(
    dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    shipped = SHIPPED / f"{dataset.name}.safetensors"
    if weights is not None:
        if not _fits(weights, dataset):
            raise ValueError(
                f"evaluator.weights.domain={weights} is not a classifier of the "
                f"{dataset.num_classes} classes of {dataset.name}, shape {dataset.shape}"
            )
        return DomainExtractor(load_classifier(weights)[0])
    if shipped.exists() and _fits(shipped, dataset):
        return DomainExtractor(load_classifier(shipped)[0])
    if dataset.num_classes < 2:
        raise ValueError(
            f"{dataset.name} has no class labels, so it has no domain classifier: "
            "choose evaluator.extractor=inception"
        )
    cached = cache_dir / "classifiers" / f"{dataset.name}-{dataset.hash}.safetensors"
    if not cached.exists():
        with locked(cached.with_suffix(".lock")):  # of runs that start together, one trains it
            if not cached.exists():
                log.info("training the domain classifier of %s, once: %s", dataset.name, cached)
                train_and_save(dataset, cached, device=device)
    return DomainExtractor(load_classifier(cached)[0])


def train_and_save(
    dataset: Dataset,
    path: Path,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    on_epoch: Callable[[int, DomainClassifier], None] | None = None,
) -> float:
    """Train a dataset's classifier by the default recipe and write it with its provenance.

    Returns:
        Its accuracy on the test split, in [0, 1].
    """
    recipe = default_recipe(dataset.shape, len(dataset.train), flip=dataset.flip)
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


def _fits(path: Path, dataset: Dataset) -> bool:
    classifier, metadata = load_classifier(path)
    classes = json.loads(metadata.get("classes", "[]"))
    return classifier.shape == dataset.shape and classes == list(dataset.classes)


def _build_inception(
    dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    del device, cache_dir
    channels = dataset.shape[0]
    if channels not in (1, 3):
        raise ValueError(f"{dataset.name} has {channels} channels; inception takes 1 or 3")
    # Imported here: it takes seconds, and runs that use the domain classifier do not need it.
    from torch_fidelity.feature_extractor_inceptionv3 import (
        URL_INCEPTION_V3,
        FeatureExtractorInceptionV3,
    )

    layers = ["2048", "logits_unbiased"]
    path = None if weights is None else str(weights)
    try:
        if weights is not None:  # torch-fidelity unpickles anything: see first that it is tensors
            torch.load(weights, weights_only=True, map_location="cpu")
        with torch.random.fork_rng(devices=[]):  # its layers draw initial weights
            network = FeatureExtractorInceptionV3("inception-v3-compat", layers, path)
    except (URLError, OSError) as error:
        raise FileNotFoundError(
            f"the weights of inception cannot be downloaded ({error}): fetch {URL_INCEPTION_V3} "
            "on a machine that can, and give its path as evaluator.weights.inception=<path>"
        ) from error
    except (RuntimeError, pickle.UnpicklingError, EOFError) as error:
        raise ValueError(
            f"evaluator.weights.inception={weights} is not torch-fidelity's inception-v3-compat "
            f"state dict ({str(error).splitlines()[0]}); it is published at {URL_INCEPTION_V3}"
        ) from error
    return InceptionExtractor(network, channels)


BUILDERS = {"domain": _build_domain, "inception": _build_inception}
