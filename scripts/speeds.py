"""The training speeds of runs as a table, and their medians by data set, model and budget.

Nominal seconds (`budget.images_per_second`) rest on such medians: docs/evidence/speeds.csv is the
table behind those of conf/experiment/map.yaml.

Command: python scripts/speeds.py FOLDER --out speeds.csv
"""

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from bench.compare.read import Run, read_runs

COLUMNS = ("dataset", "model", "train_images", "seed", "budget", "device", "commit", "evaluated_at")
SPEED = "train_images_per_second"


def speeds(runs: Sequence[Run]) -> Iterator[dict[str, object]]:
    """A row for each finished run of a trained model, at its last evaluation point."""
    for run in runs:
        speed = run.last.numbers(SPEED)
        if run.state == "finished" and len(speed) and speed[0] > 0:
            texts = {name: (*run.last.texts(name), "")[0] for name in COLUMNS}
            known = {"dataset": run.dataset, "model": run.model, "seed": run.seed}
            yield {**texts, **known, "images": int(run.last.numbers("images")[0]), SPEED: speed[0]}


def main() -> None:
    """Write the table, and print the medians."""
    parser = argparse.ArgumentParser(description="Training speeds of runs, and their medians.")
    parser.add_argument("runs", type=Path, nargs="+", help="folders of runs")
    parser.add_argument("--out", type=Path, required=True, help="the table, .csv")
    options = parser.parse_args()
    found = list(speeds(read_runs(options.runs)))
    if not found:
        sys.exit("no finished run of a trained model is in these folders: name others")
    table = pd.DataFrame(found).sort_values(["dataset", "model", "evaluated_at"])
    table.to_csv(options.out, index=False, float_format="%.1f")
    grouped = table.groupby(["dataset", "model", "budget"])[SPEED]
    print(grouped.agg(["count", "min", "median", "max"]).round(1).to_string())


if __name__ == "__main__":
    main()
