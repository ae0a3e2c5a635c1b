"""Run directories → the evaluation rows of every run, checked."""

import math
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Literal

import numpy as np
import pandas as pd

from bench.columns import NOMINAL
from bench.compare.eval_rows import NO_ROWS, REMEDY, EvalTable, read_eval
from bench.names import NAME_RULE, is_name
from bench.runs.directory import NO_STATUS, Status, read_status
from bench.runs.looks import read_look
from bench.schema import CURVE_COLUMNS, QUALITY

SEED = re.compile(r"(-?[0-9]{1,18})(?:\.0+)?")
"""A seed as programs write it, such as 0, 00 or 0.0."""

ENDED = ("finished", "failed")
"""States of runs that ended and whose files can be used."""

SEED_FOLDER = "seed="
"""Prefix of the name of a run directory."""

MOST_WAITING = 0.1
"""Largest share of its training seconds that a run may have waited for a core. Waiting on an idle
machine is around 1 %; a tenth is also the smallest ratio that claims call a difference."""

RUN_FILES = frozenset({"status.json", "eval.csv"})
"""A folder with one of these is a run directory."""


@dataclass(frozen=True, eq=False)
class Run:
    """One recorded run.

    Attributes:
        path: the run directory.
        dataset: name of the data set.
        model: name of the model.
        variant: name of the run's other overrides; "default" if there are none.
        seed: the run's seed, an integer without leading zeros.
        status: content of status.json.
        extractors: names of the feature extractors, in column order.
        table: the rows of eval.csv, by columns, without those of `best`.
        best: at the last evaluation point, the rows of weights that were selected by a validation
            FID (`trainer.keep=best`).
        fault: why the files of the run cannot be used; empty if they can.
    """

    path: Path
    dataset: str
    model: str
    variant: str
    seed: str
    status: Status
    extractors: tuple[str, ...]
    table: EvalTable = field(repr=False)
    fault: str = ""
    best: EvalTable = field(default=NO_ROWS, repr=False)

    @property
    def state(self) -> Literal["running", "finished", "failed", "unusable"]:
        """Its status, or unusable if its files cannot be used."""
        return "unusable" if self.fault else self.status.status

    @cached_property
    def last(self) -> EvalTable:
        """The rows at the last evaluated checkpoint, one per sampler, by columns."""
        points = self.table.numbers("checkpoint")
        return self.table.take(points == points.max()) if len(points) else self.table

    @cached_property
    def waiting(self) -> float:
        """Seconds in which training waited for a core, per second of training; NaN if unknown."""
        waited, seconds = (self.last.numbers(f"train_{what}seconds") for what in ("waiting_", ""))
        if self.nominal:  # by the clock instead
            names = ("images", "train_images_per_second")
            images, speed = (self.last.numbers(name) for name in names)
            seconds = images / np.where(speed > 0, speed, np.nan)
        known = len(seconds) and seconds[0] > 0
        return float(waited[0] / seconds[0]) if known else math.nan

    @property
    def disturbed(self) -> bool:
        """Whether training did not get its cores, so that its seconds cannot be compared."""
        return self.waiting > MOST_WAITING

    @property
    def timed(self) -> bool:
        """Whether its training ended by the clock, and not only after images or FLOPs."""
        return not self.nominal and any("seconds=" in b for b in self.last.texts("budget"))

    @property
    def nominal(self) -> bool:
        """Whether its seconds are counted in images at a nominal speed."""
        return any(NOMINAL in budget for budget in self.last.texts("budget"))

    @cached_property
    def samplers(self) -> dict[tuple[str, str], EvalTable]:
        """The rows by (sampler, weights), each ordered by evaluation point.

        Samplers without a row at the last evaluated checkpoint are left out.
        """
        tables = by_sampler(self.table)
        return {key: tables[key] for key in _keys(self.last)}


def by_sampler(table: EvalTable) -> dict[tuple[str, str], EvalTable]:
    """The rows by (sampler, weights), each ordered by evaluation point."""
    at: dict[tuple[str, str], list[int]] = {}
    keys = _keys(table)
    for k in np.argsort(table.numbers("checkpoint"), kind="stable").tolist():
        at.setdefault(keys[k], []).append(k)
    return {key: table.take(np.array(rows)) for key, rows in at.items()}


FEW = 5
"""Maximum number of missing evaluation points in a message."""


def find_runs(paths: Iterable[Path]) -> list[Path]:
    """List the run directories at and below these paths, sorted.

    Raises:
        ValueError: a path does not exist, or holds no run.
    """
    found: set[Path] = set()
    for path in paths:
        if not path.exists():
            raise ValueError(f"{path} does not exist: name run directories or folders of runs")
        folder = path if path.is_dir() else path.parent
        below = {Path(at) for at, files in walk(folder) if not RUN_FILES.isdisjoint(files)}
        if not below:
            raise ValueError(
                f"{path} holds no run, there is no status.json or eval.csv below it: name run "
                "directories or folders of runs"
            )
        found |= below
    for path in found:
        if not is_utf_8(str(path)):
            raise ValueError(f"{path} has a name that is not UTF-8: rename it")
    return sorted(found)


