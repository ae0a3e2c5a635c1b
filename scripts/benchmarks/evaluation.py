"""Time of the complete evaluation of every small model, by part, against its training budget.

A model is trained for a few steps, which cost no less to evaluate than a whole training, and its
last point is evaluated at default settings by a process of its own. Reference features are computed
before and not counted: they are cached once per data set. Given the root of another checkout (`git
worktree add ../before 19b336e`), each model is evaluated there too, in turn with this one. Of the
batches of samples, which take equal time after the first, two are computed, and the second stands
for the rest; of those of held-out scores the first. `--whole` computes everything.
Command: python scripts/benchmarks/evaluation.py [../before] [--models dcgan_small ddpm_small]
"""

import argparse
import functools
import importlib
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

ROOT = Path(__file__).resolve().parents[2]

MODELS = (*sorted(path.stem for path in ROOT.glob("conf/model/*_small.yaml")), "mlp_gan")

PARTS = ("generation", "features", "metrics", "held-out", "curves", "cost", "other")
"""The parts of an evaluation, as columns."""

CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}

HELD_OUT_BATCH = 250
"""Held-out samples in the one batch whose time counts for all."""


class Stopwatch:
    """Seconds by part, and a run whose evaluation is timed.

    Args:
        clock: reads the time.
        whole: whether every batch is computed.
    """

    def __init__(self, clock: Callable[[], float], whole: bool) -> None:
        self.clock = clock
        self.whole = whole
        self.spent: dict[str, float] = {}
        self.extrapolated: dict[str, float] = {}

    def add(self, part: str, seconds: float, times: float = 1.0) -> None:
        """Count seconds that stand for `times` as many."""
        self.spent[part] = self.spent.get(part, 0.0) + seconds
        more = seconds * (times - 1.0)
        self.extrapolated[part] = self.extrapolated.get(part, 0.0) + more

    def time(self, owner: Any, name: str, part: str, times: Callable[..., float] | None) -> None:
        """Time all calls of a function where a module or class has one of this name."""
        call = getattr(owner, name, None)
        if call is None:
            return

        @functools.wraps(call)
        def timed(*args: Any, **kwargs: Any) -> Any:
            started = self.clock()
            result = call(*args, **kwargs)
            self.add(part, self.clock() - started, times(*args) if times else 1.0)
            return result

        setattr(owner, name, timed)

    def generate(self, owner: Any, name: str) -> None:
        """Time a function that yields batches of samples; the second stands for those after it."""
        call = getattr(owner, name)

        def timed(sampler: str, of: Any, sizes: Iterable[int], **options: Any) -> Iterator[Any]:
            sizes = list(sizes)
            computed = sizes if self.whole else sizes[:2]
            batches, batch = call(sampler, of, iter(computed), **options), None
            for k, size in enumerate(sizes):
                if k < len(computed):
                    started = self.clock()
                    batch = next(batches)
                    times = sum(sizes[k:]) / size if k == 1 and not self.whole else 1.0
                    self.add("generation", self.clock() - started, times)
                yield batch

        setattr(owner, name, timed)

    def parts(self, total: float) -> dict[str, float]:
        """Seconds of each part of an evaluation of `total` measured seconds."""
        other = total - sum(self.spent.values())
        found = {part: self.spent[part] + self.extrapolated[part] for part in self.spent}
        return found | {"other": other}


