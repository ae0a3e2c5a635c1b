"""Builds objects (data set, model, trainer, evaluator) from settings."""

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from bench.config import MIN_SAMPLES, EvaluatorSettings, ModelSettings, Settings
from bench.data.batches import BatchStream
from bench.data.cache import default_cache_root
from bench.data.dataset import Dataset
from bench.errors import type_errors_name
from bench.evaluation.blind_spots import BlindSpot
from bench.evaluation.evaluator import Evaluator, EvaluatorOptions, check_data, check_size
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.registry import (
    build_extractor,
    default_extractors,
    stand_in,
    suited_extractors,
)
from bench.evaluation.reference import Reference
from bench.runtime.distributed import World
from bench.runtime.memory import check_fits, must_fit
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import GenerativeModel


def build_dataset(settings: Settings, world: World, *, download: bool = True) -> Dataset:
    """Load the data; rank 0 goes first, so that it is downloaded and decoded once.

    Args:
        settings: of the run.
        world: this process among others.
        download: whether a published data set that is missing is downloaded to the data root.
    """
    load = instantiate(settings.dataset.load)
    roots = {"data_root": settings.data_root, "cache_root": cache_root(settings)}
    load = partial(load, **roots, download=download)
    if world.is_main:
        dataset = load()
        world.barrier()
        return dataset
    world.barrier()
    return load()


def build_model(
    settings: ModelSettings, dataset: Dataset, device: torch.device, *, seed: int
) -> GenerativeModel:
    """The model with its initial weights, a function of the seed, on the device."""
    torch.manual_seed(seed)  # the same on every rank and device
    with type_errors_name("model.build"), must_fit("model.build"):
        model = instantiate(settings.build, _convert_="all")(dataset.spec())
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"model.build of {settings.name} must make a models.base.GenerativeModel")
    with must_fit("model.build"):
        model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model


def build_trainer(
    settings: Settings, dataset: Dataset, device: torch.device, world: World, checkpoints: Path
) -> Trainer:
    """The model with its initial weights, its recipe and its batches, ready to train."""
    model = build_model(settings.model, dataset, device, seed=settings.seed)
    recipe = instantiate(settings.model.training, _convert_="all")
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"model.training of {settings.model.name} must be a bench.training.recipe.Recipe"
        )
    check_fits(
        "training.batch_size",
        recipe.batch_size,
        _float_bytes(dataset) // world.size,
        "one sample as float32",
    )
    if model.phases:
        settings.budget.check_points(recipe.batch_size)
    batches = BatchStream(
        dataset.train, recipe.batch_size, settings.seed, flip=dataset.flip, world=world
    )
    return Trainer(model, recipe, settings.budget, batches, checkpoints, settings.trainer)


def build_options(settings: EvaluatorSettings, dataset: Dataset) -> EvaluatorOptions:
    """How to evaluate on this data set: as many samples as are held out, unless settings say."""
    check_data(dataset)
    samples = settings.samples
    if samples is None and len(dataset.test) < MIN_SAMPLES:
        raise ValueError(
            f"{dataset.name} holds out {len(dataset.test)} images and as many samples would be "
            f"scored: add images, or set evaluator.samples to at least {MIN_SAMPLES}"
        )
    samples = min(len(dataset.test), 10_000) if samples is None else samples
    check_size(samples, settings.resamples, math.prod(dataset.shape) * _item_bytes(dataset))
    at_once = min(settings.batch_size, max(samples, len(dataset.train), len(dataset.test)))
    check_fits("evaluator.batch_size", at_once, _float_bytes(dataset), "one sample as float32")
    return EvaluatorOptions(**{**vars(settings), "samples": samples})


def _item_bytes(dataset: Dataset) -> int:
    return dataset.train.images.dtype.itemsize


def _float_bytes(dataset: Dataset) -> int:
    """Bytes of one sample as models see it, float32."""
    return 4 * math.prod(dataset.shape)


def build_evaluator(
    options: EvaluatorOptions, dataset: Dataset, device: torch.device, cache: Path
) -> Evaluator:
    """The evaluator of this data set, its reference computed."""
    extractors = build_extractors(options, dataset, device, cache)
    reference = build_reference(options, dataset, extractors, device, cache)
    reference.prepare()
    return Evaluator(reference, options)


def build_extractors(
    settings: EvaluatorSettings, dataset: Dataset, device: torch.device, cache: Path
) -> list[Extractor]:
    """The extractors named, or those that suit the data; each once."""
    weights = _weights(settings)

    def build(name: str) -> Extractor:
        given = weights.get(name)
        return build_extractor(name, dataset, device=device, cache_dir=cache, weights=given)

    def blind_spots(name: str) -> tuple[BlindSpot, ...] | None:
        """Those of an extractor; what it computes is kept on disk."""
        extractor = build(name)
        return build_reference(settings, dataset, [extractor], device, cache).blind_spots(extractor)

    suited = suited_extractors(dataset, blind_spots) if settings.extractor is None else None
    return [build(name) for name in extractor_names(settings, dataset, suited)]


def stand_ins(
    settings: EvaluatorSettings, dataset: Dataset, device: torch.device, cache: Path
) -> list[tuple[Extractor, float]]:
    """Extractors as fast as those of `build_extractors`, and the seconds that making these takes.

    None is trained; which of the default ones a user's own images need is known only later.
    """
    return [
        stand_in(
            name, dataset, device=device, cache_dir=cache, weights=_weights(settings).get(name)
        )
        for name in extractor_names(settings, dataset)
    ]


def _weights(settings: EvaluatorSettings) -> dict[str, Path]:
    """Paths of weights that are given, by extractor."""
    return {name: Path(path) for name, path in settings.weights.items() if path}


def extractor_names(
    settings: EvaluatorSettings, dataset: Dataset, chosen: Sequence[str] | None = None
) -> list[str]:
    """The extractors that are named, else those chosen, else the default ones, each once.

    Raises:
        ValueError: none is named, one twice, or weights are given for another one.
    """
    if settings.extractor is not None:
        chosen = settings.extractor
    elif chosen is None:
        chosen = default_extractors(dataset)
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    if not names or len(set(names)) < len(names):
        raise ValueError(f"evaluator.extractor must name extractors once each, got {names}")
    if unused := sorted(_weights(settings).keys() - set(names)):
        raise ValueError(
            f"evaluator.weights are given for {unused}, which evaluator.extractor lacks: name "
            "the extractor there, or leave its weights out"
        )
    return names


def build_reference(
    settings: EvaluatorSettings,
    dataset: Dataset,
    extractors: list[Extractor],
    device: torch.device,
    cache: Path,
) -> Reference:
    """The real data as these extractors see it; nothing is computed yet."""
    return Reference(
        dataset, extractors, device=device, cache_dir=cache, batch_size=settings.batch_size
    )


def cache_root(settings: Settings) -> Path:
    """Where decoded data and reference features are kept."""
    return settings.cache_root or default_cache_root()


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain, resolved values."""
    container = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(container, dict):
        raise ValueError(f"expected a mapping, got {container!r}")
    return {str(key): value for key, value in container.items()}
