"""Point data with known modes: mixtures of equal Gaussians, sampled with a fixed seed."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset, Mixture, Split, content_hash

TRAIN_SIZE = 50_000
TEST_SIZE = 10_000
_DATA_SEED = 0


@dataclass(frozen=True)
class _Published:
    """A mixture in the units of its paper.

    Attributes:
        centres: means of the components, (K, D).
        sigma: their common standard deviation.
        unit: scale by which the data is divided, so that it lies well within [-1, 1].
    """

    centres: tuple[tuple[float, float], ...]
    sigma: float
    unit: float


_RING8 = _Published(
    tuple((float(np.cos(a)), float(np.sin(a))) for a in 2 * np.pi * np.arange(8) / 8), 0.01, 1.25
)
_GRID25 = _Published(
    tuple((float(x), float(y)) for x in (-4, -2, 0, 2, 4) for y in (-4, -2, 0, 2, 4)), 0.05, 5.0
)


def load_ring8(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "ring8",
    flip: bool = False,
) -> Dataset:
    """Sample 8 Gaussians of standard deviation 0.01 on the unit circle (Lin et al. 2018, Sec. 4.1).

    Points are stored divided by 1.25, as models see them. Nothing is read or written.

    Raises:
        ValueError: flip is set; points are not mirrored.
    """
    del data_root, cache_root, download
    return _load(_RING8, name, flip=flip)


def load_grid25(
    *,
    data_root: Path,
    cache_root: Path | None = None,
    download: bool = True,
    name: str = "grid25",
    flip: bool = False,
) -> Dataset:
    """Sample 25 Gaussians of standard deviation 0.05 on {-4, -2, 0, 2, 4}² (Lin et al. 2018).

    Points are stored divided by 5, as models see them. Nothing is read or written.

    Raises:
        ValueError: flip is set; points are not mirrored.
    """
    del data_root, cache_root, download
    return _load(_GRID25, name, flip=flip)


def _load(published: _Published, name: str, *, flip: bool) -> Dataset:
    if flip:
        raise ValueError(
            f"dataset.flip=true: {name} holds points, which are not mirrored: set it to false."
        )
    mixture = Mixture(
        np.asarray(published.centres) / published.unit, published.sigma / published.unit
    )
    rng = np.random.Generator(np.random.Philox(_DATA_SEED))
    train, test = (_draw(mixture, n, rng) for n in (TRAIN_SIZE, TEST_SIZE))
    num_modes = len(mixture.centres)
    return Dataset(
        name,
        train,
        test,
        classes=tuple(f"mode {k}" for k in range(num_modes)),
        flip=False,
        hash=content_hash(train, test),
        mixture=mixture,
        frequencies=np.full(num_modes, 1 / num_modes),
    )


def _draw(mixture: Mixture, n: int, rng: np.random.Generator) -> Split:
    """Sample n points, each component with equal probability."""
    labels = rng.integers(len(mixture.centres), size=n)  # (N,)
    noise = rng.standard_normal((n, mixture.centres.shape[1]))  # (N, D)
    points = (mixture.centres[labels] + mixture.sigma * noise).astype(np.float32)
    for array in (points, labels):
        array.setflags(write=False)
    return Split(points, labels)
