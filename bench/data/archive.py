"""A folder or zip file as one tree of named files; nothing is unpacked to disk."""

import hashlib
import os
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from functools import cached_property
from pathlib import Path
from typing import IO, Self

from bench.data.cache import files_key
from bench.data.formats import remedy

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
"""Exceptions raised by reading a damaged file of any format."""

MAX_FILE_BYTES = 1 << 28
"""Largest file that is read, 256 MiB unpacked: images are smaller, zip bombs larger."""

_SAMPLED_FILES = 64  # files of a folder whose contents its key depends on
_SAMPLED_BYTES = 4096  # of each, at its beginning and its end


class Tree(ABC):
    """Files below one root, named by relative POSIX paths.

    Hidden files and folders (a leading dot) and macOS's __MACOSX are left out.

    Attributes:
        path: the root.
        setting: the setting that named it, for error messages.
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
        """Close open files."""
        return

    @abstractmethod
    def key(self) -> str:
        """Return a hash that changes when the tree changes."""

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
    def open(self, name: str) -> IO[bytes]:
        """Open one file, to read only its beginning; safe to call from several threads."""


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
    advice = remedy(root.name)
    if advice is not None and root.suffix.lower() != ".zip" and not zipfile.is_zipfile(root):
        raise ValueError(f"{setting}={path} is not a folder or zip file of images: {advice}.")
    return _Zip(root, setting)


class _Folder(Tree):
    """A directory. Links to folders are followed, except to an enclosing folder."""

    def key(self) -> str:
        """Hash the real path, names, sizes, times and samples of the contents.

        Contents are only sampled, because reading a large folder at every start takes minutes.
        Times are those of modification, which copying and unpacking may keep, and of the last
        change of the file's inode, which programs cannot set; an edit that keeps a file's size and
        time is thus noticed.
        """
        digest = hashlib.sha256(repr(os.path.realpath(self.path)).encode())
        for name in self.files:
            digest.update(repr((name, *self._state(name))).encode())
        digest.update(repr(self.folders).encode())
        step = -(-len(self.files) // _SAMPLED_FILES) or 1
        for name in self.files[::step]:
            digest.update(self._sample(name))
        return digest.hexdigest()

    def _state(self, name: str) -> tuple[int, ...]:
        """Size and times; empty for unreadable files, which `read` reports."""
        try:
            stat = os.stat(f"{self.path}/{name}")  # pathlib takes longer
        except OSError:
            return ()
        return (stat.st_size, stat.st_mtime_ns, stat.st_ctime_ns)

    def _sample(self, name: str) -> bytes:
        """The beginning and the end of a file."""
        try:
            with (self.path / name).open("rb") as file:
                beginning = file.read(_SAMPLED_BYTES)
                file.seek(max(0, file.seek(0, os.SEEK_END) - _SAMPLED_BYTES))
                return beginning + file.read(_SAMPLED_BYTES)
        except OSError:
            return b""

    @property
    def files(self) -> list[str]:
        return self._walk[0]

    @property
    def folders(self) -> list[str]:
        return self._walk[1]

    def read(self, name: str) -> bytes:
        path = self.path / name
        if (size := path.stat().st_size) > MAX_FILE_BYTES:
            raise ValueError(f"{size >> 20} MiB, the limit is {MAX_FILE_BYTES >> 20} MiB a file")
        return path.read_bytes()

    def open(self, name: str) -> IO[bytes]:
        return (self.path / name).open("rb")

    @cached_property
    def _walk(self) -> tuple[list[str], list[str]]:
        files: list[str] = []
        folders: list[str] = []
        found: dict[str, str] = {}  # real path → name of each folder
        for parent, inside, names in os.walk(self.path, onerror=self._refuse, followlinks=True):
            below = Path(parent).relative_to(self.path)
            real = os.path.realpath(parent)
            other = found.setdefault(real, below.as_posix())
            if other != below.as_posix():
                raise ValueError(
                    f"{self}: {other} and {below.as_posix()} are the same folder, by links: leave "
                    "one of them"
                )
            inside[:] = sorted(
                name
                for name in inside
                if not _hidden((name,)) and not _leads_back(f"{parent}/{name}", real)
            )
            folders += [(below / name).as_posix() for name in inside]
            files += [(below / name).as_posix() for name in names if not _hidden((name,))]
        return sorted(files), sorted(folders)

    def _refuse(self, error: OSError) -> None:
        name = os.path.relpath(error.filename, self.path)
        what = "it" if name == "." else f"the folder {name}"
        raise ValueError(
            f"{self}: {what} cannot be read ({error.strerror}): allow yourself to read it, or move "
            "it elsewhere"
        ) from error


def _leads_back(path: str, parent: str) -> bool:
    """Whether a path is a link to one of its enclosing folders."""
    if not os.path.islink(path):
        return False
    target = os.path.realpath(path)
    return os.path.commonpath([target, parent]) == target


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
        except OSError as error:
            raise ValueError(
                f"{self} cannot be read ({error.strerror}): it must be a file that you may read."
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
            found.update("/".join(parts[:n]) for n in range(1, len(parts) + _is_folder(info)))
        return sorted(name for name in found if not _hidden(name.split("/")))

    def close(self) -> None:
        self._archive.close()

    def read(self, name: str) -> bytes:
        return self._archive.read(self._entries[name])

    def open(self, name: str) -> IO[bytes]:
        return self._archive.open(self._entries[name])

    @cached_property
    def _entries(self) -> dict[str, zipfile.ZipInfo]:
        entries: dict[str, zipfile.ZipInfo] = {}
        for info in self._archive.infolist():
            parts = self._parts(info)
            name = "/".join(parts)
            if _is_folder(info) or _hidden(parts):
                continue
            if name in entries:
                raise self._refuse(info, "occurs twice", "zip the images again")
            if info.flag_bits & 1:
                raise self._refuse(info, "is encrypted", "zip the images without a password")
            if info.file_size > MAX_FILE_BYTES:
                size = f"unpacks to {info.file_size >> 20} MiB"
                limit = f"the limit is {MAX_FILE_BYTES >> 20} MiB a file, remove it"
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


def _is_folder(info: zipfile.ZipInfo) -> bool:
    return info.filename.endswith(("/", "\\"))  # the second from Windows


def _hidden(parts: list[str] | tuple[str, ...]) -> bool:
    return any(part.startswith(".") or part == "__MACOSX" for part in parts)
