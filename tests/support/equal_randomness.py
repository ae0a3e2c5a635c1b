"""Equal random numbers on every device, so that CPU and GPU can be compared value by value."""

import re
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_map_only

aten = torch.ops.aten

SAMPLES = re.compile(
    r"aten::(rand|randn|randint|rand_like|randn_like|randint_like|randperm|multinomial|poisson|"
    r"normal|bernoulli|(normal|bernoulli|uniform|random|exponential|log_normal|cauchy|geometric)_)"
)
"""Operators that return random numbers. Fused attention, which may drop some, is not among them."""


class EqualRandomness(TorchDispatchMode):
    """Takes every random number from the CPU's global generator, in order, whatever the device.

    Generators given are ignored, and dropout's fused kernel takes its mask from the same place.
    Random tensors are filled in logical order, so that their memory format does not matter.
    """

    def __init__(self, seed: int) -> None:
        super().__init__()
        self.seed = seed

    def __enter__(self):
        torch.manual_seed(self.seed)
        return super().__enter__()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        kwargs = dict(kwargs or {})
        if func is aten.native_dropout.default:
            return dropout(*args, **kwargs)
        if SAMPLES.fullmatch(func._schema.name):
            return on_cpu(func, args, kwargs)
        return func(*args, **kwargs)


def on_cpu(func: Callable[..., Tensor], args: tuple, kwargs: dict[str, Any]) -> Tensor:
    """Sample on the CPU, with its global generator, and copy to where the result belongs."""
    first = next((arg for arg in args if isinstance(arg, Tensor)), None)
    device = kwargs.get("device") or (torch.device("cpu") if first is None else first.device)
    for name, value in (("device", torch.device("cpu")), ("generator", None), ("pin_memory", None)):
        if name in kwargs:
            kwargs[name] = value
    kwargs.pop("memory_format", None)
    args, kwargs = tree_map_only(Tensor, lambda x: x.detach().cpu().contiguous(), (args, kwargs))
    if func._schema.is_mutable:  # normal_, uniform_, bernoulli_, random_
        own = args[0] if first.device.type != "cpu" else args[0].clone()
        return first.copy_(func(own, *args[1:], **kwargs))
    sampled = func(*args, **kwargs)
    if first is not None and first.shape == sampled.shape:  # such as randn_like
        return torch.empty_like(first, dtype=sampled.dtype).copy_(sampled)
    return sampled.to(device)


def dropout(x: Tensor, p: float, train: bool | None) -> tuple[Tensor, Tensor]:
    """`native_dropout`, GPUs' kernel, with the numbers that the CPU's `dropout` takes."""
    if not train or p == 0:
        return aten.native_dropout(x, p, train)
    kept = torch.empty(x.shape, dtype=x.dtype).bernoulli_(1 - p).to(x.device)
    return x * kept / (1 - p), kept.bool()
