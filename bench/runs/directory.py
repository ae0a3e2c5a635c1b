"""The run directory: configuration, status, training log and evaluation rows of one run.

Every file survives SIGKILL at any moment: small files are replaced atomically, the training log
is only appended to, and a half-written last line is dropped when the log is opened again.
"""

import csv
import errno
import fcntl
import io
import json
import math
import os
import platform
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from numbers import Integral, Real
from pathlib import Path
from typing import Any, Literal, Self

import yaml

from bench.errors import RunInUseError
from bench.former import ABSENT, FURTHER_REFERENCE, remedy, settable, value_at, with_former
from bench.runtime.atomic_files import TrainLog, csv_text, read_text, room_for, write_atomically
from bench.runtime.plain_files import MAX_BYTES, json_value, yaml_value
from bench.schema import BEFORE, FORMER, extractor_names, is_later

EVAL_KEY = ("checkpoint", "sampler", "weights")
"""Columns that identify a row of eval.csv within its run."""

NO_STATUS = (
    "{} is not the status of a run ({}): delete this file and give the run's command again, which "
    "goes on from the last checkpoint"
)
"""Message about a damaged status.json; the remedy keeps the checkpoints."""

_REMEDY = "delete {} and run again"

_KINDS = {"step": (int,), "seconds": (int, float)}
"""Types of the values of status.json that are no texts."""

NO_LOCKS = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
"""Errors of file systems without locks."""


@dataclass(frozen=True)
class Status:
    """Content of status.json.

    Attributes:
        status: state of the run.
        reason: why it failed; empty otherwise.
        step: training steps taken.
        phase: the phase that failed; empty otherwise.
        command: the command line that made the run.
        sequential: how bench.decide made it, as `bench.runs.looks.Look.text` writes it; empty for
            a run of a fixed number of seeds.
        seconds: of all calls up to this status, evaluation included; 0 for one of earlier versions.
        device: name of the CPU or GPU of the last call; empty for one of earlier versions.
    """

    status: Literal["running", "finished", "failed"]
    reason: str = ""
    step: int = 0
    phase: str = ""
    command: str = ""
    sequential: str = ""
    seconds: float = 0.0
    device: str = ""


def read_status(directory: Path) -> Status | None:
    """Read status.json without locking the run; None if there is none.

    Raises:
        ValueError: the file is not a status.
    """
    path = directory / "status.json"
    if not path.exists() and not path.is_symlink():
        return None
    text = read_text(path, MAX_BYTES)
    try:
        status = Status(**json_value(text))
    except (TypeError, ValueError) as error:
        raise ValueError(NO_STATUS.format(path, error)) from error
    for field in fields(Status):
        value, kinds = getattr(status, field.name), _KINDS.get(field.name, (str,))
        if type(value) not in kinds:
            raise ValueError(NO_STATUS.format(path, f"its {field.name} is {value!r}"))
    if status.status not in ("running", "finished", "failed"):
        said = f"its status is {status.status!r}, must be 'running', 'finished' or 'failed'"
        raise ValueError(NO_STATUS.format(path, said))
    return status


def _remove_leftovers(*folders: Path) -> None:
    """Remove temporary files of killed processes."""
    for folder in folders:
        for file in folder.glob(".*.tmp"):
            file.unlink(missing_ok=True)


def _check_links(run: Path) -> None:
    """Refuse dangling links, behind which an existing run would be hidden.

    Raises:
        ValueError: a link in the run's path or directory is dangling.
    """
    inside = run.iterdir() if run.is_dir() else ()
    for path in (*reversed(run.parents), run, *sorted(inside)):
        if path.is_symlink() and not path.exists():
            raise ValueError(
                f"{path} is a link to {path.readlink()}, which does not exist: bring that back, or "
                "remove the link"
            )


def recorded_config(run: Path) -> dict[str, Any] | None:
    """The recorded configuration of a run; None if there is none.

    Raises:
        ValueError: config.yaml is damaged.
    """
    path = run / "config.yaml"
    if not path.exists():
        return None
    text = read_text(path, MAX_BYTES)
    try:
        written = yaml_value(text)
    except ValueError as error:
        raise ValueError(f"{path} is damaged ({error}): {_REMEDY.format(run)}") from error
    if not isinstance(written, dict):
        raise ValueError(f"{path} is damaged: {_REMEDY.format(run)}")
    return written


