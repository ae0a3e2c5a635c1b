"""Run directories → the final evaluation rows of every run, checked."""

import csv
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.protocol import CLASSES, COST, IDENTITY, POINT, PROTOCOL, PROVENANCE, quality_columns
from bench.records import Status, read_status


@dataclass(frozen=True)
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
        rows: rows of eval.csv at the last evaluated checkpoint, one per sampler. Measurements
            are float64, NaN where empty; everything else is text.
    """

    path: Path
    dataset: str
    model: str
    variant: str
    seed: str
    status: Status
    extractors: tuple[str, ...]
    rows: pd.DataFrame


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
        below = {file.parent for name in ("status.json", "eval.csv") for file in folder.rglob(name)}
        if not below:
            raise ValueError(f"{path} holds no run: there is no status.json or eval.csv below it")
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
    status = read_status(path)
    rows, extractors = _read_eval(file) if file.exists() else (pd.DataFrame(), ())
    if status is None:  # a copied eval.csv alone: its rows say whether the budget was spent
        spent = list(zip(rows["checkpoint"], rows["checkpoints"], strict=True)) if len(rows) else []
        status = Status("finished" if any(a == b for a, b in spent) else "running")
    if status.status == "finished" and rows.empty:
        raise ValueError(f"{file} has no rows although the run is finished: delete {path}")
    if rows.empty:
        identity = _identity_from_path(path)
    else:
        identity = _identity_from_rows(rows, file)
        rows = rows.loc[rows["checkpoint"] == max(rows["checkpoint"])].reset_index(drop=True)
    return Run(path, *identity, status, extractors, rows)


def _read_eval(file: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    try:
        text = file.read_text(encoding="utf-8")
        header, *rows = csv.reader(text.splitlines(), strict=True)
    except (ValueError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as CSV: {error}") from error
    for line, row in enumerate(rows, start=2):
        if len(row) != len(header):
            raise ValueError(
                f"{file} is half-written: line {line} has {len(row)} of {len(header)} values"
            )
    if not text.endswith("\n"):
        raise ValueError(f"{file} is half-written: its last line does not end")
    table = pd.DataFrame(rows, columns=header, dtype=object)
    extractors = tuple(c.removeprefix("fid_") for c in table.columns if c.startswith("fid_"))
    measured = (*POINT, *quality_columns(extractors), *CLASSES, *COST)
    needed = (*IDENTITY, *measured, *PROTOCOL, *PROVENANCE)
    missing = [column for column in needed if column not in table.columns]
    if missing or not extractors:
        names = ", ".join(missing[:5] or ["fid_<extractor>"]) + (", …" if len(missing) > 5 else "")
        raise ValueError(
            f"{file} is not an eval.csv of this version: it lacks the columns {names}; "
            f"delete {file.parent} and run it again"
        )
    numbers = {column: _numbers(table[column].to_list(), column, file) for column in measured}
    return table.assign(**numbers), extractors


def _numbers(texts: list[str], column: str, file: Path) -> list[float]:
    try:
        return [float(text) if text else float("nan") for text in texts]
    except ValueError as error:
        raise ValueError(f"{file}: {column} must be a number: {error}") from error


def _identity_from_rows(rows: pd.DataFrame, file: Path) -> tuple[str, str, str, str]:
    identities = set(zip(*(rows[c] for c in ("dataset", "model", "variant", "seed")), strict=True))
    if len(identities) > 1:
        raise ValueError(f"{file} mixes the rows of {len(identities)} runs")
    return identities.pop()


def _identity_from_path(path: Path) -> tuple[str, str, str, str]:
    """Take a run without rows at its path's word: <dataset>/<model>/<variant>/seed=<seed>."""
    parts = path.resolve().parts[-4:]
    if len(parts) < 4 or not parts[3].startswith("seed="):
        raise ValueError(
            f"{path} has no evaluation yet and its path does not end in "
            "<dataset>/<model>/<variant>/seed=<seed>: cannot tell which run it is"
        )
    return parts[0], parts[1], parts[2], parts[3].removeprefix("seed=")
