"""Which run a configuration is: its directory, its variant and the recipe of its model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

NOT_IN_VARIANT = ("model", "dataset", "seed", "results_root", "data_root", "cache_root")
"""Overrides that do not make another variant: they have their own place or change no number."""


@dataclass(frozen=True)
class Origin:
    """Where a run came from.

    Attributes:
        overrides: the command line's overrides that make the variant, sorted.
        command: the command line, for the record.
        group: name of the sweep that the run belongs to.
    """

    overrides: tuple[str, ...]
    command: str
    group: str | None


def varied(overrides: Sequence[str]) -> tuple[str, ...]:
    """The overrides that have no place of their own in the path, sorted."""
    return tuple(
        sorted(
            override
            for override in overrides
            if (key := override.lstrip("+~").split("=", 1)[0]) not in NOT_IN_VARIANT
            and not key.startswith(("logger", "hydra"))
        )
    )


def variant(overrides: Sequence[str]) -> str:
    """A short hash of the overrides that `varied` names, or "default"."""
    named = "\n".join(varied(overrides))
    return hashlib.sha256(named.encode()).hexdigest()[:8] if named else "default"


def run_directory(
    results_root: Path, dataset: str, model: str, overrides: Sequence[str], seed: int
) -> Path:
    """The run's directory, a pure function of its configuration."""
    return results_root / "runs" / dataset / model / variant(overrides) / f"seed={seed}"


def recipe_hash(model: Mapping[str, Any], *, flip: bool) -> str:
    """Hash of all that decides what is learned: the model's whole configuration and the flips.

    Variants name what the command line changed; this also changes when a YAML file does.
    """
    text = json.dumps({"model": model, "flip": flip}, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:12]
