"""Published weights: fetched into torch's cache, and read without running what is in them."""

import hashlib
import logging
import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def published_file(url: str, filename: str, sha256: str) -> Path:
    """The file at this address, from torch's cache of downloads or fetched into it.

    A file that is not what was published is reported and fetched again.

    Args:
        url: where it is published.
        filename: its name in the cache, the one that torch-fidelity gives it.
        sha256: first hex digits of its SHA-256; empty if its publisher gives none.

    Raises:
        OSError: it cannot be fetched, or what came is not what was published.
    """
    path = Path(torch.hub.get_dir()) / "checkpoints" / filename
    if path.exists():
        if not sha256 or file_sha256(path).startswith(sha256):
            return path
        log.warning("%s is damaged (its SHA-256 is not %s…): fetching it again", path, sha256)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(url, str(path), sha256 or None)
    except RuntimeError as error:  # the hash
        raise OSError(str(error)) from error
    return path


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read a state dict, refusing anything that is not a plain mapping of names to tensors.

    Raises:
        ValueError: it is something else.
    """
    try:
        with warnings.catch_warnings(action="ignore"):  # of formats that are refused next
            tensors = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:  # torch's message advises to run what is in it
        raise ValueError("it is damaged, or holds more than tensors") from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(reason(error)) from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise ValueError("it holds no tensors by name")
    return tensors


def reason(error: Exception) -> str:
    """The first line of an error, for a sentence that tells what is wrong with a file."""
    return str(error).partition("\n")[0] or type(error).__name__


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
