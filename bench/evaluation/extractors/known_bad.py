"""Known bad samples derived from a data set, and their scores with an extractor's metrics."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from bench.data.dataset import Dataset, kind_of
from bench.evaluation.blind_spots import (
    ASKED,
    BLURRED,
    GAUSSIAN,
    KINDS,
    MEAN,
    NEAR_COPIES,
    REPEATED,
    UNIFORM,
)
from bench.evaluation.extractors.base import WHOLE, Extractor, Part, extract
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.memorisation import memorisation
from bench.evaluation.metrics.quality import quality
from bench.evaluation.metrics.resampling import METRIC_SEED

KNOWN_BAD_VERSION = 1
"""Increment it when the bad samples or their scoring change."""

MOST_IMAGES = 1000
"""Maximum number of training images and of samples of each kind. Precision depends on it, so it is
close to that of a run."""

FEWEST_SAMPLES = 20
"""Minimum number of samples of each kind; with fewer, scores are noise and nothing is checked."""

BLUR = 1 / 8
"""Standard deviation of the blur relative to the image side; it leaves only blobs."""

HALF = 127.5
"""Half of the range of 8-bit values, in which noise and limits are given for signals as well."""

COPY_NOISE = 4.0
"""Standard deviation of the noise on near-copies, in grey levels of 255; hardly visible."""


@dataclass(frozen=True, eq=False)
class KnownBad:
    """Selected images of a data set, and the bad samples derived from them.

    Attributes:
        dataset: the data.
        train: indices of training images, in random order.
        test: indices of held-out images, which stand for samples of a perfect model.
        train_rows: where these training images are in the part that they were chosen from.
        test_rows: the same for the held-out images.
    """

    dataset: Dataset
    train: np.ndarray
    test: np.ndarray
    train_rows: np.ndarray
    test_rows: np.ndarray

    def batches(self, kind: str, batch_size: int) -> Iterator[Tensor]:
        """Batches of one kind as stored, (B, *shape), in total as many samples as `test`.

        Deterministic, and independent of the batch size.
        """
        n = len(self.test)
        if kind in (MEAN, REPEATED):
            image = self._mean_and_std[0] if kind == MEAN else self._images(self.train[:1])[0]
            yield self._stored(image)[None].expand(n, *self.dataset.shape)
            return
        make = self._makers()[kind]
        chosen = self.train[np.arange(n) % len(self.train)]
        generator = torch.Generator().manual_seed(METRIC_SEED + KINDS.index(kind))
        for start in range(0, n, batch_size):
            x = self._images(chosen[start : start + batch_size])  # (B, *shape)
            noise = torch.stack([_noise(x.shape[1:], generator, kind) for _ in x])
            yield self._stored(make(x, noise))

    def _makers(self) -> dict[str, Callable[[Tensor, Tensor], Tensor]]:
        """Functions from training images and noise to bad samples, all in [0, 255]."""
        mean, std = self._mean_and_std
        return {
            UNIFORM: lambda x, noise: noise,
            GAUSSIAN: lambda x, noise: mean + std * noise,
            BLURRED: lambda x, noise: blurred(x, self.dataset.shape),
            NEAR_COPIES: lambda x, noise: x + COPY_NOISE * noise,
        }

    def _images(self, indices: np.ndarray) -> Tensor:
        """Training samples as float32 in [0, 255], to which signals are mapped from [-1, 1]."""
        x = torch.from_numpy(np.array(self.dataset.train.images[indices]))
        return x.float() if x.dtype == torch.uint8 else (x + 1) * HALF

    def _stored(self, x: Tensor) -> Tensor:
        """The inverse of `_images`; values are limited to the range, those of images rounded."""
        x = x.clamp(0, 255) if kind_of(self.dataset.shape) == "signals" else _to_bytes(x)
        return x if x.dtype == torch.uint8 else x / HALF - 1

    @cached_property
    def _mean_and_std(self) -> tuple[Tensor, Tensor]:
        """Mean and deviation of every value over the selected training samples, shaped as one."""
        total = torch.zeros(self.dataset.shape, dtype=torch.float64)
        squares = total.clone()
        for start in range(0, len(self.train), 100):
            x = self._images(self.train[start : start + 100]).double()
            total += x.sum(0)
            squares += x.square().sum(0)
        mean = total / len(self.train)
        variance = (squares / len(self.train) - mean.square()).clamp(min=0)
        return mean.float(), variance.sqrt().float()


def known_bad(dataset: Dataset, part: Part = WHOLE) -> KnownBad | None:
    """Select images or signals of a data set; None for points, and if there are too few.

    Args:
        dataset: the data.
        part: the part of its images to choose from.
    """
    indices = (part.of(dataset.train, "train"), part.of(dataset.test, "test"))
    if kind_of(dataset.shape) == "points" or min(map(len, indices)) < FEWEST_SAMPLES:
        return None
    rng = np.random.default_rng(METRIC_SEED)
    rows = [rng.permutation(len(each))[:MOST_IMAGES] for each in indices]
    return KnownBad(dataset, indices[0][rows[0]], indices[1][rows[1]], *rows)


def score_known_bad(
    extractor: Extractor,
    chosen: KnownBad,
    train: Features,
    test: Features,
    *,
    device: torch.device | str = "cpu",
    batch_size: int = 250,
) -> Tensor:
    """Score known bad samples, and held-out images for comparison, with one extractor.

    Args:
        extractor: already on the device.
        chosen: the images and bad samples.
        train: features of the training split, or the part that `chosen` was selected from.
        test: the same of the test split.
        device: device of the extractor.
        batch_size: samples generated and extracted at a time.

    Returns:
        (kinds, metrics) float64, in the order of `KINDS` followed by a row of held-out images, and
        of `ASKED`. Metrics that are not checked for a kind, or undefined, are NaN.
    """
    reference = Features(train.features[chosen.train_rows])
    held_out = Features(test.features[chosen.test_rows[len(chosen.test) // 2 :]])
    images = chosen.dataset.test.images
    real = (
        torch.from_numpy(np.array(images[chosen.test[start : start + batch_size]]))
        for start in range(0, len(chosen.test), batch_size)
    )
    rows = []
    for kind in KINDS:
        fake = _features(extractor, chosen.batches(kind, batch_size), device)
        rows.append(_scores(reference, held_out, fake, kind))
    rows.append(_scores(reference, held_out, extract(extractor, real, device), None))
    return torch.tensor(rows, dtype=torch.float64)


def by_kind(scores: Tensor) -> tuple[dict[str, dict[str, float]], dict[str, float]]:
    """Scores of `score_known_bad` by kind and metric, and those of real data by metric."""
    rows = [dict(zip(ASKED, row, strict=True)) for row in scores.tolist()]
    return dict(zip(KINDS, rows[:-1], strict=True)), rows[-1]


def blurred(images: Tensor, shape: tuple[int, ...]) -> Tensor:
    """Blur samples (B, *shape), images or signals, by a Gaussian of an eighth of their side."""
    sigma = BLUR * min(shape[1:])
    along = _averages(shape[-1], sigma).T
    if kind_of(shape) == "signals":
        return images @ along
    return _averages(shape[-2], sigma) @ images @ along


def _averages(size: int, sigma: float) -> Tensor:
    """Gaussian weights of neighbours along one axis, (size, size); rows add up to 1."""
    at = torch.arange(size, dtype=torch.float64)
    weights = torch.exp(-(at[:, None] - at).square() / (2 * sigma**2))
    return (weights / weights.sum(1, keepdim=True)).float()


def _noise(shape: torch.Size, generator: torch.Generator, kind: str) -> Tensor:
    """Noise sampled image by image, so that it does not depend on batches."""
    if kind == UNIFORM:
        return torch.randint(0, 256, shape, generator=generator).float()
    return torch.randn(shape, generator=generator)


def _to_bytes(images: Tensor) -> Tensor:
    return images.round().clamp(0, 255).to(torch.uint8)


def _features(
    extractor: Extractor, batches: Iterator[Tensor], device: torch.device | str
) -> Features:
    """Features of batches; a repeated image, recognised by a zero stride, is extracted once."""
    parts = []
    for batch in batches:
        if len(batch) > 1 and batch.stride(0) == 0:
            one = extract(extractor, [batch[:1].contiguous()], device)
            n = len(batch)
            logits = None if one.logits is None else one.logits.expand(n, -1)
            parts.append(Features(one.features.expand(n, -1), logits))
        else:
            parts.append(extract(extractor, [batch], device))
    logits = [part.logits for part in parts if part.logits is not None]
    features = torch.cat([part.features for part in parts])
    return Features(features, torch.cat(logits) if logits else None)


def _scores(train: Features, held_out: Features, fake: Features, kind: str | None) -> list[float]:
    """The metrics of `ASKED` for one kind of samples; all of them for real data (None)."""
    asked = {metric for metric, kinds in ASKED.items() if kind is None or kind in kinds}
    scores: dict[str, float] = {}
    if asked & {"fid", "precision", "recall"}:
        scores |= quality(train, fake)
    if "authpct" in asked:
        copies = Features(fake.features[: len(fake) // 2])  # the other half is compared with
        scores |= memorisation(train, held_out, copies, fid=0.0)
    return [
        scores.get(metric, float("nan")) if metric in asked else float("nan") for metric in ASKED
    ]
