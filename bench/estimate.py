"""What a run will take before it starts, from a timed step and timed batches."""

import hashlib
import json
import math
import time
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Generator, nn

from bench.build import build_reference, stand_ins
from bench.config import Budget, TrainerSettings
from bench.cost.measure import Stopwatch, synchronize
from bench.cost.training_flops import count_step
from bench.data.batches import BatchStream
from bench.data.dataset import Dataset
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.held_out import MOST_CURVED, MOST_SAMPLES, held_out_batch
from bench.evaluation.metrics.features import Features
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import check_finite
from bench.runtime.device import autocast
from bench.runtime.distributed import World
from bench.runtime.isolation import evaluating, untouched_random_state
from bench.runtime.progress import Forecast
from bench.training.trainer import Trainer
from models.base import Batch, GenerativeModel, Sampler
from models.layers.prepared import compile_forms

TRIVIAL = 3.0
"""Seconds below which one call, the first and slowest, is enough to estimate all."""

TIMED = 0.4
"""Seconds spent on timing what takes longer."""

_MOMENTS = (0.1, 0.5, 0.9)
"""Shares of the budget at which a step is timed: models may grow."""

_LONG = 1e12
"""Images of a budget that no timed step ends."""

_TILE = 1024
"""Samples whose distances are timed."""


def training_seconds(trainer: Trainer, dataset: Dataset, *, processes: int = 1) -> float:
    """Training seconds of the whole budget, exact where only seconds limit it.

    The trainer, its model and the global random state are unchanged.

    Args:
        trainer: of the run.
        dataset: what it is trained on.
        processes: that share each batch.
    """
    budget = trainer.budget
    if not trainer.phases:
        return 0.0
    limits = budget.limits()
    most = limits.get("seconds", float("inf"))
    if limits.keys() == {"seconds"}:
        return most
    found: list[tuple[float, float, float]] = []  # seconds, images and FLOPs of a step
    with untouched_random_state(trainer.device):
        probe = _probe(trainer, dataset, processes)
        for moment in _MOMENTS:
            found.append(_step(probe, moment, budget, processes))
    seconds = sum(each[0] for each in found)
    if "images" in limits:
        most = min(most, limits["images"] * seconds / sum(each[1] for each in found))
    if budget.flops is not None:
        most = min(most, budget.flops * seconds / sum(each[2] for each in found))
    return most


