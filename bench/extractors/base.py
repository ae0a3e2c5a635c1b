"""What every extractor is, and the features of a set, kept on disk."""

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterable
from pathlib import Path

import torch
from torch import Tensor, nn

from bench.data.dataset import Split
from bench.extractors.cache import cached_tensors, hash_tensors
from bench.metrics.features import Features
from bench.progress import shown_progress


class Extractor(nn.Module, ABC):
    """A frozen network that turns stored samples into features, always in float32.

    Attributes:
        name: the suffix of its metrics, as in fid_domain.
        hash: first 16 hex digits of the SHA-256 of its weights.
        preprocessing: what it does to the pixels, in words.
        names_classes: whether its logits are over the dataset's own classes.
        test_accuracy: share of held-out images whose class it names, in [0, 1]; None if unknown.
        batch_size: how many samples it sees at a time, at most, which bounds its memory.
        cacheable: whether its features cost enough to be kept on disk.
    """

    names_classes = False
    test_accuracy: float | None = None
    batch_size = 250
    cacheable = True

    def __init__(self, name: str, network: nn.Module, preprocessing: str) -> None:
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.network = network.eval().requires_grad_(False)
        self.hash = weights_hash(network)

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, C, H, W) uint8, or points, to features (B, D) and logits (B, K) or None."""


class IdentityExtractor(Extractor):
    """Points are their own features."""

    cacheable = False

    def __init__(self) -> None:
        super().__init__("identity", nn.Identity(), "none")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the coordinates (B, D) float32 as they are, without logits.

        Raises:
            ValueError: anything else, such as images.
        """
        if images.dtype != torch.float32 or images.ndim != 2:
            raise ValueError(
                f"samples are {images.dtype} of shape {tuple(images.shape)}; identity takes "
                "points, torch.float32 of shape (B, D)"
            )
        return self.network(images), None


def extract(
    extractor: Extractor, images: Iterable[Tensor], device: torch.device | str = "cpu"
) -> Features:
    """Run an extractor over batches of samples.

    Args:
        extractor: already on the device.
        images: batches (B, C, H, W) uint8, or points (B, D) float32, of any size.
        device: where to compute.

    Returns:
        Features of all samples in order, on the CPU.

    Raises:
        ValueError: there are none.
    """
    features, logits = [], []
    with torch.inference_mode():
        for batch in images:
            for part in batch.split(extractor.batch_size):
                part_features, part_logits = extractor(part.to(device))
                features.append(part_features.float().cpu())
                if part_logits is not None:
                    logits.append(part_logits.float().cpu())
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
    """Features of the first n samples of a split, extracted once and kept on disk.

    The key is all that they depend on: the data's hash, the split, n, the preprocessing and the
    extractor's hash. What costs nothing to extract is not kept. There are no logits: no metric asks
    for those of a reference.

    Args:
        extractor: already on the device.
        split: the images or points.
        data_hash: hash of the dataset that the split belongs to.
        split_name: "train" or "test".
        device: where to compute.
        cache_dir: the folder "features" in it holds the files.
        n: how many samples; None for all.
        batch_size: samples read at a time; it changes no result beyond rounding.

    Raises:
        ValueError: n is not between 1 and the size of the split.
    """
    size = len(split.images)
    n = size if n is None else n
    if not 1 <= n <= size:
        raise ValueError(f"n is {n}; must lie in 1..{size}, the size of the {split_name} split")

    def compute() -> dict[str, Tensor]:
        batches = (
            torch.tensor(split.images[start : min(start + batch_size, n)])
            for start in range(0, n, batch_size)
        )
        parts = []
        with shown_progress(f"{extractor.name} features of {split_name}, once", n) as advance:
            for batch in batches:  # one by one: logits of 1000 classes would fill the memory
                parts.append(extract(extractor, [batch], device).features)
                advance(len(batch))
        return {"features": torch.cat(parts)}

    if not extractor.cacheable:
        return Features(**compute())
    key = (data_hash, split_name, n, extractor.name, extractor.preprocessing, extractor.hash)
    return Features(**cached_tensors(cache_dir, key, compute))


def weights_hash(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of a module's parameters and buffers, names included."""
    digest = hashlib.sha256()
    hash_tensors(digest, module.state_dict())
    return digest.hexdigest()[:16]
