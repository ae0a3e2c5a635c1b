"""Smooth images, unlike noise, and the blind spots of an extractor on them."""

import numpy as np
import torch

from bench.data.dataset import Dataset, Split, content_hash
from bench.evaluation.blind_spots import (
    BlindSpot,
    blind_spots,
)
from bench.evaluation.extractors.base import Extractor, extract
from bench.evaluation.extractors.known_bad import by_kind, known_bad, score_known_bad


def smooth_images(n=(120, 100), side=16) -> Dataset:
    """Slopes of random direction, around medium brightness: nothing like noise."""
    rng = np.random.default_rng(0)
    at = np.linspace(-1, 1, side)
    parts = []
    for size in n:
        a, b, c = rng.uniform(-1, 1, (3, size, 1, 1))
        images = 127.5 + 60 * a * at + 60 * b * at[:, None] + 8 * c
        parts.append(Split(images[:, None].round().clip(0, 255).astype(np.uint8)))
    train, test = parts
    return Dataset("slopes", train, test, (), False, content_hash(train, test))


def checked(extractor: Extractor, data: Dataset) -> tuple[BlindSpot, ...]:
    chosen = known_bad(data)
    assert chosen is not None
    train, test = (
        extract(extractor, [torch.from_numpy(split.images)]) for split in (data.train, data.test)
    )
    bad, real = by_kind(score_known_bad(extractor, chosen, train, test))
    return blind_spots(bad, real, len(chosen.test))
