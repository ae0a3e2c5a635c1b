"""The extractor interface, and features cached on disk."""

import hashlib
import json
import logging
import os
import re
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from bench.data.dataset import Dataset, Split
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.resampling import METRICS_VERSION
from bench.runtime.atomic_files import building, room_for, sweep, sweep_former, sync, unreadable
from bench.runtime.progress import shown_progress

T = TypeVar("T")
log = logging.getLogger(__name__)

_FORMAT = 2  # part of every key: increment it when the content of a file changes
_FORMER_PARTIAL = re.compile(r"\..+\.tmp")  # leftovers of versions without locks
_CHECKSUM = "sha256"  # key of the metadata


class DamagedTensorsError(ValueError):
    """A file of tensors differs from what was written."""


def cached_tensors(
    cache_dir: Path, key: tuple[object, ...], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read cached tensors, or compute and cache them.

    A damaged file is reported and computed again. If several processes start together, one computes
    and the others wait.

    Args:
        cache_dir: the folder "features" in it holds the files.
        key: everything that the tensors depend on, with a stable repr.
        compute: returns named CPU tensors.
    """
    metadata = {"key": repr(key)}

    def make(path: Path) -> None:
        write_tensors(path, compute(), metadata)

    def read(path: Path) -> dict[str, Tensor]:
        tensors, found = read_tensors(path)
        if found != metadata:
            raise DamagedTensorsError("it holds something else")
        return tensors

    return made_once(tensors_path(cache_dir, key), make, read)


def tensors_path(cache_dir: Path, key: tuple[object, ...]) -> Path:
    """The file in which `cached_tensors` keeps tensors."""
    digest = hashlib.sha256(repr((_FORMAT, METRICS_VERSION, *key)).encode()).hexdigest()[:24]
    return cache_dir / "features" / f"{digest}.safetensors"


def check_kept(cache_dir: Path) -> None:
    """Refuse a cache in which nothing can be kept; one that already holds features may be complete.

    Raises:
        PermissionError: saying where else to keep what is computed.
    """
    folder = cache_dir / "features"
    there = next(path for path in (folder, *folder.parents) if path.exists())
    if not os.access(there, os.W_OK) and not any(folder.glob("*.safetensors")):
        raise PermissionError(
            f"{folder} cannot be written: set cache_root (or BENCH_CACHE) to a folder that can"
        )


def made_once(path: Path, make: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """Read a file, creating it first if it is missing or damaged.

    Args:
        path: the file.
        make: writes it to the given temporary path.
        read: reads it; after a DamagedTensorsError it is created again.

    Raises:
        OSError: the disk is full, or the file cannot be written or read.
    """
    sweep(path.parent)
    sweep_former(path.parent, _FORMER_PARTIAL)
    try:
        return read(path)
    except (FileNotFoundError, DamagedTensorsError):
        pass
    except PermissionError as error:
        raise unreadable(path, error) from error
    try:
        with room_for(path), building(path) as partial:
            try:
                return read(path)  # another process may have created it meanwhile
            except FileNotFoundError:
                pass
            except DamagedTensorsError as damage:
                log.warning("%s is damaged (%s): computing it again", path, damage)
            make(partial)
            sync(partial)
            os.replace(partial, path)
            sync(path.parent)
            return read(path)
    except PermissionError as error:
        raise PermissionError(
            f"{path} cannot be written ({error.strerror}): set cache_root (or BENCH_CACHE) to a "
            "folder that can"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, with a checksum of tensors and metadata."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = {_CHECKSUM: _checksum(kept, metadata)}
    path.write_bytes(save(kept, metadata={**metadata, **checksum}))


def read_tensors(path: Path, *, unsigned: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read a file of `write_tensors`.

    Args:
        path: the file.
        unsigned: whether a file without a checksum is accepted.

    Returns:
        The tensors by name, and the metadata without its checksum.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: it cannot be read.
        DamagedTensorsError: it differs from what was written.
    """
    try:
        content = path.read_bytes()  # not mapped: truncating a mapped file causes a bus error
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = dict(header.get("__metadata__", {}))
    except (FileNotFoundError, PermissionError):
        raise
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise DamagedTensorsError(str(error).partition("\n")[0]) from error
    checksum = metadata.pop(_CHECKSUM, None)
    if checksum is None and unsigned:
        return tensors, metadata
    if checksum != _checksum(tensors, metadata):
        raise DamagedTensorsError("its checksum is not that of its contents")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    hash_tensors(digest, tensors)
    return digest.hexdigest()


def hash_tensors(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Add names, types, shapes and values of tensors to a hash."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)


class Extractor(nn.Module, ABC):
    """A frozen network that turns stored samples into features, always in float32.

    Making one raises a ValueError if its weights are not finite.

    Attributes:
        name: the suffix of its metrics, as in fid_domain.
        hash: first 16 hex digits of the SHA-256 of its weights.
        preprocessing: description of its preprocessing.
        names_classes: whether its logits are for the classes of the dataset.
        test_accuracy: accuracy on held-out images, in [0, 1]; None if unknown.
        batch_size: maximum batch size, which limits its memory.
        cpu_batch_size: the same on CPUs, per thread, where activations of few images stay in the
            caches; None for `batch_size`.
        cacheable: whether its features are expensive enough to be cached.
    """

    names_classes = False
    test_accuracy: float | None = None
    batch_size = 250
    cpu_batch_size: int | None = None
    cacheable = True

    def __init__(self, name: str, network: nn.Module, preprocessing: str) -> None:
        super().__init__()
        self.name = name
        self.preprocessing = preprocessing
        self.network = network.eval().requires_grad_(False)
        for weight in network.state_dict().values():  # features can hide it: min(NaN, 6) may be 6
            if weight.is_floating_point() and not torch.isfinite(weight).all():
                raise ValueError(
                    f"{name} has weights that are not finite: check evaluator.weights.{name}"
                )
        self.hash = weights_hash(network)

    @abstractmethod
    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map stored samples (B, *shape) to features (B, D) and logits (B, K) or None."""


class IdentityExtractor(Extractor):
    """Uses the coordinates of points as features."""

    cacheable = False

    def __init__(self) -> None:
        super().__init__("identity", nn.Identity(), "none")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Return the coordinates (B, D) float32 unchanged, without logits.

        Raises:
            ValueError: the input is not points.
        """
        if images.dtype != torch.float32 or images.ndim != 2:
            raise ValueError(
                f"samples are {images.dtype} of shape {tuple(images.shape)}; identity takes "
                "points, torch.float32 of shape (B, D)"
            )
        return self.network(images), None


@dataclass(frozen=True, eq=False)
class Part:
    """The part of a data set that the features of one extractor are of; fixed for each data set.

    Attributes:
        indices: those of the images, ascending, by split ("train", "test"); a split that is not
            there is taken as a whole.
    """

    indices: Mapping[str, np.ndarray] = field(default_factory=dict)

    def of(self, split: Split, name: str) -> np.ndarray:
        """Indices of the images of a split, (n,) int64."""
        return self.indices.get(name, np.arange(len(split)))


WHOLE = Part()
"""All images of both splits."""


def fixed_part(dataset: Dataset, most: int | None) -> Part:
    """A random part of `most` training images, and the same share of the held-out ones.

    The images whose index has the smallest SHA-256, so that no library version changes them.

    Args:
        dataset: the data.
        most: number of training images; None for all.
    """
    n = len(dataset.train)
    if most is None or n <= most:
        return WHOLE
    held_out = max(2, round(len(dataset.test) * most / n))
    return Part({"train": _smallest(n, most), "test": _smallest(len(dataset.test), held_out)})


def _smallest(size: int, count: int) -> np.ndarray:
    """The `count` indices below `size` with the smallest hashes, ascending."""
    digests = [hashlib.sha256(str(index).encode()).digest() for index in range(size)]
    return np.sort(sorted(range(size), key=digests.__getitem__)[:count])


def extract(
    extractor: Extractor, images: Iterable[Tensor], device: torch.device | str = "cpu"
) -> Features:
    """Run an extractor over batches of samples.

    Args:
        extractor: already on the device.
        images: batches (B, C, H, W) uint8, or points or signals, float32, of any size.
        device: where to compute.

    Returns:
        Features of all samples in order, on the CPU.

    Raises:
        ValueError: there are none.
    """
    features, logits = [], []
    at_once = extractor.batch_size
    if torch.device(device).type == "cpu" and extractor.cpu_batch_size is not None:
        at_once = min(at_once, extractor.cpu_batch_size * torch.get_num_threads())
    with torch.inference_mode():
        for batch in images:
            for part in batch.split(at_once):
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
    part: Part = WHOLE,
    batch_size: int = 250,
) -> Features:
    """Features of a split, or a part of it, extracted once and cached on disk.

    The key is everything that they depend on: data hash, split, number of samples, preprocessing
    and extractor hash. Features that are cheap to extract are not cached. Logits are omitted: no
    metric needs those of a reference.

    Args:
        extractor: already on the device.
        split: the images or points.
        data_hash: hash of the dataset that the split belongs to.
        split_name: "train" or "test".
        device: where to compute.
        cache_dir: the folder "features" in it holds the files.
        part: which samples; a part that `fixed_part` chose is named by its size.
        batch_size: samples read at a time; it changes no result beyond rounding.
    """
    indices = part.of(split, split_name)
    n = len(indices)

    def compute() -> dict[str, Tensor]:
        batches = (
            torch.tensor(split.images[indices[start : start + batch_size]])
            for start in range(0, n, batch_size)
        )
        parts = []
        with shown_progress(f"extracting {split_name} features ({extractor.name})", n) as advance:
            for batch in batches:  # batch by batch: logits of 1000 classes would fill the memory
                parts.append(extract(extractor, [batch], device).features)
                advance(len(batch))
        return {"features": torch.cat(parts)}

    if not extractor.cacheable:
        return Features(**compute())
    key = features_key(extractor, data_hash, split_name, n)
    return Features(**cached_tensors(cache_dir, key, compute))


def features_key(
    extractor: Extractor, data_hash: str, split_name: str, n: int
) -> tuple[object, ...]:
    """Everything that features of n samples of a split depend on, see `fixed_part`."""
    return (data_hash, split_name, n, extractor.name, extractor.preprocessing, extractor.hash)


def weights_hash(module: nn.Module) -> str:
    """First 16 hex digits of the SHA-256 of a module's parameters and buffers, names included."""
    digest = hashlib.sha256()
    hash_tensors(digest, module.state_dict())
    return digest.hexdigest()[:16]
