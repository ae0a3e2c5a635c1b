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
"""Maximum number of rows of train.csv in memory before they are appended to the file."""

_DAY_SECONDS = 86400
_PARTIAL, _LOCK = ".bench-partial", ".bench-lock"  # suffixes of unfinished entries, locks

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
"""Error numbers for a full disk, a quota or a file size limit."""


@contextmanager
def room_for(path: Path) -> Iterator[None]:
    """Turn errors of a full disk into a message with the file and the remedy.

    Raises:
        OSError: there is no space for `path`, including cases that torch reports as RuntimeError.
    """
    try:
        yield
    except (OSError, RuntimeError) as error:
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError) or cause.errno not in FULL:
            raise
        raise OSError(
            f"{path} cannot be written ({os.strerror(cause.errno)}): free some space and repeat "
            "the command, which resumes from what is saved"
        ) from error


def unreadable(path: Path, error: PermissionError) -> PermissionError:
    """An error for a cached file or folder that exists but cannot be read.

    Args:
        path: the file or folder.
        error: the error of the system; its file name is included if it differs.
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
    """Yield a temporary file that replaces `path` on exit; nothing is left after an error.

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
    """Replace a file by `text`, also safe against a crash of the machine."""
    with replacing(path) as temporary, temporary.open("wb") as file:
        file.write(text.encode("utf-8"))
        file.flush()
        os.fsync(file.fileno())
    sync(path.parent)


def sync(path: Path) -> None:
    """Wait until a file, or a folder's list of files, is on disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def read_text(path: Path, most_bytes: int | None = None) -> str:
    """Text of a UTF-8 file with unchanged line ends, without a byte-order mark.

    Args:
        path: the file.
        most_bytes: the largest file that is read; None for any.

    Raises:
        FileNotFoundError: it does not exist.
        ValueError: it is a dangling link, no file, too large, not readable, or not UTF-8; the
            message says what to do.
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
    """Append `text` to a file completely or, if that fails, not at all.

    Raises:
        OSError: the disk is full or not writable; the file is unchanged.
    """
    with room_for(path), path.open("ab", buffering=0) as file:  # a buffer would be written twice
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

    The lock is released when the process ends, however it ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def building(path: Path) -> Iterator[Path]:
    """Exclusive right to create a file or folder; yields a temporary path to build it at.

    Processes that create one path wait for each other, so check again whether it exists. The
    temporary path is free on entry and removed on exit. A kill leaves it with a lock file that
    nobody holds, by which `sweep` recognises it.

    Args:
        path: the file or folder to create; its parent folder is created.
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
    """Remove leftovers of killed processes that were `building` in a folder.

    Entries of running processes, and those that this user may not remove, are kept.
    """
    locks: list[Path] = []
    with suppress(OSError):  # a folder that cannot be listed
        locks += folder.glob(f".*{_LOCK}")
    for lock in locks:
        with suppress(OSError), _take(lock, wait=False):
            remove(lock.with_suffix(_PARTIAL))
            lock.unlink(missing_ok=True)


def under_construction(folder: Path) -> list[Path]:
    """Locks of running processes that are `building` in a folder; leftovers of others are removed.

    Raises:
        PermissionError: the folder cannot be listed.
    """
    sweep(folder)
    return sorted(folder.glob(f".*{_LOCK}"))


def sweep_former(folder: Path, name: re.Pattern[str]) -> None:
    """Remove leftovers, older than a day, of killed processes of versions without locks.

    Args:
        folder: the folder to clean.
        name: pattern of the full names.
    """
    with suppress(OSError):
        for path in folder.iterdir():
            if name.fullmatch(path.name):
                inside = list(path.iterdir()) if path.is_dir() else []
                times = [each.stat().st_mtime for each in (path, *inside)]
                if max(times) < time.time() - _DAY_SECONDS:
                    remove(path)


def _take(lock: Path, *, wait: bool) -> IO[str]:
    """Acquire a lock file, released when the file is closed or the process ends.

    Holders remove the file before they release it, so the acquired file may already be unlinked;
    then the lock is acquired again.

    Raises:
        BlockingIOError: another process holds it, and `wait` is false.
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
    """Delete a file or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")
"""First characters of cells that spreadsheets execute (OWASP, CSV injection), also full-width."""

MEASURED = re.compile(r"[-+]?[\d.∞][-+\d.,eEkMGT∞%±\[\] –]*")
"""A number, or several with signs between them, which is harmless in spreadsheets."""


def inert(cell: str) -> str:
    """Make a cell inert in spreadsheets: text like a formula gets a leading apostrophe.

    Numbers such as -5 are unchanged.
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
    for row in map(list, rows):  # the csv module does not quote a lone carriage return
        (quoted if any("\r" in value for value in row) else plain).writerow(row)
    return text.getvalue()


class TrainLog:
    """train.csv: logged values in long form, appended in blocks.

    Args:
        path: the file; it is created with the first rows.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._pending: list[tuple[int, int, str, str, str]] = []

    def log(
        self, values: Mapping[str, float], *, step: int, images: int, train_seconds: float
    ) -> None:
        """Log named scalars; they are written with the next `flush` at the latest.

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
        """Append pending rows to the file. Call it before a checkpoint is saved.

        Raises:
            OSError: the disk is full; the file is unchanged and the rows are still pending.
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
            redone: prefix of keys whose rows of this step are dropped as well, because they will be
                written again; None drops none.

        Raises:
            ValueError: the file is damaged in another way.
        """
        self._pending.clear()
        if self.path.exists():
            kept = self.rows_until(step, redone=redone)
            write_atomically(self.path, csv_text(TRAIN_COLUMNS, kept))

    def rows_until(self, step: int, *, redone: str | None = None) -> list[list[str]]:
        """The rows that `truncate_after` keeps; args and errors are its own."""
        if not self.path.exists():
            return []
        content = self.path.read_bytes()
        whole = content[: content.rfind(b"\n") + 1]  # a line is complete with its newline
        try:
            rows = list(csv.reader(whole.decode("utf-8").splitlines()))[1:]
            kept = [row for row in rows if len(row) == len(TRAIN_COLUMNS) and int(row[0]) <= step]
            if redone is not None:
                kept = [r for r in kept if int(r[0]) < step or not r[3].startswith(redone)]
        except (ValueError, csv.Error) as error:
            raise ValueError(
                f"{self.path} is damaged ({error}): delete {self.path.parent} and run again"
            ) from error
        return kept
