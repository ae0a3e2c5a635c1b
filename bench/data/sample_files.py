"""Export of samples to files for other tools, with metadata; written atomically."""

import hashlib
import io
import json
import logging
import os
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.data.dataset import kind_of
from bench.runtime.atomic_files import building, remove, room_for, sweep, sync

_LOGGER = logging.getLogger(__name__)

ADM_KEY = "arr_0"
"""Name of the array of images in an .npz of ADM (Dhariwal & Nichol 2021)."""

MANIFEST = ".export.json"
"""File in a folder of samples that lists the others: name → first 16 hex digits of the SHA-256.

Hidden, so that tools that read folders of images ignore it.
"""

_EXPORTED = (("uint8", 4), ("float32", 2), ("float64", 3), ("float32", 3))
"""Types and ranks of exported arrays; earlier versions wrote signals as float32."""

Batches = Iterable[np.ndarray]
"""Samples in order: images (B, H, W, C) uint8, C = 1 or 3, float32 points or float64 signals."""


def check_target(path: Path, shape: tuple[int, ...] | None = None, *, replace: bool) -> None:
    """Refuse a path that must not or cannot be written, before anything is sampled.

    Args:
        path: where samples are to be written.
        shape: of one sample, once it is known.
        replace: whether earlier samples at path may be replaced. A folder is replaced only if it
            contains nothing but unchanged files of its manifest; a file only if it looks like an
            export (`_is_export`).

    Raises:
        FileExistsError: something else exists there.
        ValueError: samples of this shape have no such file.
    """
    if path.resolve() == Path.cwd():
        raise ValueError(f"--out={path} is the folder that you are in: choose another")
    if path.exists() and not replace and (path.is_file() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists: choose another --out, or give --force to replace it")
    _check_owned(path)
    if shape is None or path.suffix.lower() in (".npz", ".npy"):
        return
    if len(shape) != 3:
        kind = kind_of(shape)
        raise ValueError(f"--out={path}: {kind} are written as .npz or .npy, not as images")
    if shape[0] not in (1, 3):
        raise ValueError(f"--out={path}: images of {shape[0]} channels are written as .npz or .npy")


def write_samples(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    """Write samples in the format of the suffix of path, and replace it when they are complete.

    - .npz: the array `arr_0` as ADM's evaluator reads it, (N, H, W, C), and `metadata`, the lines
      "key: value" of about.
    - .npy: that array alone; the format cannot hold metadata.
    - .zip, or anything else for a folder: 000000.png and so on, each with the text chunks of about
      and its own index as "Sample". A folder has a `MANIFEST` as well.

    Equal samples give equal bytes.

    Args:
        path: where to write; parent folders are created.
        batches: the samples, held in memory one batch at a time.
        total: how many there are, N.
        about: metadata on the origin of the samples, by key.
    """
    write = _WRITERS.get(path.suffix.lower(), _write_folder)
    path = path.resolve()  # replace the target of a link, not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    former = path.with_name(f".{path.name}.bench-former")
    with room_for(path), building(path) as temporary:
        if former.exists():  # killed between the moves below, or before the last line
            _remove_owned(former) if path.exists() else os.replace(former, path)
        write(temporary, batches, total, about)
        _check_owned(path)  # again: sampling takes time
        if path.exists() and (path.is_dir() or temporary.is_dir()):  # only files replace files
            os.replace(path, former)
        try:
            os.replace(temporary, path)
        except BaseException:
            if former.exists():
                os.replace(former, path)
            raise
        sync(path.parent)
        _remove_owned(former)


def _check_owned(path: Path) -> None:
    """Raise FileExistsError on a file that is no export, or a folder with anything else."""
    if path.is_dir():
        _check_folder_owned(path)
    elif path.exists() and not _is_export(path):
        raise FileExistsError(
            f"{path} is not an exported file of samples: choose another --out, or delete "
            "it yourself, since --force replaces only what was exported"
        )


def _is_export(path: Path) -> bool:
    """Whether a file is empty or looks like the output of `write_samples` for this suffix.

    A .npy has no metadata and is recognised by the type and rank of its array.
    """
    if not path.stat().st_size:
        return True
    try:
        if path.suffix.lower() == ".npy":
            array = np.load(path, mmap_mode="r", allow_pickle=False)
            return (array.dtype.name, array.ndim) in _EXPORTED
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
            if path.suffix.lower() == ".npz":
                return sorted(names) == [f"{ADM_KEY}.npy", "metadata.npy"]
            return all(b"tEXtSample\0" in archive.read(name) for name in names)
    except (OSError, ValueError, EOFError, SyntaxError, zipfile.BadZipFile, zlib.error):
        return False


def _check_folder_owned(folder: Path) -> None:
    listed = _manifest(folder)
    for entry in sorted(folder.iterdir()):
        if entry.name == MANIFEST and listed:
            continue
        if entry.is_symlink() or not entry.is_file() or entry.name not in listed:
            why = "" if listed else f", and no {MANIFEST} that lists what an export made"
            raise FileExistsError(
                f"{folder} holds {entry.name}, which is not part of an export{why}: choose another "
                "--out, or delete the folder yourself, since --force replaces only what was "
                "exported"
            )
        if _digest(entry.read_bytes()) != listed[entry.name]:
            raise FileExistsError(
                f"{folder} holds {entry.name}, which was changed since it was exported: choose "
                "another --out, or delete the folder yourself"
            )


def _manifest(folder: Path) -> dict[str, str]:
    """Manifest of an exported folder; empty if it is missing or unreadable."""
    try:
        listed = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))["files"]
        return {str(name): str(digest) for name, digest in listed.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _remove_owned(path: Path) -> None:
    """Delete replaced samples: the files of the manifest, and the folder if it is then empty."""
    if not path.is_dir():
        remove(path)
        return
    owned = {*_manifest(path), MANIFEST}
    for entry in path.iterdir():  # not by names of the manifest, which could point elsewhere
        if entry.name in owned:
            entry.unlink()
    try:
        path.rmdir()
    except OSError:
        _LOGGER.warning("%s holds files that are not part of an export: they are kept", path)


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:16]


