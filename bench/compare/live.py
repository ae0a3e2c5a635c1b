"""Runs as they are now, ended or not: state, progress, losses and scores so far, newest samples.

Nothing is locked and nothing written, so that no training run is disturbed or kept from starting.
Only files that have changed are read again, and of the training log only what was appended.
"""

import csv
import math
import os
import platform
import re
from array import array
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeVar

from bench.compare.eval_rows import NO_ROWS, EvalTable, read_eval
from bench.compare.read import RUN_FILES, SEED_FOLDER, walk
from bench.config import Budget
from bench.runs.directory import Status, read_status, recorded_config
from bench.runtime.atomic_files import TRAIN_COLUMNS
from bench.training.budget import Spent

State = Literal["running", "starting", "stopped", "failed", "finished"]
"""A starting run has not begun to train; of a stopped one the process no longer exists."""

ENDED = ("failed", "finished")
"""States of runs that appear in tables with a result or a reason."""

OWNER = re.compile(r"(\d+) on (.+)\s*")
"""Content of the lock file of a run."""

PICTURE = re.compile(r"checkpoint=(\d+)_(.+)\.png")
"""Name of a picture of samples."""

TRAJECTORY = "_trajectory"
"""Suffix of pictures of intermediate states of sampling, in place of samples."""

TAIL = 64
"""Bytes before the end of what was read of a log, by which a replaced file is noticed."""


class Curve(NamedTuple):
    """A logged value during training, both float64 of one length.

    Attributes:
        images: samples seen.
        values: the value.
    """

    images: "array[float]"
    values: "array[float]"


class Score(NamedTuple):
    """FID of the first sampler at one evaluation point.

    Attributes:
        point: evaluation point, from 1.
        images: samples seen.
        seconds: seconds of training.
        fid: the FID that ranks models; NaN if it was not measured.
    """

    point: int
    images: float
    seconds: float
    fid: float


@dataclass(frozen=True, eq=False)
class LiveRun:
    """A run as it is now.

    Attributes:
        path: the run directory.
        dataset: name of the data set.
        model: name of the model.
        variant: name of its other overrides.
        seed: its seed.
        state: what it is doing.
        reason: why it failed, or why a file cannot be read; empty otherwise.
        command: the command line that made it; empty if unknown.
        step: training steps taken.
        images: samples seen.
        seconds: seconds of training.
        all_seconds: seconds of all calls, evaluation included; 0 if unknown.
        share: share of the budget that is spent, in [0, 1]; NaN if unknown. Of a budget of FLOPs
            it is what was spent at the last evaluation point.
        curves: what was logged, by <phase>/<key>.
        extractor: the extractor of the scores; empty without a score.
        scores: by evaluation point, in order.
        points: number of evaluation points of the whole run; 0 without a score.
        warning: signs of collapse or copying at the last point; empty if there are none.
        picture: the newest picture of samples.
        picture_point: its evaluation point.
        changed: when a file of the run last changed, in seconds since 1970.
        signature: equal for two readings between which nothing changed.
        compared: the same of what tables show of it.
        nominal: whether its seconds of training are nominal, and not those of a clock.
    """

    path: Path
    dataset: str
    model: str
    variant: str
    seed: str
    state: State
    reason: str
    command: str
    step: int
    images: int
    seconds: float
    all_seconds: float
    share: float
    curves: Mapping[str, Curve]
    extractor: str
    scores: Sequence[Score]
    points: int
    warning: str
    picture: Path | None
    picture_point: int
    changed: float
    signature: tuple[object, ...]
    compared: tuple[object, ...]
    nominal: bool = False

    @property
    def ended(self) -> bool:
        """Whether it has a result, or a reason for having none."""
        return self.state in ENDED

    @property
    def active(self) -> bool:
        """Whether a process is working on it, as far as can be told."""
        return self.state in ("running", "starting")


class LiveRuns:
    """The runs at and below some paths, which need not exist yet.

    Args:
        paths: run directories, or folders searched for them.
    """

    def __init__(self, paths: Iterable[Path]) -> None:
        self.paths = tuple(paths)
        self._followed: dict[Path, _Follower] = {}

    def read(self) -> list[LiveRun]:
        """The runs as they are now, sorted by path.

        Raises:
            ValueError: a folder cannot be listed.
        """
        found = set().union(*(_directories(path) for path in self.paths))
        self._followed = {path: self._followed.get(path) or _Follower(path) for path in found}
        read = (self._followed[path].read() for path in sorted(found))
        return [run for run in read if run is not None]


def _directories(path: Path) -> set[Path]:
    """Directories of runs at and below a path, also of those that only begin."""
    folder = path if path.is_dir() else path.parent
    if not path.exists():
        return set()
    return {
        Path(at)
        for at, files in walk(folder)
        if not RUN_FILES.isdisjoint(files)
        or (os.path.basename(at).startswith(SEED_FOLDER) and ".lock" in files)
    }


