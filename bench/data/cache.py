"""Cache of decoded data sets: one folder of memory-mapped arrays per content key."""

import errno
import hashlib
import json
import logging
import math
import os
import re
import shutil
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from io import BytesIO
from pathlib import Path
from tokenize import TokenError

import numpy as np

from bench.data.cache_root import default_cache_root
from bench.data.dataset import Dataset, Split, content_hash
from bench.runtime.atomic_files import FULL, building, remove, sweep, sweep_former, sync, unreadable

_FORMAT = 2  # part of every key: raise it when decoding or the layout of an entry changes
_LOGGER = logging.getLogger(__name__)
_PARTS = ("train", "test")
_FORMER_PARTIAL = re.compile(r"\.[0-9a-f]{24}-\w{8}")  # left by killed processes of format 1
_MIB = 1 << 20
_NO_DAMAGE = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)  # the process lacks resources

BROKEN_ARRAY = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # of the header, which NumPy parses with Python's tokenizer
    TokenError,
    KeyError,
    TypeError,
    OverflowError,
    MemoryError,  # a damaged header can ask for any size
)
"""Exceptions that NumPy raises for a damaged .npy file."""

BROKEN_NPZ = (
    *BROKEN_ARRAY,
    zipfile.BadZipFile,
    zlib.error,
    NotImplementedError,  # zipfile: unknown compression
    RuntimeError,  # zipfile: encrypted
)
"""Exceptions raised by reading a damaged .npz file, or one that was not written by NumPy."""


def what_is_broken(error: BaseException, *, pickled: str) -> str:
    """Why an array or .npz file cannot be read, for a sentence.

    Args:
        error: one of `BROKEN_NPZ`.
        pickled: the reason in words if the file holds Python objects.
    """
    reason = str(error).partition("\n")[0] or type(error).__name__
    return pickled if "allow_pickle" in reason else reason


class _DamagedError(ValueError):
    """An entry differs from what was written."""


class ImageFile:
    """A new .npy file of images, written piece by piece without a memory map.

    A full disk raises OSError; with a writable memory map it would end the process by a bus error.
    The space for the whole file is allocated at once if the file system supports it.

    Args:
        path: the file.
        shape: (N, C, H, W).
    """

    def __init__(self, path: Path, shape: tuple[int, ...]) -> None:
        self.path = path
        self.shape = shape
        header = BytesIO()
        array = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(header, array)
        self._start = header.tell()
        self._size = self._start + math.prod(shape)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o644)
        self._reserve()
        self._write_at(0, header.getvalue())

    def __setitem__(self, index: int, image: np.ndarray) -> None:
        self.write(index, image[None])

    def write(self, first: int, images: np.ndarray) -> None:
        """Write images starting at an index; safe to call from several threads.

        Args:
            first: index of the first one, in [0, N).
            images: (B, C, H, W) uint8.

        Raises:
            OSError: the disk is full.
            ValueError: the images do not fit this file.
        """
        if images.dtype != np.uint8 or images.shape[1:] != self.shape[1:]:
            raise ValueError(f"{images.dtype} {images.shape} written to images {self.shape}")
        if not 0 <= first <= first + len(images) <= self.shape[0]:
            raise ValueError(f"images {first} to {first + len(images)} of {self.shape[0]} written")
        place = self._start + first * math.prod(self.shape[1:])
        self._write_at(place, np.ascontiguousarray(images).data)

    def read(self) -> np.ndarray:
        """Map what has been written so far, (N, C, H, W) uint8, read-only."""
        return np.load(self.path, mmap_mode="r", allow_pickle=False)

    def sync(self) -> None:
        """Wait until everything is on disk."""
        os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def discard(self) -> None:
        """Close and remove the file."""
        self.close()
        self.path.unlink()

    def _reserve(self) -> None:
        os.ftruncate(self._file, self._size)
        if hasattr(os, "posix_fallocate") and self._size:
            try:
                os.posix_fallocate(self._file, 0, self._size)
            except OSError as error:
                if error.errno in FULL:
                    raise
                # Not supported by the file system: a full disk is then reported by a later write.

    def _write_at(self, place: int, data: bytes | memoryview) -> None:
        rest = memoryview(data).cast("B")
        while rest:
            written = os.pwrite(self._file, rest, place)
            rest, place = rest[written:], place + written


