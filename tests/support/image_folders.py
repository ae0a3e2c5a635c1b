"""Folders and zips of images, written and loaded."""

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image

from bench.data.dataset import Dataset
from bench.data.folder import load_folder


def png(pixels: np.ndarray, kind: str = "PNG", **options) -> bytes:
    data = io.BytesIO()
    Image.fromarray(pixels).save(data, kind, **options)
    return data.getvalue()


def noise(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, shape or (8, 8, 3), np.uint8)


def write(root: Path, files: Mapping[str, bytes | str]) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content.encode() if isinstance(content, str) else content)
    return root


def packed(target: Path, files: Mapping[str, bytes | str]) -> Path:
    with zipfile.ZipFile(target, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return target


def load(path: Path, **options) -> Dataset:
    options = {"image_size": None, **options}
    cache = path.parent / "cache"
    return load_folder(data_root=path.parent, cache_root=cache, path=str(path), **options)


def pictures(names: list[str]) -> dict[str, bytes | str]:
    return {name: png(noise(i)) for i, name in enumerate(names)}