class LossLog:
    """train.csv of a run that may still be written to.

    Args:
        file: the file; it need not exist.

    Attributes:
        step: the last step that was logged; 0 if there is none.
        images: samples seen by then.
        seconds: seconds of training by then.
        curves: the logged values by key.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self._forget()

    def _forget(self) -> None:
        self._offset, self._tail = 0, b""
        self.step, self.images, self.seconds = 0, 0, 0.0
        self.curves: dict[str, Curve] = {}

    def read(self) -> int:
        """Read whole lines that were appended since the last call.

        A file that was replaced, as a resumed run does, is read anew.

        Returns:
            Bytes read so far.
        """
        try:
            with self.file.open("rb") as opened:
                opened.seek(self._offset - len(self._tail))
                if opened.read(len(self._tail)) != self._tail:
                    self._forget()
                    opened.seek(0)
                block = opened.read()
        except FileNotFoundError:
            self._forget()
            return 0
        whole = block[: block.rfind(b"\n") + 1]  # a line is complete with its newline
        self._offset += len(whole)
        self._tail = (self._tail + whole)[-TAIL:]
        for row in csv.reader(whole.decode("utf-8", "replace").splitlines()):
            self._add(row)
        return self._offset

    def _add(self, row: Sequence[str]) -> None:
        """Add a row; those that are no numbers, such as the header, are left out."""
        if len(row) != len(TRAIN_COLUMNS):
            return
        step, images, seconds, key, value = row
        try:
            numbers = (int(step), int(images), float(seconds), float(value))
        except ValueError:
            return
        self.step, self.images, self.seconds, logged = numbers
        curve = self.curves.setdefault(key, Curve(array("d"), array("d")))
        curve.images.append(self.images)
        curve.values.append(logged)


Signature = tuple[int, int, int] | None
"""Number, time of change and size of a file; None if there is none."""

T = TypeVar("T")


class _Follower:
    """A run directory that is read again and again."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.log = LossLog(path / "train.csv")
        self._known: dict[str, tuple[Signature, Any]] = {}
        self._fault = ""

    def read(self) -> LiveRun | None:
        """The run now; None for a directory in which no run has begun."""
        self._fault = ""
        status = self._value("status.json", lambda: read_status(self.path), None)
        table = self._value("eval.csv", self._table, NO_ROWS)
        budget = self._value("config.yaml", lambda: _budget(self.path), None)
        owner = self._value(".lock", lambda: (self.path / ".lock").read_text("utf-8"), "")
        picture, at = self._value("samples", lambda: _newest(self.path, table), (None, 0))
        try:
            size = self.log.read()
        except OSError as error:
            size = 0
            self._fault = f"{self.log.file} cannot be read ({os.strerror(error.errno or 0)})"
        alive = is_alive(owner)
        begun = status is not None or len(table) or self._signature("config.yaml") is not None
        if not begun and not (owner and alive):
            return None
        state = _state(status, table, alive)
        signatures = (self._known[name][0] for name in sorted(self._known))
        signature = (state, size, self._fault, *signatures)
        return self._run(state, status, table, budget, (picture, at), signature)

    def _run(
        self,
        state: State,
        status: Status | None,
        table: EvalTable,
        budget: Budget | None,
        picture: tuple[Path | None, int],
        signature: tuple[object, ...],
    ) -> LiveRun:
        spent = _spent(self.log, table)
        share = math.nan if budget is None else _share(spent, budget, len(table) > 0)
        scores = _scores(table)
        files = ("status.json", "train.csv", "eval.csv", ".lock")
        times = [known[1] for known in map(self._signature, files) if known is not None]
        warnings = table.texts("warning")
        return LiveRun(
            self.path,
            *_identity(self.path, table),
            state=state,
            reason=(status.reason if status else "") or self._fault,
            command=status.command if status else "",
            step=max(spent.step, status.step if status else 0),
            images=spent.images,
            seconds=spent.seconds,
            all_seconds=status.seconds if status else 0.0,
            share=share,
            curves=self.log.curves,
            extractor=table.layout.extractors[0] if scores else "",
            scores=scores,
            points=int(table.numbers("checkpoints").max()) if len(table) else 0,
            warning=warnings[-1] if warnings else "",
            picture=picture[0],
            picture_point=picture[1],
            changed=max(times, default=0) / 1e9,
            signature=(self.path, *signature),
            compared=(self.path, state in ENDED, status is None, *self._compared(state)),
            nominal=budget is not None and budget.images_per_second is not None,
        )

    def _compared(self, state: State) -> tuple[Signature, ...]:
        """Versions of the files that a comparison reads."""
        names = ("eval.csv", "status.json", "curves.csv", "samples")
        return tuple(map(self._signature, names if state in ENDED else names[:1]))

    def _value(self, name: str, read: Callable[[], T], missing: T) -> T:
        """A value of a file, read again if the file has changed; the last one if that fails."""
        signature = self._signature(name)
        known = self._known.get(name)
        if known is not None and known[0] == signature:
            return known[1]
        try:
            value = missing if signature is None else read()
        except FileNotFoundError:  # removed meanwhile
            signature, value = None, missing
        except (OSError, ValueError) as error:
            self._fault = str(error)
            return missing if known is None else known[1]
        self._known[name] = (signature, value)
        return value

    def _table(self) -> EvalTable:
        """The rows of eval.csv without those of selected weights, as in the tables."""
        table, _ = read_eval(self.path / "eval.csv").split_selected()
        return table

    def _signature(self, name: str) -> Signature:
        try:
            found = os.stat(self.path / name)
        except OSError:
            return None
        return found.st_ino, found.st_mtime_ns, found.st_size


