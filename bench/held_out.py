"""What a model itself says about held-out data: the likelihood it gives, the classes it tells."""

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
    """Means of what the model says about the first `MOST_SAMPLES` held-out samples.

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
    labels = None
    if split.labels is not None:
        labels = torch.from_numpy(split.labels[:size].copy()).to(device)  # (size,)
    parts: dict[str, list[Tensor]] = {}
    for indices in torch.arange(size).split(batch_size):
        x = gather(split.images, indices.numpy()).to(device)  # (B, *shape)
        batch = Batch(x, None if labels is None else labels[indices.to(device)])
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
