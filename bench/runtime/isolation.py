"""How every model is evaluated, and what that leaves as it was: modes and the random state."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import torch
from torch import nn

from bench.runtime.winograd import winograd
from models.base import GenerativeModel
from models.layers.prepared import Preparation


@contextmanager
def evaluating(model: GenerativeModel, layers: Preparation | None = None) -> Iterator[None]:
    """Eval mode, inference mode, prepared layers and fast convolutions inside, for every model.

    Afterwards the global random state and the modes of all modules are what they were.

    Args:
        model: the model.
        layers: its layers' prepared forms, if they are to be kept; None for new ones.
    """
    device, layers = model.progress.device, layers or Preparation(model)
    with (
        eval_mode(model),
        untouched_random_state(device),
        winograd(model),
        layers.used(),
        torch.inference_mode(),
    ):
        yield


@contextmanager
def as_recorded(device: torch.device, threads: int | None) -> Iterator[None]:
    """Compute as runs do, whatever the caller has set for the process, and restore that.

    Inside there is no autocast or inference mode of the caller, fp32 means fp32, new tensors are
    float32 on the CPU, and the device is the current one.

    Args:
        device: of the computation.
        threads: CPU threads of torch; None for as many as there are.
    """
    before, dtype = torch.get_num_threads(), torch.get_default_dtype()
    with ExitStack() as stack:
        if threads is not None and threads != before:
            torch.set_num_threads(threads)
            stack.callback(torch.set_num_threads, before)
        if dtype != torch.float32:
            torch.set_default_dtype(torch.float32)
            stack.callback(torch.set_default_dtype, dtype)
        if torch.get_default_device().type != "cpu":
            stack.enter_context(torch.device("cpu"))
        if torch.is_inference_mode_enabled():
            stack.enter_context(torch.inference_mode(mode=False))
        if torch.is_autocast_enabled(device.type):
            stack.enter_context(torch.autocast(device.type, enabled=False))
        if device.type == "cuda":
            stack.enter_context(torch.cuda.device(device))
            for backend in (torch.backends.cuda.matmul, torch.backends.cudnn):
                stack.callback(setattr, backend, "allow_tf32", backend.allow_tf32)
                setattr(backend, "allow_tf32", False)  # noqa: B010, a module to pyright
        yield


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Eval mode inside, every module's own mode again afterwards."""
    training = [module for module in model.modules() if module.training]
    if training:
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
