"""Settings of a run and their kinds; which run they are: its directory, variant and recipe."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.former import ABSENT, value_at, without_former

WHOLE = "a whole number"
NUMBER = "a number"
FLAG = "true or false"
TEXT = "text"

KINDS = {
    "seed": (WHOLE, False),
    "threads": (WHOLE, True),
    "data_root": (TEXT, False),
    "cache_root": (TEXT, True),
    "results_root": (TEXT, False),
    "dataset.flip": (FLAG, False),
    "budget.images": (NUMBER, True),
    "budget.seconds": (NUMBER, True),
    "budget.flops": (NUMBER, True),
    "budget.images_by_default": (NUMBER, False),
    "budget.checkpoints": (WHOLE, False),
    "evaluator.samples": (WHOLE, True),
    "evaluator.batch_size": (WHOLE, False),
    "evaluator.cost_seconds": (NUMBER, False),
    "evaluator.resamples": (WHOLE, False),
    "trainer.log_every": (WHOLE, False),
    "trainer.checkpoint_seconds": (NUMBER, False),
    "trainer.compile": (FLAG, False),
}
"""Kind of each setting, and whether it may be null. Ranges belong to what uses the value."""


MAX_SEED = 2**63 - 1
"""Largest seed that every generator of random numbers here takes."""


def check_kinds(config: Mapping[str, Any], *, complete: bool = True) -> None:
    """Refuse values of another kind than a setting takes.

    Args:
        config: the resolved configuration, of plain values.
        complete: whether every setting must be there; runs of earlier versions lack some.

    Raises:
        ValueError: naming the setting, the value and what it must be.
    """
    for key, (kind, nullable) in KINDS.items():
        value: Any = config
        for part in key.split("."):
            if not isinstance(value, Mapping) or part not in value:
                if complete:
                    raise ValueError(f"{key} is missing: it must be {kind}{' or null' * nullable}")
                value = ABSENT
                break
            value = value[part]
        if not (value is ABSENT or _is(value, kind) or (nullable and value is None)):
            wanted = f"{kind}{' or null' * nullable}"
            raise ValueError(f"{key} must be {wanted}, got {value!r}{_advice(key, value, kind)}")
    if (seed := config.get("seed", 0)) > MAX_SEED:
        raise ValueError(f"seed must be at most {MAX_SEED}, got {seed}")


def _advice(key: str, value: object, kind: str) -> str:
    """How to write a whole number that was written as 1e6, and text that YAML reads as a number."""
    if kind == TEXT and isinstance(value, (int, float)):
        return f": quote it, as in '{key}=\"{value}\"'"
    if kind == WHOLE and isinstance(value, float) and value.is_integer():
        return f": write {int(value)}"
    return ""


def _is(value: object, kind: str) -> bool:
    if kind == TEXT:
        return isinstance(value, str)
    if kind == FLAG or isinstance(value, bool):
        return kind == FLAG and isinstance(value, bool)
    return isinstance(value, int) or (kind == NUMBER and isinstance(value, float))


NOT_IN_VARIANT = ("model", "dataset", "seed", "results_root", "data_root", "cache_root", "trust")
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
