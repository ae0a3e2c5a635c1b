"""Builds objects (data set, model, trainer, evaluator) from settings."""

import math
from collections.abc import Mapping, Sequence
from functools import partial
from inspect import signature
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf, open_dict
from omegaconf.errors import InterpolationKeyError

from bench.build_model import build_model
from bench.config import MIN_SAMPLES, EvaluatorSettings, ModelSettings, Settings, setting_keys
from bench.data.batches import BatchStream
from bench.data.cache_root import announce, default_cache_root, note_name
from bench.data.dataset import Dataset, class_frequencies, few_images
from bench.errors import did_you_mean, type_errors_name
from bench.evaluation.blind_spots import BlindSpot
from bench.evaluation.evaluator import Evaluator, check_data
from bench.evaluation.extractors.base import Extractor, check_kept, extract
from bench.evaluation.extractors.patches import NAME as PATCHES
from bench.evaluation.extractors.registry import (
    build_extractor,
    check_classes,
    check_used,
    default_extractors,
    is_learned,
    stand_in,
    suited_extractors,
)
from bench.evaluation.options import EvaluatorOptions, options_for
from bench.evaluation.reference import Reference, check_finite
from bench.runtime.distributed import World
from bench.runtime.memory import check_fits
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec, GenerativeModel, LabelsError, ShapeError

CHECKED_IMAGES = 2
"""Images whose features are computed before training, to see that an extractor's weights fit."""


def build_dataset(settings: Settings, world: World, *, download: bool = True) -> Dataset:
    """Load the data; rank 0 goes first, so that it is downloaded and decoded once.

    Args:
        settings: of the run.
        world: this process among others.
        download: whether a published data set that is missing is downloaded to the data root.
    """
    load, cache = instantiate(settings.dataset.load), cache_root(settings)
    load = partial(load, data_root=settings.data_root, cache_root=cache, download=download)
    if "check_classes" in signature(load).parameters:  # loaders of users' own may lack it
        load = partial(load, check_classes=partial(_check_classes, settings))
    if world.is_main:
        announce(cache)
        dataset = load()
        note_name(cache, dataset.hash, dataset.name)
        world.barrier()
    else:
        world.barrier()
        dataset = load()
    return few_images(dataset, settings.dataset.train_images)


def check_few(settings: Settings) -> None:
    """Refuse fewer training images than a batch has, before any data is read.

    Raises:
        ValueError: naming both numbers.
    """
    images, batch = settings.dataset.train_images, settings.model.training.get("batch_size")
    trained = settings.model.training.get("optimizers")
    if trained and images is not None and isinstance(batch, int) and images < batch:
        raise ValueError(
            f"dataset.train_images={images} is less than one batch of {settings.model.name}: set "
            f"it to at least {batch}, or model.training.batch_size to at most {images}"
        )


def check_shape(settings: Settings) -> None:
    """Refuse a trained model that cannot be built for images of the configured size.

    The model is built once and dropped, which takes less time than reading images in vain. Nothing
    is checked where the data decides on the size.

    Raises:
        ShapeError: as the model's network raises it.
    """
    side, channels = (settings.dataset.load.get(key) for key in ("image_size", "channels"))
    if isinstance(side, int) and settings.model.training.get("optimizers"):
        shape = (channels if isinstance(channels, int) else 3, side, side)
        _try(settings.model, DataSpec(shape, 2, _unread, MIN_SAMPLES), ShapeError)


def _check_classes(settings: Settings, classes: int) -> None:
    """Refuse extractors and models that need class labels, once it is known that there are none.

    Raises:
        ValueError: naming what needs them.
    """
    evaluator, name = settings.evaluator, settings.dataset.name
    check_classes(evaluator.extractor, evaluator.weights, name, classes)
    side = settings.dataset.load.get("image_size") or 32
    if not classes and settings.model.training.get("optimizers"):
        _try(settings.model, DataSpec((3, side, side), 0, _unread, MIN_SAMPLES), LabelsError)


def _unread(indices: torch.Tensor) -> torch.Tensor:
    raise ValueError("the images have not been read yet")


def _try(settings: ModelSettings, spec: DataSpec, refusal: type[ValueError]) -> None:
    """Build a model and drop it; the random state is left untouched.

    Raises:
        ValueError: of the type `refusal`. Whatever else is wrong is said once it is built for the
            data itself.
    """
    with torch.random.fork_rng(devices=[]):
        try:
            instantiate(settings.build, _convert_="all")(spec)
        except refusal:
            raise
        except Exception:  # such as a held-out image that it asks for
            return


