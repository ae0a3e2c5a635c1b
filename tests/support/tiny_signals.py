"""Small signals of two classes, which a filter tells apart: slow and fast waves of any phase."""

import numpy as np

from bench.data.dataset import Dataset, Scale, Split, content_hash

CLASSES = ("slow", "fast")


def waves(n: int, *, channels: int = 2, length: int = 24, seed: int = 0):
    """Signals (n, C, L) float64 in 3 ± 2, and labels (n,)."""
    rng = np.random.default_rng(seed)
    labels = np.arange(n, dtype=np.int64) % 2
    phases = rng.uniform(0, 2 * np.pi, (n, channels, 1))
    cycles = np.where(labels == 0, 1.0, 4.0)[:, None, None]
    at = np.arange(length) / length
    x = 3 + 1.5 * np.sin(2 * np.pi * cycles * at + phases)
    return x + 0.1 * rng.standard_normal(x.shape), labels


def tiny_signals(n: int = 240, held_out: int = 80, *, labelled: bool = True) -> Dataset:
    """Waves as a data set."""
    x, labels = waves(n + held_out)
    scale = Scale.of(x[:n])
    y = labels if labelled else None
    parts = [
        Split(scale.to_unit(x[part]), None if y is None else y[part])
        for part in (slice(n), slice(n, None))
    ]
    classes = CLASSES if labelled else ()
    return Dataset("waves", *parts, classes, False, content_hash(*parts), scale=scale)
