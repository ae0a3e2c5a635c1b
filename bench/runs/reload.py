"""Rebuilding the model of a recorded run, with the weights that were scored."""

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from textwrap import shorten
from typing import Any, Literal, get_args

from hydra.utils import instantiate
from torch import Tensor

from bench.build_model import build_apart
from bench.columns import ALL_IMAGES
from bench.config import Settings, read_settings
from bench.data.dataset import Dataset
from bench.errors import RunInUseError, type_errors_name
from bench.evaluation.options import EvaluatorOptions, options_for
from bench.former import value_at, with_present_targets
from bench.runs.constructors import check_targets, parents
from bench.runs.data_record import DataRecord, read_data
from bench.runs.directory import RunDirectory, read_status
from bench.runtime.atomic_files import read_text
from bench.runtime.device import find_device
from bench.runtime.distributed import World
from bench.runtime.plain_files import MAX_BYTES, yaml_value
from bench.training import checkpoint
from models.base import DataIdentity, DataSpec, GenerativeModel

Keep = Literal["last", "best"]
"""Which weights of a run: the last ones, or those that `trainer.keep=best` has kept."""

MAX_GENERATIONS = 3
"""Maximum depth of runs whose models contain models of other runs."""

MOST_NAMED = 5
"""Most runs that a message names."""


@dataclass(frozen=True)
class RecordedRun:
    """A recorded run, ready for sampling.

    Attributes:
        name: <dataset>/<model>/<variant>/seed=<seed>.
        data: what is known of its data.
        model: the model with the weights that its evaluator scored.
        weights: "ema" or "raw".
        step: training step of the weights.
        options: settings of the evaluator.
        threads: CPU threads that the run was given; None for those that there were.
        point: evaluation point of the weights, where the best ones were asked for; else None.
    """

    name: str
    data: DataRecord
    model: GenerativeModel
    weights: str
    step: int
    options: EvaluatorOptions
    threads: int | None = None
    point: int | None = None

    @property
    def frequencies(self) -> Tensor | None:
        """Probabilities of the class labels that were scored, (K,); None if they are equal."""
        return self.data.label_frequencies(self.options.class_labels)


def rebuild(
    run: Path,
    device: str,
    data_root: Path | None = None,
    *,
    unfinished: str | None = None,
    keep: Keep = "last",
) -> RecordedRun:
    """Build the model of a recorded run with the weights of its newest or its best checkpoint.

    Nothing of this process changes: its random state, threads, or device. The data set is read only
    where the model itself asks for samples of it, or where the run is of a version that recorded
    nothing of the data. The run need not be trusted: files that its configuration names are only
    read. Missing published data sets are downloaded only to a data folder of the caller, and
    decoded data is kept in the caller's cache.

    Args:
        run: the run directory.
        device: device of the model, see `find_device`.
        data_root: folder of data sets; None for the recorded one or, if it does not exist,
            $BENCH_DATA or "data".
        unfinished: how the caller asks for a run that has not finished, for the message that
            refuses it; None to take it.
        keep: which weights: the last ones, or those with the lowest FID on held-out data.

    Raises:
        FileNotFoundError: it is not a run directory, or a published data set is missing.
        RunInUseError: the run is being trained.
        ValueError: it has not finished, there is no such checkpoint, or it does not fit the model
            or the data.
    """
    if keep not in get_args(Keep):
        raise ValueError(f"keep must be last or best, got {keep!r}")
    chosen = find_device(device)
    config = _recorded(run)
    settings = _settings(config, run)
    if keep == "best" and settings.trainer.keep != "best":
        raise ValueError(
            f"{run} was made with trainer.keep=last, and only its last weights are there: take "
            "these, or run its command with trainer.keep=best, which makes another run"
        )
    if unfinished is not None:
        _check_finished(run, unfinished)
    read = cache(partial(_read_dataset, run, settings, config["data_hash"], data_root))
    data = read_data(run, config["data_hash"])
    if data is None:
        data, spec = DataRecord.of(read()), read().spec()
    else:
        spec = data.spec(partial(_spec_of_missing, run, data.name, read))
    sizes = data.train_size, data.held_out_size
    options = options_for(settings.evaluator, data.name, data.shape, *sizes)
    model = build_apart(settings.model, spec, chosen, seed=settings.seed)
    load = _load_kept if keep == "best" else _load_evaluated
    weights, step, point = load(model, run)
    name = "/".join(run.resolve().parts[-4:])
    return RecordedRun(name, data, model, weights, step, options, settings.threads, point)


