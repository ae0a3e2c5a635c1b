"""Builds a model from its settings and a description of the data."""

import torch
from hydra.utils import instantiate

from bench.config import ModelSettings
from bench.errors import type_errors_name
from bench.runtime.memory import must_fit
from models.base import DataSpec, GenerativeModel


def build_model(
    settings: ModelSettings, data: DataSpec, device: torch.device, *, seed: int
) -> GenerativeModel:
    """The model with its initial weights, a function of the seed, on the device."""
    torch.manual_seed(seed)  # the same on every rank and device
    return _built(settings, data, device)


def build_apart(
    settings: ModelSettings, data: DataSpec, device: torch.device, *, seed: int
) -> GenerativeModel:
    """As `build_model`, without touching the random state of this process."""
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(seed)
        return _built(settings, data, device)


def _built(settings: ModelSettings, data: DataSpec, device: torch.device) -> GenerativeModel:
    """The model with initial weights that the global random state decides on.

    Raises:
        ValueError: it cannot be made with these arguments, or is none.
    """
    with type_errors_name("model.build"), must_fit("model.build"):
        model = instantiate(settings.build, _convert_="all")(data)
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"model.build of {settings.name} must make a models.base.GenerativeModel")
    with must_fit("model.build"):
        model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model
