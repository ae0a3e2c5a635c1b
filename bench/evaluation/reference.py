"""Features of the real data that samples are compared with, each computed once."""

from collections.abc import Sequence
from functools import cached_property
from pathlib import Path

import numpy as np
import torch

from bench.data.dataset import Dataset, Split, class_frequencies
from bench.evaluation.blind_spots import BlindSpot, blind_spots
from bench.evaluation.extractors.base import Extractor, cached_features, cached_tensors
from bench.evaluation.extractors.known_bad import (
    KNOWN_BAD_VERSION,
    by_kind,
    known_bad,
    score_known_bad,
)
from bench.evaluation.metrics.copying import held_out_closeness
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import Array, statistics
from bench.evaluation.metrics.memorisation import nearest_distances
from bench.evaluation.metrics.modes import perfect_sampler


class Reference:
    """Features of one data set, computed on first use, then kept in memory and on disk.

    Args:
        dataset: the data.
        extractors: the extractors, already on the device.
        device: where features are computed.
        cache_dir: folder in which they are kept between runs.
        batch_size: images extracted at a time.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractors: Sequence[Extractor],
        *,
        device: torch.device,
        cache_dir: Path,
        batch_size: int = 250,
    ) -> None:
        self.dataset = dataset
        self.extractors = tuple(extractors)
        self.device = device
        self.cache_dir = cache_dir
        self.batch_size = batch_size
        self._features: dict[tuple[str, str], Features] = {}
        self._statistics: dict[str, tuple[Array, Array]] = {}
        if dataset.num_classes:
            _ = self.class_frequencies  # refuse a class without images before any work

    def prepare(self) -> None:
        """Compute everything that will be needed, so that errors show before a model is trained.

        Raises:
            ValueError: features are not finite, because the weights do not fit.
        """
        for extractor in self.extractors:
            for features in (self.train(extractor), self.test(extractor)):
                if not torch.isfinite(features.features).all():
                    raise ValueError(
                        f"{extractor.name} gives features of {self.dataset.name} that are not "
                        f"finite: check evaluator.weights.{extractor.name}"
                    )
            self.nearest(extractor)
            self.closeness(extractor)
            self.blind_spots(extractor)

    def train(self, extractor: Extractor) -> Features:
        """Features of the training split, the reference of quality metrics."""
        return self._split(extractor, self.dataset.train, "train")

    def test(self, extractor: Extractor) -> Features:
        """Features of the held-out split, the reference of copying metrics."""
        return self._split(extractor, self.dataset.test, "test")

    def statistics(self, extractor: Extractor) -> tuple[Array, Array]:
        """Mean (D,) and covariance (D, D) of the training features, float64."""
        if extractor.name not in self._statistics:
            self._statistics[extractor.name] = statistics(self.train(extractor).features)
        return self._statistics[extractor.name]

    def nearest(self, extractor: Extractor) -> torch.Tensor:
        """Distance of every training image to the nearest other one, (N,)."""
        key = ("nearest", self.dataset.hash, len(self.dataset.train), *_identity(extractor))
        features = self.train(extractor).features

        def compute() -> dict[str, torch.Tensor]:
            return {"nearest": nearest_distances(features.to(self.device)).cpu()}

        return cached_tensors(self.cache_dir, key, compute)["nearest"]

    def closeness(self, extractor: Extractor) -> torch.Tensor:
        """Closeness of held-out images to single real images, (T,), see `held_out_closeness`."""
        sizes = (len(self.dataset.train), len(self.dataset.test))
        key = ("closeness", self.dataset.hash, *sizes, *_identity(extractor))
        train, test = (split(extractor).features for split in (self.train, self.test))

        def compute() -> dict[str, torch.Tensor]:
            found = held_out_closeness(train.to(self.device), test.to(self.device))
            return {"closeness": found.cpu()}

        return cached_tensors(self.cache_dir, key, compute)["closeness"]

    def blind_spots(self, extractor: Extractor) -> tuple[BlindSpot, ...] | None:
        """Known bad samples that this extractor's metrics do not separate from real data.

        None for points, which are their own features, and if there are too few images.
        """
        chosen = known_bad(self.dataset)
        if chosen is None:
            return None
        key = ("known bad", KNOWN_BAD_VERSION, self.dataset.hash, *_identity(extractor))

        def compute() -> dict[str, torch.Tensor]:
            scores = score_known_bad(
                extractor,
                chosen,
                self.train(extractor),
                self.test(extractor),
                device=self.device,
                batch_size=self.batch_size,
            )
            return {"scores": scores}

        bad, real = by_kind(cached_tensors(self.cache_dir, key, compute)["scores"])
        return blind_spots(bad, real, len(chosen.test))

    @cached_property
    def class_frequencies(self) -> np.ndarray:
        """See `bench.data.dataset.class_frequencies`."""
        return class_frequencies(self.dataset)

    def expected_modes(self, samples: int) -> float | None:
        """Mean number of classes hit by this number of real samples; None for unlabelled data."""
        if not self.dataset.num_classes:
            return None
        return perfect_sampler(self.class_frequencies, samples)["modes_perfect"]

    def perfect(self, samples: int) -> dict[str, float]:
        """The columns `bench.schema.PERFECT` that follow from the data's distribution, if known."""
        dataset = self.dataset
        known: dict[str, float] = {}
        if dataset.frequencies is not None:
            dimensions = None if dataset.mixture is None else dataset.mixture.centres.shape[1]
            known |= perfect_sampler(dataset.frequencies, samples, dimensions=dimensions)
        for extractor in self.extractors:
            if extractor.names_classes and extractor.test_accuracy is not None:
                parts = (
                    dataset.shape[0] if dataset.stacked_from else 1
                )  # correct only if all digits are read correctly
                known["classifier_error"] = 1 - extractor.test_accuracy**parts
        return known

    def _split(self, extractor: Extractor, split: Split, name: str) -> Features:
        key = (extractor.name, name)
        if key not in self._features:
            self._features[key] = cached_features(
                extractor,
                split,
                data_hash=self.dataset.hash,
                split_name=name,
                device=self.device,
                cache_dir=self.cache_dir,
                batch_size=self.batch_size,
            )
        return self._features[key]


def _identity(extractor: Extractor) -> tuple[str, str, str]:
    """What the features of an extractor depend on."""
    return (extractor.name, extractor.preprocessing, extractor.hash)