def run_and_measure(clock: str, whole: bool, overrides: Sequence[str]) -> None:
    """Run the command line of whichever checkout is importable, and print seconds by part."""
    watch = Stopwatch(CLOCKS[clock], whole)
    evaluator = _module("bench.evaluation.evaluator", "bench.evaluator")
    held_out = _module("bench.evaluation.held_out", "bench.held_out")
    recorder = _module("bench.runs.writer", "bench.recorder").Recorder
    _module("bench.cost.measure", "bench.cost").time = SimpleNamespace(perf_counter=watch.clock)
    watch.generate(evaluator, "generate" if hasattr(evaluator, "generate") else "draw")
    for name in ("quality", "fid_infinity", "memorisation", "copying"):
        watch.time(evaluator, name, "metrics", None)
    watch.time(evaluator, "extract", "features", None)
    watch.time(evaluator, "sampling_cost", "cost", None)
    watch.time(evaluator, "look_inside", "curves", None)
    most, batch = held_out.MOST_SAMPLES, HELD_OUT_BATCH
    if not whole:
        held_out.MOST_SAMPLES = min(most, batch)
    watch.time(
        evaluator,
        "held_out_scores",
        "held-out",
        lambda model, data: 1.0 if whole else max(1.0, min(len(data.test), most) / batch),
    )
    on_point = recorder.on_point

    def measured(self: Any) -> None:
        started = watch.clock()
        on_point(self)
        print("PARTS", json.dumps(watch.parts(watch.clock() - started)), flush=True)

    recorder.on_point = measured
    sys.argv = ["bench", *overrides]
    importlib.import_module("bench.cli").main()


def _module(present: str, former: str) -> Any:
    """A module by its name, or by that of commit 19b336e."""
    try:
        return importlib.import_module(former)
    except ModuleNotFoundError:
        return importlib.import_module(present)


def evaluate(root: Path, overrides: Sequence[str], clock: str, whole: bool) -> dict[str, float]:
    """Seconds by part in a fresh process that runs the code of a checkout.

    Raises:
        RuntimeError: the run failed.
    """
    arguments = [str(Path(__file__).resolve()), "--clock", clock, *["--whole"] * whole, "--child"]
    done = subprocess.run(
        [sys.executable, *arguments, *overrides],
        env=os.environ | {"PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
    )
    for line in done.stdout.splitlines():
        if line.startswith("PARTS "):
            return json.loads(line.removeprefix("PARTS "))
    raise RuntimeError(f"{' '.join(overrides)} failed in {root}:\n{done.stdout}{done.stderr}")


def main() -> None:
    """Measure and print one line for each model and checkout; exit 1 above the limit."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("before", nargs="?", type=Path, help="root of another checkout")
    parser.add_argument("--models", nargs="+", default=MODELS)
    parser.add_argument("--dataset", default="fashion_mnist")
    parser.add_argument("--precision", default="bf16", help="of both checkouts")
    parser.add_argument("--budget", type=float, default=60.0, help="training seconds")
    parser.add_argument("--whole", action="store_true", help="compute every batch")
    parser.add_argument("--clock", choices=CLOCKS, default="wall", help="cpu: for a busy machine")
    parser.add_argument("--child", nargs=argparse.REMAINDER, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child is not None:
        return run_and_measure(options.clock, options.whole, options.child)
    headings = "".join(f"{part:>11}" for part in (*PARTS, "evaluation"))
    print(f"{'model':<24}{'checkout':<9}{headings}{'wall / training':>17}  (s, {options.clock})")
    within = True
    for model in options.models:
        sides = {"before": options.before, "now": ROOT}
        for side, root in sides.items():
            if root is None:
                continue
            with tempfile.TemporaryDirectory() as folder:
                overrides = [f"model={model}", f"dataset={options.dataset}", "threads=1"]
                overrides += [f"precision={options.precision}", f"results_root={folder}"]
                overrides += ["budget.images=256"]
                parts = evaluate(root.resolve(), overrides, options.clock, options.whole)
            total = sum(parts.values())
            ratio = (options.budget + total) / options.budget
            shown = "".join(f"{parts.get(part, 0.0):>11.2f}" for part in PARTS)
            print(f"{model:<24}{side:<9}{shown}{total:>11.2f}{ratio:>17.2f}", flush=True)
            within = within and (side == "before" or ratio <= 2)
    sys.exit(not within)


if __name__ == "__main__":
    main()
