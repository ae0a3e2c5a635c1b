"""What sees the images: feature extractors, the features of a set, and their cache on disk."""

import hashlib
import json
import logging
import os
import pickle
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.error import URLError

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.data.dataset import Dataset, Split
from bench.metrics.classifier import (
    DomainClassifier,
    accuracy,
    default_recipe,
    load_classifier,
    save_classifier,
    train_classifier,
    weights_hash,
)

log = logging.getLogger(__name__)

SHIPPED = Path(__file__).parent / "weights"
"""Weights of the standard datasets, <name>.safetensors, written by scripts/train_classifiers.py."""


@dataclass(frozen=True, eq=False)
class Features:
    """A set of images as an extractor sees it.

    Attributes:
        features: (N, D) float32 on the CPU.
        logits: (N, K) float32 on the CPU, or None if the extractor has no classes.
    """

    features: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)


class Extractor(nn.Module, ABC):
    """A frozen network that turns uint8 images into features, always in float32.

    Attributes:
        name: the suffix of its metrics, as in fid_domain.
        hash: first 16 hex digits of the SHA-256 of its weights.
        preprocessing: what it does to the pixels, in words.
        names_classes: whether its logits are over the dataset's own classes.
    """

    names_classes = False

    def __init__(self, name: str, network: nn.Module, preprocessing: str) -> None:
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.network = network.eval().requires_grad_(False)
        self.hash = weights_hash(network)

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, C, H, W) uint8 to features (B, D) and logits (B, K) or None."""


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


def extract(
    extractor: Extractor, images: Iterable[Tensor], device: torch.device | str = "cpu"
) -> Features:
    """Run an extractor over batches of images.

    Args:
        extractor: already on the device.
        images: batches (B, C, H, W) uint8, of any size.
        device: where to compute.

    Returns:
        Features of all images in order, on the CPU.

    Raises:
        ValueError: there are no images.
    """
    features, logits = [], []
    with torch.inference_mode():
        for batch in images:
            batch_features, batch_logits = extractor(batch.to(device))
            features.append(batch_features.float().cpu())
            if batch_logits is not None:
                logits.append(batch_logits.float().cpu())
    if not features:
        raise ValueError("images is empty; there must be at least one batch")
    return Features(torch.cat(features), torch.cat(logits) if logits else None)


def cached_features(
    extractor: Extractor,
    split: Split,
    *,
    data_hash: str,
    split_name: str,
    device: torch.device | str,
    cache_dir: Path,
    n: int | None = None,
    batch_size: int = 250,
) -> Features:
    """Features of the first n images of a split, extracted once and kept on disk.

    The key is all that they depend on: the data's hash, the split, n, the preprocessing and the
    extractor's hash.

    Args:
        extractor: already on the device.
        split: the images.
        data_hash: hash of the dataset that the split belongs to.
        split_name: "train" or "test".
        device: where to compute.
        cache_dir: the folder "features" in it holds the files.
        n: how many images; None for all.
        batch_size: images extracted at a time; it changes no result beyond rounding.

    Raises:
        ValueError: n is not between 1 and the size of the split.
    """
    size = len(split.images)
    n = size if n is None else n
    if not 1 <= n <= size:
        raise ValueError(f"n is {n}; must lie in 1..{size}, the size of the {split_name} split")
    key = (data_hash, split_name, n, extractor.name, extractor.preprocessing, extractor.hash)
    digest = hashlib.sha256(repr(key).encode()).hexdigest()[:24]
    path = cache_dir / "features" / f"{digest}.safetensors"
    if path.exists():
        return Features(**load_file(path))
    batches = (
        torch.tensor(split.images[start : min(start + batch_size, n)])
        for start in range(0, n, batch_size)
    )
    features = extract(extractor, batches, device)
    tensors = {"features": features.features}
    if features.logits is not None:
        tensors["logits"] = features.logits
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    partial.write_bytes(save(tensors, metadata={"key": repr(key)}))
    partial.replace(path)
    return features


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
