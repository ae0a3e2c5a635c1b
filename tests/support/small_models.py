"""Configured models with moved weights, batches and trainers for them, for comparing devices."""

from copy import deepcopy
from functools import cache
from pathlib import Path

import numpy as np
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from torch import Tensor

from bench.config import Budget, TrainerSettings
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import Batch, DataSpec, GenerativeModel

CLASSES = 3
HELD_OUT = 12


def shape_of(name: str) -> tuple[int, ...]:
    return (2,) if name.endswith(("_mlp", "_points")) else (3, 16, 16)


def batch_for(name: str, size: int = 8, seed: int = 1) -> Batch:
    x = torch.rand(size, *shape_of(name), generator=torch.Generator().manual_seed(seed)) * 2 - 1
    return Batch(channels_last(x), torch.arange(size) % CLASSES)


def channels_last(x: Tensor) -> Tensor:
    return x.contiguous(memory_format=torch.channels_last) if x.ndim == 4 else x


@cache
def _configured(name: str):
    with initialize_config_module("conf", version_base="1.3"):
        return compose("config", [f"model={name}"]).model


@cache
def _built(name: str) -> GenerativeModel:
    shape = shape_of(name)
    held_out = batch_for(name, HELD_OUT, seed=2)

    def labelled(n: int, *, uniform: bool) -> Batch:
        return batch_for(name, n, seed=3)

    data = DataSpec(shape, CLASSES, lambda index: held_out.x[index], HELD_OUT, labelled)
    torch.manual_seed(0)
    model = instantiate(_configured(name).build, _convert_="all")(data)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for parameter in model.parameters():  # some start at zero, and would hide what is behind
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))
    return model.to(memory_format=torch.channels_last)


def built(name: str, device: torch.device) -> GenerativeModel:
    """A copy of the model of that name, on the device, as the bench lays it out."""
    return deepcopy(_built(name)).to(device)


def trainer_of(
    name: str,
    device: torch.device,
    folder: Path,
    *,
    steps: int = 8,
    precision: str = "fp32",
    checkpoint_seconds: float = 60.0,
    batch_size: int = 8,
) -> Trainer:
    """A trainer of random images or points with a budget of steps, one update each."""
    shape = shape_of(name)
    generator = np.random.default_rng(0)
    images = generator.integers(0, 256, (64, *shape), dtype=np.uint8)
    if len(shape) == 1:
        images = generator.random((64, *shape), dtype=np.float32) * 2 - 1
    split = Split(images, np.arange(64, dtype=np.int64) % CLASSES)
    recipe: Recipe = instantiate(_configured(name).training, _convert_="all")
    recipe = Recipe(**{**vars(recipe), "batch_size": batch_size})
    model = built(name, device)
    repeats = model.phases[0].repeats
    return Trainer(
        model,
        recipe,
        Budget(images=steps * batch_size * repeats),
        BatchStream(split, batch_size, seed=0, flip=False),
        folder,
        TrainerSettings(
            log_every=10**6, checkpoint_seconds=checkpoint_seconds, precision=precision
        ),
    )
