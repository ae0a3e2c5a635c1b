"""Exported files and folders: made whole, and replaced only where they are exports themselves."""

import hashlib
import json
import logging
import os
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from bench.runtime.atomic_files import building, remove, room_for, sweep, sync

_LOGGER = logging.getLogger(__name__)

MANIFEST = ".export.json"
"""File in an exported folder that lists the others: name → first 16 hex digits of the SHA-256.

Hidden, so that tools that read folders of images ignore it.
"""


@dataclass(frozen=True)
class Kind:
    """What is exported.

    Attributes:
        noun: a file of it, such as "file of samples".
        recognises: whether a file looks like one.
    """

    noun: str
    recognises: Callable[[Path], bool]


def check_out(path: Path, kind: Kind, *, replace: bool) -> None:
    """Refuse a path that must not or cannot be written.

    Args:
        path: where the export is to be written.
        kind: what is exported.
        replace: whether an earlier export at path may be replaced. A folder is replaced only if it
            contains nothing but unchanged files of its manifest; a file only if it is recognised.

    Raises:
        FileExistsError: something else exists there.
        ValueError: it is the working directory.
    """
    if path.resolve() == Path.cwd():
        raise ValueError(f"--out={path} is the folder that you are in: choose another")
    if path.exists() and not replace and (path.is_file() or any(path.iterdir())):
        raise FileExistsError(f"{path} exists: choose another --out, or give --force to replace it")
    _check_owned(path, kind)


def make_whole(path: Path, kind: Kind, write: Callable[[Path], None]) -> None:
    """Write a file or a folder, and put it at path when it is complete.

    Args:
        path: where to write; parent folders are created.
        kind: what is exported; of what is at path, only this is replaced.
        write: writes it at the path that it is given.

    Raises:
        FileExistsError: something else exists there.
        OSError: it cannot be written.
    """
    path = path.resolve()  # replace the target of a link, not the link
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)
    former = path.with_name(f".{path.name}.bench-former")
    with room_for(path), building(path) as temporary:
        if former.exists():  # killed between the moves below, or before the last line
            _remove_owned(former) if path.exists() else os.replace(former, path)
        write(temporary)
        _check_owned(path, kind)  # again: writing takes time
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


def write_manifest(folder: Path, digests: Mapping[str, str] | None = None) -> None:
    """List the files of an exported folder, so that it may be replaced.

    Args:
        folder: holds all of them, also in folders of its own.
        digests: of each file by its name; None to compute them.
    """
    if digests is None:
        paths = sorted(path for path in folder.rglob("*") if path.is_file())
        digests = {_name(path, folder): digest(path.read_bytes()) for path in paths}
    manifest = {"about": "written by bench.export, which replaces these files only"}
    text = json.dumps({**manifest, "files": digests})
    (folder / MANIFEST).write_text(text, encoding="utf-8")


def digest(content: bytes) -> str:
    """What a manifest says of a file's content."""
    return hashlib.sha256(content).hexdigest()[:16]


def _check_owned(path: Path, kind: Kind) -> None:
    """Raise FileExistsError on a file that is no export, or a folder with anything else."""
    if path.is_dir():
        _check_folder_owned(path)
    elif path.exists() and not kind.recognises(path):
        raise FileExistsError(
            f"{path} is not an exported {kind.noun}: choose another --out, or delete "
            "it yourself, since --force replaces only what was exported"
        )


def _check_folder_owned(folder: Path) -> None:
    listed = _manifest(folder)
    folders = {parent.as_posix() for name in listed for parent in Path(name).parents}
    for entry in sorted(folder.rglob("*")):
        name = _name(entry, folder)
        if name == MANIFEST and listed:
            continue
        if name in folders and entry.is_dir() and not entry.is_symlink():
            continue
        if entry.is_symlink() or not entry.is_file() or name not in listed:
            why = "" if listed else f", and no {MANIFEST} that lists what an export made"
            raise FileExistsError(
                f"{folder} holds {name}, which is not part of an export{why}: choose another "
                "--out, or delete the folder yourself, since --force replaces only what was "
                "exported"
            )
        if digest(entry.read_bytes()) != listed[name]:
            raise FileExistsError(
                f"{folder} holds {name}, which was changed since it was exported: choose "
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
    """Delete what was replaced: the files of the manifest, and the folders that are then empty."""
    if not path.is_dir():
        remove(path)
        return
    owned = {*_manifest(path), MANIFEST}
    entries = sorted(path.rglob("*"), reverse=True)  # what is in a folder comes before it
    for entry in entries:  # not by names of the manifest, which could point elsewhere
        if entry.is_dir() and not entry.is_symlink():
            with suppress(OSError):
                entry.rmdir()
        elif _name(entry, path) in owned:
            entry.unlink()
    try:
        path.rmdir()
    except OSError:
        _LOGGER.warning("%s holds files that are not part of an export: they are kept", path)


def _name(entry: Path, folder: Path) -> str:
    return entry.relative_to(folder).as_posix()
