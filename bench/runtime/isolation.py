"""How every model is evaluated, and what that leaves as it was: modes and the random state."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn

from bench.runtime.winograd import winograd
from models.base import GenerativeModel
from models.layers.prepared import prepared


@contextmanager
def evaluating(model: GenerativeModel) -> Iterator[None]:
    """Eval mode, inference mode, prepared layers and fast convolutions inside, for every model.

    Afterwards the global random state and the modes of all modules are what they were.
    """
    device = model.progress.device
    with (
        eval_mode(model),
        untouched_random_state(device),
        winograd(model),
        prepared(model),
        torch.inference_mode(),
    ):
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode again afterwards."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


@contextmanager
def untouched_random_state(device: torch.device) -> Iterator[None]:
    """Restore the global random states of the CPU and of the device on leaving."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices=devices):
        yield
