"""Atomic checkpoints in plain containers, loadable with weights_only=True."""

import logging
import os
import pickle
import re
from pathlib import Path
from typing import Any

import torch

FORMAT = 1
KEPT = 2

log = logging.getLogger(__name__)


def save(state: dict[str, Any], directory: Path, step: int) -> Path:
    """Write step=<step>.pt so that a kill at any moment leaves the earlier ones intact.

    Args:
        state: tensors and plain containers only.
        directory: where checkpoints live; the last two are kept.
        step: training step, the name of the file.

    Returns:
        The file written.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    directory.mkdir(parents=True, exist_ok=True)
    path = directory / f"step={step}.pt"
    partial = directory / f".step={step}.{os.getpid()}.partial"
    try:
        with partial.open("wb") as file:
            torch.save({"format": FORMAT, **state}, file)
            file.flush()
            os.fsync(file.fileno())
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)
    for old in _newest_first(directory)[KEPT:]:
        old.unlink(missing_ok=True)
    return path


def load_latest(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the newest readable checkpoint, or None if there is none.

    A damaged file is reported and passed over for the one before it. No code in a file is run.
    """
    for stale in directory.glob(".step=*.partial"):
        stale.unlink(missing_ok=True)
    for path in _newest_first(directory):
        try:
            state = torch.load(path, map_location=device, weights_only=True)
        except (OSError, RuntimeError, EOFError, ValueError, pickle.UnpicklingError) as error:
            log.warning("%s is damaged (%s): falling back to the one before", path, error)
            continue
        if state.get("format") != FORMAT:
            raise ValueError(
                f"{path} has checkpoint format {state.get('format')}, this version reads {FORMAT}: "
                "delete the run directory to train again"
            )
        return state
    return None


def _newest_first(directory: Path) -> list[Path]:
    steps = {}
    for path in directory.glob("step=*.pt"):
        if match := re.fullmatch(r"step=(\d+)\.pt", path.name):
            steps[path] = int(match[1])
    return sorted(steps, key=steps.__getitem__, reverse=True)