def was_made_with(run: Path, config: Mapping[str, Any], may_differ: Collection[str] = ()) -> bool:
    """Whether a run with this configuration exists; args and errors as in `check_config`."""
    recorded = recorded_config(run)
    return recorded is not None and not _differences(run, recorded, config, may_differ)


def _differences(
    run: Path, recorded: Mapping[str, Any], config: Mapping[str, Any], may_differ: Collection[str]
) -> dict[str, tuple[str, str]]:
    """The settings that differ, each with the recorded and the given value."""
    present = yaml.safe_load(_yaml_text(config))
    if value_at(recorded, FURTHER_REFERENCE) is ABSENT and not _depends_on_part(run, present):
        may_differ = (*may_differ, FURTHER_REFERENCE)
    old, new = _flatten(with_former(recorded, present)), _flatten(present)
    return {
        key: (old.get(key, "(absent)"), new.get(key, "(absent)"))
        for key in sorted(old.keys() | new.keys())
        if old.get(key) != new.get(key)
        and not any(f"{key}.".startswith(f"{prefix}.") for prefix in may_differ)
    }


def _depends_on_part(run: Path, config: Mapping[str, Any]) -> bool:
    """Whether a run has rows that evaluator.further_reference would have changed.

    Args:
        run: of a version without that setting.
        config: the present configuration, in plain values.
    """
    most = value_at(config, FURTHER_REFERENCE)
    path = run / "eval.csv"
    if not isinstance(most, int) or not path.exists():
        return False
    row = next(csv.DictReader(io.StringIO(read_text(path))), {})
    texts = (row.get("reference_size") or "", row.get("samples") or "")
    size, samples = (int(text) if text.isdecimal() else 0 for text in texts)
    return len(extractor_names(row)) > 1 and size > max(most, samples)


def _changes(differing: Mapping[str, tuple[str, str]]) -> str:
    return "; ".join(f"{key}: {old} → {new}" for key, (old, new) in differing.items())