def _write_npz(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        with archive.open(zipfile.ZipInfo(f"{ADM_KEY}.npy"), "w", force_zip64=True) as member:
            _write_array(member, batches, total)
        with archive.open(zipfile.ZipInfo("metadata.npy"), "w") as member:
            lines = np.array([f"{key}: {value}" for key, value in about.items()])
            np.lib.format.write_array(member, lines, allow_pickle=False)


def _write_npy(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    del about
    with path.open("wb") as file:
        _write_array(file, batches, total)


def _write_array(file: IO[bytes], batches: Batches, total: int) -> None:
    """Write a .npy file batch by batch."""
    for i, batch in enumerate(batches):
        if i == 0:
            descr = np.lib.format.dtype_to_descr(batch.dtype)
            shape = (total, *batch.shape[1:])
            header = {"descr": descr, "fortran_order": False, "shape": shape}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(batch.tobytes())


def _write_zip(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name, data in _pngs(batches, total, about):
            archive.writestr(zipfile.ZipInfo(name), data)


def _write_folder(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    path.mkdir()
    written = {}
    for name, data in _pngs(batches, total, about):
        (path / name).write_bytes(data)
        written[name] = _digest(data)
    manifest = {"about": "written by bench.export, which replaces these files only"}
    (path / MANIFEST).write_text(json.dumps({**manifest, "files": written}), encoding="utf-8")


def _pngs(batches: Batches, total: int, about: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """File names, in the order of the samples, and encoded images."""
    digits = max(6, len(str(total - 1)))
    for i, pixels in enumerate(image for batch in batches for image in batch):  # (H, W, C)
        info = PngInfo()
        for key, value in {**about, "Sample": str(i)}.items():
            info.add_text(key, value)
        data = io.BytesIO()
        grey = pixels.shape[2] == 1
        Image.fromarray(pixels.squeeze(2) if grey else pixels).save(data, "PNG", pnginfo=info)
        yield f"{i:0{digits}}.png", data.getvalue()


_WRITERS: dict[str, Callable[[Path, Batches, int, Mapping[str, str]], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".zip": _write_zip,
}
