"""A recorded run, built again from its directory: the model with the weights that were scored."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from textwrap import shorten
from typing import Any

from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from bench.build import build_dataset, build_model, build_options, plain
from bench.config import Settings, read_settings
from bench.errors import RunInUseError, type_errors_name
from bench.evaluation.evaluator import EvaluatorOptions
from bench.evaluation.sampling import label_frequencies
from bench.former import with_present_targets
from bench.runs.constructors import check_targets, parents
from bench.runs.directory import RunDirectory, read_status
from bench.runtime.atomic_files import read_text
from bench.runtime.device import choose_device, set_threads
from bench.runtime.distributed import World
from bench.runtime.plain_files import MAX_BYTES, yaml_value
from bench.training import checkpoint
from models.base import DataSpec, GenerativeModel

MOST_GENERATIONS = 3
"""How deep runs may be made of the models of other runs."""


@dataclass(frozen=True)
class RecordedRun:
    """What a run directory holds, ready to draw from.

    Attributes:
        name: <dataset>/<model>/<variant>/seed=<seed>.
        shape: shape of one sample.
        model: the model with the weights that its evaluator scored.
        weights: which these are, "ema" or "raw".
        step: the training step that they are from.
        options: how the evaluator drew.
        frequencies: how often it asked a class-conditional model for each class, (K,); None for
            equally often.
    """

    name: str
    shape: tuple[int, ...]
    model: GenerativeModel
    weights: str
    step: int
    options: EvaluatorOptions
    frequencies: Tensor | None


def rebuild(run: Path, device: str, data_root: Path | None = None) -> RecordedRun:
    """Build the model of a recorded run with the weights of its newest checkpoint.

    The run may be from elsewhere: files that its configuration names are read and none is written.
    A published data set that is missing is downloaded to a folder of whoever calls this alone, and
    decoded data is kept in their cache.

    Args:
        run: the run directory.
        device: where the model shall be, see `choose_device`.
        data_root: where data sets lie; None for where they lay when the run was made or, if there
            is no such folder, for $BENCH_DATA or "data".

    Raises:
        FileNotFoundError: it is not a run directory, or a published data set is missing where the
            run had it.
        RunInUseError: the run is being trained.
        ValueError: there is no checkpoint yet, or it does not fit the model or the data.
    """
    config = plain(_recorded(run))
    settings = _settings(config, run)
    root = _data_root(settings) if data_root is None else data_root
    settings = replace(settings, cache_root=None, data_root=root)
    set_threads(settings.threads)
    ours = data_root is not None or root.resolve() == _own_root().resolve()
    dataset = build_dataset(settings, World(), download=ours)
    if dataset.hash != config["data_hash"]:
        raise ValueError(
            f"{run} was made with other data: the hash of {dataset.name} was "
            f"{config['data_hash']} and is {dataset.hash}, name a folder of the former with "
            "--data-root"
        )
    model = build_model(settings.model, dataset, choose_device(device), seed=settings.seed)
    weights, step = _load_evaluated(model, run)
    name = "/".join(run.resolve().parts[-4:])
    options = build_options(settings.evaluator, dataset)
    frequencies = label_frequencies(dataset, options.class_labels)
    return RecordedRun(name, dataset.shape, model, weights, step, options, frequencies)


def trained_or(
    build: Callable[[DataSpec], GenerativeModel], run: str | None
) -> Callable[[DataSpec], GenerativeModel]:
    """A model for a larger one to be made of: trained in an earlier run, or to be trained with it.

    Args:
        build: makes the model with fresh weights.
        run: a finished run's directory, whose model is taken with the weights that were scored;
            None for the fresh one.

    Returns:
        What makes the model; it raises as `rebuild` does where the run cannot be used, and
        ValueError where it is in training, has not finished or its data was of another shape.
    """
    if run is None:
        return build

    def load(data: DataSpec) -> GenerativeModel:
        cfg = _recorded(Path(run))
        try:
            _check_finished(Path(run), data.shape)
            with type_errors_name(f"{run}: model.build"):
                model = instantiate(cfg.model.build, _convert_="all")(data)
            _load_evaluated(model, Path(run))
        except RunInUseError as error:  # nobody is at the run that asks for it: it is not left
            raise ValueError(
                f"{run} is in training: give this command again once it has finished, or name "
                "another run"
            ) from error
        model.trained = True
        return model

    return load


def _check_finished(run: Path, shape: tuple[int, ...]) -> None:
    """Raise ValueError unless the run has finished, on data of this shape."""
    with RunDirectory(run, reading=True) as records:
        status, rows = read_status(run), records.eval_rows()
    if status is None or status.status != "finished":
        raise ValueError(f"{run} has not finished: run its command again, or name another run")
    wanted = "x".join(map(str, shape))
    if others := {row["image_shape"] for row in rows} - {wanted}:  # a U-Net's weights fit any size
        raise ValueError(
            f"{run} was made with data of shape {min(others)}, not {wanted}: name one on this data"
        )


def _recorded(run: Path) -> DictConfig:
    """The configuration that a run was made with; it may be from elsewhere, and is checked."""
    written = _read(run)
    _check_generations(run, written)
    return OmegaConf.create(written)


def _read(run: Path) -> dict[str, Any]:
    """The content of config.yaml of a run; all that it would call is listed or trusted."""
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        )
    remedy = "delete the run and give its command again"
    text = read_text(path, MAX_BYTES)
    try:
        written = yaml_value(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(written, dict) or "data_hash" not in written:
        raise ValueError(f"{path} is not the configuration of a run: {remedy}")
    written = with_present_targets(written)
    check_targets(written, path)
    if "build" not in written.get("model", {}):
        raise ValueError(f"{path} is not the configuration of a run: {remedy}")
    return written


def _check_generations(run: Path, config: Mapping[str, Any]) -> None:
    """Raise ValueError where runs are made of runs without end, as one that is made of itself."""
    configs = [config]
    for _ in range(MOST_GENERATIONS):
        named = {
            Path(parent).resolve()
            for one in configs
            for parent in parents(one, "bench.runs.reload.trained_or", "run")
        }
        if not named:
            return
        configs = [_read(parent) for parent in sorted(named)]
    raise ValueError(
        f"{run} is made of runs that are made of runs, {MOST_GENERATIONS} times or without end: do "
        "not use this run"
    )


def _settings(config: Mapping[str, Any], run: Path) -> Settings:
    """The settings that are recorded; ValueError where they cannot be used."""
    try:
        return read_settings(config, recorded=True)
    except ValueError as error:
        raise ValueError(f"{run / 'config.yaml'}: {error}") from error


def _data_root(settings: Settings) -> Path:
    """Where the data lay when the run was made, if that is there; else where ours lies."""
    return settings.data_root if settings.data_root.is_dir() else _own_root()


def _own_root() -> Path:
    """Where data sets lie, and are downloaded to, unless somebody says otherwise."""
    return Path(os.environ.get("BENCH_DATA", "data"))


def _load_evaluated(model: GenerativeModel, run: Path) -> tuple[str, int]:
    """Load the weights that `Trainer.evaluated` had: which they are, and their training step."""
    with RunDirectory(run, reading=True) as records:  # nobody may be writing checkpoints meanwhile
        state = checkpoint.load_latest(records.checkpoints, model.progress.device)
    if state is None:
        if model.phases:
            raise ValueError(f"{run} has no checkpoint: run its command again to train it")
        return "raw", 0
    averaged = state["ema"]
    try:
        model.load_state_dict(state["model"] if averaged is None else averaged)
    except RuntimeError as error:
        what = shorten(str(error), 300, placeholder=" …")  # torch names every tensor
        raise ValueError(f"{run}: its weights do not fit the model ({what})") from error
    return ("raw" if averaged is None else "ema"), state["spent"]["step"]
