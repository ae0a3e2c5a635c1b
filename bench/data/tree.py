"""Owns reading a folder or a zip file as one tree of named files, with nothing unpacked to disk."""

import hashlib
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import Self

from bench.data.cache import files_key

UNREADABLE = (
    OSError,
    ValueError,
    EOFError,
    SyntaxError,  # Pillow's PNG reader, NumPy's header
    struct.error,
    zlib.error,
    zipfile.BadZipFile,
    NotImplementedError,  # zipfile: unknown compression
)
"""What reading a damaged file raises, whatever its format."""

_MAX_FILE_BYTES = 1 << 28  # 256 MiB: no image is larger, a zip bomb is


class Tree(ABC):
    """Files below one root, named by relative POSIX paths.

    Hidden files and folders (a leading dot) and macOS's __MACOSX are left out.

    Attributes:
        path: the root.
        setting: the setting that named it, to name it again where something is wrong with it.
    """

    def __init__(self, path: Path, setting: str) -> None:
        self.path = path
        self.setting = setting

    def __str__(self) -> str:
        return f"{self.setting}={self.path}"

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release what reading holds open."""
        return

    @abstractmethod
    def key(self) -> str:
        """Return a hash that changes when the tree does."""

    @property
    @abstractmethod
    def files(self) -> list[str]:
        """Names of all files, sorted."""

    @property
    @abstractmethod
    def folders(self) -> list[str]:
        """Names of all folders, sorted, empty ones included."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """Return one file's bytes; safe to call from several threads."""

    @abstractmethod
    def head(self, name: str, size: int) -> bytes:
        """Return the first bytes of one file, at most `size`."""


def open_tree(path: str | Path, setting: str = "dataset.path") -> Tree:
    """Open a folder or zip file; setting is what the user set to path.

    Raises:
        FileNotFoundError: there is nothing at path.
        ValueError: path is neither a folder nor a whole zip file.
    """
    root = Path(path).expanduser()
    if root.is_dir():
        return _Folder(root, setting)
    if not root.exists():
        raise FileNotFoundError(
            f"{setting}={path} does not exist: give a folder or a zip file of images."
        )
    return _Zip(root, setting)


class _Folder(Tree):
    """A directory. Links to folders are followed, each real folder once."""

    def key(self) -> str:
        """Hash names, sizes and modification times.

        Contents are not hashed: reading a large folder at every start costs minutes. The price is
        that an edit which keeps a file's size and time goes unnoticed.
        """
        digest = hashlib.sha256()
        for name in self.files:
            stat = (self.path / name).stat()
            digest.update(repr((name, stat.st_size, stat.st_mtime_ns)).encode())
        digest.update(repr(self.folders).encode())
        return digest.hexdigest()

    @property
    def files(self) -> list[str]:
        return self._walk[0]

    @property
    def folders(self) -> list[str]:
        return self._walk[1]

    def read(self, name: str) -> bytes:
        return (self.path / name).read_bytes()

    def head(self, name: str, size: int) -> bytes:
        with (self.path / name).open("rb") as file:
            return file.read(size)

    @cached_property
    def _walk(self) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        visited: set[str] = set()
        for parent, inside, names in os.walk(self.path, followlinks=True):
            inside[:] = [name for name in inside if not _hidden((name,))]
            if os.path.realpath(parent) in visited:  # a loop of links
                inside.clear()
                continue
            visited.add(os.path.realpath(parent))
            below = Path(parent).relative_to(self.path)
            folders += [(below / name).as_posix() for name in inside]
            files += [(below / name).as_posix() for name in names if not _hidden((name,))]
        return sorted(files), sorted(folders)


class _Zip(Tree):
    """A zip file, read in place."""

    def __init__(self, path: Path, setting: str) -> None:
        super().__init__(path, setting)
        try:
            self._archive = zipfile.ZipFile(path)
        except zipfile.BadZipFile as error:
            raise ValueError(
                f"{self} is not a whole zip file ({error}): give a folder or a zip "
                "file of images, or copy the file again if it was cut short."
            ) from error

    def key(self) -> str:
        """Hash the file's bytes."""
        return files_key([self.path])

    @property
    def files(self) -> list[str]:
        return sorted(self._entries)

    @property
    def folders(self) -> list[str]:
        found: set[str] = set()
        for info in self._archive.infolist():
            parts = self._parts(info)
            found.update("/".join(parts[:n]) for n in range(1, len(parts) + info.is_dir()))
        return sorted(name for name in found if not _hidden(name.split("/")))

    def close(self) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        return self._archive.read(self._entries[name])

    def head(self, name: str, size: int) -> bytes:
        with self._archive.open(self._entries[name]) as file:
            return file.read(size)

    @cached_property
    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            parts = self._parts(info)
            name = "/".join(parts)
            if info.is_dir() or _hidden(parts):
                continue
            if name in entries:
                raise self._refuse(info, "occurs twice", "zip the images again")
            if info.flag_bits & 1:
                raise self._refuse(info, "is encrypted", "zip the images without a password")
            if info.file_size > _MAX_FILE_BYTES:
                size = f"unpacks to {info.file_size >> 20} MiB"
                limit = f"the limit is {_MAX_FILE_BYTES >> 20} MiB a file, remove it"
                raise self._refuse(info, size, limit)
            entries[name] = info
        return entries

    def _parts(self, info: zipfile.ZipInfo) -> list[str]:
        name = info.filename.replace("\\", "/")
        if name.startswith("/") or ".." in name.split("/") or name[1:2] == ":":
            raise self._refuse(info, "points outside the archive", "do not trust this file")
        return [part for part in name.split("/") if part not in ("", ".")]

    def _refuse(self, info: zipfile.ZipInfo, fault: str, advice: str) -> ValueError:
        return ValueError(f"{self}: entry {info.filename!r} {fault}: {advice}.")


def _hidden(parts: list[str] | tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
