"""What stands in for a layer while it is prepared for inference: when, and for which weights."""

import threading
from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import torch
from torch import Tensor, get_autocast_dtype, is_autocast_enabled, is_grad_enabled, nn
from torch._C import (
    _are_functorch_transforms_active,
    _get_tracing_state,
    _len_torch_dispatch_stack,
)
from torch.autograd import forward_ad
from torch.compiler import is_compiling

TYPES = (torch.float32, torch.bfloat16)
"""Of images that layers are prepared for."""


class Memory(threading.local):
    """Memory that kernels work in, one piece for each thread."""

    def __init__(self) -> None:
        self.piece, self.size, self.place = torch.empty(0), 0, 0

    def __reduce__(self) -> tuple[Any, ...]:
        """What copies are made of: nothing."""
        return Memory, ()

    def address(self, size: int) -> int:
        """The address of so many bytes, valid until this thread asks again."""
        if self.size < size:
            self.piece = torch.empty(size, dtype=torch.uint8)
            self.size, self.place = size, self.piece.data_ptr()
        return self.place


def precision(x: object) -> torch.dtype | None:
    """The type that a layer computes in for this input; None if it is not prepared for that.

    Anything but ordinary evaluation has its own rules: gradients, other devices, tensors that are
    more than memory, and modes in which operators are counted, traced or transformed.
    """
    if (
        type(x) is not Tensor
        or not x.is_cpu
        or is_grad_enabled()
        or _len_torch_dispatch_stack()
        or _are_functorch_transforms_active()
        or _get_tracing_state() is not None
        or forward_ad._current_level >= 0
        or is_compiling()
        or not x.numel()
    ):
        return None
    dtype = x.dtype
    if is_autocast_enabled("cpu"):
        cast = get_autocast_dtype("cpu")
        return cast if cast is torch.bfloat16 and dtype in TYPES else None
    return dtype if dtype is torch.float32 else None


class Source(NamedTuple):
    """A parameter or buffer, and what it was when it was used."""

    holder: dict[str, Any]
    name: str
    tensor: Tensor
    address: int
    version: int


def sources(layer: nn.Module) -> list[Source] | None:
    """All parameters and buffers of a layer; None if changes of one could not be seen."""
    found = []
    for module in layer.modules():
        for holder in (module._parameters, module._buffers):
            for name, tensor in holder.items():
                if tensor is None:
                    continue
                if tensor.is_inference() or not tensor.is_cpu or tensor.dtype != torch.float32:
                    return None
                source = Source(holder, name, tensor, tensor.data_ptr(), tensor._version)
                found.append(source)
    return found


def unchanged(found: list[Source]) -> bool:
    """Whether they are what they were."""
    for holder, name, tensor, address, version in found:
        same = holder.get(name) is tensor and tensor._version == version
        if not same or tensor.data_ptr() != address:
            return False
    return True


class Form:
    """What stands in for a method of a layer while it is prepared. A copy has nothing prepared."""

    method: ClassVar[str] = "forward"
    stands_for: ClassVar[tuple[Callable[..., Any], ...]] = ()
    """Implementations of the method that it may replace: not those of users' subclasses."""

    def __init__(self, layer: Any, memory: Memory) -> None:
        self.layer = layer
        self.memory = memory
        self.made: dict[torch.dtype, Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        """What copies are made of."""
        return type(self), (self.layer, self.memory)

    @classmethod
    def suits(cls, layer: nn.Module) -> bool:
        """Whether it computes what this layer does."""
        return getattr(type(layer), cls.method, None) in cls.stands_for

    def plain(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer computes without it."""
        return getattr(type(self.layer), self.method)(self.layer, *args, **kwargs)

    def weights(self, dtype: torch.dtype) -> Any:
        """What `make` returned, for weights as they are now; None if they cannot be used."""
        made = self.made.get(dtype)
        if made is None or not unchanged(made[0]):
            found = sources(self.layer)
            if found is None:
                return None
            with torch.no_grad(), torch.autocast("cpu", enabled=False):
                made = self.made[dtype] = found, self.make(dtype)
        return made[1]

    def make(self, dtype: torch.dtype) -> Any:
        """Prepare the layer's weights."""
        raise NotImplementedError
