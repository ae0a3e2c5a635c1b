"""What kinds of values the configuration's own settings take; checked before any work starts."""

from collections.abc import Mapping
from typing import Any

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

MISSING = object()

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
                value = MISSING
                break
            value = value[part]
        if not (value is MISSING or _is(value, kind) or (nullable and value is None)):
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
