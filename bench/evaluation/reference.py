"""Features of the real data that samples are compared with, each computed once."""

from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from types import MappingProxyType

import numpy as np
import torch

from bench.data.dataset import Dataset, Split, class_frequencies
from bench.evaluation.blind_spots import BlindSpot, blind_spots
from bench.evaluation.extractors.base import (
    WHOLE,
    Extractor,
    Part,
    cached_features,
    cached_tensors,
    features_key,
    fixed_part,
    tensors_path,
)
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
from bench.evaluation.published import Published


class Reference:
    """Features of one data set, computed on first use, then kept in memory and on disk.

    Args:
        dataset: the data.
        extractors: the extractors, already on the device.
        device: where features are computed.
        cache_dir: folder in which they are kept between runs.
        batch_size: images extracted at a time.
        further_images: training images that extractors after the first are compared with, see
            `fixed_part`; None for all.
        published: statistics that FID is measured to instead of the training images, by extractor.
    """

    def __init__(
        self,
        dataset: Dataset,
        extractors: Sequence[Extractor],
        *,
        device: torch.device,
        cache_dir: Path,
        batch_size: int = 250,
        further_images: int | None = None,
        published: Mapping[str, Published] = MappingProxyType({}),
    ) -> None:
        self.dataset = dataset
        self.extractors = tuple(extractors)
        self.device = device
        self.cache_dir = cache_dir
        self.batch_size = batch_size
        self.published = published
        self._parts = dict.fromkeys((e.name for e in self.extractors), WHOLE)
        for extractor in self.extractors[1:]:
            self._parts[extractor.name] = fixed_part(dataset, further_images)
        self._features: dict[tuple[str, str], Features] = {}
        self._statistics: dict[str, tuple[Array, Array]] = {}
        if dataset.num_classes:
            _ = self.class_frequencies  # refuse a class without images before any work

    def prepare(self) -> None:
        """Compute everything that will be needed.

        Raises:
            ValueError: features are not finite, because the weights do not fit.
        """
        for extractor in self.extractors:
            for features in (self.train(extractor), self.test(extractor)):
                check_finite(extractor, self.dataset, features)
            self.nearest(extractor)
            self.closeness(extractor)
            self.blind_spots(extractor)

    def size(self, extractor: Extractor) -> int:
        """Number of training images that the samples are compared with."""
        return len(self._part(extractor).of(self.dataset.train, "train"))

    def train(self, extractor: Extractor) -> Features:
        """Features of the training split, the reference of quality metrics."""
        return self._split(extractor, self.dataset.train, "train")

    def trained(self, extractor: Extractor) -> Features:
        """Features of the training images that models see, among which copies are searched.

        An extractor that sees a part of the data only, of fewer images than models see, is limited
        to those in its part.
        """
        few, part = self.dataset.few, self._part(extractor)
        if few is None:
            return self.train(extractor)
        if part is WHOLE:
            return Features(self.train(extractor).features[few])
        seen = part.of(self.dataset.train, "train")
        if len(few) > len(seen):
            return Features(self.train(extractor).features[np.flatnonzero(np.isin(seen, few))])
        return self._split(extractor, self.dataset.train, "trained", Part({"trained": few}))

    def labels(self, extractor: Extractor) -> torch.Tensor:
        """Classes of the training images that samples are compared with, (N,) int64.

        Raises:
            ValueError: the data has no labels.
        """
        split = self.dataset.train
        if split.labels is None:
            raise ValueError(f"{self.dataset.name} has no labels")
        part = self._part(extractor).of(split, "train")
        return torch.from_numpy(np.asarray(split.labels, np.int64)[part])

    def test(self, extractor: Extractor) -> Features:
        """Features of the held-out split, the reference of copying metrics."""
        return self._split(extractor, self.dataset.test, "test")

    def statistics(self, extractor: Extractor) -> tuple[Array, Array]:
        """Mean (D,) and covariance (D, D) that FID is measured to, float64."""
        if extractor.name in self.published:
            published = self.published[extractor.name]
            return published.mu, published.sigma
        return self.train_statistics(extractor)

    def train_statistics(self, extractor: Extractor) -> tuple[Array, Array]:
        """Mean (D,) and covariance (D, D) of the training features, float64."""
        if extractor.name not in self._statistics:
            self._statistics[extractor.name] = statistics(self.train(extractor).features)
        return self._statistics[extractor.name]

    def nearest(self, extractor: Extractor) -> torch.Tensor:
        """Distance of every image trained on to the nearest other one, (N,)."""
        features = self.trained(extractor).features
        key = ("nearest", self.dataset.hash, len(features), *self._few)
        return self._cached(
            extractor, key, "nearest", lambda: nearest_distances(features.to(self.device))
        )

    def closeness(self, extractor: Extractor) -> torch.Tensor:
        """Closeness of held-out images to single real images, (T,), see `held_out_closeness`."""
        train, test = (split(extractor).features for split in (self.trained, self.test))
        key = ("closeness", self.dataset.hash, len(train), len(test), *self._few)
        return self._cached(
            extractor,
            key,
            "closeness",
            lambda: held_out_closeness(train.to(self.device), test.to(self.device)),
        )

    def blind_spots(self, extractor: Extractor) -> tuple[BlindSpot, ...] | None:
        """Known bad samples that this extractor's metrics do not separate from real data.

        None for points, which are their own features, and if there are too few images.
        """
        part = self._part(extractor)
        chosen = known_bad(self.dataset, part)
        if chosen is None:
            return None

        def compute() -> torch.Tensor:
            sets = self.train(extractor), self.test(extractor)
            size = self.batch_size
            return score_known_bad(extractor, chosen, *sets, device=self.device, batch_size=size)

        sizes = () if part is WHOLE else (self.size(extractor),)
        key = ("known bad", KNOWN_BAD_VERSION, self.dataset.hash, *sizes)
        bad, real = by_kind(self._cached(extractor, key, "scores", compute))
        return blind_spots(bad, real, len(chosen.test))

    @cached_property
    def class_frequencies(self) -> np.ndarray:
        """See `bench.data.dataset.class_frequencies`."""
        return class_frequencies(self.dataset)

    def missing(self, extractor: Extractor) -> int:
        """How many images have no features of this extractor yet, neither here nor on disk."""
        if not extractor.cacheable:
            return 0
        images = 0
        for name, split in (("train", self.dataset.train), ("test", self.dataset.test)):
            n = len(self._part(extractor).of(split, name))
            key = features_key(extractor, self.dataset.hash, name, n)
            known = (extractor.name, name) in self._features
            if not known and not tensors_path(self.cache_dir, key).exists():
                images += n
        return images

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
        for error in map(self.classifier_error, self.extractors):
            if error is not None:
                known["classifier_error"] = error
        return known

    def classifier_error(self, extractor: Extractor) -> float | None:
        """Share of held-out images that an extractor's classifier misclassifies, if known.

        None for extractors that do not classify into the data's classes.
        """
        if not extractor.names_classes or extractor.test_accuracy is None:
            return None
        parts = self.dataset.shape[0] if self.dataset.stacked_from else 1
        return 1 - extractor.test_accuracy**parts  # a stack is wrong if one of its digits is

    def _cached(
        self,
        extractor: Extractor,
        key: tuple[object, ...],
        name: str,
        compute: Callable[[], torch.Tensor],
    ) -> torch.Tensor:
        key = (*key, extractor.name, extractor.preprocessing, extractor.hash)
        return cached_tensors(self.cache_dir, key, lambda: {name: compute().cpu()})[name]

    @property
    def _few(self) -> tuple[str, ...]:
        """What keys of cached distances say of the images trained on; nothing for all."""
        return () if self.dataset.few is None else ("few",)

    def _part(self, extractor: Extractor) -> Part:
        """The part of the data that an extractor sees."""
        return self._parts.get(extractor.name, WHOLE)

    def _split(
        self, extractor: Extractor, split: Split, name: str, part: Part | None = None
    ) -> Features:
        key = (extractor.name, name)
        if key not in self._features:
            self._features[key] = cached_features(
                extractor,
                split,
                data_hash=self.dataset.hash,
                split_name=name,
                device=self.device,
                cache_dir=self.cache_dir,
                part=part or self._part(extractor),
                batch_size=self.batch_size,
            )
        return self._features[key]


def check_finite(extractor: Extractor, dataset: Dataset, features: Features) -> None:
    """Refuse an extractor whose weights do not fit.

    Raises:
        ValueError: features are not finite.
    """
    if not torch.isfinite(features.features).all():
        raise ValueError(
            f"{extractor.name} gives features of {dataset.name} that are not finite: check "
            f"evaluator.weights.{extractor.name}"
        )