def _check_finished(run: Path, unfinished: str) -> None:
    """Raise ValueError unless the run has finished, RunInUseError if it is being trained."""
    with RunDirectory(run, reading=True):
        status = read_status(run)
    if status is None or status.status == "running":
        raise ValueError(
            f"{run} has not finished: give its command again to go on with it, or {unfinished} to "
            "take its last checkpoint"
        )
    if status.status == "failed":
        why = shorten(status.reason, 200, placeholder=" …")
        raise ValueError(f"{run} failed ({why}): name another run, or {unfinished} to take it")


def _read_dataset(run: Path, settings: Settings, data_hash: str, data_root: Path | None) -> Dataset:
    """The data set of a run; arguments and errors are those of `rebuild`."""
    from bench.build import build_dataset  # imports much, for nothing where the data is not read

    root = _data_root(settings) if data_root is None else data_root
    settings = replace(settings, cache_root=None, data_root=root)
    ours = data_root is not None or root.resolve() == _own_root().resolve()
    dataset = build_dataset(settings, World(), download=ours)
    if dataset.hash != data_hash:
        raise ValueError(
            f"{run} was made with other data: the hash of {dataset.name} was "
            f"{data_hash} and is {dataset.hash}, name a folder of the former with "
            "--data-root"
        )
    return dataset


def _spec_of_missing(run: Path, name: str, read: Callable[[], Dataset]) -> DataSpec:
    """Describe the data set to a model that asks for samples of it.

    Raises:
        ValueError: it cannot be read.
    """
    try:
        return read().spec()
    except (OSError, ValueError) as error:
        raise ValueError(
            f"{run}: its model needs samples of its data set, {name}, which cannot be read: {error}"
        ) from error


def trained_or(
    build: Callable[[DataSpec], GenerativeModel], run: str | None
) -> Callable[[DataSpec], GenerativeModel]:
    """A builder of a part of a larger model: taken from an earlier run, or new.

    Args:
        build: builds the part with initial weights.
        run: directory of a finished run whose model is used with the weights that were scored;
            None for `build`.

    Returns:
        The builder. It raises the errors of `rebuild`, and ValueError if the run is being trained,
        has not finished or was trained on other data.
    """
    if run is None:
        return build

    def load(data: DataSpec) -> GenerativeModel:
        config = _recorded(Path(run))
        try:
            _check_part(Path(run), config, data)
            with type_errors_name(f"{run}: model.build"):
                model = instantiate(config["model"]["build"], _convert_="all")(data)
            _load_evaluated(model, Path(run))
        except RunInUseError as error:  # the run in use is not the one that is started
            raise ValueError(
                f"{run} is in training: give this command again once it has finished, or name "
                "another run"
            ) from error
        model.trained = True
        return model

    return load


def _check_part(run: Path, config: Mapping[str, Any], data: DataSpec) -> None:
    """Raise ValueError unless the run has finished and was trained on this data."""
    with RunDirectory(run, reading=True) as records:
        status, rows = read_status(run), records.eval_rows()
    if status is None or status.status != "finished":
        raise ValueError(f"{run} has not finished: run its command again, or name another run")
    wanted = "x".join(map(str, data.shape))
    if others := {row["image_shape"] for row in rows} - {wanted}:  # a U-Net's weights fit any size
        raise ValueError(
            f"{run} was made with data of shape {min(others)}, not {wanted}: name one on this data"
        )
    if data.identity is not None:
        _check_identity(run, config, rows, data.identity)


def _check_identity(
    run: Path,
    config: Mapping[str, Any],
    rows: Sequence[Mapping[str, str]],
    data: DataIdentity,
) -> None:
    """Raise ValueError unless the run was trained on these images of this data."""
    if str(config["data_hash"]) != data.hash:
        named = value_at(config, "dataset.name")
        theirs = named if isinstance(named, str) else "data"
        raise ValueError(
            f"{run} was trained on other data: its dataset.name={theirs} had the hash "
            f"{config['data_hash']}, and dataset.name={data.name} has the hash {data.hash}: name a "
            "run on this data, or choose the data of that run"
        )
    recorded = {row.get("train_images") or ALL_IMAGES for row in rows}
    ours = ALL_IMAGES if data.train_images is None else str(data.train_images)
    if others := recorded - {ours}:
        theirs, given = (
            "null" if number == ALL_IMAGES else number for number in (min(others), ours)
        )
        raise ValueError(
            f"{run} was trained with dataset.train_images={theirs}, and here it is {given}: set "
            f"dataset.train_images={theirs}, or name a run with {given}"
        )


