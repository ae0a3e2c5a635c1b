"""Write docs/evidence/recipes/time_to_quality.csv: FID along runs of experiment=time_to_quality.

Command: python scripts/recipes/time_to_quality.py results/runs/fashion_mnist
"""

import argparse
import csv
from pathlib import Path

from bench.compare.read import read_runs

RECORD = Path(__file__).parents[2] / "docs" / "evidence" / "recipes" / "time_to_quality.csv"
COLUMNS = (
    "model", "sampler", "weights", "seed", "train_seconds", "train_waiting_seconds", "images",
    "samples", "fid_domain", "device", "precision", "threads", "commit",
)  # fmt: skip


def rows(runs: Path) -> list[dict[str, str]]:
    """A row per model, seed and evaluation point of the finished runs."""
    found = []
    for run in read_runs([runs]):
        if run.status.status != "finished":
            continue
        with (run.path / "eval.csv").open(newline="") as file:
            for point in csv.DictReader(file):
                values = {name: point.get(name, "") for name in COLUMNS}
                for name in ("train_seconds", "train_waiting_seconds", "fid_domain"):
                    values[name] = f"{float(values[name]):.4g}"
                found.append(values | {"model": run.model, "seed": str(run.seed)})
    return found


def main() -> None:
    """Write the record."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("runs", type=Path, help="directory of the runs")
    found = rows(parser.parse_args().runs)
    with RECORD.open("w", newline="") as file:
        writer = csv.DictWriter[str](file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        writer.writerows(found)
    print(f"{RECORD}: {len(found)} rows")


if __name__ == "__main__":
    main()
