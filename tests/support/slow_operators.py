"""Notice torch's operators that models should not call, since faster kernels are there."""

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch.overrides import TorchFunctionMode


class DirectConvolutions(TorchFunctionMode):
    """Shapes of the weights of wide 3x3 convolutions with stride 1 that torch computes directly."""

    def __init__(self) -> None:
        super().__init__()
        self.weights: list[torch.Size] = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func is torch.conv2d:
            self.see(*args, **(kwargs or {}))
        return func(*args, **(kwargs or {}))

    def see(self, input, weight, bias=None, stride=1, padding=0, dilation=1, groups=1):
        plain = all(value in (1, (1, 1)) for value in (stride, dilation, groups))
        if plain and weight.shape[2:] == (3, 3) and min(weight.shape[:2]) >= 96:
            self.weights.append(weight.shape)


class SlowOperators(TorchFunctionMode):
    """Names of torch's operators for which `models.layers` has faster kernels on CPUs.

    Not in forward-mode differentiation, for which it has none.
    """

    SLOW: ClassVar = {
        F.group_norm: "group_norm",
        torch.group_norm: "group_norm",
        F.batch_norm: "batch_norm",
        torch.batch_norm: "batch_norm",
        torch.conv_transpose2d: "conv_transpose2d",
    }

    def __init__(self) -> None:
        super().__init__()
        self.called: set[str] = set()

    def __torch_function__(self, func, types, args=(), kwargs=None):
        slow = func in self.SLOW and not torch._C._are_functorch_transforms_active()
        if slow and not self.is_fast(func, *args, **(kwargs or {})):
            self.called.add(self.SLOW[func])
        return func(*args, **(kwargs or {}))

    def is_fast(self, func, *args, bias=None, **_):
        return func is torch.conv_transpose2d and bias is None and args[2:3] in ((), (None,))
