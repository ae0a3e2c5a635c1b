"""Features learned from images without labels: similarity of patches to k-means centres."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.data.pixels import check_images
from bench.evaluation.extractors.base import Extractor, cached_tensors
from bench.runtime.atomic_files import locked

NAME = "patches"
VERSION = 1
"""Increment it when learning or computing the features changes."""

SIDE = 6
"""Side of a patch in pixels."""

CENTRES = 15
"""Number of centres: with their mean distance 16 numbers in each of 4 quarters, so 64 features, as
many as the domain classifier has."""

QUARTERS = 2
MIN_SIDE = 8
NOMINAL_SIDE = 32
LEARNT_FROM, PATCHES_OF_EACH = 1000, 50
"""Numbers of training images, and of patches per image, from which centres are learned."""

ROUNDS = 25
SEED = 2020

REGULARISATION = 0.03
"""Added to the eigenvalues of the covariance, in units of their mean, before whitening."""


class PatchNetwork(nn.Module):
    """Distances of whitened patches to k-means centres, pooled over quarters (Coates et al. 2011).

    As in their "triangle" coding a centre's activation is max(0, mean distance - its distance). The
    mean distance is a feature as well, which measures how typical a patch is, and patches are not
    normalised individually, so that features depend on brightness and contrast. Distances are
    divided by the square root of D and thus are about 1.

    Args:
        shape: (C, H, W) of the images; images larger than 63 pixels are averaged to about 32.
        tensors: "mean" (D,), "whitening" (D, D) and "centres" (K, D), float32, D = 36 C.
    """

    def __init__(self, shape: tuple[int, ...], tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.factor = averaged_by(shape)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, images: Tensor) -> Tensor:
        """Map (B, C, H, W) uint8 to features (B, 64)."""
        patches = patches_of(images, self.factor)  # (B, L, D)
        z = (patches - self.get_buffer("mean")) @ self.get_buffer("whitening")  # (B, L, D)
        centres = self.get_buffer("centres")
        lengths = z.square().sum(2, keepdim=True) + centres.square().sum(1)  # (B, L, K)
        squared = (lengths - 2 * z @ centres.T).clamp(min=0) / patches.shape[2]  # of one pixel
        distances = squared.sqrt()  # (B, L, K)
        mean = distances.mean(2, keepdim=True)  # (B, L, 1)
        codes = torch.cat([(mean - distances).clamp(min=0), mean], 2)  # (B, L, K + 1)
        rows = images.shape[2] // self.factor - SIDE + 1
        maps = codes.transpose(1, 2).unflatten(2, (rows, -1))  # (B, K + 1, H', W')
        return F.adaptive_avg_pool2d(maps, QUARTERS).flatten(1)  # (B, 4 K + 4)


class PatchExtractor(Extractor):
    """Patch features of one data set, without logits.

    Args:
        shape: (C, H, W) of the images.
        tensors: see `PatchNetwork`.
    """

    batch_size = 64

    def __init__(self, shape: tuple[int, ...], tensors: dict[str, Tensor]) -> None:
        network = PatchNetwork(shape, tensors)
        size = "x".join(map(str, shape))
        averaged = f", averaged over {network.factor}x{network.factor}" * (network.factor > 1)
        super().__init__(NAME, network, f"{size} uint8 to [-1,1]{averaged}")
        self.shape = tuple(shape)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, C, H, W) uint8 to features (B, 64).

        Raises:
            ValueError: images of another shape or type.
        """
        check_images(images, self.shape)
        with torch.autocast(images.device.type, enabled=False):
            return self.network(images), None


def build_patches(
    name: str, dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    """The patch extractor of a data set, learned once from its training images and cached.

    Raises:
        ValueError: weights are given, or the images are smaller than 8 pixels.
    """
    del device
    is_learned(dataset, weights)
    with locked(cache_dir / "features" / f"{name}-{dataset.hash}.lock"):
        key = (name, VERSION, dataset.hash)
        tensors = cached_tensors(cache_dir, key, lambda: learn_patches(dataset.train.images))
    return PatchExtractor(dataset.shape, tensors)


def is_learned(dataset: Dataset, weights: Path | None) -> bool:
    """Whether the extractor is learned from the data: always.

    Raises:
        ValueError: weights are given, or the images are smaller than 8 pixels.
    """
    if weights is not None:
        raise ValueError(
            f"evaluator.weights.{NAME}={weights}: {NAME} are learned from the data; leave it out"
        )
    if min(dataset.shape[1:]) < MIN_SIDE:
        raise ValueError(
            f"{dataset.name} has images of shape {dataset.shape}; {NAME} need sides of at least "
            f"{MIN_SIDE}"
        )
    return True


def learn_patches(images: np.ndarray) -> dict[str, Tensor]:
    """Whiten patches of training images and find their k-means centres, in float64.

    Args:
        images: (N, C, H, W) uint8.

    Returns:
        The tensors of `PatchNetwork`.
    """
    generator = torch.Generator().manual_seed(SEED)
    patches = _some_patches(images, generator).double()  # (P, D)
    mean = patches.mean(0)
    covariance = (patches - mean).T @ (patches - mean) / len(patches)
    values, vectors = torch.linalg.eigh(covariance)
    least = max(REGULARISATION * float(values.mean()), 1e-6)
    whitening = vectors * (values.clamp(min=0) + least).rsqrt()  # (D, D)
    z = (patches - mean) @ whitening
    centres = z[torch.randperm(len(z), generator=generator)[:CENTRES]]
    for _ in range(ROUNDS):  # Lloyd's algorithm; an empty centre is not moved
        nearest = F.one_hot(torch.cdist(z, centres).argmin(1), len(centres)).double()  # (P, K)
        counts = nearest.sum(0)[:, None]
        centres = torch.where(counts > 0, nearest.T @ z / counts.clamp(min=1), centres)
    tensors = {"mean": mean, "whitening": whitening, "centres": centres}
    return {name: tensor.float() for name, tensor in tensors.items()}


def patches_of(images: Tensor, factor: int) -> Tensor:
    """All patches of images (B, C, H, W) uint8 as (B, L, D) float32 in [-1, 1]."""
    x = images.float() / 127.5 - 1
    x = F.avg_pool2d(x, factor) if factor > 1 else x
    return F.unfold(x, SIDE).transpose(1, 2)


def averaged_by(shape: tuple[int, ...]) -> int:
    """Downscaling factor for images of this shape, a power of two."""
    return 2 ** max(0, int(math.log2(min(shape[1:]) / NOMINAL_SIDE)))


def _some_patches(images: np.ndarray, generator: torch.Generator) -> Tensor:
    """Patches at random positions of random images, (P, D)."""
    factor = averaged_by(images.shape[1:])
    chosen = torch.randperm(len(images), generator=generator)[:LEARNT_FROM].numpy()
    found = []
    for index in chosen:  # image by image: all patches of all images would fill the memory
        patches = patches_of(torch.from_numpy(np.array(images[index : index + 1])), factor)[0]
        at = torch.randint(0, len(patches), (PATCHES_OF_EACH,), generator=generator)
        found.append(patches[at])
    return torch.cat(found)
