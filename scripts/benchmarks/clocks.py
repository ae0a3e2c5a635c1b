"""Timing of benchmarks: command-line options, threads and clock."""

import argparse
import time
from collections.abc import Callable

import torch

Clock = Callable[[], float]
"""Seconds, from any origin."""

CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}


def add_options(parser: argparse.ArgumentParser) -> None:
    """Add --threads and --clock."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument(
        "--clock",
        choices=CLOCKS,
        default="wall",
        help="cpu: the process's CPU time, for a busy machine; use it with --threads 1",
    )


def start(arguments: argparse.Namespace) -> Clock:
    """Set the threads and return the chosen clock."""
    torch.set_num_threads(arguments.threads)
    return CLOCKS[arguments.clock]


def seconds_of(call: Callable[[], object], clock: Clock) -> float:
    """Seconds that a call takes."""
    started = clock()
    call()
    return clock() - started
