"""Files of samples that other tools read, each saying what made it; written whole or not at all."""

import io
import os
import re
import shutil
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

ADM_KEY = "arr_0"
"""Name of the array of images in an .npz of ADM (Dhariwal & Nichol 2021)."""
_OURS = re.compile(r"\d{6,}\.png")

Batches = Iterable[np.ndarray]
"""Samples in order: images (B, H, W, C) uint8, C = 1 or 3, or points (B, D) float32."""


def check_target(path: Path, shape: tuple[int, ...] | None = None, *, replace: bool) -> None:
    """Refuse a path that must not or cannot be written, before anything is drawn.

    Args:
        path: where samples are to be written.
        shape: of one sample, (C, H, W) or (D,), once it is known.
        replace: whether earlier samples at path may be replaced. A folder is replaced only if it
            holds nothing but images that were written here.

    Raises:
        FileExistsError: something lies there.
        ValueError: samples of this shape have no such file.
    """
    inside = sorted(entry.name for entry in path.iterdir()) if path.is_dir() else []
    if path.exists() and not replace and (inside or path.is_file()):
        raise FileExistsError(f"{path} exists: choose another --out, or give --force to replace it")
    if foreign := [name for name in inside if not _OURS.fullmatch(name)]:
        raise FileExistsError(
            f"{path} holds other files ({foreign[0]}): choose another --out, --force replaces only "
            "samples"
        )
    if shape is None or path.suffix.lower() in (".npz", ".npy"):
        return
    if len(shape) != 3:
        raise ValueError(f"--out={path}: points are written as .npz or .npy, not as images")
    if shape[0] not in (1, 3):
        raise ValueError(f"--out={path}: images of {shape[0]} channels are written as .npz or .npy")


def write_samples(path: Path, batches: Batches, total: int, about: Mapping[str, str]) -> None:
    """Write samples by the ending of path; what lay there is replaced once all is written.

    - .npz: the array `arr_0` as ADM's evaluator reads it, (N, H, W, C), and `metadata`, the lines
      "key: value" of about.
    - .npy: that array alone; the format has no place for metadata.
    - .zip, or anything else for a folder: 000000.png and so on, each with the text chunks of about
      and its own index as "Sample".

    The same samples give the same bytes.

    Args:
        path: where to write; parent folders are created.
        batches: the samples, held in memory one batch at a time.
        total: how many there are, N.
        about: what made the samples, by key.
    """
    write = _WRITERS.get(path.suffix.lower(), _write_folder)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    former = path.with_name(f".{path.name}.{os.getpid()}.old")
    try:
        write(temporary, batches, total, about)
        if path.exists() and (path.is_dir() or temporary.is_dir()):  # only files replace files
            os.replace(path, former)
        os.replace(temporary, path)
    except BaseException:
        if former.exists():
            os.replace(former, path)
        raise
    finally:
        _remove(temporary)
    _remove(former)


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
    """Write a .npy file without ever holding all of it."""
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
    for name, data in _pngs(batches, total, about):
        (path / name).write_bytes(data)


def _pngs(batches: Batches, total: int, about: Mapping[str, str]) -> Iterator[tuple[str, bytes]]:
    """File names, whose order is that of the samples, and encoded images."""
    digits = max(6, len(str(total - 1)))
    for i, pixels in enumerate(image for batch in batches for image in batch):  # (H, W, C)
        info = PngInfo()
        for key, value in {**about, "Sample": str(i)}.items():
            info.add_text(key, value)
        data = io.BytesIO()
        grey = pixels.shape[2] == 1
        Image.fromarray(pixels.squeeze(2) if grey else pixels).save(data, "PNG", pnginfo=info)
        yield f"{i:0{digits}}.png", data.getvalue()


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


_WRITERS: dict[str, Callable[[Path, Batches, int, Mapping[str, str]], None]] = {
    ".npz": _write_npz,
    ".npy": _write_npy,
    ".zip": _write_zip,
}
