"""What other software can take of a model: calls of its networks, or a pipeline of diffusers.

Both are plain data. Neither diffusers nor any other such package is imported here.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Generator, Tensor


class NoCounterpartError(ValueError):
    """Other software has nothing that computes what a model does."""


@dataclass(frozen=True)
class Input:
    """An input of a call.

    Attributes:
        name: in small letters, such as "z" or "x_t".
        meaning: what it is, with its range, for those who use the file.
        examples: (n, generator) -> n such inputs, (n, …) float32 or int64, to check the file with.
    """

    name: str
    meaning: str
    examples: Callable[[int, Generator], Tensor]


@dataclass(frozen=True)
class NetworkCall:
    """A function of tensors that a sampler calls, with the network's weights in it.

    Attributes:
        compute: maps the inputs, in their order, to one tensor for each output, (B, …) float32. It
            takes no random numbers, and treats every sample of a batch alone.
        inputs: of any number of samples B, the same for all of them.
        outputs: what each output means, by its name.
        constants: numbers that a sampler needs beside the call, such as the noise schedule.
    """

    compute: Callable[..., tuple[Tensor, ...]]
    inputs: tuple[Input, ...]
    outputs: Mapping[str, str]
    constants: Mapping[str, Sequence[float]] = field(default_factory=dict)


@dataclass(frozen=True)
class DiffusersPipeline:
    """A `DDPMPipeline` of diffusers that samples as a model does.

    Attributes:
        unet: arguments of `UNet2DModel`.
        weights: its state dict.
        scheduler: arguments of `DDPMScheduler`.
    """

    unet: Mapping[str, Any]
    weights: Mapping[str, Tensor]
    scheduler: Mapping[str, Any]


def normal_input(name: str, shape: Sequence[int], meaning: str) -> Input:
    """An input of standard normal numbers, or of about their size.

    Args:
        name: of the input.
        shape: of one sample's.
        meaning: see `Input`.
    """
    return Input(name, meaning, lambda n, g: torch.randn((n, *shape), generator=g))


def uniform_input(name: str, low: float, high: float, meaning: str) -> Input:
    """An input of one number for each sample, between two bounds; see `normal_input`."""
    return Input(name, meaning, lambda n, g: low + (high - low) * torch.rand(n, generator=g))


def label_input(name: str, count: int, meaning: str) -> Input:
    """An input of one whole number in {0, …, count - 1} for each sample; see `normal_input`."""
    return Input(name, meaning, lambda n, g: torch.randint(count, (n,), generator=g))


def log_uniform_input(name: str, low: float, high: float, meaning: str) -> Input:
    """An input of one number for each sample, uniform in its logarithm; see `normal_input`."""
    ratio = high / low
    return Input(name, meaning, lambda n, g: low * ratio ** torch.rand(n, generator=g))
