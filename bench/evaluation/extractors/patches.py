"""Features learned from samples without labels: similarity of patches to k-means centres."""

import math
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.data.dataset import Dataset
from bench.data.pixels import stored_as, to_network
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
FEATURES = (CENTRES + 1) * QUARTERS**2
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

    A signal's patches are its stretches of 6 values, pooled over its quarters.

    Args:
        shape: (C, H, W) of the images, or (C, L) of the signals; samples larger than 63 pixels are
            averaged to about 32.
        tensors: "mean" (D,), "whitening" (D, D) and "centres" (K, D), float32, D = 36 C, for
            signals 6 C.
    """

    def __init__(self, shape: tuple[int, ...], tensors: dict[str, Tensor]) -> None:
        super().__init__()
        self.factor = averaged_by(shape)
        self.shape = tuple(shape)
        for name, tensor in tensors.items():
            self.register_buffer(name, tensor)

    def forward(self, images: Tensor) -> Tensor:
        """Map images (B, C, H, W) uint8, or signals (B, C, L) float32, to features (B, 64)."""
        patches = patches_of(images, self.shape)  # (B, L, D)
        z = (patches - self.get_buffer("mean")) @ self.get_buffer("whitening")  # (B, L, D)
        centres = self.get_buffer("centres")
        lengths = z.square().sum(2, keepdim=True) + centres.square().sum(1)  # (B, L, K)
        squared = (lengths - 2 * z @ centres.T).clamp(min=0) / patches.shape[2]  # of one pixel
        distances = squared.sqrt()  # (B, L, K)
        mean = distances.mean(2, keepdim=True)  # (B, L, 1)
        codes = torch.cat([(mean - distances).clamp(min=0), mean], 2)  # (B, L, K + 1)
        signals = len(self.shape) == 2
        rows = 1 if signals else images.shape[2] // self.factor - SIDE + 1
        maps = codes.transpose(1, 2).unflatten(2, (rows, -1))  # (B, K + 1, H', W')
        quarters = (1, QUARTERS**2) if signals else QUARTERS
        return F.adaptive_avg_pool2d(maps, quarters).flatten(1)  # (B, 4 K + 4)


class PatchExtractor(Extractor):
    """Patch features of one data set, without logits.

    Args:
        shape: of one sample.
        tensors: see `PatchNetwork`.
    """

    batch_size = 64

    def __init__(self, shape: tuple[int, ...], tensors: dict[str, Tensor]) -> None:
        network = PatchNetwork(shape, tensors)
        over = "x".join([str(network.factor)] * len(shape[1:]))
        averaged = f", averaged over {over}" * (network.factor > 1)
        super().__init__(NAME, network, f"{stored_as(shape)}{averaged}")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map images (B, C, H, W) uint8, or signals (B, C, L) float32, to features (B, 64).

        Raises:
            ValueError: samples of another shape or type.
        """
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
        images: training samples, (N, C, H, W) uint8 or (N, C, L) float32.

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


def patches_of(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """All patches of stored samples of a shape, as (B, L, D) float32 in [-1, 1].

    Raises:
        ValueError: samples of another shape or type.
    """
    x, factor = to_network(images, shape), averaged_by(shape)  # (B, C, H, W)
    along = [(1 if len(shape) == 2 else size, size) for size in (factor, SIDE)]
    x = F.avg_pool2d(x, along[0]) if factor > 1 else x
    return F.unfold(x, along[1]).transpose(1, 2)


def averaged_by(shape: tuple[int, ...]) -> int:
    """Downscaling factor for samples of this shape, a power of two."""
    return 2 ** max(0, int(math.log2(min(shape[1:]) / NOMINAL_SIDE)))


def _some_patches(images: np.ndarray, generator: torch.Generator) -> Tensor:
    """Patches at random positions of random images, (P, D)."""
    chosen = torch.randperm(len(images), generator=generator)[:LEARNT_FROM].numpy()
    found = []
    for index in chosen:  # image by image: all patches of all images would fill the memory
        image = torch.from_numpy(np.array(images[index : index + 1]))
        patches = patches_of(image, images.shape[1:])[0]
        at = torch.randint(0, len(patches), (PATCHES_OF_EACH,), generator=generator)
        found.append(patches[at])
    return torch.cat(found)