def build_trainer(
    settings: Settings, dataset: Dataset, device: torch.device, world: World, checkpoints: Path
) -> Trainer:
    """The model with its initial weights, its recipe and its batches, ready to train."""
    model = build_model(settings.model, dataset.spec(), device, seed=settings.seed)
    with type_errors_name("model.training"):
        recipe = instantiate(settings.model.training, _convert_="all")
    if not isinstance(recipe, Recipe):
        raise ValueError(
            f"model.training of {settings.model.name} must be a bench.training.recipe.Recipe"
        )
    check_fits(
        "model.training.batch_size",
        recipe.batch_size,
        _float_bytes(dataset) // world.size,
        "one sample as float32",
    )
    if model.phases:
        settings.budget.check_points(recipe.batch_size)
    batches = BatchStream(
        dataset.train,
        recipe.batch_size,
        settings.seed,
        flip=dataset.flip,
        world=world,
        trained_on=dataset.few,
    )
    return Trainer(model, recipe, settings.budget, batches, checkpoints, settings.trainer)


def build_options(settings: EvaluatorSettings, dataset: Dataset) -> EvaluatorOptions:
    """How to evaluate on this data set: as many samples as are held out, unless settings say."""
    check_data(dataset)
    sizes = len(dataset.train), len(dataset.test)
    return options_for(settings, dataset.name, dataset.shape, *sizes)


def _float_bytes(dataset: Dataset) -> int:
    """Bytes of one sample as models see it, float32."""
    return 4 * math.prod(dataset.shape)


def try_extractors(
    settings: EvaluatorSettings, dataset: Dataset, device: torch.device, cache: Path
) -> dict[str, Extractor]:
    """Refuse extractors that cannot be used, before a model is trained.

    Nothing is learned from the data, and no features of it are computed except of a few images.

    Returns:
        Those that had to be built for that, by name.

    Raises:
        ValueError: an extractor is unknown, or does not fit the data or its weights.
        FileNotFoundError: its weights are not available.
        PermissionError: what is computed could not be kept.
    """
    if dataset.num_classes:
        class_frequencies(dataset)  # refuses a class without images
    check_kept(cache)
    weights = _weights(settings)
    built = {}
    for name in extractor_names(settings, dataset):
        given = weights.get(name)
        if is_learned(name, dataset, given):
            continue
        extractor = build_extractor(name, dataset, device=device, cache_dir=cache, weights=given)
        some = torch.from_numpy(np.array(dataset.train.images[:CHECKED_IMAGES]))
        check_finite(extractor, dataset, extract(extractor, [some], device))
        built[name] = extractor
    return built


def check_judges(model: GenerativeModel, settings: EvaluatorSettings, dataset: Dataset) -> None:
    """Refuse a model that is trained on features of an extractor that scores it, or may.

    Raises:
        ValueError: naming the extractor.
    """
    names = extractor_names(settings, dataset)
    if settings.extractor is None and dataset.own:  # chosen later, see `suited_extractors`
        names.append(PATCHES)
    if shared := [name for name in names if name in model.trains_on]:
        raise ValueError(
            f"evaluator.extractor={shared[0]} would score a model that is trained on its features: "
            "name another extractor, or train the model on other features"
        )


def build_evaluator(
    options: EvaluatorOptions,
    dataset: Dataset,
    device: torch.device,
    cache: Path,
    built: Mapping[str, Extractor] = MappingProxyType({}),
) -> Evaluator:
    """The evaluator of this data set, its reference computed.

    Args:
        options: how to evaluate.
        dataset: the data.
        device: where features are computed.
        cache: root of what is kept between runs.
        built: extractors that exist already, by name.
    """
    extractors = build_extractors(options, dataset, device, cache, built)
    reference = build_reference(options, dataset, extractors, device, cache)
    reference.prepare()
    return Evaluator(reference, options)


