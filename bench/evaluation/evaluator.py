"""Scoring any model: every sampler × every metric, plus what sampling costs."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from bench.config import MIN_SAMPLES
from bench.cost.measure import sampling_cost
from bench.data.dataset import Dataset, from_stored, kind_of
from bench.evaluation.extractors.base import Extractor, extract
from bench.evaluation.held_out import (
    Inside,
    discriminator_gap,
    held_out_scores,
    look_inside,
)
from bench.evaluation.metrics.copying import Copying, copying
from bench.evaluation.metrics.diversity import enough_per_class, fid_by_class, vendi_score
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import fid_infinity, frechet_distance, statistics
from bench.evaluation.metrics.memorisation import generalisation, memorisation
from bench.evaluation.metrics.modes import class_histogram, conditional_accuracy, mixture_modes
from bench.evaluation.metrics.neighbours import DENSITY_NEIGHBOURHOOD
from bench.evaluation.metrics.quality import quality
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from bench.evaluation.sampling import SampleBatch, batch_sizes, generate, label_frequencies
from bench.runtime.device import autocast
from bench.runtime.isolation import evaluating
from models.base import GenerativeModel, Sampler

SHOWN_IMAGES, SHOWN_POINTS = 64, 5000
VALIDATION = 1
"""Second key of the seed of the samples by which weights are selected (`validation_fid`)."""
MIN_HELD_OUT = 2
"""Fewest held-out samples that signs of copying are defined for: they are split in two."""


@dataclass(frozen=True)
class Evaluation:
    """One sampler's scores.

    Attributes:
        sampler: its name.
        values: scores and costs, by column of eval.csv.
        shown: the first samples, up to 64 images (N, C, H, W) or signals (N, C, L), or 5000 points
            (N, D), float32 in [-1, 1].
        class_labels: distribution of the requested classes, see `bench.schema`; empty if the
            sampler takes none.
        copying: result of the test for copies with the first extractor; None before the last
            evaluation point.
        worst_class: the class whose samples have the highest FID to the real images of it, with the
            first extractor for which that is computed; empty if there is none.
    """

    sampler: str
    values: dict[str, float | int | None]
    shown: Tensor
    class_labels: str = ""
    copying: Copying | None = None
    worst_class: str = ""


class _Classes(NamedTuple):
    """The classes of samples.

    Attributes:
        of_samples: that each was requested to have, or has if it is known, (N,) int64 in [0, K).
        expected: number of samples of each class, or its mean over seeds if requested, (K,).
    """

    of_samples: Tensor
    expected: Tensor


def check_data(dataset: Dataset) -> None:
    """Refuse data that samples cannot be scored against.

    Raises:
        ValueError: there are too few images, or all training images are equal.
    """
    train, test = len(dataset.train), len(dataset.test)
    if train <= DENSITY_NEIGHBOURHOOD:
        raise ValueError(
            f"{dataset.name} has {train} training images: scores need more than "
            f"{DENSITY_NEIGHBOURHOOD}, add images"
        )
    if test < MIN_HELD_OUT:
        raise ValueError(
            f"{dataset.name} has too few held-out images ({test}): signs of copying need at least "
            f"{MIN_HELD_OUT}, add images"
        )
    images = dataset.train.images
    if all(np.array_equal(image, images[0]) for image in images[1:]):  # stops early
        raise ValueError(
            f"{dataset.name} has {train} training images that are all the same: there is no "
            "distribution to score, give images that differ"
        )


def check_limits(model: GenerativeModel, samples: int) -> None:
    """Refuse a model that holds another number of samples than are to be scored.

    Raises:
        ValueError: a sampler has fewer samples, or more but in a stored order, of which a part is
            no fair sample.
    """
    for name, sampler in model.samplers.items():
        limit = sampler.limit
        if limit is None or samples == limit or (samples < limit and not sampler.ordered):
            continue
        if limit < MIN_SAMPLES:
            advice = f"scores need at least {MIN_SAMPLES}, add samples"
        elif sampler.ordered:
            advice = f"set evaluator.samples={limit}"
            if samples < limit:
                advice += (
                    ", or model.take=random for a random part of them: the first of a stored list "
                    "are no fair sample"
                )
        else:
            advice = f"set evaluator.samples to at most {limit}"
        raise ValueError(f"evaluator.samples={samples}, but {name} holds {limit}: {advice}")


def samplers_at(model: GenerativeModel, *, last: bool, every: bool) -> dict[str, Sampler]:
    """The samplers that are scored at an evaluation point.

    Args:
        model: any model.
        last: whether it is the last point, at which all are scored.
        every: whether all are scored before it, too (`evaluator.every_sampler`), and not only the
            first.
    """
    samplers = dict(model.samplers)
    return samplers if last or every else dict(islice(samplers.items(), 1))


class Evaluator:
    """Evaluates models against one data set.

    The same seed gives the same latents at every evaluation point and for every model of the same
    shape. Training state is left untouched: the global random state is restored, the model returns
    to its former mode, and no weight or buffer is written.

    Args:
        reference: features of the data; metrics are computed for each of its extractors.
        options: the settings.
    """

    def __init__(self, reference: Reference, options: EvaluatorOptions) -> None:
        self.reference = reference
        self.options = options
        self._frequencies = label_frequencies(reference.dataset, options.class_labels)  # (K,)

    def evaluate(
        self,
        model: GenerativeModel,
        *,
        last: bool,
        on_batch: Callable[[str, int], None] = lambda sampler, samples: None,
    ) -> list[Evaluation]:
        """Generate and score samples.

        The last point is complete. Earlier ones have what learning curves and the detection of
        collapse need: the first sampler (or all: `evaluator.every_sampler`), all metrics of the
        extractor that ranks models, and the classes of the samples.

        Args:
            model: any model, trained or not.
            last: whether this is the evaluation that tables show: of every sampler, with every
                extractor, intervals, memorisation and costs.
            on_batch: called after every batch with the name of the sampler and its number of
                samples so far.

        Returns:
            One evaluation per sampler of `samplers_at`.

        Raises:
            SamplesNotFiniteError: a sampler returned NaN or infinity.
            ValueError: a sampler returned samples of the wrong shape.
        """
        samplers = samplers_at(model, last=last, every=self.options.every_sampler)
        with evaluating(model):
            evaluations = [
                self._evaluate_sampler(model, name, sampler, last=last, on_batch=on_batch)
                for name, sampler in samplers.items()
            ]
            held_out = self._held_out_scores(model) if last else {}
        for evaluation in evaluations:
            evaluation.values.update(held_out)
        return evaluations

    def validation_fid(self, model: GenerativeModel) -> float:
        """FID by which weights are selected: neither its samples nor its real ones are the score's.

        It compares samples of the first sampler, with a seed of their own, with the held-out split
        in the features of the extractor that ranks models.

        Raises:
            SamplesNotFiniteError: a sampler returned NaN or infinity.
            ValueError: a sampler returned samples of the wrong shape.
        """
        seeds = np.random.SeedSequence((self.options.seed, VALIDATION))
        seed = int(seeds.generate_state(1, np.uint64)[0]) >> 1
        extractor, device = self.reference.extractors[0], model.progress.device
        with evaluating(model):
            name, sampler = next(iter(model.samplers.items()))
            batches = [batch.stored for batch in self._generate(name, sampler, device, seed)]
            fake = extract(extractor, batches, device)
        held_out = self.reference.test(extractor)
        return frechet_distance(*statistics(held_out.features), *statistics(fake.features))

    def look_inside(self, model: GenerativeModel) -> Inside:
        """Curves and trajectories of the model, for figures."""
        options = self.options
        return look_inside(
            model,
            self.reference.dataset,
            seed=options.seed,
            precision=options.precision,
            batch_size=options.batch_size,
            frequencies=self._frequencies,
        )

    def _held_out_scores(self, model: GenerativeModel) -> dict[str, float]:
        """The model's scores on the test split, and its discriminator's gap to the training data.

        They are equal for all its samplers.
        """
        options = self.options
        dataset, batch_size = self.reference.dataset, options.batch_size
        scores = held_out_scores(
            model, dataset, batch_size=batch_size, seed=options.seed, precision=options.precision
        )
        gap = discriminator_gap(model, dataset, batch_size=batch_size, precision=options.precision)
        return scores | gap

    def _evaluate_sampler(
        self,
        model: GenerativeModel,
        name: str,
        sampler: Sampler,
        *,
        last: bool,
        on_batch: Callable[[str, int], None],
    ) -> Evaluation:
        device = model.progress.device
        options = self.options
        batches, asked = [], []
        for batch in self._generate(name, sampler, device):
            batches.append(batch.stored)
            asked += [] if batch.classes is None else [batch.classes]
            on_batch(name, sum(map(len, batches)))
        stored = torch.cat(batches)  # (N, C, H, W) uint8, or points or signals, float32
        classes = torch.cat(asked) if asked else None  # (N,)
        known = self._known_classes(sampler, classes)
        values: dict[str, float | int | None] = {"nfe": sampler.nfe}
        copied, worst_class = None, ""
        for k, extractor in enumerate(self.reference.extractors):
            scored = last or k == 0
            if not scored and not extractor.names_classes:
                continue
            fake = extract(extractor, stored.split(options.batch_size), device)
            if scored:
                scores, worst = self._scores(extractor, fake, known, last=last)
                values |= {f"{metric}_{extractor.name}": score for metric, score in scores.items()}
                worst_class = worst_class or worst
            values |= self._classes(extractor, fake, classes)
            if last and copied is None:
                copied = self._copying(extractor, fake)
        if (mixture := self.reference.dataset.mixture) is not None:
            values |= mixture_modes(stored, torch.from_numpy(mixture.centres), mixture.sigma)
        if last and options.cost_seconds > 0 and sampler.calls:
            seconds = options.cost_seconds
            with autocast(device, options.precision):
                measured = sampling_cost(model, sampler, seconds=seconds, device=device)
            values |= dataclasses.asdict(measured)
        shown = SHOWN_POINTS if kind_of(stored.shape[1:]) == "points" else SHOWN_IMAGES
        asked_for = "uniform" if self._frequencies is None else "data"
        class_labels = "" if classes is None else asked_for
        images = from_stored(stored[:shown])
        return Evaluation(name, values, images, class_labels, copied, worst_class)

    def _scores(
        self, extractor: Extractor, fake: Features, classes: _Classes | None, *, last: bool
    ) -> tuple[dict[str, float], str]:
        """The metrics of one extractor, and the class with the highest FID."""
        worst_class = ""
        train = self.reference.train(extractor)
        reference = self.reference.statistics(extractor)
        resamples = self.options.resamples if last else 0
        scores = quality(train, fake, resamples=resamples, reference=reference)
        if last:
            scores["fid_infinity"] = fid_infinity(train, fake, reference=reference)
            trained, test = self.reference.trained(extractor), self.reference.test(extractor)
            nearest = self.reference.nearest(extractor)
            fid = scores["fid"]
            if extractor.name in self.reference.published:  # MiFID is to the training images
                own = self.reference.train_statistics(extractor)
                fid = frechet_distance(*own, *statistics(fake.features))
            scores |= memorisation(trained, test, fake, nearest=nearest, fid=fid)
            scores |= generalisation(trained.features, test.features, fake.features)
            diverse, worst_class = self._diversity(extractor, fake.features, classes)
            scores |= diverse
        return scores, worst_class

    def _known_classes(self, sampler: Sampler, asked: Tensor | None) -> _Classes | None:
        """The classes of a sampler's samples; None if it takes none and nobody knows them.

        The class that a classifier sees in a sample does not count: a score by it would not be
        comparable with one by the class that was requested.
        """
        num_classes = self.reference.dataset.num_classes
        if sampler.labels is not None:
            known = sampler.labels()
            return _Classes(known, torch.bincount(known, minlength=num_classes))
        if asked is None:
            return None
        uniform = torch.full((num_classes,), 1 / num_classes, dtype=torch.float64)
        frequencies = uniform if self._frequencies is None else self._frequencies
        return _Classes(asked, len(asked) * frequencies)

    def _diversity(
        self, extractor: Extractor, fake: Tensor, classes: _Classes | None
    ) -> tuple[dict[str, float], str]:
        """The scores `bench.schema.DIVERSITY`, and the class with the highest FID.

        Points have no Vendi score: the angle between two of them is no similarity. FID by class is
        left out where a class has too few images or samples for it.
        """
        dataset = self.reference.dataset
        vendi = math.nan if kind_of(dataset.shape) == "points" else vendi_score(fake)
        scores = {"vendi": vendi}
        if classes is None:
            return scores, ""
        real, labels = self.reference.train(extractor).features, self.reference.labels(extractor)
        counts = torch.bincount(labels, minlength=dataset.num_classes)
        if not enough_per_class(fake.shape[1], counts, classes.expected):
            return scores, ""
        found = fid_by_class(real, labels, fake, classes.of_samples, dataset.num_classes)  # (K,)
        scores |= {"fid_by_class": float(found.mean()), "fid_worst_class": float(found.max())}
        return scores, dataset.classes[int(found.argmax())]

    def _copying(self, extractor: Extractor, fake: Features) -> Copying:
        """Test for copies of training images with the features of one extractor."""
        reference = self.reference
        train, test = (split(extractor).features for split in (reference.trained, reference.test))
        return copying(train, test, fake.features, held_out=reference.closeness(extractor))

    def _classes(
        self, extractor: Extractor, fake: Features, asked: Tensor | None
    ) -> dict[str, float]:
        """Scores of the samples' classes; none if this extractor does not classify them."""
        if not extractor.names_classes or fake.logits is None:
            return {}
        dataset = self.reference.dataset
        frequencies = torch.from_numpy(self.reference.class_frequencies)
        scores = class_histogram(fake.logits, frequencies)
        if dataset.frequencies is None:  # no protocol asks for uniform classes
            del scores["reverse_kl"]
        if asked is not None:
            scores["conditional_accuracy"] = conditional_accuracy(fake.logits, asked)
        return scores

    def _generate(
        self, name: str, sampler: Sampler, device: torch.device, seed: int | None = None
    ) -> Iterator[SampleBatch]:
        """Batches of samples as stored, of the seed of all evaluations or of another one."""
        options = self.options
        return generate(
            name,
            sampler,
            batch_sizes(options.samples, options.samples, options.batch_size),
            frequencies=self._frequencies,
            shape=self.reference.dataset.shape,
            seed=options.seed if seed is None else seed,
            precision=options.precision,
            device=device,
        )
