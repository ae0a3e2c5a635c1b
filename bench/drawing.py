"""Drawing from a sampler, always in the same way: what is exported is what was scored."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from bench.data.dataset import as_stored
from bench.machine import autocast
from models.base import Sampler


class SamplesNotFiniteError(Exception):
    """A sampler drew NaN or infinity: the model has no score."""


class Drawn(NamedTuple):
    """One batch of samples.

    Attributes:
        stored: images (B, C, H, W) uint8, or points (B, D) float32.
        classes: those that were asked for, (B,) int64 on the CPU; None where a sampler takes none.
    """

    stored: Tensor
    classes: Tensor | None


def batch_sizes(samples: int, scored: int, batch_size: int) -> Iterator[int]:
    """Split a draw into batches whose first `scored` samples are those that an evaluator draws.

    A sample depends on the batch that it is drawn in, so batches below `scored` are never cut, even
    if fewer samples are wanted: the last batch may overshoot.

    Args:
        samples: how many samples are wanted.
        scored: how many the evaluator draws.
        batch_size: how many are drawn at a time.
    """
    start = 0
    while start < samples:
        size = min(batch_size, (scored if start < scored else samples) - start)
        yield size
        start += size


def draw(
    name: str,
    sampler: Sampler,
    sizes: Iterable[int],
    *,
    shape: tuple[int, ...],
    seed: int,
    precision: str,
    device: torch.device,
) -> Iterator[Drawn]:
    """Yield batches of samples as stored, of uniform classes where the sampler takes classes.

    Call it in eval mode and without gradients.

    Args:
        name: the sampler's name, for errors.
        sampler: what to draw from.
        sizes: of the batches, B.
        shape: of one sample.
        seed: of the generator that all batches share.
        precision: "fp32" or "bf16".
        device: the model's device.

    Raises:
        SamplesNotFiniteError: the sampler drew NaN or infinity.
        ValueError: it drew the wrong shape.
    """
    generator = torch.Generator(device).manual_seed(seed)
    for n in sizes:
        y = None
        if sampler.classes:
            y = torch.randint(sampler.classes, (n,), generator=generator, device=device)
        with autocast(device, precision):
            x = sampler.draw(n, generator, y)  # (n, *shape)
        if x.shape != (n, *shape):
            raise ValueError(f"sampler {name} drew shape {tuple(x.shape)}, not {(n, *shape)}")
        if not torch.isfinite(x).all():
            raise SamplesNotFiniteError(f"sampler {name} drew values that are not finite")
        yield Drawn(as_stored(x), None if y is None else y.cpu())
