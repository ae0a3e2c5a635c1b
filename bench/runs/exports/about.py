"""What an exported model says of itself, and what all of its formats need of their user."""

import math
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import bench
from bench.runs.directory import RunDirectory
from bench.runs.loaded import LoadedModel
from bench.runs.provenance import commit
from bench.runtime.extras import install

CLOSE = 1e-4
"""Largest difference from our own results, relative to their size where that is above 1."""

SYNTHETIC = "Samples are synthetic: they are not recordings of anything."


def require_packages(option: str, names: Sequence[str]) -> None:
    """Refuse an export whose packages are not installed.

    Args:
        option: that asked for it.
        names: of the packages.

    Raises:
        ValueError: naming the missing packages and the installation command.
    """
    if missing := [name for name in names if find_spec(name) is None]:
        plural = "s" if len(missing) > 1 else ""
        raise ValueError(
            f"{option} needs the optional package{plural} {', '.join(missing)}: {install('export')}"
        )


def about(loaded: LoadedModel) -> dict[str, str]:
    """What every exported model says of its origin, by key."""
    return {
        "Run": loaded.name,
        "Weights": loaded.weights,
        "Step": str(loaded.step),
        **({} if loaded.point is None else {"Best evaluation point": str(loaded.point)}),
        "Samples": SYNTHETIC,
        "Software": f"gan-vs-diffusion {bench.__version__} {commit()}".strip(),
    }


def scored(directory: Path, loaded: LoadedModel) -> list[dict[str, Any]]:
    """Rows of a run's eval.csv with the scores of a model; empty if there are none.

    Args:
        directory: of the run.
        loaded: the model, with its last or its best weights (`trainer.keep=best`).

    Returns:
        One row for each sampler.
    """
    with RunDirectory(directory, reading=True) as records:
        rows = records.eval_rows()
    if loaded.point is not None:
        return [row for row in rows if row.get("kept_point") == str(loaded.point)]
    own = (row for row in rows if not row.get("kept_point"))
    return [row for row in own if row.get("step") == str(loaded.step)]


def difference(ours: Tensor, theirs: Tensor) -> float:
    """The largest difference of two results, over the largest of ours if that is above 1.

    It is infinite if their shapes differ, and not a number if one of them is not finite.
    """
    if ours.shape != theirs.shape:
        return math.inf
    return ((ours - theirs).abs().max() / ours.abs().max().clamp(min=1.0)).item()


def seeded(seed: int = 0) -> torch.Generator:
    """Source of the numbers that exports are compared on."""
    return torch.Generator().manual_seed(seed)
