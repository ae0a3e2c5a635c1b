"""Time from `python -m bench` to its first training step, against importing torch alone.

Both are fresh processes, started in turn; the table shows medians and the median difference.
Command: python scripts/benchmarks/startup.py [--repeats 5] [overrides of the run]
"""

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT_SECONDS = 2.0
"""What the project allows itself beyond importing torch."""

TORCH = "import time, torch; print('READY', time.monotonic(), flush=True)"

FIRST_STEP = """
import os, sys, time
from bench.training.trainer import Trainer

step = Trainer.step

def first_step(self):
    step(self)
    print("READY", time.monotonic(), flush=True)
    os._exit(0)

Trainer.step = first_step
sys.argv[0] = "bench"
from bench.cli import main
main()
"""


def seconds_until_ready(program: str, arguments: list[str], cache: Path) -> float:
    """Start a Python process and wait for its line READY.

    The monotonic clock is one for all processes of a machine, so the child's reading minus ours is
    the time since before the process existed.

    Raises:
        RuntimeError: the process ended without being ready.
    """
    environment = os.environ | {"BENCH_CACHE": str(cache)}
    started = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        env=environment,
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        if line.startswith("READY "):
            return float(line.split()[1]) - started
    raise RuntimeError(
        f"the process ended with {done.returncode} and was never ready:\n{done.stdout}{done.stderr}"
    )


def main() -> None:
    """Measure and print; exit 1 above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("overrides", nargs="*", default=["model=mlp_gan", "dataset=digits"])
    options = parser.parse_args()
    torch_seconds, bench_seconds = [], []
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(folder) / "cache"
        for repeat in range(options.repeats + 1):
            run = [*options.overrides, f"results_root={folder}/{repeat}", "budget.images=6400"]
            torch_seconds.append(seconds_until_ready(TORCH, [], cache))
            bench_seconds.append(seconds_until_ready(FIRST_STEP, run, cache))
    # The first pair warms the disk's cache and decodes the data set.
    pairs = list(zip(torch_seconds[1:], bench_seconds[1:], strict=True))
    beyond = statistics.median(bench - torch for torch, bench in pairs)
    print(f"import torch              {statistics.median(t for t, _ in pairs):6.2f} s")
    print(f"bench, first step done    {statistics.median(b for _, b in pairs):6.2f} s")
    print(f"beyond torch, median      {beyond:6.2f} s   (limit {LIMIT_SECONDS:.1f} s)")
    sys.exit(beyond > LIMIT_SECONDS)


if __name__ == "__main__":
    main()