def _probe(trainer: Trainer, dataset: Dataset, processes: int) -> Trainer:
    """A trainer of a copy of the model, on one process's share of a batch."""
    recipe = trainer.recipe
    size = max(1, recipe.batch_size // processes)
    batches = BatchStream(
        dataset.train, size, 0, flip=dataset.flip, world=World(), trained_on=dataset.few
    )
    given = trainer.settings
    settings = TrainerSettings(  # not compiled
        seed=0, precision=given.precision, accumulate=given.accumulate
    )
    model = deepcopy(trainer.model)
    budget = Budget(images=_LONG)
    return Trainer(model, recipe, budget, batches, trainer.checkpoints, settings)


def _step(
    probe: Trainer, moment: float, budget: Budget, processes: int
) -> tuple[float, float, float]:
    """Mean seconds, images and FLOPs of one step at a share of the budget."""
    start = probe.spent.images = int(moment * _LONG)
    lazy = [phase for phase in probe.phases if phase.every > 1 and phase.active(moment)]

    def step() -> None:
        while any(probe.spent.step % phase.every == 0 for phase in lazy):
            probe.spent.step += 1
        probe.step()

    first = timed(step, probe.device)
    images = float(probe.spent.images - start)
    flops = 0.0
    if budget.flops is not None:
        flops = count_step(
            probe.model,
            probe.batch(0),
            batch_size=probe.recipe.batch_size,
            processes=processes,
            progress=moment,
        )
    steps = budget.limits().get("images", _LONG) / images
    if flops and budget.flops is not None:
        steps = min(steps, budget.flops / flops)
    seconds = _per_call(step, first, steps, probe.device)
    shown = {update: probe.batch(update) for phase in lazy for update in range(phase.repeats)}
    for phase in lazy:
        train = partial(probe.train_phase, phase, shown)
        first = timed(train, probe.device)
        seconds += _per_call(train, first, steps / phase.every, probe.device) / phase.every
    return seconds, images, flops


def timed(call: Callable[[], object], device: torch.device) -> float:
    """Seconds of work of one call."""
    stopwatch = Stopwatch(device)
    call()
    return stopwatch.read()


def _per_call(
    call: Callable[[], object], first: float, times: float, device: torch.device
) -> float:
    """Seconds of a call that was made once, timed again where many of them will take long."""
    if first * times <= TRIVIAL:
        return first
    taken: list[float] = []
    while not taken or sum(taken) < TIMED / 2:
        taken.append(timed(call, device))
    return min(first, sorted(taken)[len(taken) // 2])


class _EnoughError(Exception):
    """Ends the drawing of samples that was timed for long enough."""


def sampling_seconds(sampler: Sampler, options: EvaluatorOptions, device: torch.device) -> float:
    """Seconds in which all samples of one sampler are drawn; call it within `evaluating`.

    A draw is broken off after some calls of its networks: it takes as long as all of them.
    """
    if not sampler.calls:
        return 0.0
    samples = options.samples
    alone = _draw_seconds(sampler, 1, options, device)
    if alone * samples <= TRIVIAL:
        return alone * samples
    alone = min(alone, _draw_seconds(sampler, 1, options, device))  # the first one prepares
    each = alone / max(1, sampler.nfe or 1)
    n = max(1, min(options.batch_size, samples, int(TIMED / 2 / each)))
    whole = _draw_seconds(sampler, n, options, device)
    if whole < TIMED:  # also of a batch the first one is the slowest
        whole = min(whole, _draw_seconds(sampler, n, options, device))
    return samples / n * whole


def _draw_seconds(
    sampler: Sampler, n: int, options: EvaluatorOptions, device: torch.device
) -> float:
    """Seconds of one draw of n samples, from its first network calls if there are many."""
    calls = sampler.calls or {}
    since_second: list[Stopwatch] = []
    started, begun = 0, time.perf_counter()

    def hook(module: nn.Module, args: tuple[Any, ...]) -> None:
        nonlocal started
        started += 1
        if started == 2:  # the first call is the slowest
            since_second.append(Stopwatch(device))
        elif started > 2:
            synchronize(device)
            if time.perf_counter() - begun > TIMED:
                raise _EnoughError

    generator = Generator(device).manual_seed(0)
    handles = [network.register_forward_pre_hook(hook) for network in calls]
    try:
        with autocast(device, options.precision):
            return timed(partial(sampler.generate, n, generator, None), device)
    except _EnoughError:
        return since_second[0].read() / (started - 2) * (sampler.nfe or 1)
    finally:
        for handle in handles:
            handle.remove()


_ALONE, _SEARCHED, _BATCHES = 1000, 13_000, 10_000
"""Samples in a batch that take as long as the parts of `sampling_cost`, as measured with GANs,
diffusion models and flows: latency, the search for the best batch, for one call of the network,
and throughput.
"""


def measuring_seconds(sampler: Sampler, each: float, most: float) -> float:
    """Seconds in which the cost of a sampler is measured, within a third in most cases.

    Args:
        sampler: the sampler.
        each: seconds of one sample, in a batch.
        most: `evaluator.cost_seconds`, of which each part may take a quarter.
    """
    if not sampler.calls:
        return 0.0
    per_call = each / max(1, sampler.nfe or 1)
    parts = (_ALONE * each, _SEARCHED * per_call, _BATCHES * each)
    return sum(min(part, most / 4) for part in parts)


_FEW, _MORE = 2, 16
"""Numbers of held-out samples that are scored for the time of all."""


def held_out_seconds(
    model: GenerativeModel, dataset: Dataset, options: EvaluatorOptions, device: torch.device
) -> float:
    """Seconds of the model's scores and curves of held-out samples; call it within `evaluating`."""

    def whole(score: Callable[[Batch, Generator], object], n: int) -> float:
        """Seconds of n samples: those of each batch, and those of each sample."""

        def seconds(size: int) -> float:
            batch = held_out_batch(dataset, size, device)
            with autocast(device, options.precision):
                generator = Generator(device).manual_seed(0)
                return timed(partial(score, batch, generator), device)

        few = min(seconds(_FEW), seconds(_FEW))  # the first call may compile
        if few > 10 * TIMED:  # at most: many samples at once are faster
            return n / _FEW * few
        more = seconds(_MORE)
        each = max(0.0, more - few) / max(1, min(_MORE, len(dataset.test)) - _FEW)
        batches = math.ceil(n / options.batch_size)
        return n * each + batches * max(0.0, few - _FEW * each)

    n = len(dataset.test)
    curved = min(MOST_CURVED, options.batch_size, n)
    return whole(model.held_out_scores, min(MOST_SAMPLES, n)) + whole(model.held_out_curves, curved)


@dataclass(frozen=True)
class Extraction:
    """What an extractor costs.

    Attributes:
        seconds: of one sample, in a batch.
        features: numbers per sample.
    """

    seconds: float
    features: int


def extraction(extractor: Extractor, dataset: Dataset, device: torch.device) -> Extraction:
    """Time an extractor on a batch of the training data.

    Raises:
        ValueError: its features are not finite, because the weights do not fit.
    """
    images = torch.tensor(dataset.train.images[: extractor.batch_size])
    size = min(8, len(images))
    with torch.inference_mode():
        features = extractor(images[:size].to(device))[0]
        check_finite(extractor, dataset, Features(features))
        few = timed(lambda: extractor(images[:size].to(device)), device) / size
        n = max(size, min(len(images), int(TIMED / 4 / few)))
        seconds = timed(lambda: extractor(images[:n].to(device)), device) / n
    return Extraction(seconds, features.shape[1])


@dataclass(frozen=True)
class DataCosts:
    """What scoring costs on some data, whatever the model.

    Attributes:
        extractions: of each extractor.
        once: seconds of what is not there yet: trained extractors, features of the real data.
    """

    extractions: tuple[Extraction, ...]
    once: float


def data_costs(
    dataset: Dataset,
    options: EvaluatorOptions,
    device: torch.device,
    cache: Path,
    built: Mapping[str, Extractor] = MappingProxyType({}),
) -> DataCosts:
    """Time the extractors of a data set; none is trained, and no features are kept.

    The global random state is unchanged.

    Args:
        dataset: the data.
        options: how models are evaluated.
        device: where features are computed.
        cache: root of what is kept between runs.
        built: extractors that exist already, by name.

    Raises:
        ValueError: there is no such extractor, or its weights do not fit.
    """
    with untouched_random_state(device):
        made = stand_ins(options, dataset, device, cache, built)
        extractors = [extractor for extractor, _ in made]
        reference = build_reference(options, dataset, extractors, device, cache)
        found = tuple(extraction(extractor, dataset, device) for extractor in extractors)
    missing = zip(found, map(reference.missing, extractors), strict=True)
    once = sum(each.seconds * images for each, images in missing)
    return DataCosts(found, once + sum(seconds for _, seconds in made))


def scoring_seconds(
    features: int, options: EvaluatorOptions, dataset: Dataset, device: torch.device
) -> tuple[float, float]:
    """Seconds of the metrics of one extractor: at a point, and how many more at the last one.

    Passes over pairs of samples take most of it: three over the scored samples and as many real
    ones; at the last point some over all data, to look for copies.

    Args:
        features: numbers per sample.
        options: how models are evaluated.
        dataset: the data.
        device: where metrics are computed.
    """
    x = torch.randn(_TILE, features, device=device)

    def tile() -> None:
        (x @ x.T).mul_(-2).add_(1).min(1)

    tile()
    pair = timed(tile, device) / _TILE**2
    n, real = options.samples, len(dataset.train) + len(dataset.test)
    return 6 * pair * n * n, 6 * pair * n * (n + real)


def forecast(
    trainer: Trainer,
    extractions: Sequence[Extraction],
    dataset: Dataset,
    options: EvaluatorOptions,
    *,
    processes: int = 1,
) -> Forecast:
    """What a run takes: its training, an evaluation, and the last one, which has more in it.

    The trainer, its model and the global random state are unchanged.

    Args:
        trainer: of the run.
        extractions: what its extractors cost.
        dataset: its data.
        options: how it is evaluated.
        processes: that share each batch.
    """
    model, device = trainer.evaluated, trainer.device
    with untouched_random_state(device), evaluating(model):
        if device.type == "cpu":
            compile_forms(model, options.precision)
        samplers = list(model.samplers.values())
        sampling = [sampling_seconds(sampler, options, device) for sampler in samplers]
        followed = len(samplers) if options.every_sampler else 1  # see `samplers_at`
        point = sum(sampling[:followed])
        last = sum(sampling)
        for sampler, seconds in zip(samplers, sampling, strict=True):
            last += measuring_seconds(sampler, seconds / options.samples, options.cost_seconds)
        last += held_out_seconds(model, dataset, options, device)
        validation = sampling[0]  # see `Evaluator.validation_fid`
        for k, each in enumerate(extractions):
            scored, more = scoring_seconds(each.features, options, dataset, device)
            scored += each.seconds * options.samples
            point += followed * scored if k == 0 else 0.0
            validation += each.seconds * options.samples if k == 0 else 0.0
            last += len(samplers) * (scored + more)
    if trainer.phases and trainer.settings.keep == "best":
        point, last = point + validation, 2 * last + validation
    training = training_seconds(trainer, dataset, processes=processes)
    return Forecast(training, point, last, trainer.points)


def kind_of(config: Mapping[str, Any]) -> str:
    """A hash of all that decides what a run costs: no seed, learning rate or `train_images`."""
    free = ("optimizers", "lr_schedule")
    model = dict(config["model"])
    model["training"] = {k: v for k, v in model["training"].items() if k not in free}
    budget = {k: v for k, v in config["budget"].items() if k != "checkpoints"}
    names = ("dataset", "evaluator", "trainer", "precision", "threads", "device")
    others = {name: config[name] for name in names}
    others["dataset"] = {k: v for k, v in config["dataset"].items() if k != "train_images"}
    text = json.dumps({"model": model, "budget": budget, **others}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
