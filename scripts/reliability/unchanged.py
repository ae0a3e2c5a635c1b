"""Whether two checkouts of this repository train and score every small model identically.

Every `_small` model is trained for at least 20 steps on digits (point models on points), in fp32 on
one thread, and sampled with every sampler. Weights, scores, FLOPs and pictures are compared bit for
bit. Existing runs are reused.

Usage: python scripts/reliability/unchanged.py BEFORE AFTER --work FOLDER [--models NAME …]
"""

import argparse
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from trial import Agreement, compare_cells, compare_tensors, environment

ROOT = Path(__file__).resolve().parents[2]

POINTS = ("ddpm_mlp", "mlp_gan_points")

FIXED = (
    "budget.images=1280",
    "budget.checkpoints=2",
    "evaluator.cost_seconds=0",
    "evaluator.samples=100",
    "evaluator.resamples=10",
    "trainer.log_every=5",
    "threads=1",
    "precision=fp32",
)
"""Overrides of every run: 20 steps of batches of 64."""

PROVENANCE = ("recipe", "commit", "bench_version")
"""Columns that may differ: they name the code, not what it computes."""


def train(checkout: Path, model: str, results: Path) -> str:
    """Train and score one model with the code of a checkout; empty, or what went wrong."""
    dataset = "ring8" if model in POINTS else "digits"
    line = [sys.executable, "-m", "bench", f"model={model}", f"dataset={dataset}", *FIXED]
    made = subprocess.run(
        [*line, f"results_root={results}"],
        cwd=checkout,
        env=environment(PYTHONPATH=str(checkout)),
        capture_output=True,
        text=True,
        timeout=1800,
    )
    return made.stderr.strip().splitlines()[-1] if made.returncode else ""


def compare(before: Path, after: Path) -> Agreement:
    """How far the runs of two results folders agree."""
    found = Agreement()
    for status in sorted(before.glob("runs/**/status.json")):
        run = status.parent.relative_to(before)
        found.runs += 1
        for file in sorted((before / run).glob("*.csv")):
            compare_cells(file, after / run / file.name, found, but=PROVENANCE)
        if any((before / run / "checkpoints").iterdir()):  # nothing of real data is trained
            compare_tensors(before / run, after / run, found)
        for picture in sorted((before / run / "samples").glob("*")):
            other = after / run / "samples" / picture.name
            found.cells += 1
            if other.exists() and other.read_bytes() == picture.read_bytes():
                found.equal += 1
            else:
                found.apart.append(f"{other} is another picture")
    return found


def main() -> None:
    """Run every model in both checkouts, two at a time, and print how far they agree."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", type=Path, help="a checkout")
    parser.add_argument("after", type=Path, help="the checkout to compare with it")
    parser.add_argument("--work", type=Path, required=True, help="where the runs are kept")
    parser.add_argument("--models", nargs="*", help="names; default: all small ones")
    arguments = parser.parse_args()
    small = sorted(path.stem for path in (ROOT / "conf/model").glob("*_small.yaml"))
    models = arguments.models or [*small, "mlp_gan", *POINTS, "real"]
    work = arguments.work.resolve()
    sides = {"before": arguments.before.resolve(), "after": arguments.after.resolve()}
    jobs = [(checkout, model, work / side) for model in models for side, checkout in sides.items()]
    with ThreadPoolExecutor(2) as pool:
        for (_, model, results), wrong in zip(
            jobs, pool.map(lambda job: train(*job), jobs), strict=True
        ):
            print(f"{model} {results.name}: {wrong or 'done'}", flush=True)
    print(compare(work / "before", work / "after"))


if __name__ == "__main__":
    main()
