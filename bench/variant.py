"""Which run a command line is: its variant and its directory."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

NOT_IN_VARIANT = ("model", "dataset", "seed", "results_root", "data_root", "cache_root", "trust")
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
