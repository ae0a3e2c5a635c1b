"""Run directories → the evaluation rows of every run, checked."""

import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import pandas as pd

from bench.compare.course import along, last_point
from bench.compare.eval_table import NO_ROWS, REMEDY, EvalTable, read_eval
from bench.identity import NAME_RULE, is_name
from bench.records import Status, read_status

RUN_FILES = frozenset({"status.json", "eval.csv"})
"""A folder with one of these is a run directory."""


@dataclass(frozen=True, eq=False)
class Run:
    """One run as it stands on disk.

    Attributes:
        path: the run directory.
        dataset: name of the data set.
        model: name of the model.
        variant: names the run's other overrides; "default" if there are none.
        seed: the run's seed, as written.
        status: where the run stands.
        extractors: names of the feature extractors, in column order.
        table: all rows of eval.csv, by columns.
    """

    path: Path
    dataset: str
    model: str
    variant: str
    seed: str
    status: Status
    extractors: tuple[str, ...]
    table: EvalTable = field(repr=False)

    @cached_property
    def last(self) -> EvalTable:
        """The rows at the last evaluated checkpoint, one per sampler, by columns."""
        return last_point(self.table)

    @cached_property
    def rows(self) -> pd.DataFrame:
        """The rows at the last evaluated checkpoint, one per sampler.

        Measurements are float64, NaN where empty; everything else is text. What the earlier
        checkpoints were like stands in the columns that `bench.compare.course` adds.
        """
        return self.last.frame(along(self.table, self.last))

    @cached_property
    def points(self) -> pd.DataFrame:
        """All rows of eval.csv, of every evaluation point, as they stand in the file."""
        return self.table.frame()


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
        below = {Path(at) for at, _, files in os.walk(folder) if not RUN_FILES.isdisjoint(files)}
        if not below:
            raise ValueError(
                f"{path} holds no run, there is no status.json or eval.csv below it: name run "
                "directories or folders of runs"
            )
        found |= below
    return sorted(found)


def read_runs(paths: Iterable[Path]) -> list[Run]:
    """Read every run at and below these paths.

    Raises:
        ValueError: nothing to read, a file that is not what its name says, or the same run twice.
    """
    runs: dict[tuple[str, ...], Run] = {}
    for path in find_runs(paths):
        run = read_run(path)
        key = (run.dataset, run.model, run.variant, run.seed)
        if key in runs and runs[key].path.resolve() != run.path.resolve():
            raise ValueError(
                f"{runs[key].path} and {path} are the same run ({', '.join(key[:3])}, "
                f"seed {run.seed}): name the one to compare"
            )
        runs[key] = run
    return list(runs.values())


def read_run(path: Path) -> Run:
    """Read one run directory.

    Raises:
        ValueError: its files are missing, half-written or foreign.
    """
    file = path / "eval.csv"
    status = _read_status(path)
    table = read_eval(file) if file.exists() else NO_ROWS
    if status is None:  # a copied eval.csv alone: its rows say whether the budget was spent
        spent = table.numbers("checkpoint") == table.numbers("checkpoints")
        status = Status("finished" if spent.any() else "running")
    if status.status == "finished" and not len(table):
        raise ValueError(f"{file} has no rows although the run is finished: {REMEDY.format(path)}")
    identity = _identity_from_rows(table, file) if len(table) else _identity_from_path(path)
    for name in (*identity, *table.texts("sampler")):
        if not is_name(name):
            raise ValueError(
                f"{path} names a data set, model, variant, seed or sampler {name!r}, but names are "
                f"{NAME_RULE}: name other runs"
            )
    return Run(path, *identity, status, table.layout.extractors, table)


def _read_status(path: Path) -> Status | None:
    try:
        return read_status(path)
    except ValueError as error:
        raise ValueError(f"{error}: {REMEDY.format(path)}") from error


def _identity_from_rows(table: EvalTable, file: Path) -> tuple[str, str, str, str]:
    columns = (table.texts(name) for name in ("dataset", "model", "variant", "seed"))
    identities = set(zip(*columns, strict=True))
    if len(identities) > 1:
        raise ValueError(
            f"{file} mixes the rows of {len(identities)} runs: {REMEDY.format(file.parent)}"
        )
    return identities.pop()


def _identity_from_path(path: Path) -> tuple[str, str, str, str]:
    """Take a run without rows at its path's word: <dataset>/<model>/<variant>/seed=<seed>."""
    parts = path.resolve().parts[-4:]
    if len(parts) < 4 or not parts[3].startswith("seed="):
        raise ValueError(
            f"{path} has no evaluation yet and its path does not end in "
            "<dataset>/<model>/<variant>/seed=<seed>: cannot tell which run it is, move it to such "
            "a path or name other runs"
        )
    return parts[0], parts[1], parts[2], parts[3].removeprefix("seed=")
