"""Sampling, identically for scoring and for export."""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import torch
from torch import Generator, Tensor

from bench.data.dataset import Dataset, as_stored, class_frequencies
from bench.runtime.device import autocast
from models.base import Sampler

CLASS_LABELS = ("data", "uniform")
"""Class labels for class-conditional models: with the frequencies of the data, or uniform."""


class SamplesNotFiniteError(Exception):
    """A sampler returned NaN or infinity: the model has no score."""


class SampleBatch(NamedTuple):
    """One batch of samples.

    Attributes:
        stored: images (B, C, H, W) uint8, or points (B, D) float32.
        classes: requested class labels, (B,) int64 on the CPU; None if the sampler takes none.
    """

    stored: Tensor
    classes: Tensor | None


def batch_sizes(samples: int, scored: int, batch_size: int) -> Iterator[int]:
    """Sizes of batches whose first `scored` samples are those that an evaluator generates.

    A sample depends on its batch, so batches below `scored` are never truncated, even if fewer
    samples are wanted: the last batch may contain more.

    Args:
        samples: number of samples wanted.
        scored: number of samples that the evaluator generates.
        batch_size: samples per batch of the evaluator.
    """
    start = 0
    while start < samples:
        size = min(batch_size, (scored if start < scored else samples) - start)
        yield size
        start += size


def label_frequencies(dataset: Dataset, class_labels: str) -> Tensor | None:
    """Probabilities of the class labels that a class-conditional model receives.

    Args:
        dataset: the reference.
        class_labels: "data", as often as they occur in the data, or "uniform".

    Returns:
        Probabilities by class, (K,) float64; None if all classes are equally probable, because that
        was chosen, the data is balanced, or it has no classes.
    """
    if class_labels == "uniform" or not dataset.num_classes:
        return None
    frequencies = torch.from_numpy(class_frequencies(dataset))
    return None if torch.allclose(frequencies, frequencies[:1], rtol=1e-9, atol=0) else frequencies


def sample_labels(
    n: int, num_classes: int, frequencies: Tensor | None, generator: Generator
) -> Tensor:
    """Sample independent class labels, (n,) int64 in [0, K), on the generator's device.

    Args:
        n: number of labels.
        num_classes: K.
        frequencies: probabilities by class, (K,); None for equal ones.
        generator: source of randomness.

    Raises:
        ValueError: frequencies are not K numbers.
    """
    if frequencies is None:
        return torch.randint(num_classes, (n,), generator=generator, device=generator.device)
    if frequencies.shape != (num_classes,):
        raise ValueError(
            f"class frequencies have shape {tuple(frequencies.shape)}, must be ({num_classes},)"
        )
    weights = frequencies.to(generator.device)
    return torch.multinomial(weights, n, replacement=True, generator=generator)


def generate(
    name: str,
    sampler: Sampler,
    sizes: Iterable[int],
    *,
    frequencies: Tensor | None = None,
    labels: Tensor | None = None,
    shape: tuple[int, ...],
    seed: int,
    precision: str,
    device: torch.device,
) -> Iterator[SampleBatch]:
    """Yield batches of samples in stored form.

    Class-conditional samplers get random labels unless labels are given.

    Call it in eval mode and without gradients.

    Args:
        name: the sampler's name, for errors.
        sampler: the sampler.
        sizes: batch sizes, B.
        frequencies: probabilities of the class labels, (K,), see `label_frequencies`; None for
            equal ones.
        labels: the class of every sample, (N,) int64, for N samples in all; None for random ones.
        shape: shape of one sample.
        seed: seed of the generator that all batches share.
        precision: "fp32" or "bf16".
        device: the model's device.

    Raises:
        SamplesNotFiniteError: the sampler returned NaN or infinity.
        ValueError: it returned the wrong shape.
    """
    generator = Generator(device).manual_seed(seed)
    start = 0
    for n in sizes:
        y = None
        if labels is not None:
            y = labels[start : (start := start + n)].to(device)
        elif sampler.classes:
            y = sample_labels(n, sampler.classes, frequencies, generator)
        with autocast(device, precision):
            x = sampler.generate(n, generator, y)  # (n, *shape)
        if x.shape != (n, *shape):
            raise ValueError(f"sampler {name} returned shape {tuple(x.shape)}, not {(n, *shape)}")
        if not torch.isfinite(x).all():
            raise SamplesNotFiniteError(f"sampler {name} returned values that are not finite")
        yield SampleBatch(as_stored(x), None if y is None else y.cpu())
