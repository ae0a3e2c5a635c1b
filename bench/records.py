"""The run directory: configuration, status, training log and evaluation rows of one run.

Every file survives SIGKILL at any moment: small files are replaced atomically, the training log
is only appended to, and a half-written last line is dropped when the log is opened again.
"""

import csv
import fcntl
import io
import json
import math
import os
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import yaml

TRAIN_COLUMNS = ("step", "images", "train_seconds", "key", "value")
"""Columns of train.csv, in long form: one row per logged value."""

EVAL_KEY = ("checkpoint", "sampler", "weights")
"""What makes a row of eval.csv unique within its run."""

FLUSH_ROWS = 512
"""Rows of train.csv held in memory before they are appended to the file."""


class RunInUseError(RuntimeError):
    """Another process is writing this run."""


@dataclass(frozen=True)
class Status:
    """How far a run has come; status.json.

    Attributes:
        status: where the run stands.
        reason: why it failed; empty otherwise.
        step: training steps taken.
        phase: the phase that failed; empty otherwise.
        command: the command line that made the run.
    """

    status: Literal["running", "finished", "failed"]
    reason: str = ""
    step: int = 0
    phase: str = ""
    command: str = ""


def write_atomically(path: Path, text: str) -> None:
    """Replace a file by `text` so that a reader, or a crash, sees the old file or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    with temporary.open("w", encoding="utf-8", newline="") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)  # without it the rename itself may be lost with the power
    finally:
        os.close(directory)


def read_status(directory: Path) -> Status | None:
    """Read status.json of a run directory, without locking it; None if there is none.

    Raises:
        ValueError: the file is not a status.
    """
    path = directory / "status.json"
    if not path.exists():
        return None
    try:
        status = Status(**json.loads(path.read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path} is not the status of a run: {error}") from error
    if status.status not in ("running", "finished", "failed"):
        raise ValueError(
            f"{path}: status is {status.status!r}, must be 'running', 'finished' or 'failed'"
        )
    return status


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
        """Append what is pending to the file. Call it before a checkpoint is saved."""
        if not self._pending:
            return
        block = io.StringIO()
        writer = csv.writer(block, lineterminator="\n")
        if not self.path.exists():
            writer.writerow(TRAIN_COLUMNS)
        writer.writerows(self._pending)
        with self.path.open("a", encoding="utf-8", newline="") as file:
            file.write(block.getvalue())
            file.flush()
            os.fsync(file.fileno())
        self._pending.clear()

    def truncate_after(self, step: int) -> None:
        """Drop the rows of later steps and a half-written last line; call it on resume.

        Args:
            step: the step that training resumes from; 0 for a fresh start.
        """
        self._pending.clear()
        if not self.path.exists():
            return
        text = self.path.read_text(encoding="utf-8")
        whole = text[: text.rfind("\n") + 1]  # a line is whole once its newline is there
        rows = list(csv.reader(whole.splitlines()))[1:]
        kept = [row for row in rows if len(row) == len(TRAIN_COLUMNS) and int(row[0]) <= step]
        write_atomically(self.path, _csv_text(TRAIN_COLUMNS, kept))


class RunDirectory:
    """One run on disk, open for writing by this process alone.

    Use it as a context manager, or call `close`. Under torchrun only rank 0 opens it.

    Args:
        path: the run directory; it is created when missing.

    Attributes:
        path: the run directory.
        samples: folder of sample grids.
        checkpoints: folder of checkpoints.
        train: the training log.

    Raises:
        RunInUseError: another process has it open.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        for folder in (path, self.samples, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._acquire()
        self.train = TrainLog(path / "train.csv")

    def _acquire(self) -> int:
        lock = os.open(self.path / ".lock", os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            owner = os.read(lock, 32).decode().strip() or "unknown"
            os.close(lock)
            raise RunInUseError(
                f"run {self.path} is in use by process {owner}; wait for it or stop it"
            ) from None
        os.ftruncate(lock, 0)
        os.write(lock, f"{os.getpid()}\n".encode())
        return lock

    def close(self) -> None:
        """Write what is pending and let other processes open the run."""
        if self._lock < 0:
            return
        self.train.flush()
        os.close(self._lock)  # closing the descriptor releases the lock
        self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write_config(self, config: Mapping[str, Any], may_differ: Collection[str] = ()) -> None:
        """Write config.yaml, or check that the run was made with the same configuration.

        Args:
            config: the resolved configuration, of plain values.
            may_differ: dotted keys, each with everything below it, that may change between a
                run and its resumption, such as "logger". The file keeps the first values.

        Raises:
            ValueError: the run was made with another configuration.
        """
        path = self.path / "config.yaml"
        text = yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True)
        if not path.exists():
            write_atomically(path, text)
            return
        old, new = _flatten(yaml.safe_load(path.read_text("utf-8"))), _flatten(yaml.safe_load(text))
        changed = [
            f"{key}: {old.get(key, '(absent)')} → {new.get(key, '(absent)')}"
            for key in sorted(old.keys() | new.keys())
            if old.get(key) != new.get(key)
            and not any(f"{key}.".startswith(f"{prefix}.") for prefix in may_differ)
        ]
        if changed:
            raise ValueError(
                f"run {self.path} was made with another configuration ({'; '.join(changed)}): "
                "delete the directory or change results_root"
            )

    @property
    def status(self) -> Status | None:
        """The recorded status; None for a new run."""
        return read_status(self.path)

    def write_status(self, status: Status) -> None:
        """Replace status.json."""
        text = json.dumps(asdict(status), indent=2, ensure_ascii=False)
        write_atomically(self.path / "status.json", text + "\n")

    def eval_rows(self) -> list[dict[str, str]]:
        """The rows of eval.csv as written; an empty value stands for "not measured"."""
        path = self.path / "eval.csv"
        if not path.exists():
            return []
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))

    def append_eval(self, rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
        """Add rows to eval.csv; a row with the key of an earlier one replaces it.

        Args:
            rows: values by column; None, NaN and left-out columns are written as empty.
            columns: all columns, in order, from `bench.protocol.eval_columns`.

        Raises:
            ValueError: a row has an unknown column, or the file has other columns.
        """
        path = self.path / "eval.csv"
        table = {_key(row): row for row in self.eval_rows()}
        for row in table.values():
            if tuple(row) != columns:
                raise ValueError(
                    f"{path} was written with other columns: delete {self.path} and run again"
                )
        for row in rows:
            if unknown := sorted(row.keys() - set(columns)):
                raise ValueError(f"unknown columns of eval.csv: {', '.join(unknown)}")
            written = {column: _cell(row.get(column)) for column in columns}
            table[_key(written)] = written
        write_atomically(path, _csv_text(columns, (row.values() for row in table.values())))


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in EVAL_KEY)


def _cell(value: Any) -> str:
    """Write a value of eval.csv: floats in full precision, nothing for None and NaN."""
    if isinstance(value, Real) and not isinstance(value, Integral):  # NumPy's floats included
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else str(value)


def _csv_text(columns: tuple[str, ...], rows: Iterable[Iterable[str]]) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


def _flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """Map dotted keys to values, shown as YAML would write them on one line."""
    if isinstance(tree, dict) and tree:
        pairs = (_flatten(value, f"{prefix}.{key}") for key, value in tree.items())
        return {key: value for pair in pairs for key, value in pair.items()}
    return {prefix.removeprefix("."): json.dumps(tree, ensure_ascii=False, default=str)}
