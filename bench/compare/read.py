"""Run directories → the evaluation rows of every run, checked."""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench.compare.course import last_point
from bench.protocol import eval_columns, extractor_names, measured_columns
from bench.records import EVAL_KEY, Status, read_status

REMEDY = "delete {} and run it again, or name other runs"
"""What to do about a run whose files cannot be used."""


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
            are float64, NaN where empty; everything else is text. What the earlier checkpoints were
            like stands in the columns that `bench.compare.course` adds.
        points: all rows of eval.csv, of every evaluation point, as they stand in the file.
    """

    path: Path
    dataset: str
    model: str
    variant: str
    seed: str
    status: Status
    extractors: tuple[str, ...]
    rows: pd.DataFrame
    points: pd.DataFrame


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
    rows, extractors = _read_eval(file) if file.exists() else (pd.DataFrame(), ())
    if status is None:  # a copied eval.csv alone: its rows say whether the budget was spent
        spent = list(zip(rows["checkpoint"], rows["checkpoints"], strict=True)) if len(rows) else []
        status = Status("finished" if any(a == b for a, b in spent) else "running")
    if status.status == "finished" and rows.empty:
        raise ValueError(f"{file} has no rows although the run is finished: {REMEDY.format(path)}")
    if rows.empty:
        return Run(path, *_identity_from_path(path), status, extractors, rows, rows)
    identity = _identity_from_rows(rows, file)
    return Run(path, *identity, status, extractors, last_point(rows, extractors), rows)


def _read_status(path: Path) -> Status | None:
    try:
        return read_status(path)
    except ValueError as error:
        raise ValueError(f"{error}: {REMEDY.format(path)}") from error


def _read_eval(file: Path) -> tuple[pd.DataFrame, tuple[str, ...]]:
    """The whole table, measurements as numbers, and the extractors it was made with."""
    header, rows = _parse(file)
    table = pd.DataFrame(rows, columns=header, dtype=object)
    extractors = extractor_names(table.columns)
    missing = [column for column in eval_columns(extractors) if column not in table.columns]
    if missing or not extractors:
        names = ", ".join(missing[:5] or ["fid_<extractor>"]) + (", …" if len(missing) > 5 else "")
        raise ValueError(
            f"{file} is not an eval.csv of this version: it lacks the columns {names}; "
            f"name other runs, or delete {file.parent} and run it again"
        )
    measured = measured_columns(extractors)
    numbers = {column: _numbers(table[column].to_list(), column, file) for column in measured}
    table = table.assign(**numbers)
    _check_points(table, file)
    return table, extractors


def _parse(file: Path) -> tuple[list[str], list[list[str]]]:
    """Header and rows as text, every row as long as the header."""
    remedy = REMEDY.format(file.parent)
    try:
        text = file.read_bytes().decode("utf-8")  # read_text would change line ends within values
        if not text.strip():
            raise ValueError(f"{file} is empty: {remedy}")
        reader = csv.reader(io.StringIO(text, newline=""), strict=True)
        header, rows = next(reader), []
        for row in reader:
            if len(row) != len(header):
                raise ValueError(
                    f"{file} is half-written: line {reader.line_num} has {len(row)} of "
                    f"{len(header)} values; {remedy}"
                )
            rows.append(row)
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"{file} cannot be read as CSV ({error}): {remedy}") from error
    if not text.endswith("\n"):
        raise ValueError(f"{file} is half-written: its last line does not end; {remedy}")
    if len(set(header)) < len(header):
        raise ValueError(f"{file} has two columns of the same name: {remedy}")
    return header, rows


def _check_points(table: pd.DataFrame, file: Path) -> None:
    """Every row names its evaluation point, and none stands there twice."""
    if table[["checkpoint", "checkpoints"]].isna().to_numpy().any():
        raise ValueError(f"{file} has a row without checkpoint: {REMEDY.format(file.parent)}")
    seen = set()
    for key in zip(*(table[column] for column in EVAL_KEY), strict=True):
        if key in seen:
            raise ValueError(
                f"{file} has two rows of checkpoint {key[0]:.0f}, sampler {key[1]}: "
                f"{REMEDY.format(file.parent)}"
            )
        seen.add(key)


def _numbers(texts: list[str], column: str, file: Path) -> list[float]:
    try:
        return [float(text) if text else float("nan") for text in texts]
    except ValueError as error:
        raise ValueError(
            f"{file}: a value of {column} is no number ({error}): {REMEDY.format(file.parent)}"
        ) from error


def _identity_from_rows(rows: pd.DataFrame, file: Path) -> tuple[str, str, str, str]:
    identities = set(zip(*(rows[c] for c in ("dataset", "model", "variant", "seed")), strict=True))
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
