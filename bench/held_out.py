"""What a model itself says about held-out data: the likelihood it gives, the classes it tells."""

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Dataset, gather
from bench.machine import autocast
from bench.protocol import HELD_OUT
from models.base import Batch, GenerativeModel

MOST_SAMPLES = 2000
"""Held-out samples at most: likelihoods cost several network calls for each."""


def held_out_scores(
    model: GenerativeModel, dataset: Dataset, *, batch_size: int, seed: int, precision: str
) -> dict[str, float]:
    """Means of what the model says about held-out samples, at most `MOST_SAMPLES` of them.

    They are taken at equal distances, since a folder's samples are sorted by class.

    Call it in eval mode and without gradients.

    Args:
        model: any model.
        dataset: whose test split is shown.
        batch_size: samples shown at a time.
        seed: of the generator that all batches share.
        precision: "fp32" or "bf16".

    Returns:
        Columns of `bench.protocol.HELD_OUT`; none for a model that only draws.

    Raises:
        ValueError: the model names another column, or gives other than one value per sample.
    """
    device = model.progress.device
    generator = torch.Generator(device).manual_seed(seed)
    split = dataset.test
    size = min(len(split), MOST_SAMPLES)
    chosen = np.linspace(0, len(split) - 1, size).round().astype(np.int64)  # (size,)
    parts: dict[str, list[Tensor]] = {}
    for first in range(0, size, batch_size):
        indices = chosen[first : first + batch_size]  # (B,)
        x = gather(split.images, indices).to(device)  # (B, *shape)
        y = None if split.labels is None else torch.from_numpy(split.labels[indices]).to(device)
        batch = Batch(x, y)
        with autocast(device, precision):
            scores = model.held_out_scores(batch, generator)
        if not scores:
            return {}
        for name, values in scores.items():
            if name not in HELD_OUT or values.shape != (len(x),):
                raise ValueError(
                    f"held_out_scores gave {name} of shape {tuple(values.shape)}: it must give "
                    f"columns of {HELD_OUT}, each of shape ({len(x)},)"
                )
            parts.setdefault(name, []).append(values.double())
    return {name: torch.cat(values).mean().item() for name, values in parts.items()}
