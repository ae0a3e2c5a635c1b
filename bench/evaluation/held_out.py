"""Evaluation of models on held-out data: likelihood, classification, curves and trajectories."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Dataset, Split, gather
from bench.evaluation.sampling import sample_labels
from bench.runtime.device import autocast
from bench.runtime.isolation import evaluating
from bench.schema import HELD_OUT
from models.base import Batch, GenerativeModel

MOST_SAMPLES = 500
"""Maximum number of held-out samples: a variational bound takes five network calls per sample, as
many for these as an eighth of 2,000 samples by ten calls each; a flow's likelihood takes 48 and as
many backward passes."""


def held_out_scores(
    model: GenerativeModel, dataset: Dataset, *, batch_size: int, seed: int, precision: str
) -> dict[str, float]:
    """Mean scores of the model on held-out samples, at most `MOST_SAMPLES`.

    Samples are evenly spaced, because those of a folder are sorted by class.

    Call it in eval mode and without gradients.

    Args:
        model: any model.
        dataset: its test split is used.
        batch_size: samples per batch.
        seed: of the generator that all batches share.
        precision: "fp32" or "bf16".

    Returns:
        Columns of `bench.schema.HELD_OUT`; empty for a model that only generates.

    Raises:
        ValueError: the model returns another column, or not one value per sample.
    """
    device = model.progress.device
    generator = torch.Generator(device).manual_seed(seed)
    parts: dict[str, list[Tensor]] = {}
    chosen = _evenly_spaced(np.arange(len(dataset.test)), MOST_SAMPLES)
    for batch in _batches(dataset.test, chosen, batch_size, device):
        size = len(batch.x)
        with autocast(device, precision):
            scores = model.held_out_scores(batch, generator)
        if not scores:
            return {}
        for name, values in scores.items():
            if name not in HELD_OUT or values.shape != (size,):
                raise ValueError(
                    f"held_out_scores gave {name} of shape {tuple(values.shape)}: it must give "
                    f"columns of {HELD_OUT}, each of shape ({size},)"
                )
            parts.setdefault(name, []).append(values.double())
    return {name: torch.cat(values).mean().item() for name, values in parts.items()}


def held_out_batch(dataset: Dataset, size: int, device: torch.device) -> Batch:
    """Evenly spaced held-out samples with their labels, at most `size`, as one batch."""
    chosen = _evenly_spaced(np.arange(len(dataset.test)), size)
    (batch,) = _batches(dataset.test, chosen, len(chosen), device)
    return batch


def discriminator_gap(
    model: GenerativeModel, dataset: Dataset, *, batch_size: int, precision: str
) -> dict[str, float]:
    """How much more real a discriminator finds training samples than held-out ones.

    Call it in eval mode and without gradients.

    Args:
        model: any model.
        dataset: equally many evenly spaced samples are used of the training images that the model
            was trained on and of the test split, at most `MOST_SAMPLES`.
        batch_size: samples per batch.
        precision: "fp32" or "bf16".

    Returns:
        "discriminator_gap", the difference of the mean logits; empty for a model without a
        discriminator of data.
    """
    device = model.progress.device
    trained_on, held_out = dataset.trained_on, np.arange(len(dataset.test))
    most = min(MOST_SAMPLES, len(trained_on), len(held_out))
    means = []
    for split, indices in ((dataset.train, trained_on), (dataset.test, held_out)):
        parts: list[Tensor] = []
        for batch in _batches(split, _evenly_spaced(indices, most), batch_size, device):
            with autocast(device, precision):
                logits = model.real_logits(batch)
            if logits is None:
                return {}
            parts.append(logits.double())
        means.append(torch.cat(parts).mean().item())
    return {"discriminator_gap": means[0] - means[1]}


def _evenly_spaced(indices: np.ndarray, most: int) -> np.ndarray:
    """Evenly spaced ones of the given indices, at most the given number, (n,) int64."""
    size = min(len(indices), most)
    return indices[np.linspace(0, len(indices) - 1, size).round().astype(np.int64)]


def _batches(
    split: Split, chosen: np.ndarray, batch_size: int, device: torch.device
) -> Iterator[Batch]:
    """The chosen samples of a split with their labels, in batches; chosen is (n,) int64."""
    for first in range(0, len(chosen), batch_size):
        indices = chosen[first : first + batch_size]  # (B,)
        x = gather(split.images, indices).to(device)  # (B, *shape)
        y = None if split.labels is None else torch.from_numpy(split.labels[indices]).to(device)
        yield Batch(x, y)


MOST_CURVED = 64
"""Maximum number of held-out samples per curve: a diffusion model's take 27 network calls each."""

SHOWN = 8
"""Number of samples in a trajectory picture."""

MOST_CALLS = 100
"""Maximum number of network calls per sample of a trajectory: longer ones look alike."""


@dataclass(frozen=True)
class Inside:
    """Curves and trajectories of a model.

    Attributes:
        curves: rows of `bench.schema.CURVE_COLUMNS`.
        trajectories: by sampler, images in one row per sample, from noise to the result, (SHOWN ×
            S, C, H, W) float32 in [-1, 1], and S, the number of states per row.
    """

    curves: list[tuple[str, float, float, float, int]]
    trajectories: dict[str, tuple[Tensor, int]]


def look_inside(
    model: GenerativeModel,
    dataset: Dataset,
    *,
    seed: int,
    precision: str,
    batch_size: int,
    frequencies: Tensor | None = None,
) -> Inside:
    """Compute curves and trajectories without changing the model or the global random state.

    Args:
        model: any model.
        dataset: whose test split is shown.
        seed: of every generator.
        precision: "fp32" or "bf16".
        batch_size: most held-out samples at once.
        frequencies: probabilities of the class labels for class-conditional samplers, (K,); None
            for equal ones.
    """
    device = model.progress.device
    with evaluating(model):
        curves = _curves(model, dataset, seed, precision, min(batch_size, MOST_CURVED))
        trajectories = {}
        for name, sampler in model.samplers.items():
            cheap = sampler.nfe is not None and sampler.nfe <= MOST_CALLS
            if sampler.trajectory is None or not cheap or len(model.data_shape) != 3:
                continue
            with autocast(device, precision):
                generator = torch.Generator(device).manual_seed(seed)
                y = None
                if sampler.classes:
                    y = sample_labels(SHOWN, sampler.classes, frequencies, generator)
                states = sampler.trajectory(SHOWN, generator, y)  # S × (SHOWN, C, H, W)
            rows = torch.stack(list(states), dim=1).flatten(0, 1)  # (SHOWN · S, C, H, W)
            if torch.isfinite(rows).all():
                trajectories[name] = (rows.float().cpu(), len(states))
    return Inside(curves, trajectories)


def _curves(
    model: GenerativeModel, dataset: Dataset, seed: int, precision: str, samples: int
) -> list[tuple[str, float, float, float, int]]:
    """Means and standard errors of the model's curves over evenly spaced held-out samples."""
    device = model.progress.device
    batch = held_out_batch(dataset, samples, device)
    size = len(batch.x)
    with autocast(device, precision):
        found = model.held_out_curves(batch, torch.Generator(device).manual_seed(seed))
    rows = []
    for name, points in found.items():
        for at, values in points:
            spread = values.double().std().item() if size > 1 else float("nan")
            mean = values.double().mean().item()
            rows.append((name, float(at), mean, spread / size**0.5, size))
    return rows
