"""Configuration → objects; below this module the benchmark takes typed values."""

import math
from functools import partial
from pathlib import Path
from typing import Any

import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from bench.data.batches import BatchStream
from bench.data.cache import default_cache_root
from bench.data.dataset import Dataset
from bench.errors import type_errors_name
from bench.evaluation.blind_spots import BlindSpot
from bench.evaluation.evaluator import (
    MIN_SAMPLES,
    Evaluator,
    EvaluatorOptions,
    check_data,
    check_size,
)
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.registry import Check, build_extractor, suited_extractors
from bench.evaluation.reference import Reference
from bench.former import CLASS_LABELS, FORMER
from bench.runtime.distributed import World
from bench.runtime.memory import check_fits, must_fit
from bench.training.budget import Budget
from bench.training.recipe import Recipe, TrainerOptions
from bench.training.trainer import Trainer
from models.base import GenerativeModel


def build_dataset(cfg: DictConfig, world: World, *, download: bool = True) -> Dataset:
    """Load the data; rank 0 goes first, so that it is downloaded and decoded once.

    Args:
        cfg: the configuration.
        world: this process among others.
        download: whether a published data set that is missing is downloaded to cfg.data_root.
    """
    load = instantiate(cfg.dataset.load)
    roots = {"data_root": Path(cfg.data_root), "cache_root": cache_root(cfg)}
    load = partial(load, **roots, download=download)
    if world.is_main:
        dataset = load()
        world.barrier()
        return dataset
    world.barrier()
    return load()


def build_model(cfg: DictConfig, dataset: Dataset, device: torch.device) -> GenerativeModel:
    """The model with its initial weights, a function of the seed, on the device."""
    torch.manual_seed(cfg.seed)  # the same on every rank and device
    with type_errors_name("model.build"), must_fit("model.build"):
        model = instantiate(cfg.model.build, _convert_="all")(dataset.spec())
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"model.build of {cfg.model.name} must make a models.base.GenerativeModel")
    with must_fit("model.build"):
        model.to(device).to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    return model


def build_trainer(
    cfg: DictConfig,
    budget: Budget,
    dataset: Dataset,
    device: torch.device,
    world: World,
    checkpoints: Path,
) -> Trainer:
    """The model with its initial weights, its recipe and its batches, ready to train."""
    model = build_model(cfg, dataset, device)
    recipe = instantiate(cfg.model.training, _convert_="all")
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"model.training of {cfg.model.name} must be a bench.training.recipe.Recipe"
        )
    check_fits(
        "training.batch_size",
        recipe.batch_size,
        _float_bytes(dataset) // world.size,
        "one sample as float32",
    )
    if model.phases:
        budget.check_points(recipe.batch_size)
    with type_errors_name("trainer"):
        options = TrainerOptions(**plain(cfg.trainer))
    batches = BatchStream(
        dataset.train,
        recipe.batch_size,
        cfg.seed,
        flip=dataset.flip,
        rank=world.rank,
        world=world.size,
    )
    return Trainer(
        model,
        recipe,
        budget,
        batches,
        checkpoints,
        seed=cfg.seed,
        precision=cfg.precision,
        options=options,
        world=world,
    )


def build_extractors(cfg: DictConfig, dataset: Dataset, device: torch.device) -> list[Extractor]:
    """The extractors named, or those that suit the data; each once."""
    chosen = cfg.evaluator.extractor
    if chosen is None:
        chosen = suited_extractors(dataset, _check(cfg, dataset, device))
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    weights = {name: Path(path) for name, path in cfg.evaluator.weights.items() if path}
    if not names or len(set(names)) < len(names):
        raise ValueError(f"evaluator.extractor must name extractors once each, got {names}")
    if unused := sorted(weights.keys() - set(names)):
        raise ValueError(
            f"evaluator.weights are given for {unused}, which evaluator.extractor lacks: name "
            "the extractor there, or leave its weights out"
        )
    cache = cache_root(cfg)
    return [
        build_extractor(name, dataset, device=device, cache_dir=cache, weights=weights.get(name))
        for name in names
    ]


def _check(cfg: DictConfig, dataset: Dataset, device: torch.device) -> Check:
    """Finds the blind spots of an extractor; what it computes is kept on disk."""
    cache = cache_root(cfg)
    weights = cfg.evaluator.weights

    def check(name: str) -> tuple[BlindSpot, ...] | None:
        path = Path(weights[name]) if weights.get(name) else None
        extractor = build_extractor(name, dataset, device=device, cache_dir=cache, weights=path)
        reference = Reference(
            dataset,
            [extractor],
            device=device,
            cache_dir=cache,
            batch_size=cfg.evaluator.batch_size,
        )
        return reference.blind_spots(extractor)

    return check


def build_options(cfg: DictConfig, dataset: Dataset) -> EvaluatorOptions:
    """How to evaluate on this data set: as many samples as are held out, unless cfg says."""
    check_data(dataset)
    evaluator = cfg.evaluator
    samples = evaluator.samples
    if samples is None and len(dataset.test) < MIN_SAMPLES:
        raise ValueError(
            f"{dataset.name} holds out {len(dataset.test)} images and as many samples would be "
            f"scored: add images, or set evaluator.samples to at least {MIN_SAMPLES}"
        )
    samples = min(len(dataset.test), 10_000) if samples is None else samples
    check_size(samples, evaluator.resamples, math.prod(dataset.shape) * _item_bytes(dataset))
    at_once = min(evaluator.batch_size, max(samples, len(dataset.train), len(dataset.test)))
    check_fits("evaluator.batch_size", at_once, _float_bytes(dataset), "one sample as float32")
    return EvaluatorOptions(
        samples=samples,
        batch_size=evaluator.batch_size,
        seed=cfg.seed,
        precision=cfg.precision,
        cost_seconds=evaluator.cost_seconds,
        resamples=evaluator.resamples,
        class_labels=evaluator.get("class_labels", FORMER[CLASS_LABELS]),
    )


def _item_bytes(dataset: Dataset) -> int:
    return dataset.train.images.dtype.itemsize


def _float_bytes(dataset: Dataset) -> int:
    """Bytes of one sample as models see it, float32."""
    return 4 * math.prod(dataset.shape)


def build_evaluator(
    cfg: DictConfig, dataset: Dataset, options: EvaluatorOptions, device: torch.device
) -> Evaluator:
    """The evaluator of this data set, its reference computed."""
    reference = Reference(
        dataset,
        build_extractors(cfg, dataset, device),
        device=device,
        cache_dir=cache_root(cfg),
        batch_size=options.batch_size,
    )
    reference.prepare()
    return Evaluator(reference, options)


def cache_root(cfg: DictConfig) -> Path:
    """Where decoded data and reference features are kept."""
    return Path(cfg.cache_root) if cfg.cache_root else default_cache_root()


def build_budget(cfg: DictConfig) -> Budget:
    """The limits of cfg, the part `budget`; without any, training ends after a default."""
    limits = {name: cfg[name] for name in ("images", "seconds", "flops")}
    if all(limit is None for limit in limits.values()):
        limits["images"] = cfg.images_by_default
    with type_errors_name("budget"):
        return Budget(**limits, checkpoints=cfg.checkpoints)


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain, resolved values."""
    container = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(container, dict):
        raise ValueError(f"expected a mapping, got {container!r}")
    return {str(key): value for key, value in container.items()}
