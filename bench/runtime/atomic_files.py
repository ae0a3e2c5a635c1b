"""Files that survive a kill at any moment: replaced whole, appended in whole lines, or locked."""

import csv
import errno
import fcntl
import io
import os
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

TRAIN_COLUMNS = ("step", "images", "train_seconds", "key", "value")
"""Columns of train.csv, in long form: one row per logged value."""

FLUSH_ROWS = 512
"""Rows of train.csv held in memory before they are appended to the file."""

_DAY_SECONDS = 86400
_PARTIAL, _LOCK = ".bench-partial", ".bench-lock"  # endings of what is built, and of its lock

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""What the system says where a disk, a quota or the size of a file leaves no room."""


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Say which file does not fit and what to do where a disk is full.

    Raises:
        OSError: there is no room for `path`; torch's RuntimeError, which hides that, included.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in FULL:
            raise
        raise OSError(
            f"{path} cannot be written ({os.strerror(cause.errno)}): make room and give the same "
            "command again, which goes on from what is saved"
        ) from error


def unreadable(path: Path, error: PermissionError) -> PermissionError:
    """What to say of a cached file or folder that is there and may not be read.

    Args:
        path: the file or folder.
        error: what the system said; its file name is given where it is another one.
    """
    inside = f" of {error.filename}" if error.filename not in (None, str(path)) else ""
    return PermissionError(
        f"{path} cannot be read (permission denied{inside}): have its owner make it readable, or "
        "set cache_root (or BENCH_CACHE) to a folder of your own"
    )


def check_room(folder: Path, size: int = 1 << 16) -> None:
    """Check that some KiB can be written into a folder, which is created.

    Raises:
        OSError: the disk is full, or the folder not writable.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with replacing(folder / ".room") as temporary:
        temporary.write_bytes(bytes(size))
    (folder / ".room").unlink(missing_ok=True)


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A file to write, which takes the place of `path` on leaving; nothing is left after an error.

    Parent folders are created. A reader sees the old file or the new one.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with room_for(path):
            yield temporary
            os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by `text`, safe from a crash of the machine as well."""
    write_bytes_atomically(path, text.encode("utf-8"))


def write_bytes_atomically(path: Path, content: bytes) -> None:
    """Replace a file by `content`, safe from a crash of the machine as well."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or the list of a folder's files, is on the disk, safe from a crash."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, most_bytes: int | None = None) -> str:
    """The text of a UTF-8 file, line ends as they are, without a byte-order mark.

    Args:
        path: the file.
        most_bytes: the largest file that is read; None for any.

    Raises:
        FileNotFoundError: there is nothing.
        ValueError: it is a link to nothing, no file, too large, not readable, or not UTF-8; says
            what to do.
    """
    if path.is_fifo():
        raise ValueError(f"{path} cannot be read (it is a pipe): it must be a file")
    try:
        if most_bytes is not None and path.stat().st_size > most_bytes:
            raise ValueError(f"{path} is larger than {most_bytes >> 10} KiB: bring back the file")
        return path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 ({error}): save it as UTF-8") from error
    except FileNotFoundError as error:
        if not path.is_symlink():
            raise
        raise ValueError(
            f"{path} is a link to {os.readlink(path)}, which does not exist: bring that file back, "
            "or put the file itself in place of the link"
        ) from error
    except OSError as error:
        raise ValueError(
            f"{path} cannot be read ({os.strerror(error.errno or 0)}): it must be a file that you "
            "may read"
        ) from error


def append(path: Path, text: str) -> None:
    """Append `text` to a file: all of it or, where that fails, nothing.

    Raises:
        OSError: the disk is full or not writable; the file is as it was.
    """
    with room_for(path), path.open("ab", buffering=0) as file:  # a buffer would be written again
        end = file.seek(0, os.SEEK_END)
        rest = memoryview(text.encode("utf-8"))
        try:
            while rest:
                rest = rest[file.write(rest) :]
            os.fsync(file.fileno())
        except OSError:
            file.truncate(end)
            raise


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Wait until no other process holds this lock file, which is created with its folder.

    The lock ends with the process, however that ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """The sole right to make a file or folder: where to build it before it is moved to `path`.

    Processes that make the same path wait for each other, so look again whether it is there. The
    place is free at first and removed on leaving. A kill leaves it with its lock file, which nobody
    holds then: `sweep` recognises it by that.

    Args:
        path: what shall be made; its parent folder is created.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = path.with_name(f".{path.name}{_LOCK}")
    held = _take(lock, wait=True)
    partial = lock.with_suffix(_PARTIAL)
    try:
        remove(partial)
        yield partial
    finally:
        remove(partial)
        lock.unlink(missing_ok=True)
        held.close()


def sweep(folder: Path) -> None:
    """Remove what killed processes were `building` in a folder; what a live one builds stays.

    Leftovers that this user may not remove stay as well.
    """
    locks: list[Path] = []
    with suppress(OSError):  # a folder that may not be looked into
        locks += folder.glob(f".*{_LOCK}")
    for lock in locks:
        with suppress(OSError), _take(lock, wait=False):
            remove(lock.with_suffix(_PARTIAL))
            lock.unlink(missing_ok=True)


def sweep_former(folder: Path, name: re.Pattern[str]) -> None:
    """Remove what killed processes of earlier versions left, which held no lock: after a day.

    Args:
        folder: where to look.
        name: of what they left, in full.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if name.fullmatch(path.name):
                inside = list(path.iterdir()) if path.is_dir() else []
                times = [each.stat().st_mtime for each in (path, *inside)]
                if max(times) < time.time() - _DAY_SECONDS:
                    remove(path)