class RunDirectory:
    """One run on disk, locked for writing by this process or for reading by several.

    Use it as a context manager, or call `close`. Under torchrun only rank 0 opens it for writing.

    Args:
        path: the run directory; it is created if missing.
        reading: whether it is only read: the lock is shared, and nothing is created.

    Attributes:
        path: the run directory.
        samples: folder of sample grids.
        checkpoints: folder of checkpoints.
        train: the training log.

    Raises:
        RunInUseError: another process has it open for writing or, unless `reading`, for reading.
    """

    def __init__(self, path: Path, *, reading: bool = False) -> None:
        self.path = path
        self.samples = path / "samples"
        self.checkpoints = path / "checkpoints"
        _check_links(path)
        for folder in () if reading else (path, self.samples, self.checkpoints):
            folder.mkdir(parents=True, exist_ok=True)
        self._lock = self._acquire(reading)
        if not reading:
            _remove_leftovers(path, self.samples)
        self.train = TrainLog(path / "train.csv")

    def _acquire(self, reading: bool) -> int:
        """The descriptor of the lock; -1 if a run without a lock file is read."""
        file = self.path / ".lock"
        if reading and not file.exists():
            return -1
        lock = os.open(file, os.O_RDONLY if reading else os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(lock, (fcntl.LOCK_SH if reading else fcntl.LOCK_EX) | fcntl.LOCK_NB)
            if not reading:
                with room_for(file):
                    os.ftruncate(lock, 0)
                    os.write(lock, f"{os.getpid()} on {platform.node()}\n".encode())
        except BlockingIOError:
            owner = os.read(lock, 300).decode().strip() or "unknown"
            os.close(lock)
            raise RunInUseError(
                f"run {self.path} is in use by process {owner}; wait for it or stop it"
            ) from None
        except OSError as error:
            os.close(lock)
            if error.errno in NO_LOCKS:
                raise OSError(
                    f"{self.path} cannot be locked ({os.strerror(error.errno)}): the file system "
                    "must support flock (Lustre: mount it with -o flock)"
                ) from error
            raise
        return lock

    @property
    def _remedy(self) -> str:
        return _REMEDY.format(self.path)

    def close(self) -> None:
        """Write pending log rows and release the lock."""
        if self._lock < 0:
            return
        try:
            self.train.flush()
        finally:
            os.close(self._lock)  # closing the descriptor releases the lock
            self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()

    def write_config(self, config: Mapping[str, Any], may_differ: Collection[str] = ()) -> None:
        """Write config.yaml or, if it exists, check that the configuration is equal.

        Args and errors are those of `check_config`.
        """
        self.check_config(config, may_differ)
        path = self.path / "config.yaml"
        if not path.exists():
            write_atomically(path, _yaml_text(config))

    def check_config(self, config: Mapping[str, Any], may_differ: Collection[str] = ()) -> None:
        """Check that a recorded configuration, if any, equals this one.

        Args:
            config: the resolved configuration, of plain values.
            may_differ: dotted keys that may differ, with everything below them, such as "logger".

        Raises:
            ValueError: the configurations differ.
        """
        recorded = recorded_config(self.path)
        if recorded is None:
            return
        differing = _differences(self.path, recorded, config, may_differ)
        if not differing:
            return
        if overrides := remedy(tuple(differing), with_former(recorded, config)):
            changed = _changes({key: differing[key] for key in settable(tuple(differing))})
            raise ValueError(
                f"run {self.path} was made by an earlier version, whose default was another one "
                f"({changed}): give the command with {overrides} to continue it, or keep it and "
                "set another results_root"
            )
        if all(value_at(recorded, key) is ABSENT for key in differing):
            without = f"run {self.path} was made by a version without {', '.join(differing)}"
            raise ValueError(f"{without}: keep it, and set another results_root for this one")
        raise ValueError(
            f"run {self.path} was made with another configuration ({_changes(differing)}): "
            "delete the directory or change results_root"
        )

    @property
    def status(self) -> Status | None:
        """The recorded status; None for a new run.

        Raises:
            ValueError: the file is not a status.
        """
        return read_status(self.path)

    def write_status(self, status: Status) -> None:
        """Replace status.json."""
        text = json.dumps(asdict(status), indent=2, ensure_ascii=False)
        write_atomically(self.path / "status.json", text + "\n")

    def eval_rows(self) -> list[dict[str, str]]:
        """The rows of eval.csv, with current column names; an empty value means "not measured".

        Raises:
            ValueError: the file is damaged.
        """
        path = self.path / "eval.csv"
        if not path.exists():
            return []
        try:
            reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
            reader.fieldnames = [FORMER.get(name, name) for name in reader.fieldnames or ()]
            rows = list(reader)
        except csv.Error as error:
            raise ValueError(f"{path} is damaged ({error}): {self._remedy}") from error
        if any(None in row or None in row.values() for row in rows):  # a line of another length
            raise ValueError(f"{path} has rows that are not whole: {self._remedy}")
        return rows

    def append_eval(self, rows: Iterable[Mapping[str, Any]], columns: tuple[str, ...]) -> None:
        """Add rows to eval.csv; rows with equal `EVAL_KEY` are replaced.

        Args:
            rows: values by column; None, NaN and missing columns are written as empty.
            columns: all columns, in order, from `bench.schema.eval_columns`.

        Raises:
            ValueError: a row has an unknown column.
        """
        table = {_key(row): row for row in self.eval_rows()}
        for row in rows:
            if unknown := sorted(row.keys() - set(columns)):
                raise ValueError(f"unknown columns of eval.csv: {', '.join(unknown)}")
            written = {column: _cell(row.get(column)) for column in columns}
            table[_key(written)] = written
        self.write_eval(table.values(), columns)

    def truncate_eval(self, checkpoint: int, columns: tuple[str, ...]) -> None:
        """Drop rows of later checkpoints, which are computed again; call it on resume.

        Columns that earlier versions did not write are added.

        Raises:
            ValueError: the file has other columns.
        """
        rows, kept, lacking = self.rows_until(checkpoint, columns)
        if lacking or len(kept) < len(rows):
            self.write_eval([_widened(row, lacking) for row in kept], columns)

    def rows_until(
        self, checkpoint: int, columns: tuple[str, ...]
    ) -> tuple[list[dict[str, str]], list[dict[str, str]], list[str]]:
        """All rows, those that `truncate_eval` keeps, and the columns that they lack."""
        rows = self.eval_rows()
        lacking = [name for name in columns if rows and name not in rows[0]]
        if not all(map(is_later, lacking)) or any(row.keys() - set(columns) for row in rows):
            raise ValueError(f"{self.path / 'eval.csv'} has other columns: {self._remedy}")
        try:
            kept = [row for row in rows if int(row["checkpoint"]) <= checkpoint]
        except ValueError as error:
            raise ValueError(
                f"{self.path / 'eval.csv'} names a checkpoint that is no number ({error}): "
                f"{self._remedy}"
            ) from error
        return rows, kept, lacking

    def has_every_point(self) -> bool:
        """Whether eval.csv has rows of every evaluation point, the last one of every sampler.

        The number of points is taken from the rows; a file without rows is incomplete. Points
        before the last have the first sampler, or every sampler, as earlier versions wrote them.

        Raises:
            ValueError: the file is damaged.
        """
        rows = self.eval_rows()
        if not rows or not {"checkpoint", "checkpoints", "sampler"} <= rows[0].keys():
            return bool(rows)  # rows of another version count as complete
        totals = {row["checkpoints"] for row in rows}
        if not all(total.isdecimal() for total in totals):
            return False
        end = max(map(int, totals))
        last = [row["sampler"] for row in rows if row["checkpoint"] == str(end)]
        there = {row["checkpoint"] for row in rows if last and row["sampler"] == last[0]}
        complete = {row["sampler"] for row in rows} == set(last)
        if any(row.get("validation_fid") for row in rows):  # weights were kept
            complete &= {row["sampler"] for row in rows if row["kept_point"]} == set(last)
        return complete and {str(k) for k in range(1, end + 1)} <= there

    def check_points(self, before: int, samplers: Collection[str]) -> None:
        """Check that no row of earlier evaluation points is missing, whose weights are not kept.

        Args:
            before: the evaluation point at which the run resumes.
            samplers: names of the samplers that every such point must have.

        Raises:
            ValueError: a row is missing.
        """
        there = {(row["checkpoint"], row["sampler"]) for row in self.eval_rows()}
        for point in range(1, before):
            if lost := [name for name in samplers if (str(point), name) not in there]:
                raise ValueError(
                    f"{self.path / 'eval.csv'} has lost the rows of checkpoint {point} (sampler "
                    f"{', '.join(lost)}), whose weights are no longer kept: bring the file back, "
                    f"or {self._remedy}"
                )

    def check_files(
        self,
        step: int,
        point: int,
        columns: tuple[str, ...] | None,
        samplers: Collection[str],
    ) -> None:
        """Check the files of a run that will go on, without writing.

        Args:
            step: training steps behind it.
            point: evaluation points behind it.
            columns: those of its eval.csv; None if they are not known.
            samplers: names of its samplers.

        Raises:
            ValueError: a file is damaged, or has lost a row.
        """
        if columns is not None:
            self.rows_until(point, columns)
        self.check_points(point, samplers)
        self.train.rows_until(step)

    def write_eval(self, rows: Iterable[Mapping[str, str]], columns: tuple[str, ...]) -> None:
        """Replace eval.csv by these rows, of texts."""
        text = csv_text(columns, ([row[column] for column in columns] for row in rows))
        write_atomically(self.path / "eval.csv", text)


class _TreeDumper(yaml.SafeDumper):
    """A dumper without aliases, which the reader does not accept."""

    def ignore_aliases(self, data: Any) -> bool:
        """Write every value in full."""
        return True


def _yaml_text(config: Mapping[str, Any]) -> str:
    return yaml.dump(dict(config), Dumper=_TreeDumper, sort_keys=False, allow_unicode=True)


def _key(row: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in EVAL_KEY)


def class_labels_of_before(conditional_accuracy: str) -> str:
    """Value of class_labels in a row written before the column existed.

    Classes were uniform then. That a sampler took classes shows in its class-conditional accuracy,
    which a classifier of the data's classes measures; without one nothing can be told, and an empty
    value agrees with any.

    Args:
        conditional_accuracy: the column of that name, as written.
    """
    return "uniform" if conditional_accuracy else ""


def _widened(row: Mapping[str, str], lacking: Collection[str]) -> dict[str, str]:
    """A row with its missing columns filled in: their former values if known, otherwise empty."""
    known = {**BEFORE, "class_labels": class_labels_of_before(row["conditional_accuracy"])}
    return {**row, **{name: known.get(name, "") for name in lacking}}


def _cell(value: Any) -> str:
    """Format a value of eval.csv: floats in full precision, None and NaN as empty."""
    if isinstance(value, Real) and not isinstance(value, Integral):  # also NumPy's floats
        return "" if math.isnan(value) else repr(float(value))
    return "" if value is None else str(value)


def _flatten(tree: Any, prefix: str = "") -> dict[str, str]:
    """Map dotted keys to values, formatted as JSON."""
    if isinstance(tree, dict) and tree:
        pairs = (_flatten(value, f"{prefix}.{key}") for key, value in tree.items())
        return {key: value for pair in pairs for key, value in pair.items()}
    return {prefix.removeprefix("."): json.dumps(tree, ensure_ascii=False, default=str)}
