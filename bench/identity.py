"""Which run a configuration is: its directory, its variant and the recipe of its model."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.former import ABSENT, value_at, without_former

NOT_IN_VARIANT = ("model", "dataset", "seed", "results_root", "data_root", "cache_root")
"""Overrides that do not make another variant: they have their own place or change no number."""

MAX_NAME = 100
"""Bytes of the longest name, in UTF-8: file systems take 255, and files add their own words."""

NAME_RULE = f"1 to {MAX_NAME} printable characters, without / and \\ and with no dot as the first"
"""What `is_name` asks of a name, in words."""

NAMED = ("dataset.name", "dataset.load.name", "model.name")
"""Settings that name folders and files."""


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


def is_name(text: object) -> bool:
    """Whether a text can name a data set, model, variant, seed or sampler: `NAME_RULE`.

    Names become folders of runs and of the cache, and files of the comparison: none leads out of
    these, hides a file or breaks a line.
    """
    if not isinstance(text, str) or not text.isprintable():
        return False
    bounded = 0 < len(text.encode()) <= MAX_NAME
    return bounded and not text.startswith(".") and not {"/", "\\"} & set(text)


def check_names(config: Mapping[str, Any]) -> None:
    """Refuse names that cannot be those of folders, before any work.

    Args:
        config: the resolved configuration, of plain values.

    Raises:
        ValueError: naming the setting, the value and the rule.
    """
    for key in NAMED:
        value = value_at(config, key)
        if value is ABSENT or is_name(value):
            continue
        if not isinstance(value, str):
            raise ValueError(
                f"{key} must be text, got {value!r}: quote it, as in '{key}=\"{value}\"'"
            )
        shown = value if len(value) <= MAX_NAME else f"{value[:20]}…"
        raise ValueError(f"{key} must be {NAME_RULE}, got {shown!r}")


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

    Variants name what the command line changed; this also changes when a YAML file does, but not by
    a setting that was added, where that has the value of before (`bench.former`).
    """
    text = json.dumps(
        {"model": without_former(model, "model"), "flip": flip}, sort_keys=True, default=str
    )
    return hashlib.sha256(text.encode()).hexdigest()[:12]
