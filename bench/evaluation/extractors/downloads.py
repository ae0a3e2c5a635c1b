"""Published weights: downloaded to torch's cache, and read without executing code."""

import hashlib
import logging
import pickle
import warnings
from pathlib import Path

import torch
from torch import Tensor

log = logging.getLogger(__name__)


def published_file(url: str, filename: str, sha256: str) -> Path:
    """A published file from torch's download cache, downloaded first if needed.

    A file that differs from the published one is reported and downloaded again.

    Args:
        url: where it is published.
        filename: its name in the cache, as in torch-fidelity.
        sha256: first hex digits of its SHA-256; empty if its publisher gives none.

    Raises:
        OSError: it cannot be downloaded, or differs from the published file.
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
        with warnings.catch_warnings(action="ignore"):  # about formats that are refused below
            tensors = torch.load(path, weights_only=True, map_location="cpu")
    except pickle.UnpicklingError as error:  # torch's message advises to execute the file
        raise ValueError("it is damaged, or holds more than tensors") from error
    except (RuntimeError, EOFError, KeyError, ValueError) as error:
        raise ValueError(reason(error)) from error
    if not isinstance(tensors, dict) or not all(map(torch.is_tensor, tensors.values())):
        raise ValueError("it holds no tensors by name")
    return tensors


def reason(error: Exception) -> str:
    """The first line of an error message, to be quoted in another message."""
    return str(error).partition("\n")[0] or type(error).__name__


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