Allocate = Callable[[str, tuple[int, ...]], ImageFile]
"""Maps ("train" or "test", shape) to a new file inside the entry."""


@dataclass(frozen=True, eq=False)
class Decoded:
    """What a decoder returns; images are plain arrays or read from `ImageFile`.

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
    """Map the entry of a key, decoding it first if there is no intact one.

    Every entry is verified against its hash, once per process. A damaged one is reported, discarded
    and decoded again. An entry is built in a temporary folder and moved into place when complete;
    processes that start together wait for the first. Leftovers of killed processes are removed.

    Args:
        name: the data set's name.
        flip: passed on to the data set.
        key: everything that the decoded arrays depend on, with a stable repr.
        decode: called on a miss.
        cache_root: None for `default_cache_root`.

    Raises:
        PermissionError: the cache cannot be written, or the existing entry cannot be read.
        OSError: there is no space for the decoded images.
    """
    root = default_cache_root() if cache_root is None else Path(cache_root)
    digest = hashlib.sha256(repr((_FORMAT, *key)).encode()).hexdigest()
    entry = root / digest[:24]
    sweep(root)
    sweep_former(root, _FORMER_PARTIAL)
    try:
        loaded = _read(entry)
    except (FileNotFoundError, _DamagedError):
        loaded = _make(entry, decode)
    train, test, meta = loaded
    notes = tuple(meta["notes"])
    return Dataset(name, train, test, tuple(meta["classes"]), flip, meta["hash"], notes=notes)


def _read(entry: Path) -> tuple[Split, Split, dict]:
    """Map an entry and verify its hash.

    Raises:
        FileNotFoundError: there is no entry.
        PermissionError: it belongs to another user and cannot be read.
        _DamagedError: it differs from what was written.
    """
    if not os.path.lexists(entry):  # a link to nothing is damage
        raise FileNotFoundError(entry)
    try:
        meta = json.loads((entry / "meta.json").read_text(encoding="utf-8"))
        if meta.pop("checksum") != _checksum(meta):
            raise _DamagedError("meta.json is not as it was written")
        train, test = (_open_split(entry, part) for part in _PARTS)
        if _hash_of(entry, _stamp(entry)) != meta["hash"]:
            raise _DamagedError("its images or labels are not those of its hash")
    except _DamagedError:
        raise
    except PermissionError as error:
        raise unreadable(entry, error) from error
    except (*BROKEN_ARRAY, AttributeError, RecursionError) as error:
        if isinstance(error, OSError) and error.errno in _NO_DAMAGE:
            raise
        reason = str(error).partition("\n")[0] or type(error).__name__
        raise _DamagedError(reason) from error
    return train, test, meta


def _checksum(meta: dict) -> str:
    return hashlib.sha256(json.dumps(meta, sort_keys=True).encode()).hexdigest()


def _stamp(entry: Path) -> tuple[tuple[object, ...], ...]:
    """A value that changes when a file of the entry is written to."""
    files = sorted(entry.iterdir())
    return tuple((f.name, s.st_size, s.st_mtime_ns, s.st_ino) for f in files if (s := f.stat()))


@lru_cache(maxsize=64)
def _hash_of(entry: Path, stamp: tuple[tuple[object, ...], ...]) -> str:
    """Content hash of an entry, computed once per process for unchanged files."""
    del stamp
    return content_hash(*(_open_split(entry, part) for part in _PARTS))


def _make(entry: Path, decode: Callable[[Allocate], Decoded]) -> tuple[Split, Split, dict]:
    """Decode an entry, unless another process has just done so."""
    with _building(entry) as folder:
        try:
            return _read(entry)
        except FileNotFoundError:
            pass
        except _DamagedError as damage:
            _LOGGER.warning("%s is damaged (%s): decoding the data again", entry, damage)
            _throw_away(entry, damage)
        _build(folder, decode)
        os.replace(folder, entry)
        sync(entry.parent)
        try:
            return _read(entry)
        except _DamagedError as damage:
            raise OSError(
                f"{entry} was written just now and is damaged ({damage}): check that disk, or set "
                "BENCH_CACHE to a folder on another one"
            ) from damage


@contextmanager
def _building(entry: Path) -> Iterator[Path]:
    """`building`, with error messages for a cache that is read-only or full."""
    root = entry.parent
    with ExitStack() as stack:
        try:
            folder = stack.enter_context(building(entry))
        except OSError as error:
            if error.errno in FULL:
                raise _full(root, error) from error
            raise PermissionError(
                f"cache_root={root} cannot be written ({error.strerror}): set BENCH_CACHE to a "
                "folder that can."
            ) from error
        try:
            yield folder
        except OSError as error:
            if error.errno in FULL:  # raised by writes only
                raise _full(root, error) from error
            raise


def _full(root: Path, error: OSError) -> OSError:
    return OSError(
        f"cache_root={root} has no room for the decoded images ({error.strerror}): make room "
        "there, or set BENCH_CACHE to a folder with room"
    )


def _throw_away(entry: Path, damage: _DamagedError) -> None:
    try:
        remove(entry)
    except OSError as error:
        raise PermissionError(
            f"{entry} is damaged ({damage}) and cannot be removed ({error.strerror}): have it "
            "deleted, or set BENCH_CACHE to a folder of your own"
        ) from error


def _build(folder: Path, decode: Callable[[Allocate], Decoded]) -> None:
    """Write all of an entry's files into a new folder."""
    folder.mkdir()
    files: dict[str, ImageFile] = {}

    def allocate(part: str, shape: tuple[int, ...]) -> ImageFile:
        if part in files:  # the decoder replaces this part
            files.pop(part).discard()
        _check_room(folder.parent, shape)
        files[part] = ImageFile(folder / f"{part}_images.npy", shape)
        return files[part]

    try:
        decoded = decode(allocate)
        for part, split in zip(_PARTS, (decoded.train, decoded.test), strict=True):
            if part not in files:
                allocate(part, split.images.shape).write(0, split.images)
            files[part].sync()
            if split.labels is not None:
                labels = BytesIO()
                np.save(labels, split.labels.astype(np.int64))
                path = folder / f"{part}_labels.npy"
                path.write_bytes(labels.getvalue())
                sync(path)
    finally:
        for file in files.values():
            file.close()
    meta = {
        "hash": content_hash(decoded.train, decoded.test),
        "classes": list(decoded.classes),
        "notes": list(decoded.notes),
    }
    meta["checksum"] = _checksum(meta)
    (folder / "meta.json").write_text(json.dumps(meta, indent=2), encoding="utf-8")
    sync(folder / "meta.json")
    sync(folder)


