"""Scoring any model: every sampler × every metric, plus what drawing costs."""

import dataclasses
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from bench.cost.measure import sampling_cost
from bench.data.dataset import Dataset, from_stored
from bench.evaluation.extractors.base import Extractor, extract
from bench.evaluation.held_out import Inside, held_out_scores, look_inside
from bench.evaluation.metrics.copying import Copying, copying
from bench.evaluation.metrics.features import Features
from bench.evaluation.metrics.fid import fid_infinity
from bench.evaluation.metrics.memorisation import memorisation
from bench.evaluation.metrics.modes import class_agreement, class_histogram, mixture_modes
from bench.evaluation.metrics.quality import DENSITY_NEIGHBOURHOOD, quality
from bench.evaluation.reference import Reference
from bench.evaluation.sampling import (
    CLASS_LABELS,
    SampleBatch,
    batch_sizes,
    draw,
    label_frequencies,
)
from bench.runtime.device import autocast
from bench.runtime.isolation import eval_mode, untouched_random_state
from bench.runtime.memory import check_fits
from models.base import GenerativeModel, Sampler

SHOWN_IMAGES, SHOWN_POINTS = 64, 5000
MIN_SAMPLES = 10
"""Fewest samples that every metric is defined for: IS takes 10 splits."""
SCORED_BYTES, RESAMPLED_BYTES = 1024, 16
"""Fewest bytes of memory for scoring one sample, and more for each resample: see `quality`."""
MAX_COST_SECONDS = 3600.0
"""Longest time for timing one sampler; some seconds are enough."""
MAX_RESAMPLES = 100_000
"""Most replicates of a bootstrap: the ends of an interval are known to 0.3 % of its width then."""
MIN_HELD_OUT = 2
"""Fewest held-out samples that signs of copying are defined for: they are split in two."""


@dataclass(frozen=True)
class Evaluation:
    """One sampler's scores.

    Attributes:
        sampler: its name.
        values: scores and costs, by column of eval.csv.
        shown: the first samples, up to 64 images (N, C, H, W) or 5000 points (N, D), float32 in
            [-1, 1].
        class_labels: distribution of the classes that the sampler was asked for, see
            `bench.schema`; empty where it takes none.
        copying: whether the samples are copies as the first extractor sees them; None before the
            last evaluation point.
    """

    sampler: str
    values: dict[str, float | int | None]
    shown: Tensor
    class_labels: str = ""
    copying: Copying | None = None


@dataclass(frozen=True)
class EvaluatorOptions:
    """How models are evaluated, whatever they are.

    Attributes:
        samples: how many samples are drawn from each sampler.
        batch_size: how many are drawn at a time.
        seed: seed of the samples.
        precision: "fp32" or "bf16", for drawing; features are always extracted in fp32.
        cost_seconds: time spent on timing one sampler; 0 leaves the costs out.
        resamples: replicates behind the bootstrap intervals; 0 leaves the intervals out.
        class_labels: which classes class-conditional models are asked for: "data", as often as they
            occur in the data, or "uniform".
    """

    samples: int
    batch_size: int
    seed: int
    precision: str = "fp32"
    cost_seconds: float = 0.0
    resamples: int = 0
    class_labels: str = "data"

    def __post_init__(self) -> None:
        """Refuse settings that no evaluation could use."""
        check_settings(
            self.samples, self.batch_size, self.cost_seconds, self.resamples, self.class_labels
        )


def check_settings(
    samples: int | None, batch_size: int, cost_seconds: float, resamples: int, class_labels: str
) -> None:
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
    if cost_seconds > MAX_COST_SECONDS:
        raise ValueError(
            f"evaluator.cost_seconds={cost_seconds} is the time spent on timing each sampler: set "
            f"it to at most {MAX_COST_SECONDS:.0f}"
        )
    if resamples < 0:
        raise ValueError(f"evaluator.resamples must not be negative, got {resamples}")
    if resamples > MAX_RESAMPLES:
        raise ValueError(
            f"evaluator.resamples={resamples} would take hours and make no interval better: set it "
            f"to at most {MAX_RESAMPLES}"
        )
    if class_labels not in CLASS_LABELS:
        raise ValueError(
            f"evaluator.class_labels must be {' or '.join(CLASS_LABELS)}, got {class_labels!r}"
        )
    check_size(samples or MIN_SAMPLES, resamples, 0)


def check_size(samples: int, resamples: int, sample_bytes: int) -> None:
    """Refuse an evaluation that cannot fit into memory.

    Args:
        samples: how many are scored.
        resamples: replicates behind the bootstrap intervals.
        sample_bytes: of one sample as stored; 0 where that is not known yet.

    Raises:
        ValueError: saying what it would take and what fits.
    """
    resampled = RESAMPLED_BYTES * samples
    check_fits("evaluator.resamples", resamples, resampled, f"one over {samples} samples")
    each = sample_bytes + SCORED_BYTES + RESAMPLED_BYTES * resamples
    check_fits("evaluator.samples", samples, each, "one with its scores")


