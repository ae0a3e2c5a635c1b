"""What sees the images: feature extractors, the features of a set, and their cache on disk."""

import hashlib
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from bench.data.dataset import Split
from bench.metrics.classifier import weights_hash

log = logging.getLogger(__name__)


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
