"""Export of samples to files for other tools, with metadata; written atomically."""

import io
import zipfile
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from bench.data.dataset import kind_of
from bench.runtime.exported import Kind, check_out, digest, make_whole, write_manifest

ADM_KEY = "arr_0"
"""Name of the array of images in an .npz of ADM (Dhariwal & Nichol 2021)."""

_EXPORTED = (("uint8", 4), ("float32", 2), ("float64", 3), ("float32", 3))
"""Types and ranks of exported arrays; earlier versions wrote signals as float32."""

Batches = Iterable[np.ndarray]
"""Samples in order: images (B, H, W, C) uint8, C = 1 or 3, float32 points or float64 signals."""


def check_target(path: Path, shape: tuple[int, ...] | None = None, *, replace: bool) -> None:
    """Refuse a path that must not or cannot be written, before anything is sampled.

    Args:
        path: where samples are to be written.
        shape: of one sample, once it is known.
        replace: whether earlier samples at path may be replaced, see `exported.check_out`.

    Raises:
        FileExistsError: something else exists there.
        ValueError: samples of this shape have no such file.
    """
    check_out(path, SAMPLES, replace=replace)
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
    make_whole(path, SAMPLES, lambda temporary: write(temporary, batches, total, about))


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


SAMPLES = Kind("file of samples", _is_export)
"""What is exported here."""


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
        written[name] = digest(data)
    write_manifest(path, written)


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