def _recorded(run: Path) -> dict[str, Any]:
    """The recorded configuration of a run, checked because it need not be trusted."""
    written = _read(run)
    _check_generations(run, written)
    return written


def _read(run: Path) -> dict[str, Any]:
    """The content of config.yaml; everything that it calls is listed or trusted."""
    path = run / "config.yaml"
    if not path.is_file():
        raise FileNotFoundError(
            f"{run} is not a run directory, it has no config.yaml: name one {_runs_below(run)}"
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


def _runs_below(folder: Path) -> str:
    """Which runs lie in a folder of runs, for a message; what they look like if there are none."""
    for depth in ("*", "*/*", "*/*/*"):
        found = [path.parent for path in sorted(folder.glob(f"{depth}/config.yaml"))]
        if found:
            names = [str(run.relative_to(folder)) for run in found[:MOST_NAMED]]
            more = f" and {len(found) - MOST_NAMED} more" if len(found) > MOST_NAMED else ""
            return f"of those in it, {', '.join(names)}{more}"
    return "such as results/runs/<dataset>/<model>/<variant>/seed=<seed>"


def _check_generations(run: Path, config: Mapping[str, Any]) -> None:
    """Raise ValueError if runs contain runs too deeply, or a run contains itself."""
    configs = [config]
    for _ in range(MAX_GENERATIONS):
        named = {
            Path(parent).resolve()
            for one in configs
            for parent in parents(one, "bench.runs.reload.trained_or", "run")
        }
        if not named:
            return
        configs = [_read(parent) for parent in sorted(named)]
    raise ValueError(
        f"{run} is made of runs that are made of runs, {MAX_GENERATIONS} times or without end: do "
        "not use this run"
    )


def _settings(config: Mapping[str, Any], run: Path) -> Settings:
    """The recorded settings; ValueError if they are invalid."""
    try:
        return read_settings(config, recorded=True)
    except ValueError as error:
        raise ValueError(f"{run / 'config.yaml'}: {error}") from error


def _data_root(settings: Settings) -> Path:
    """The recorded folder of data sets, if it exists, otherwise the caller's."""
    return settings.data_root if settings.data_root.is_dir() else _own_root()


def _own_root() -> Path:
    """The default folder of data sets and downloads."""
    return Path(os.environ.get("BENCH_DATA", "data"))


def _load_evaluated(model: GenerativeModel, run: Path) -> tuple[str, int, None]:
    """Load the last weights, which were scored; returns "ema" or "raw", and their step."""
    with RunDirectory(run, reading=True) as records:  # shared lock while reading
        state = checkpoint.load_latest(records.checkpoints, model.progress.device)
    if state is None:
        if model.phases:
            status = read_status(run)
            if status is None or status.status != "finished":
                raise ValueError(f"{run} has no checkpoint: run its command again to train it")
            raise ValueError(  # such as one of docs/evidence, without its weights
                f"{run} has no checkpoint any more: run its command again with another "
                "results_root to train it"
            )
        return "raw", 0, None
    averaged = state["ema"]
    _load_weights(model, state["model"] if averaged is None else averaged, run)
    return ("raw" if averaged is None else "ema"), state["spent"]["step"], None


def _load_kept(model: GenerativeModel, run: Path) -> tuple[str, int, int]:
    """Load the weights of the best evaluation point; "ema" or "raw", their step and this point."""
    with RunDirectory(run, reading=True) as records:  # shared lock while reading
        state = checkpoint.load_kept(records.checkpoints, model.progress.device)
    if state is None:
        raise ValueError(
            f"{run} has no weights of its best evaluation point: run its command again to train it"
        )
    _load_weights(model, state["weights"], run)
    return state["of"], state["step"], state["point"]


def _load_weights(model: GenerativeModel, weights: Mapping[str, Any], run: Path) -> None:
    """Load weights; ValueError if they do not fit the model."""
    try:
        model.load_state_dict(weights)
    except RuntimeError as error:
        what = shorten(str(error), 300, placeholder=" …")  # torch names every tensor
        raise ValueError(f"{run}: its weights do not fit the model ({what})") from error