def walk(top: Path) -> Iterator[tuple[str, list[str]]]:
    """Every folder at and below this one with its files, each once; linked folders come last.

    Folders that are removed meanwhile are left out.

    Raises:
        ValueError: a folder cannot be listed, or the name of a run is a dangling link.
    """
    seen: set[tuple[int, int]] = set()
    left = [str(top)]
    while left:
        for at, folders, files in os.walk(left.pop(0), onerror=_refuse):
            try:
                status = os.stat(at)
            except FileNotFoundError:
                continue
            if (status.st_dev, status.st_ino) in seen:  # reached by another link
                folders.clear()
                continue
            seen.add((status.st_dev, status.st_ino))
            paths = (os.path.join(at, name) for name in folders)
            left += sorted(path for path in paths if os.path.islink(path))
            for name in files:
                if name.startswith(SEED_FOLDER) and os.path.islink(lost := os.path.join(at, name)):
                    raise ValueError(
                        f"{lost} is a link to {os.readlink(lost)}, which is no folder: bring that "
                        "folder back, or remove the link"
                    )
            yield at, files


def is_utf_8(name: str) -> bool:
    """Whether a file name or command-line argument is valid UTF-8."""
    return name.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in name)


def _refuse(error: OSError) -> None:
    """Refuse a folder that cannot be listed: its runs would be left out silently."""
    if isinstance(error, FileNotFoundError):
        return
    raise ValueError(
        f"{error.filename} cannot be listed ({os.strerror(error.errno or 0)}): make it readable, "
        "or name other folders"
    ) from error


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Read every run at and below these paths; unreadable runs get the state unusable.

    Raises:
        ValueError: there is no run, no run can be read, an unreadable run cannot be identified by
            its path, or one run is found in two places.
    """
    runs: dict[tuple[str, ...], Run] = {}
    damaged: dict[Path, ValueError] = {}
    for path in find_runs(paths):
        try:
            run = read_run(path)
        except ValueError as error:
            damaged[path] = error
            run = _unreadable(path, error)
        key = (run.dataset, run.model, run.variant, run.seed)
        if key in runs and runs[key].path.resolve() != run.path.resolve():
            raise ValueError(
                f"{runs[key].path} and {path} are the same run ({', '.join(key[:3])}, "
                f"seed {run.seed}): name the one to compare"
            )
        runs[key] = run
    if len(damaged) == len(runs):
        raise next(iter(damaged.values()))
    return list(runs.values())


def _unreadable(path: Path, error: ValueError) -> Run:
    """An unreadable run, identified by its path.

    Raises:
        ValueError: the error that was given, if the path does not identify the run.
    """
    try:
        dataset, model, variant, seed = _identity_from_path(path)
        seed = _canonical_seed(seed, path)
    except ValueError:
        raise error from None
    if not all(map(is_name, (dataset, model, variant))):
        raise error
    return Run(path, dataset, model, variant, seed, Status("finished"), (), NO_ROWS, str(error))


def read_run(path: Path) -> Run:
    """Read one run directory.

    Raises:
        ValueError: its files are missing, half-written or no files of a run.
    """
    file = path / "eval.csv"
    status = read_status(path)
    _check_look(status, path / "status.json")
    table = read_eval(file) if file.exists() or file.is_symlink() else NO_ROWS
    table, best = table.split_selected()
    if status is None:  # eval.csv without status.json: its rows show whether it is finished
        spent = table.numbers("checkpoint") == table.numbers("checkpoints")
        status = Status("finished" if spent.any() else "running")
    if status.status == "finished" and not len(table):
        raise ValueError(
            f"{file} has no rows although the run is finished: give the run's command again, which "
            f"scores its last point anew, or {REMEDY.format(path)}"
        )
    identity = _identity_from_rows(table, file) if len(table) else _identity_from_path(path)
    for name in (*identity, *table.texts("sampler")):
        if not is_name(name):
            raise ValueError(
                f"{path} names a data set, model, variant, seed or sampler {name!r}, but names are "
                f"{NAME_RULE}: name other runs"
            )
    identity = (*identity[:3], _canonical_seed(identity[3], path))
    fault = _fault(table, file) if status.status == "finished" else ""
    return Run(path, *identity, status, table.layout.extractors, table, fault, best)


def _check_look(status: Status | None, file: Path) -> None:
    """Refuse a status that says in unknown words how the run was made sequentially."""
    try:
        read_look(status.sequential if status else "")
    except ValueError as error:
        raise ValueError(NO_STATUS.format(file, error)) from error


def _canonical_seed(text: str, path: Path) -> str:
    """The seed as an integer: 0, 00 and 0.0 are one seed."""
    if (match := SEED.fullmatch(text)) is None:
        raise ValueError(
            f"{path} names a seed {text!r}, which is no whole number: correct it in its eval.csv "
            "or path, or name other runs"
        )
    return str(int(match[1]))


def _fault(table: EvalTable, file: Path) -> str:
    """Why the rows of a finished run cannot be used; empty if they can."""
    points = {int(point) for point in table.numbers("checkpoint").tolist()}
    end = int(table.numbers("checkpoints").max())
    at_end = table.numbers("checkpoint") == max(points)
    samplers = dict.fromkeys(table.texts("sampler"))
    found = {name for name, last in zip(table.texts("sampler"), at_end, strict=True) if last}
    lacking = [name for name in samplers if name not in found]
    again = ""
    if table.impossible:
        wrong = table.impossible
    elif len(points) < end:
        missing = [str(k) for k in islice((k for k in range(1, end) if k not in points), FEW)]
        missing += [str(end)] if end not in points and len(missing) < FEW else []
        wrong = f"it has {len(points)} of {end} evaluation points, without {', '.join(missing)}"
        wrong += ", …" if len(missing) < end - len(points) else ""
        if points == set(range(1, end)):  # the weights of earlier points are not kept
            again = "give the run's command again, "
    elif lacking:
        wrong = f"the last evaluation point of {', '.join(lacking)} is missing"
        again = "give the run's command again, "
    else:
        return ""
    return f"{file}: {wrong}; {again}bring the file back, or delete {file.parent} and run it again"


def without_lacking(runs: Sequence[Run]) -> list[Run]:
    """Mark runs as unusable that lack a score which other seeds of the same entry have.

    Otherwise a mean would cover fewer seeds than the table states.
    """
    measured: dict[tuple[str, ...], set[str]] = {}
    scored = [(run, *scores) for run in runs if run.state == "finished" for scores in _scores(run)]
    for _, key, columns in scored:
        measured.setdefault(key, set()).update(columns)
    faults: dict[Path, str] = {}
    for run, key, columns in scored:
        if lacking := sorted(measured[key] - columns):
            fault = (
                f"{run.path / 'eval.csv'}: {lacking[0]} of {key[2]} is empty, which other seeds "
                f"have; bring the file back, or delete {run.path} and run it again"
            )
            faults.setdefault(run.path, fault)
    return [replace(r, fault=faults[r.path]) if r.path in faults else r for r in runs]


def _scores(run: Run) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """For each entry of a run its key and its quality columns with a value at the last point."""
    columns = [f"{metric}_{name}" for name in run.extractors for metric in QUALITY]
    known = ~np.isnan(np.array([run.last.numbers(column) for column in columns]))
    for key, there in zip(_keys(run.last), known.T, strict=True):
        yield (run.model, run.variant, *key), {c for c, t in zip(columns, there, strict=True) if t}


def _identity_from_rows(table: EvalTable, file: Path) -> tuple[str, str, str, str]:
    columns = (table.texts(name) for name in ("dataset", "model", "variant", "seed"))
    identities = set(zip(*columns, strict=True))
    if len(identities) > 1:
        raise ValueError(
            f"{file} mixes the rows of {len(identities)} runs: {REMEDY.format(file.parent)}"
        )
    return identities.pop()


def _identity_from_path(path: Path) -> tuple[str, str, str, str]:
    """Identify a run without rows by its path <dataset>/<model>/<variant>/seed=<seed>."""
    parts = path.resolve().parts[-4:]
    if len(parts) < 4 or not parts[3].startswith(SEED_FOLDER):
        raise ValueError(
            f"{path} has no evaluation yet and its path does not end in "
            "<dataset>/<model>/<variant>/seed=<seed>: cannot tell which run it is, move it to such "
            "a path or name other runs"
        )
    return parts[0], parts[1], parts[2], parts[3].removeprefix(SEED_FOLDER)


def read_curves(run: Path) -> pd.DataFrame | None:
    """Read a run's curves.csv; None if there is none.

    Args:
        run: the run directory.

    Raises:
        ValueError: the file is damaged.
    """
    file = run / "curves.csv"
    if not file.exists():
        return None
    try:
        table = pd.read_csv(file, encoding="utf-8", usecols=list(CURVE_COLUMNS))
        numbers = {"x": "float64", "mean": "float64", "standard_error": "float64"}
        return table.astype({**numbers, "samples": "int64"})
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{file} is not a run's curves ({error}): delete {run} and run it again"
        ) from error


def _keys(table: EvalTable) -> list[tuple[str, str]]:
    return list(zip(table.texts("sampler"), table.texts("weights"), strict=True))
