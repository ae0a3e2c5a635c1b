"""A recorded run, built again from its directory: the model with the weights that were scored."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from textwrap import shorten

import yaml
from hydra.utils import instantiate
from omegaconf import DictConfig, OmegaConf
from torch import Tensor

from bench import checkpoint
from bench.build import build_dataset, build_model, build_options
from bench.distributed import World
from bench.drawing import label_frequencies
from bench.evaluator import EvaluatorOptions
from bench.machine import choose_device, set_threads
from bench.records import RunDirectory, RunInUseError, read_status
from bench.targets import check_targets
from models.base import DataSpec, GenerativeModel


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
            f"is {dataset.hash}, name a folder of the former with --data-root"
        )
    model = build_model(cfg, dataset, choose_device(device))
    weights, step = _load_evaluated(model, run)
    name = "/".join(run.resolve().parts[-4:])
    options = build_options(cfg, dataset)
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
    """The configuration that a run was made with; it may be from elsewhere, and call only ours."""
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run directory, it has no config.yaml: name one such as "
            "results/runs/<dataset>/<model>/<variant>/seed=<seed>"
        )
    remedy = "delete the run and give its command again"
    try:
        written = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}): {remedy}") from error
    if not isinstance(written, dict) or "data_hash" not in written:
        raise ValueError(f"{path} is not the configuration of a run: {remedy}")
    check_targets(written, path)
    return OmegaConf.create(written)


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
