"""Tensors that are expensive to compute, kept on disk in files that carry their checksums."""

import hashlib
import json
import logging
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor

from bench.files import building, room_for, sweep, sweep_former, sync, unreadable
from bench.metrics.resampling import METRICS_VERSION

T = TypeVar("T")
log = logging.getLogger(__name__)

_FORMAT = 2  # part of every key: raise it when what a file holds changes
_FORMER_PARTIAL = re.compile(r"\..+\.tmp")  # what a kill left before files were built under a lock
_CHECKSUM = "sha256"  # key of the metadata


class DamagedTensorsError(ValueError):
    """A file of tensors is not as it was written."""


def cached_tensors(
    cache_dir: Path, key: tuple[object, ...], compute: Callable[[], dict[str, Tensor]]
) -> dict[str, Tensor]:
    """Read tensors that were computed before, or compute and keep them.

    A damaged file is reported and made again. Of processes that start together one computes and the
    others wait.

    Args:
        cache_dir: the folder "features" in it holds the files.
        key: all that the tensors depend on, with a stable repr.
        compute: gives named CPU tensors.
    """
    digest = hashlib.sha256(repr((_FORMAT, METRICS_VERSION, *key)).encode()).hexdigest()[:24]
    metadata = {"key": repr(key)}

    def make(path: Path) -> None:
        write_tensors(path, compute(), metadata)

    def read(path: Path) -> dict[str, Tensor]:
        tensors, found = read_tensors(path)
        if found != metadata:
            raise DamagedTensorsError("it holds something else")
        return tensors

    return made_once(cache_dir / "features" / f"{digest}.safetensors", make, read)


def made_once(path: Path, make: Callable[[Path], None], read: Callable[[Path], T]) -> T:
    """Read a file, which is made first where it is missing or damaged.

    Args:
        path: the file.
        make: writes it to the path it is given, which is moved when complete.
        read: reads it; a DamagedTensorsError has it made again.

    Raises:
        OSError: there is no room for it, or it cannot be written, or is there and cannot be read.
    """
    sweep(path.parent)
    sweep_former(path.parent, _FORMER_PARTIAL)
    try:
        return read(path)
    except (FileNotFoundError, DamagedTensorsError):
        pass
    except PermissionError as error:
        raise unreadable(path, error) from error
    try:
        with room_for(path), building(path) as partial:
            try:
                return read(path)  # another process may just have made it
            except FileNotFoundError:
                pass
            except DamagedTensorsError as damage:
                log.warning("%s is damaged (%s): computing it again", path, damage)
            make(partial)
            sync(partial)
            os.replace(partial, path)
            sync(path.parent)
            return read(path)
    except PermissionError as error:
        raise PermissionError(
            f"{path} cannot be written ({error.strerror}): set cache_root (or BENCH_CACHE) to a "
            "folder that can"
        ) from error


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors as safetensors, their checksum and that of the metadata with them."""
    kept = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    checksum = {_CHECKSUM: _checksum(kept, metadata)}
    path.write_bytes(save(kept, metadata={**metadata, **checksum}))


def read_tensors(path: Path, *, unsigned: bool = False) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read what `write_tensors` wrote.

    Args:
        path: the file.
        unsigned: whether a file without a checksum is taken as it is.

    Returns:
        The tensors by name, and the metadata without its checksum.

    Raises:
        FileNotFoundError: there is none.
        PermissionError: it cannot be read.
        DamagedTensorsError: it is not as it was written.
    """
    try:
        content = path.read_bytes()  # not mapped: a map of a file that is cut later is a bus error
        tensors = load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        metadata = dict(header.get("__metadata__", {}))
    except (FileNotFoundError, PermissionError):
        raise
    except (SafetensorError, OSError, ValueError, TypeError, RuntimeError, KeyError) as error:
        raise DamagedTensorsError(str(error).partition("\n")[0]) from error
    checksum = metadata.pop(_CHECKSUM, None)
    if checksum is None and unsigned:
        return tensors, metadata
    if checksum != _checksum(tensors, metadata):
        raise DamagedTensorsError("its checksum is not that of its contents")
    return tensors, metadata


def _checksum(tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(metadata), sort_keys=True).encode())
    hash_tensors(digest, tensors)
    return digest.hexdigest()


def hash_tensors(digest: "hashlib._Hash", tensors: Mapping[str, Tensor]) -> None:
    """Add names, types, shapes and values of tensors to a hash."""
    for name, tensor in sorted(tensors.items()):
        digest.update(f"{name}:{tensor.dtype}:{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
