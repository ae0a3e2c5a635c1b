"""Configuration → objects; below this module the benchmark takes typed values."""

from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf

from bench import checkpoint
from bench.budget import Budget
from bench.data.batches import BatchStream
from bench.data.cache import default_cache_root
from bench.data.dataset import Dataset
from bench.distributed import World
from bench.errors import type_errors_name
from bench.evaluator import Evaluator, EvaluatorOptions
from bench.machine import choose_device, set_threads
from bench.metrics.extractors import build_extractor, default_extractors
from bench.metrics.features import Extractor
from bench.recipe import Recipe, TrainerOptions
from bench.records import RunDirectory
from bench.reference import Reference
from bench.trainer import Trainer
from models.base import GenerativeModel


def build_dataset(cfg: DictConfig, world: World) -> Dataset:
    """Load the data; rank 0 goes first, so that it is downloaded and decoded once."""
    load = instantiate(cfg.dataset.load)
    load = partial(load, data_root=Path(cfg.data_root), cache_root=cache_root(cfg))
    if world.is_main:
        dataset = load()
        world.barrier()
        return dataset
    world.barrier()
    return load()


def build_model(cfg: DictConfig, dataset: Dataset, device: torch.device) -> GenerativeModel:
    """The model with its initial weights, a function of the seed, on the device."""
    torch.manual_seed(cfg.seed)  # the same on every rank and device
    with type_errors_name("model.build"):
        model = instantiate(cfg.model.build, _convert_="all")(dataset.spec())
    if not isinstance(model, GenerativeModel):
        raise ValueError(f"model.build of {cfg.model.name} must make a models.base.GenerativeModel")
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
        raise ValueError(f"model.training of {cfg.model.name} must be a bench.recipe.Recipe")
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
        chosen = default_extractors(dataset)
    names = [chosen] if isinstance(chosen, str) else list(chosen)
    weights = {name: Path(path) for name, path in cfg.evaluator.weights.items() if path}
    if not names or len(set(names)) < len(names):
        raise ValueError(f"evaluator.extractor must name extractors once each, got {names}")
    if unused := sorted(weights.keys() - set(names)):
        raise ValueError(
            f"evaluator.weights are given for {unused}, which evaluator.extractor lacks"
        )
    cache = cache_root(cfg)
    return [
        build_extractor(name, dataset, device=device, cache_dir=cache, weights=weights.get(name))
        for name in names
    ]


def build_evaluator(cfg: DictConfig, dataset: Dataset, device: torch.device) -> Evaluator:
    """The evaluator of this data set; loads the extractors."""
    evaluator = cfg.evaluator
    options = EvaluatorOptions(
        samples=_scored(cfg, dataset),
        batch_size=evaluator.batch_size,
        seed=cfg.seed,
        precision=cfg.precision,
        cost_seconds=evaluator.cost_seconds,
        resamples=evaluator.resamples,
    )
    extractors = build_extractors(cfg, dataset, device)
    reference = Reference(
        dataset,
        extractors,
        device=device,
        cache_dir=cache_root(cfg),
        batch_size=evaluator.batch_size,
    )
    return Evaluator(reference, options)


def _scored(cfg: DictConfig, dataset: Dataset) -> int:
    """How many samples are scored: as many as are held out, unless the configuration says."""
    samples = cfg.evaluator.samples
    return min(len(dataset.test), 10_000) if samples is None else samples


@dataclass(frozen=True)
class RecordedRun:
    """What a run directory holds, ready to draw from.

    Attributes:
        name: <dataset>/<model>/<variant>/seed=<seed>.
        shape: shape of one sample.
        model: the model with the weights that its evaluator scored.
        weights: which these are, "ema" or "raw".
        step: the training step that they are from.
        options: how the evaluator drew; what only concerns scores is left out.
    """

    name: str
    shape: tuple[int, ...]
    model: GenerativeModel
    weights: str
    step: int
    options: EvaluatorOptions


def rebuild(run: Path, device: str, data_root: Path | None = None) -> RecordedRun:
    """Build the model of a recorded run with the weights of its newest checkpoint.

    Args:
        run: the run directory.
        device: where the model shall be, see `choose_device`.
        data_root: where data sets lie; None for where they lay when the run was made.

    Raises:
        FileNotFoundError: it is not a run directory.
        RunInUseError: the run is being trained.
        ValueError: there is no checkpoint yet, or it does not fit the model or the data.
    """
    cfg = _recorded(run)
    if data_root is not None:
        cfg.data_root = str(data_root)
    set_threads(cfg.threads)
    dataset = build_dataset(cfg, World())
    if dataset.hash != cfg.data_hash:
        raise ValueError(
            f"{run} was made with other data: the hash of {dataset.name} was {cfg.data_hash} and "
            f"is {dataset.hash}"
        )
    model = build_model(cfg, dataset, choose_device(device))
    weights, step = _load_evaluated(model, run)
    options = EvaluatorOptions(
        samples=_scored(cfg, dataset),
        batch_size=cfg.evaluator.batch_size,
        seed=cfg.seed,
        precision=cfg.precision,
    )
    name = "/".join(run.resolve().parts[-4:])
    return RecordedRun(name, dataset.shape, model, weights, step, options)


def _recorded(run: Path) -> DictConfig:
    """The configuration that a run was made with."""
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        )
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): run the same command again") from error
    if not isinstance(written, dict) or "data_hash" not in written:
        raise ValueError(f"{path} is not the configuration of a run: run the same command again")
    return OmegaConf.create(written)


def _load_evaluated(model: GenerativeModel, run: Path) -> tuple[str, int]:
    """Load the weights that `Trainer.evaluated` had: which they are, and their training step."""
    with RunDirectory(run) as records:  # nobody may be writing checkpoints meanwhile
        state = checkpoint.load_latest(records.checkpoints, model.progress.device)
    if state is None:
        if model.phases:
            raise ValueError(f"{run} has no checkpoint: run its command again to train it")
        return "raw", 0
    averaged = state["ema"]
    try:
        model.load_state_dict(state["model"] if averaged is None else averaged)
    except RuntimeError as error:
        raise ValueError(f"{run}: its weights do not fit the model ({error})") from error
    return ("raw" if averaged is None else "ema"), state["spent"]["step"]


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
