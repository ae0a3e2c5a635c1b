"""Atomic checkpoints in plain containers, loadable with weights_only=True.

Beside the last checkpoints, step=<step>.pt, lie the weights that `trainer.keep=best` keeps,
kept-point=<evaluation point>.pt: each was better than the ones before, so the latest is the best.
"""

import logging
import os
import pickle
import re
import struct
import zipfile
from pathlib import Path
from typing import Any

import torch

from bench.runtime.atomic_files import room_for
from bench.runtime.interrupts import held_back

FORMAT = 1
KEPT = 2
NAME = re.compile(r"step=[0-9]+\.pt")
KEPT_NAME = re.compile(r"kept-point=([0-9]+)\.pt")
DAMAGE = (
    OSError,
    RuntimeError,
    EOFError,
    ValueError,
    pickle.UnpicklingError,
    struct.error,
    zipfile.BadZipFile,
)

log = logging.getLogger(__name__)


def save(state: dict[str, Any], directory: Path, step: int) -> Path:
    """Write step=<step>.pt atomically; a kill at any moment leaves earlier checkpoints intact.

    Args:
        state: tensors and plain containers only.
        directory: folder of the checkpoints; the last two are kept.
        step: training step, which names the file.

    Returns:
        The file written.

    Raises:
        OSError: the disk is full or not writable; earlier checkpoints are untouched.
    """
    path = directory / f"step={step}.pt"
    _write(state, path)
    others = [other for other in _newest_first(directory) if other != path]
    before = [other for other in others if _step(other) < step][: KEPT - 1]
    for other in others:
        if other not in before:  # older ones, and damaged ones of later steps
            other.unlink(missing_ok=True)
    return path


def _write(state: dict[str, Any], path: Path) -> None:
    """Write one file atomically; see `save`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    partial = path.parent / f".{path.stem}.{os.getpid()}.partial"
    try:
        with room_for(path), held_back():  # torch's writer turns an interrupt into another error
            with partial.open("wb") as file:
                torch.save({"format": FORMAT, **state}, file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def save_kept(state: dict[str, Any], directory: Path, point: int) -> None:
    """Write kept-point=<point>.pt atomically.

    The one before stays, for a run that goes on from the checkpoint before this point.

    Args:
        state: "weights", the `state_dict` that was evaluated; "of", "ema" or "raw"; "step", their
            training step; "fid", their validation FID.
        directory: folder of the checkpoints.
        point: evaluation point, which names the file.

    Raises:
        OSError: see `save`.
    """
    _write({**state, "point": point}, directory / f"kept-point={point}.pt")
    for old in kept_points(directory)[:-KEPT]:
        (directory / f"kept-point={old}.pt").unlink(missing_ok=True)


def kept_points(directory: Path) -> list[int]:
    """The evaluation points whose weights are kept, ascending; the last one is the best."""
    names = (KEPT_NAME.fullmatch(path.name) for path in directory.glob("kept-point=*.pt"))
    return sorted(int(match[1]) for match in names if match)


def drop_kept(directory: Path, after: int) -> None:
    """Remove what was kept after an evaluation point from which the run goes on."""
    for stale in directory.glob(".kept-point=*.partial"):
        stale.unlink(missing_ok=True)
    for point in kept_points(directory):
        if point > after:
            (directory / f"kept-point={point}.pt").unlink(missing_ok=True)


def load_kept(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the kept weights of the lowest validation FID, or None if none are kept.

    Args:
        directory: folder of the checkpoints.
        device: where the tensors go.

    Returns:
        The state given to `save_kept`, and its "point".

    Raises:
        ValueError: the file is damaged or of another version.
    """
    if not (points := kept_points(directory)):
        return None
    path = directory / f"kept-point={points[-1]}.pt"
    try:
        state = _read(path, device)
    except (torch.OutOfMemoryError, PermissionError):
        raise  # the file itself is intact
    except DAMAGE as error:
        what = "no plain tensors" if isinstance(error, pickle.UnpicklingError) else error
        raise ValueError(f"{path} is damaged ({what}): delete the run to repeat it") from error
    return _of_this_format(state, path)


def load_latest(directory: Path, device: torch.device) -> dict[str, Any] | None:
    """Read the newest readable checkpoint, or None if there is none.

    A damaged file is reported and the previous one is used. No code in a file is executed.

    Raises:
        ValueError: all checkpoints are damaged or of another version, or a file has the name of a
            checkpoint and is none.
    """
    _check_names(directory)
    for stale in directory.glob(".step=*.partial"):
        stale.unlink(missing_ok=True)
    paths = _newest_first(directory)
    for path in paths:
        try:
            state = _read(path, device)
        except (torch.OutOfMemoryError, PermissionError):
            raise  # the file itself is intact
        except DAMAGE as error:
            # torch's message has many lines and advises to execute the file
            what = "no plain tensors" if isinstance(error, pickle.UnpicklingError) else error
            log.warning("%s is damaged (%s): falling back to the one before", path, what)
            continue
        return _of_this_format(state, path)
    if paths:
        raise ValueError(f"every checkpoint in {directory} is damaged: delete the run to repeat it")
    return None


def _read(path: Path, device: torch.device) -> dict[str, Any]:
    _check_sums(path)
    return torch.load(path, map_location=device, weights_only=True)


def _of_this_format(state: dict[str, Any], path: Path) -> dict[str, Any]:
    if state.get("format") != FORMAT:
        raise ValueError(
            f"{path} has checkpoint format {state.get('format')}, this version reads {FORMAT}: "
            "delete the run directory to train again"
        )
    return state


def _check_sums(path: Path) -> None:
    """Raise ValueError or BadZipFile on a wrong checksum, which torch does not verify."""
    with zipfile.ZipFile(path) as archive:
        for entry in archive.infolist():  # torch ignores members marked as folders
            if entry.compress_type != zipfile.ZIP_STORED or entry.external_attr:
                raise ValueError(f"its table of contents has another {entry.filename}")
        if (part := archive.testzip()) is not None:
            raise ValueError(f"the checksum of its {part} is another")


def _check_names(directory: Path) -> None:
    """Raise ValueError on a file that is named like a checkpoint and is none."""
    for path in sorted(directory.glob("step=*.pt")):
        if not NAME.fullmatch(path.name):
            raise ValueError(
                f"{path} is not named as a checkpoint is, step=<number>.pt: rename it, or move it "
                "to another folder"
            )
        if path.is_symlink() and not path.exists():
            raise ValueError(
                f"{path} is a link to {path.readlink()}, which does not exist: bring that back, or "
                "remove the link"
            )
        if not path.is_file():
            raise ValueError(f"{path} is a folder, not a checkpoint: move it elsewhere")


def _newest_first(directory: Path) -> list[Path]:
    found = (path for path in directory.glob("step=*.pt") if NAME.fullmatch(path.name))
    return sorted((path for path in found if not path.is_dir()), key=_step, reverse=True)


def _step(path: Path) -> int:
    return int(path.stem.removeprefix("step="))