def _check_room(root: Path, shape: tuple[int, ...]) -> None:
    """Refuse images that the disk cannot hold, before the first is decoded."""
    needed, free = math.prod(shape), shutil.disk_usage(root).free
    if needed > free:
        size = "x".join(map(str, shape[1:]))
        raise OSError(
            f"cache_root={root}: {shape[0]} images of {size} take {needed / _MIB:,.1f} MiB decoded "
            f"and {free / _MIB:,.1f} MiB are free: set a smaller dataset.image_size, make room, or "
            "set BENCH_CACHE to a folder with room"
        )


def _open_split(entry: Path, part: str) -> Split:
    """Map one split.

    Raises:
        _DamagedError: the type in a header is not the one written, which the content hash does not
            cover.
    """
    images = np.load(entry / f"{part}_images.npy", mmap_mode="r", allow_pickle=False)
    labels_path = entry / f"{part}_labels.npy"
    labels = np.load(labels_path, allow_pickle=False) if labels_path.is_file() else None
    for array, kind in ((images, np.uint8), (labels, np.int64)):
        if array is not None and array.dtype != kind:
            raise _DamagedError(f"values of {array.dtype} where {np.dtype(kind)} were written")
    if labels is not None:
        labels.setflags(write=False)
    return Split(images, labels)