def is_alive(owner: str) -> bool:
    """Whether the process that a lock file names may exist: also true if that cannot be told.

    The lock itself is not tried, which could keep a run from starting at that moment.

    Args:
        owner: content of the lock file, "<pid> on <host>".
    """
    found = OWNER.fullmatch(owner)
    if found is None or found[2].strip() != platform.node():
        return True
    try:
        os.kill(int(found[1]), 0)
    except (ProcessLookupError, OverflowError):
        return False
    except OSError:  # it belongs to somebody else
        return True
    return True


def _state(status: Status | None, table: EvalTable, alive: bool) -> State:
    if status is not None and status.status != "running":
        return status.status
    if status is None and len(table):  # as `bench.compare.read.read_run` takes it
        spent = table.numbers("checkpoint") == table.numbers("checkpoints")
        if spent.any():
            return "finished"
    if not alive:
        return "stopped"
    return "running" if status is not None or len(table) else "starting"


def _budget(path: Path) -> Budget | None:
    """The recorded budget; None if it cannot be told."""
    config = recorded_config(path) or {}
    try:
        return Budget(**config["budget"])
    except (KeyError, TypeError, ValueError):
        return None


def _spent(log: LossLog, table: EvalTable) -> Spent:
    """What was spent by the last row of the log or of eval.csv; FLOPs by that of eval.csv."""
    if not len(table):
        return Spent(log.step, log.images, log.seconds)
    names = ("step", "images", "train_seconds", "train_flops")
    last = (float(table.numbers(name)[-1]) for name in names)
    step, images, seconds, flops = (0.0 if math.isnan(value) else value for value in last)
    return Spent(
        max(log.step, int(step)), max(log.images, int(images)), max(log.seconds, seconds), flops
    )


def _share(spent: Spent, budget: Budget, scored: bool) -> float:
    """Share of a budget that was spent; NaN if nothing tells."""
    known = spent.step > 0 and (scored or set(budget.limits()) != {"flops"})
    return spent.share(budget) if known else math.nan


def _scores(table: EvalTable) -> list[Score]:
    """Scores of the first sampler, by evaluation point."""
    if not len(table):
        return []
    names = table.texts("sampler")
    columns = ("checkpoint", "images", "train_seconds", f"fid_{table.layout.extractors[0]}")
    rows = zip(names, *(table.numbers(name).tolist() for name in columns), strict=True)
    found = [Score(int(point), *rest) for name, point, *rest in rows if name == names[0]]
    return sorted(found)


def _newest(path: Path, table: EvalTable) -> tuple[Path | None, int]:
    """The newest picture of samples, if possible of the first sampler, and its point."""
    names = table.texts("sampler")
    found = []
    for name in os.listdir(path / "samples"):
        match = PICTURE.fullmatch(name)
        if match is None or match[2].endswith(TRAJECTORY) or name.startswith("."):
            continue
        file = path / "samples" / name
        if not file.is_symlink():
            found.append((-int(match[1]), match[2] not in names[:1], name, file))
    if not found:
        return None, 0
    point, _, _, file = min(found)
    return file, -point


def _identity(path: Path, table: EvalTable) -> tuple[str, str, str, str]:
    """Data set, model, variant and seed: by the rows or, without rows, by the path."""
    if len(table):
        columns = ("dataset", "model", "variant", "seed")
        dataset, model, variant, seed = (table.texts(name)[-1] for name in columns)
        return dataset, model, variant, seed
    *_, dataset, model, variant, seed = ("", "", "", "", *path.absolute().parts)
    return dataset, model, variant, seed.removeprefix(SEED_FOLDER)
