"""How long `bench.load` takes beyond importing torch; `sample(1)` beside its bare network calls.

Loading is measured in fresh processes, started in turn with ones that only import torch. Sampling
is measured in this process, in alternation: `sample(1)` of the loaded model against
`Sampler.generate` inside prepared layers, inference mode and the run's precision, which are entered
once. Prints medians, and medians of the differences or ratios of neighbouring measurements.

Command: python scripts/benchmarks/load.py RUN [RUN ...] [--repeats 7] [--threads 1] [--clock cpu]
"""

import argparse
import os
import statistics
import subprocess
import sys
import time

import torch
from clocks import Clock, add_options, seconds_of, start
from torch import Generator

from bench import load
from bench.runs.loaded import LoadedModel
from bench.runtime.device import autocast
from bench.runtime.isolation import evaluating

LIMIT_SECONDS, LIMIT_RATIO = 1.5, 1.2
"""What the project allows itself for loading beyond importing torch, and for sampling one."""

BLOCK_SECONDS = 0.5
"""Least seconds of sampling that one measurement lasts."""

CLOCKS = {"wall": "time.monotonic", "cpu": "time.process_time"}
"""The clocks of processes: one monotonic clock for all, or the CPU time since their start."""

TORCH = "import sys, time, torch; print({clock}())"
LOAD = "import sys, time, torch; from bench import load; load(sys.argv[1], 'cpu'); print({clock}())"


def seconds_until_done(program: str, clock: str, *arguments: str) -> float:
    """Start a Python process, and take the seconds from before its start until it has printed."""
    started = time.monotonic() if clock == "wall" else 0.0
    code = program.format(clock=CLOCKS[clock])
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, env=dict(os.environ), capture_output=True, text=True, check=True)
    return float(done.stdout.split()[-1]) - started


def loading(run: str, clock: str, repeats: int) -> float:
    """Print how long loading takes; returns the median of seconds beyond importing torch."""
    pairs = [
        (seconds_until_done(TORCH, clock), seconds_until_done(LOAD, clock, run))
        for _ in range(repeats + 1)
    ][1:]  # the first pair warms the disk's cache
    beyond = statistics.median(both - torch_alone for torch_alone, both in pairs)
    alone, both = (statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"  import torch {alone:6.2f} s   with bench.load {both:6.2f} s   beyond {beyond:6.2f} s")
    return beyond


def sampling(model: LoadedModel, clock: Clock, repeats: int) -> float:
    """Print how long one sample takes; returns the median ratio to the bare network calls."""
    module, run = model.module, model._run
    sampler = next(iter(module.samplers.values()))
    generator = Generator(model.device).manual_seed(0)

    def bare(calls: int) -> None:
        for _ in range(calls):
            with autocast(model.device, run.options.precision):
                sampler.generate(1, generator, None)

    def whole(calls: int) -> None:
        for _ in range(calls):
            model.sample(1)

    whole(2)  # compiles kernels and prepares layers
    calls = max(1, round(BLOCK_SECONDS / (seconds_of(lambda: whole(3), clock) / 3)))
    pairs = []
    for _ in range(repeats):
        with evaluating(module):
            bare(2)  # prepares layers
            seconds = seconds_of(lambda: bare(calls), clock)
        pairs.append((seconds / calls, seconds_of(lambda: whole(calls), clock) / calls))
    ratio = statistics.median(ours / theirs for theirs, ours in pairs)
    theirs, ours = (1e3 * statistics.median(side) for side in zip(*pairs, strict=True))
    print(f"  bare calls {theirs:8.3f} ms   sample(1) {ours:8.3f} ms   ratio {ratio:5.2f}")
    return ratio


def main() -> None:
    """Measure and print; exit 1 above the limits."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", metavar="RUN")
    parser.add_argument("--repeats", type=int, default=7)
    add_options(parser)
    options = parser.parse_args()
    clock, missed = start(options), False
    for run in options.runs:
        print(f"{run}, torch {torch.__version__}, {options.threads} threads, {options.clock} time")
        missed |= loading(run, options.clock, options.repeats) > LIMIT_SECONDS
        missed |= sampling(load(run, "cpu"), clock, options.repeats) > LIMIT_RATIO
    sys.exit(missed)


if __name__ == "__main__":
    main()
