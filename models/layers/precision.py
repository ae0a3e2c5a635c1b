"""The precision of single operations inside mixed precision."""

from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor


def full_precision(x: Tensor) -> AbstractContextManager[Any]:
    """Switch autocast off on the device of x: operations keep the types of their arguments."""
    return torch.autocast(x.device.type, enabled=False)
