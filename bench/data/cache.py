"""Owns the cache of decoded data sets: one folder of memory-mapped arrays per content key."""

import hashlib
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.data.dataset import Dataset, Split, content_hash

_FORMAT = 1  # part of every key: raise it when decoding or the layout of an entry changes

Allocate = Callable[[str, tuple[int, ...]], np.ndarray]
"""Maps ("train" or "test", shape) to a writable uint8 array on disk, inside the new entry."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a decoder returns; images are plain arrays or came from `Allocate`.

    Attributes:
        train: images to train on.
        test: held-out images.
        classes: class names by label; empty for unlabelled data.
        notes: sentences that say what was assumed when the data was read.
    """

    train: Split
    test: Split
    classes: tuple[str, ...]
    notes: tuple[str, ...] = ()


def default_cache_root() -> Path:
    """Return $BENCH_CACHE, else ~/.cache/gan-vs-diffusion; data folders are never written to."""
    return Path(os.environ.get("BENCH_CACHE") or "~/.cache/gan-vs-diffusion").expanduser()


def files_key(files: Iterable[Path]) -> str:
    """Return the SHA-256 of the files' names and bytes, in the order given."""
    digest = hashlib.sha256()
    for path in files:
        with path.open("rb") as file:
            content = hashlib.file_digest(file, "sha256").digest()
        digest.update(path.name.encode() + b"\0" + content)
    return digest.hexdigest()


def load_cached(
    name: str,
    flip: bool,
    key: tuple[object, ...],
    decode: Callable[[Allocate], Decoded],
    cache_root: Path | None,
) -> Dataset:
    """Map the entry of this key, decoding it first if there is none.

    An entry is built in a folder of its own and moved into place when complete, so that processes
    which start together each see a whole entry; the first to finish wins.

    Args:
        name: the data set's name.
        flip: passed on to the data set.
        key: everything that the decoded arrays depend on, with a stable repr.
        decode: called on a miss.
        cache_root: None for `default_cache_root`.

    Raises:
        PermissionError: the cache cannot be written.
    """
    root = default_cache_root() if cache_root is None else Path(cache_root)
    digest = hashlib.sha256(repr((_FORMAT, *key)).encode()).hexdigest()
    entry = root / digest[:24]
    if not (entry / "meta.json").is_file():
        _build(entry, decode)
    meta = json.loads((entry / "meta.json").read_text())
    train, test = (_open_split(entry, part) for part in ("train", "test"))
    notes = tuple(meta.get("notes", ()))
    return Dataset(name, train, test, tuple(meta["classes"]), flip, meta["hash"], notes=notes)


def _build(entry: Path, decode: Callable[[Allocate], Decoded]) -> None:
    try:
        entry.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(prefix=f".{entry.name}-", dir=entry.parent))
    except OSError as error:
        raise PermissionError(
            f"cache_root={entry.parent} cannot be written ({error.strerror}): set BENCH_CACHE to a "
            "folder that can."
        ) from error
    try:
        folder.chmod(0o755)  # mkdtemp's 0700 would shut out other users of a shared cache
        decoded = decode(lambda part, shape: _allocate(folder, part, shape))
        for part, split in (("train", decoded.train), ("test", decoded.test)):
            if not isinstance(split.images, np.memmap):
                np.save(folder / f"{part}_images.npy", split.images)
            else:
                split.images.flush()
            if split.labels is not None:
                np.save(folder / f"{part}_labels.npy", split.labels.astype(np.int64))
        meta = {
            "hash": content_hash(decoded.train, decoded.test),
            "classes": list(decoded.classes),
            "notes": list(decoded.notes),
        }
        (folder / "meta.json").write_text(json.dumps(meta, indent=2))
        _publish(folder, entry)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _allocate(folder: Path, part: str, shape: tuple[int, ...]) -> np.ndarray:
    path = folder / f"{part}_images.npy"
    return np.lib.format.open_memmap(path, mode="w+", dtype=np.uint8, shape=shape)


def _publish(folder: Path, entry: Path) -> None:
    try:
        os.replace(folder, entry)
    except OSError:
        # Another process may have published the same content first.
        if not (entry / "meta.json").is_file():
            raise


def _open_split(entry: Path, part: str) -> Split:
    images = np.load(entry / f"{part}_images.npy", mmap_mode="r", allow_pickle=False)
    labels_path = entry / f"{part}_labels.npy"
    labels = np.load(labels_path, allow_pickle=False) if labels_path.is_file() else None
    if labels is not None:
        labels.setflags(write=False)
    return Split(images, labels)
