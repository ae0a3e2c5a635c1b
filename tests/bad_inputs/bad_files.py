"""Writers of bad files: images, archives, arrays, hostile pickles."""

import io
import pickle
import struct
import zipfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

Prepare = Callable[[Path], object]
"""Writes what a case needs into an empty folder."""

Files = Mapping[str, bytes | None]
"""Content by path; None for an empty folder."""

SPRUNG = "sprung"
"""The file that a pickle creates in its folder if it is run."""


def picture(seed: int = 0, side: int = 8) -> Image.Image:
    """Random colours."""
    pixels = np.random.default_rng(seed).integers(0, 256, (side, side, 3), np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    data = io.BytesIO()
    image.save(data, kind, **options)
    return data.getvalue()


def pngs(n: int, classes: Sequence[str] = (), side: int = 8) -> dict[str, bytes | None]:
    """Different PNGs, dealt to class folders if there are any."""
    folders = [f"{name}/" for name in classes] or [""]
    return {f"{folders[i % len(folders)]}{i:02}.png": encoded(picture(i, side)) for i in range(n)}


PNG = encoded(picture())
PETS = pngs(24, ("cat", "dog"))


def folder(name: str, files: Files) -> Prepare:
    def write(root: Path) -> None:
        (root / name).mkdir()
        for path, content in files.items():
            target = root / name / path
            (target if content is None else target.parent).mkdir(parents=True, exist_ok=True)
            if content is not None:
                target.write_bytes(content)

    return write


def npz(name: str, **arrays: np.ndarray) -> Prepare:
    return lambda root: np.savez(root / name, **arrays)


def file(name: str, content: bytes) -> Prepare:
    return lambda root: (root / name).write_bytes(content)


def zipped(*files: tuple[str, bytes]) -> bytes:
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as archive:
        for path, content in files:
            archive.writestr(zipfile.ZipInfo(path), content, zipfile.ZIP_DEFLATED)
    return data.getvalue()


def encrypted_zip() -> bytes:
    """A zip whose headers say that its entry is encrypted; zipfile cannot write one."""
    content = bytearray(zipped(("cat.png", encoded(picture()))))
    for signature, at in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        content[content.index(signature) + at] |= 1
    return bytes(content)


def zip_bomb() -> bytes:
    """A zip whose entry says that it unpacks to 1 GiB."""
    size, huge = (struct.pack("<I", n) for n in (1 << 20, 1 << 30))
    return zipped(("cat.png", bytes(1 << 20))).replace(size, huge)


def array(values: np.ndarray, name: str = "samples.npy") -> Prepare:
    return lambda root: np.save(root / name, values)


def arrays(**values: np.ndarray) -> Prepare:
    return lambda root: np.savez(root / "samples.npz", **values)


def grey(n: int = 12, side: int = 8, seed: int = 0) -> np.ndarray:
    """Random grey images, (N, H, W, 1) uint8."""
    return np.random.default_rng(seed).integers(0, 256, (n, side, side, 1), np.uint8)


class _Trap:
    """Creates a file when it is unpickled."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.root / SPRUNG,)


def trapped_array(root: Path) -> None:
    np.save(root / "samples.npy", np.array([_Trap(root)], dtype=object), allow_pickle=True)


def trapped_statistics(root: Path) -> None:
    np.savez(root / "stats.npz", mu=np.zeros(2), sigma=np.array([_Trap(root)], dtype=object))


def trapped_weights(root: Path) -> None:
    (root / "weights.pth").write_bytes(pickle.dumps({"conv.weight": _Trap(root)}))


def idx(values: np.ndarray) -> bytes:
    """An array in the format of MNIST's files."""
    header = struct.pack(f">BBBB{values.ndim}I", 0, 0, 8, values.ndim, *values.shape)
    return header + values.astype(np.uint8).tobytes()


def mnist_files(labels: np.ndarray, images: int | None = None) -> Prepare:
    """MNIST's own files with as many random images, or another number of them."""
    raw = {}
    for part in ("train", "t10k"):
        n = len(labels) if images is None else images
        raw[f"MNIST/raw/{part}-images-idx3-ubyte"] = idx(grey(n, 28).squeeze(3))
        raw[f"MNIST/raw/{part}-labels-idx1-ubyte"] = idx(labels)
    return folder("files", raw)