def build_extractors(
    settings: EvaluatorSettings,
    dataset: Dataset,
    device: torch.device,
    cache: Path,
    built: Mapping[str, Extractor] = MappingProxyType({}),
) -> list[Extractor]:
    """The extractors named, or those that suit the data; each once. Args as `build_evaluator`."""
    weights = _weights(settings)
    made = dict(built)

    def build(name: str) -> Extractor:
        if name not in made:
            given = weights.get(name)
            made[name] = build_extractor(
                name, dataset, device=device, cache_dir=cache, weights=given
            )
        return made[name]

    def blind_spots(name: str) -> tuple[BlindSpot, ...] | None:
        """Those of an extractor, as the first or a further one; the features stay on disk."""
        extractors = [build(each) for each in dict.fromkeys((default_extractors(dataset)[0], name))]
        reference = build_reference(settings, dataset, extractors, device, cache)
        return reference.blind_spots(build(name))

    suited = suited_extractors(dataset, blind_spots) if settings.extractor is None else None
    return [build(name) for name in extractor_names(settings, dataset, suited)]


def stand_ins(
    settings: EvaluatorSettings,
    dataset: Dataset,
    device: torch.device,
    cache: Path,
    built: Mapping[str, Extractor] = MappingProxyType({}),
) -> list[tuple[Extractor, float]]:
    """Extractors as fast as those of `build_extractors`, and the seconds that making these takes.

    None is trained; which of the default ones a user's own images need is known only later. Args as
    `build_evaluator`.
    """
    weights = _weights(settings)

    def made(name: str) -> tuple[Extractor, float]:
        if name in built:
            return built[name], 0.0
        given = weights.get(name)
        return stand_in(name, dataset, device=device, cache_dir=cache, weights=given)

    return [made(name) for name in extractor_names(settings, dataset)]


def _weights(settings: EvaluatorSettings) -> dict[str, Path]:
    """Paths of weights that are given, by extractor."""
    return {name: Path(path) for name, path in settings.weights.items() if path}


def extractor_names(
    settings: EvaluatorSettings, dataset: Dataset, chosen: Sequence[str] | None = None
) -> list[str]:
    """The extractors that are named, else those chosen, else the default ones, each once.

    Raises:
        ValueError: weights are given for another one.
    """
    if settings.extractor is not None:
        chosen = settings.extractor
    elif chosen is None:
        chosen = default_extractors(dataset)
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    check_used(_weights(settings), names)
    return names


def build_reference(
    settings: EvaluatorSettings,
    dataset: Dataset,
    extractors: list[Extractor],
    device: torch.device,
    cache: Path,
) -> Reference:
    """The real data as these extractors see it; nothing is computed yet."""
    most = settings.further_reference
    return Reference(
        dataset,
        extractors,
        device=device,
        cache_dir=cache,
        batch_size=settings.batch_size,
        further_images=None if most is None else max(most, settings.samples or 0),
    )


def cache_root(settings: Settings) -> Path:
    """Where decoded data and reference features are kept."""
    return settings.cache_root or default_cache_root()


def check_keys(cfg: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse keys beside the settings that no setting interpolates: they would change nothing.

    Args:
        cfg: the composed configuration, unresolved.
        overrides: the command line's, of which those with + may have added keys to a data set or
            model.

    Raises:
        ValueError: naming the key and the settings that could be meant.
    """
    keys, config = setting_keys(), plain(cfg)
    added = {override.lstrip("+").partition("=")[0] for override in overrides if override[0] == "+"}
    beside = {".".join(key.split(".")[:2]) for key in added if key.partition(".")[0] in OPEN}
    unknown = config.keys() - {key.partition(".")[0] for key in keys}
    for key in sorted(unknown | (beside - set(keys))):
        if not _changes_others(cfg, config, key):
            known = [*keys, *(f"{name}.{own}" for name in OPEN for own in config[name])]
            remedy = did_you_mean(key, [name for name in known if name != key]) or "leave it out"
            raise ValueError(f"{key} is no setting, and no setting interpolates it: {remedy}")


OPEN = ("dataset", "model")
"""Sections that may hold more than their settings, for others to interpolate."""


def _changes_others(cfg: DictConfig, config: Mapping[str, Any], key: str) -> bool:
    """Whether the resolved configuration, apart from the key itself, depends on a key."""
    section, _, name = key.rpartition(".")
    without, rest = cfg.copy(), dict(config)
    place, other = without, rest
    if section:
        place, other = without[section], dict(config[section])
        rest[section] = other
    with open_dict(without):
        place.pop(name)
    other.pop(name)
    try:
        return plain(without) != rest
    except InterpolationKeyError:
        return True


def plain(cfg: DictConfig) -> dict[str, Any]:
    """Plain, resolved values."""
    container = OmegaConf.to_container(cfg, resolve=True)
    if not isinstance(container, dict):
        raise ValueError(f"expected a mapping, got {container!r}")
    return {str(key): value for key, value in container.items()}