def check_data(dataset: Dataset) -> None:
    """Refuse data that nothing could be scored against, before extractors look at it.

    Raises:
        ValueError: there are too few images, or the training images are all the same.
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
    if all(np.array_equal(image, images[0]) for image in images[1:]):  # ends at the first other one
        raise ValueError(
            f"{dataset.name} has {train} training images that are all the same: there is no "
            "distribution to score, give images that differ"
        )


def check_limits(model: GenerativeModel, samples: int) -> None:
    """Refuse a model that cannot draw as many samples, before it is trained.

    Raises:
        ValueError: a sampler holds fewer samples, or stored ones of which only a part would be
            scored.
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


class Evaluator:
    """Evaluates models against one data set, always in the same way.

    The same seed gives the same latents at every evaluation point and for every model of the same
    shape. Training state is left untouched: the global random state is restored, the model returns
    to the mode that it was in, and no weight or buffer is written.

    Args:
        reference: the data that samples are compared with, as the extractors see it; metrics are
            computed once for each extractor.
        options: how to evaluate.
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
        on_draw: Callable[[str, int], None] = lambda sampler, drawn: None,
    ) -> list[Evaluation]:
        """Draw from every sampler of the model and score the samples.

        Args:
            model: any model, trained or not.
            last: whether this is the evaluation that tables show, with intervals, memorisation and
                costs as well.
            on_draw: told of every batch: the sampler's name and how many samples it has drawn.

        Returns:
            One evaluation per sampler, in the model's order.

        Raises:
            SamplesNotFiniteError: a sampler drew NaN or infinity.
            ValueError: a sampler drew the wrong shape.
        """
        device = model.progress.device
        with eval_mode(model), untouched_random_state(device), torch.inference_mode():
            evaluations = [
                self._evaluate_sampler(model, name, sampler, last=last, on_draw=on_draw)
                for name, sampler in model.samplers.items()
            ]
            said = self._held_out_scores(model) if last else {}
        for evaluation in evaluations:
            evaluation.values.update(said)
        return evaluations

    def look_inside(self, model: GenerativeModel) -> Inside:
        """What the model does step by step, for figures."""
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
        """What the model says about the test split; the same in the rows of all its samplers."""
        options = self.options
        return held_out_scores(
            model,
            self.reference.dataset,
            batch_size=options.batch_size,
            seed=options.seed,
            precision=options.precision,
        )

    def _evaluate_sampler(
        self,
        model: GenerativeModel,
        name: str,
        sampler: Sampler,
        *,
        last: bool,
        on_draw: Callable[[str, int], None],
    ) -> Evaluation:
        device = model.progress.device
        options = self.options
        batches, asked = [], []
        for batch in self._draw(name, sampler, device):
            batches.append(batch.stored)
            asked += [] if batch.classes is None else [batch.classes]
            on_draw(name, sum(map(len, batches)))
        stored = torch.cat(batches)  # (N, C, H, W) uint8, or points (N, D) float32
        classes = torch.cat(asked) if asked else None  # (N,)
        values: dict[str, float | int | None] = {"nfe": sampler.nfe}
        copied = None
        for extractor in self.reference.extractors:
            fake = extract(extractor, stored.split(options.batch_size), device)
            scores = self._scores(extractor, fake, last=last)
            values |= {f"{metric}_{extractor.name}": score for metric, score in scores.items()}
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
        shown = SHOWN_IMAGES if stored.ndim == 4 else SHOWN_POINTS
        asked_for = "uniform" if self._frequencies is None else "data"
        class_labels = "" if classes is None else asked_for
        return Evaluation(name, values, from_stored(stored[:shown]), class_labels, copied)

    def _scores(self, extractor: Extractor, fake: Features, *, last: bool) -> dict[str, float]:
        """The metrics of one extractor."""
        train = self.reference.train(extractor)
        scores = quality(train, fake, resamples=self.options.resamples if last else 0)
        if last:
            scores["fid_infinity"] = fid_infinity(train, fake)
            scores |= memorisation(
                train,
                self.reference.test(extractor),
                fake,
                nearest=self.reference.nearest(extractor),
                fid=scores["fid"],
            )
        return scores

    def _copying(self, extractor: Extractor, fake: Features) -> Copying:
        """Whether the samples are copies of training images, as one extractor sees them."""
        reference = self.reference
        train, test = (split(extractor).features for split in (reference.train, reference.test))
        return copying(train, test, fake.features, held_out=reference.closeness(extractor))

    def _classes(
        self, extractor: Extractor, fake: Features, asked: Tensor | None
    ) -> dict[str, float]:
        """Which of the data's own classes the samples show, if this extractor knows them."""
        if not extractor.names_classes or fake.logits is None:
            return {}
        dataset = self.reference.dataset
        frequencies = torch.from_numpy(self.reference.class_frequencies)
        scores = class_histogram(fake.logits, frequencies)
        if dataset.frequencies is None:  # no protocol asks for uniform classes
            del scores["reverse_kl"]
        if asked is not None:
            scores["class_agreement"] = class_agreement(fake.logits, asked)
        return scores

    def _draw(self, name: str, sampler: Sampler, device: torch.device) -> Iterator[SampleBatch]:
        """Batches of samples as stored."""
        options = self.options
        return draw(
            name,
            sampler,
            batch_sizes(options.samples, options.samples, options.batch_size),
            frequencies=self._frequencies,
            shape=self.reference.dataset.shape,
            seed=options.seed,
            precision=options.precision,
            device=device,
        )
