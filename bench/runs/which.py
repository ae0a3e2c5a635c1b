"""Which run a configuration asks for: its directory, and another run that stands for it."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from bench.build import build_dataset
from bench.build_model import build_model
from bench.config import Settings, run_directory
from bench.evaluation.sampling import label_frequencies
from bench.former import ABSENT, CLASS_LABELS, overrides_of_before, value_at
from bench.runs.directory import read_status, recorded_config, was_made_with
from bench.runtime.device import resolve_precision
from bench.runtime.distributed import World

MAY_DIFFER = ("results_root", "data_root", "cache_root", "logger")
"""Parts of the configuration that may change when a run is resumed."""

BEFORE_DATA = (*MAY_DIFFER, "data_hash", "data_notes")
"""The same, and what is not known before the data is read."""


def place_of(
    settings: Settings, config: Mapping[str, Any], overrides: Sequence[str]
) -> tuple[Path, Sequence[str]]:
    """The run's directory and the overrides that name it.

    Where an override asks for what an earlier version did by default, the run that this version
    made is continued, whose directory is named by the other overrides.
    """

    def directory(named: Sequence[str]) -> Path:
        names = (settings.dataset.name, settings.model.name)
        return run_directory(settings.results_root, *names, named, settings.seed)

    path = directory(overrides)
    may_differ = (*BEFORE_DATA, *(["precision"] if settings.precision == "auto" else []))
    if recorded_config(path) is None:
        for fewer in overrides_of_before(overrides, config):
            if was_made_with(directory(fewer), config, may_differ):
                return directory(fewer), fewer
    return path, overrides


def precision_of(asked: str, device: torch.device, path: Path) -> tuple[str, str]:
    """See `resolve_precision`; a run that was begun in a precision goes on in it."""
    begun = value_at(recorded_config(path), "precision")
    if begun in ("fp32", "bf16") and asked in ("auto", begun):
        return begun, ""
    return resolve_precision(asked, device)


def classes_make_no_difference(settings: Settings, config: Mapping[str, Any], path: Path) -> bool:
    """Whether a run made before evaluator.class_labels existed does not depend on it.

    That is so where the data has no classes or is balanced, or no sampler takes a class.
    """
    recorded = recorded_config(path)
    if recorded is None or value_at(recorded, CLASS_LABELS) is not ABSENT:
        return False
    if not was_made_with(path, config, (*BEFORE_DATA, CLASS_LABELS)):
        return False  # refused for something else
    dataset = build_dataset(settings, World())
    if label_frequencies(dataset, settings.evaluator.class_labels) is None:
        return True
    cpu = torch.device("cpu")
    model = build_model(settings.model, dataset.spec(), cpu, seed=settings.seed)
    return not any(sampler.classes for sampler in model.samplers.values())


def standing_for(
    settings: Settings, config: Mapping[str, Any], path: Path, earlier: Collection[str]
) -> Path | None:
    """The run of another seed that stands for this one, whose scores do not depend on the seed.

    It has finished, is at work, or comes before in the same sweep.

    Args:
        settings: of this run.
        config: the plain values that they were read from.
        path: its directory.
        earlier: directories of the runs that come before it in its sweep.

    Raises:
        ValueError: the model cannot be built.
    """
    if settings.model.training.get("optimizers") or recorded_config(path) is not None:
        return None  # only what is not trained can be the same for all seeds
    siblings = [Path(run) for run in earlier if Path(run).parent == path.parent]
    siblings = [run for run in siblings if not _has_failed(run)]
    for other in sorted(path.parent.glob("seed=*")):
        if was_made_with(other, config, (*BEFORE_DATA, "seed")):
            status = read_status(other)
            siblings += [other] if status is not None and status.status == "finished" else []
    if not siblings or siblings[0] == path:
        return None
    dataset = build_dataset(settings, World())
    cpu = torch.device("cpu")
    model = build_model(settings.model, dataset.spec(), cpu, seed=settings.seed)
    return None if model.depends_on_seed else siblings[0]


def _has_failed(path: Path) -> bool:
    status = read_status(path)
    return status is not None and status.status == "failed"
