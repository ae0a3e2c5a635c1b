"""curves.csv of a run directory: what its model does to held-out data, at the end of training."""

from pathlib import Path

import pandas as pd

COLUMNS = ("curve", "x", "mean", "standard_error", "samples")
"""Columns of curves.csv, as `bench.inside` writes them; that module needs torch."""


def read_curves(run: Path) -> pd.DataFrame | None:
    """Read a run's curves; None where its model has none.

    Args:
        run: the run directory.

    Raises:
        ValueError: the file is damaged.
    """
    file = run / "curves.csv"
    if not file.exists():
        return None
    try:
        table = pd.read_csv(file, encoding="utf-8", usecols=list(COLUMNS))
        numbers = {"x": "float64", "mean": "float64", "standard_error": "float64"}
        return table.astype({**numbers, "samples": "int64"})
    except (KeyError, ValueError) as error:
        raise ValueError(
            f"{file} is not a run's curves ({error}): delete {run} and run it again"
        ) from error
