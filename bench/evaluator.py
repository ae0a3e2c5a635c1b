"""Scoring any model: every sampler × every metric, plus what drawing costs."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from bench.cost import sampling_cost
from bench.data.dataset import Dataset
from bench.images import from_uint8, to_uint8
from bench.machine import autocast
from bench.metrics import class_histogram, quality
from bench.metrics.features import Extractor, Features, cached_features, extract
from bench.metrics.quality import NEIGHBOURHOOD
from bench.untouched import eval_mode, untouched_random_state
from models.base import GenerativeModel, Sampler

GRID_SAMPLES = 64
MIN_SAMPLES = 10
"""Fewest samples that every metric is defined for: IS takes 10 splits."""


class SamplesNotFiniteError(Exception):
    """A sampler drew NaN or infinity: the model has no score."""


@dataclass(frozen=True)
class Evaluation:
    """One sampler's scores.

    Attributes:
        sampler: its name.
        values: scores and costs, by column of eval.csv.
        grid: the first samples, (up to 64, C, H, W) float32 in [-1, 1].
    """

    sampler: str
    values: dict[str, float | int | None]
    grid: Tensor


def check_settings(samples: int | None, batch_size: int, cost_seconds: float) -> None:
    """Refuse settings that no evaluator could use, before anything is built.

    None samples are as many as the data set offers.

    Raises:
        ValueError: naming the setting and what it must be.
    """
    if samples is not None and samples < MIN_SAMPLES:
        raise ValueError(f"evaluator.samples must be at least {MIN_SAMPLES}, got {samples}")
    if batch_size < 1:
        raise ValueError(f"evaluator.batch_size must be at least 1, got {batch_size}")
    if not cost_seconds >= 0:
        raise ValueError(f"evaluator.cost_seconds must not be negative, got {cost_seconds}")


class Evaluator:
    """Evaluates models against one data set, always in the same way.

    The same seed gives the same latents at every evaluation point and for every model of the same
    shape. Training state is left untouched: the global random state is restored, the model returns
    to the mode that it was in, and no weight or buffer is written.

    Args:
        dataset: gives the reference (train split) and the class frequencies.
        extractors: what sees the images; metrics are computed once for each.
        cache_dir: where the features of the train split are kept, so that they are extracted once.
        samples: how many samples are drawn from each sampler.
        batch_size: how many are drawn at a time.
        seed: seed of the samples.
        precision: "fp32" or "bf16", for drawing; features are always extracted in fp32.
        cost_seconds: time spent on timing one sampler; 0 leaves the costs out.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractors: Sequence[Extractor],
        *,
        cache_dir: Path,
        samples: int,
        batch_size: int,
        seed: int,
        precision: str,
        cost_seconds: float,
    ) -> None:
        check_settings(samples, batch_size, cost_seconds)
        if len(dataset.train) <= NEIGHBOURHOOD:
            raise ValueError(
                f"{dataset.name} has {len(dataset.train)} training images: scores need more than "
                f"{NEIGHBOURHOOD}"
            )
        self.dataset = dataset
        self.extractors = extractors
        self.cache_dir = cache_dir
        self.samples = samples
        self.batch_size = batch_size
        self.seed = seed
        self.precision = precision
        self.cost_seconds = cost_seconds
        self._references: dict[str, Features] = {}
        self._class_counts = _count_classes(dataset) if dataset.num_classes else []

    def check(self, model: GenerativeModel) -> None:
        """Refuse a model that cannot draw enough, before it is trained.

        Raises:
            ValueError: a sampler is limited to fewer samples than are to be drawn.
        """
        for name, sampler in model.samplers.items():
            if sampler.limit is not None and self.samples > sampler.limit:
                raise ValueError(
                    f"evaluator.samples={self.samples}, but {name} has only {sampler.limit}: set "
                    f"evaluator.samples to at most {sampler.limit}"
                )

    def evaluate(
        self,
        model: GenerativeModel,
        *,
        cost: bool,
        on_draw: Callable[[str, int], None] = lambda sampler, drawn: None,
    ) -> list[Evaluation]:
        """Draw from every sampler of the model and score the samples.

        Args:
            model: any model, trained or not.
            cost: whether to time the samplers as well.
            on_draw: told of every batch: the sampler's name and how many samples it has drawn.

        Returns:
            One evaluation per sampler, in the model's order.

        Raises:
            SamplesNotFiniteError: a sampler drew NaN or infinity.
            ValueError: a sampler drew the wrong shape.
        """
        device = model.progress.device
        with eval_mode(model), untouched_random_state(device), torch.inference_mode():
            return [
                self._evaluate_sampler(model, name, sampler, cost=cost, on_draw=on_draw)
                for name, sampler in model.samplers.items()
            ]

    def _evaluate_sampler(
        self,
        model: GenerativeModel,
        name: str,
        sampler: Sampler,
        *,
        cost: bool,
        on_draw: Callable[[str, int], None],
    ) -> Evaluation:
        device = model.progress.device
        batches = []
        for batch in self._draw(name, sampler, device):
            batches.append(batch)
            on_draw(name, sum(map(len, batches)))
        images = torch.cat(batches)  # (N, C, H, W) uint8
        values: dict[str, float | int | None] = {"nfe": sampler.nfe}
        for extractor in self.extractors:
            reference = self._reference(extractor, device)
            fake = extract(extractor, images.split(self.batch_size), device)
            scores = quality(reference, fake)
            values |= {f"{metric}_{extractor.name}": score for metric, score in scores.items()}
            if extractor.names_classes and fake.logits is not None:
                values |= class_histogram(fake.logits, self._class_counts)
        if cost and self.cost_seconds > 0 and sampler.network is not None:
            with autocast(device, self.precision):
                measured = sampling_cost(model, sampler, seconds=self.cost_seconds, device=device)
            values |= dataclasses.asdict(measured)
        return Evaluation(name, values, from_uint8(images[:GRID_SAMPLES]))

    def _reference(self, extractor: Extractor, device: torch.device) -> Features:
        """Features of the train split; kept in memory once they are read."""
        if extractor.name not in self._references:
            self._references[extractor.name] = cached_features(
                extractor,
                self.dataset.train,
                data_hash=self.dataset.hash,
                split_name="train",
                device=device,
                cache_dir=self.cache_dir,
                batch_size=self.batch_size,
            )
        return self._references[extractor.name]

    def _draw(self, name: str, sampler: Sampler, device: torch.device) -> Iterator[Tensor]:
        """Yield batches of uint8 samples until there are `samples` of them."""
        generator = torch.Generator(device).manual_seed(self.seed)
        for start in range(0, self.samples, self.batch_size):
            n = min(self.batch_size, self.samples - start)
            with autocast(device, self.precision):
                x = sampler.draw(n, generator, None)  # (n, C, H, W)
            if x.shape != (n, *self.dataset.shape):
                raise ValueError(
                    f"sampler {name} drew shape {tuple(x.shape)}, not {(n, *self.dataset.shape)}"
                )
            if not torch.isfinite(x).all():
                raise SamplesNotFiniteError(f"sampler {name} drew values that are not finite")
            yield to_uint8(x).cpu()


def _count_classes(dataset: Dataset) -> list[int]:
    """How often each class occurs in the train split, (K,).

    Raises:
        ValueError: a class has no images, so that frequencies cannot be compared with its own.
    """
    counts = np.bincount(np.asarray(dataset.train.labels), minlength=dataset.num_classes)  # (K,)
    if empty := [name for name, n in zip(dataset.classes, counts, strict=True) if n == 0]:
        raise ValueError(
            f"{dataset.name} has no training images of {', '.join(empty)}: use dataset=folder for "
            "a part of its classes"
        )
    return counts.tolist()