def _take(lock: Path, *, wait: bool) -> IO[str]:
    """Hold a lock file, which ends with the process or when the file is closed.

    Holders remove the file before they let go, so that what was waited for may be a file without a
    name: then there is another to hold.

    Raises:
        BlockingIOError: another process holds it, and there is no waiting for that.
    """
    while True:
        file = lock.open("a")
        try:
            fcntl.flock(file, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
            if os.path.samestat(os.fstat(file.fileno()), lock.stat()):
                return file
        except FileNotFoundError:
            pass
        except BaseException:
            file.close()
            raise
        file.close()


def remove(path: Path) -> None:
    """Delete a file or a folder with all that is in it, if there is one."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""How cells begin that spreadsheets run (OWASP, CSV injection), full-width signs included."""

MEASURED = re.compile(r"[-+]?[\d.∞][-+\d.,eEkMGT∞%±\[\] –]*")
"""A number, or several with signs between them: what no spreadsheet runs a program for."""


def inert(cell: str) -> str:
    """A cell that no spreadsheet takes for a formula: an apostrophe goes before it where needed.

    Numbers such as -5 stay as they are.
    """
    return f"'{cell}" if cell.startswith(FORMULA) and not MEASURED.fullmatch(cell) else cell


def csv_text(columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    """A header and rows as CSV with Unix line ends."""
    text = io.StringIO()
    plain, quoted = (
        csv.writer(text, lineterminator="\n", quoting=quoting)
        for quoting in (csv.QUOTE_MINIMAL, csv.QUOTE_ALL)
    )
    plain.writerow(columns)
    for row in map(list, rows):  # csv leaves a lone carriage return without quotes
        (quoted if any("\r" in value for value in row) else plain).writerow(row)
    return text.getvalue()


class TrainLog:
    """train.csv: what training logged, in long form, appended in blocks.

    Args:
        path: the file; it is created with the first rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[tuple[int, int, str, str, str]] = []

    def log(
        self, values: Mapping[str, float], *, step: int, images: int, train_seconds: float
    ) -> None:
        """Log named scalars; they reach the file with the next `flush`, at the latest.

        Args:
            values: scalars by name, such as "generator/loss".
            step: training steps taken.
            images: real images shown to the first phase.
            train_seconds: time spent training, without evaluation and checkpoints.
        """
        seconds = f"{train_seconds:.3f}"
        self._pending += [(step, images, seconds, k, repr(float(v))) for k, v in values.items()]
        if len(self._pending) >= FLUSH_ROWS:
            self.flush()

    def flush(self) -> None:
        """Append what is pending to the file. Call it before a checkpoint is saved.

        Raises:
            OSError: the disk is full; the file is as it was and the rows are pending still.
        """
        if not self._pending:
            return
        block = io.StringIO()
        writer = csv.writer(block, lineterminator="\n")
        if not self.path.exists() or not self.path.stat().st_size:
            writer.writerow(TRAIN_COLUMNS)
        writer.writerows(self._pending)
        append(self.path, block.getvalue())
        self._pending.clear()

    def truncate_after(self, step: int, *, redone: str | None = None) -> None:
        """Drop the rows of later steps and a half-written last line; call it on resume.

        Args:
            step: the step that training resumes from; 0 for a fresh start.
            redone: rows of this very step whose key starts so are dropped as well, because what
                wrote them will do it again; None drops none.

        Raises:
            ValueError: the file is damaged otherwise.
        """
        self._pending.clear()
        if not self.path.exists():
            return
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a line is whole once its newline is there
        try:
            rows = list(csv.reader(whole.decode("utf-8").splitlines()))[1:]
            kept = [row for row in rows if len(row) == len(TRAIN_COLUMNS) and int(row[0]) <= step]
            if redone is not None:
                kept = [r for r in kept if int(r[0]) < step or not r[3].startswith(redone)]
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{self.path} is damaged ({error}): delete {self.path.parent} and run again"
            ) from error
        write_atomically(self.path, csv_text(TRAIN_COLUMNS, kept))
