"""The small sweep that the reliability trials disturb, and the comparison of its results.

Two sweeps agree if everything except measured times agrees: every cell of the final tables, of
every eval.csv and of every train.csv, and every tensor of every run's last checkpoint.
"""

import csv
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from typing import Any

import torch

from bench.compare import cli
from bench.schema import FORMER

ROOT = Path(__file__).resolve().parents[2]

TIMED = ("seconds", "per_second", "latency", "memory", "best_batch_size", "evaluated_at")
"""Columns whose names contain one of these hold what a clock or an allocator said."""

ROUNDING = 1e-6
"""Relative difference up to which two scores are equal: linear algebra's last bits depend on how
memory happens to be aligned."""

TINY = (
    "dataset=digits",
    "budget.checkpoints=2",
    "evaluator.cost_seconds=0",
    "evaluator.samples=200",
    "trainer.checkpoint_seconds=0.2",
    "trainer.log_every=5",
    "threads=1",
)
"""Overrides of every run here: many checkpoints, no measuring of latencies."""


@dataclass
class Agreement:
    """How far the results of two sweeps agree.

    Attributes:
        runs: number of runs compared.
        cells: number of cells of tables and CSV files, without measured times.
        equal: number of cells with identical text.
        rounded: number of cells that differ by less than `ROUNDING`.
        tensors: number of tensors in the last checkpoints.
        equal_tensors: number of tensors that are equal bit for bit.
        apart: places where cells differ by more, or something is missing.
    """

    runs: int = 0
    cells: int = 0
    equal: int = 0
    rounded: int = 0
    tensors: int = 0
    equal_tensors: int = 0
    apart: list[str] = field(default_factory=list)

    @property
    def whole(self) -> bool:
        """Whether cells differ by rounding at most, and tensors not at all."""
        return self.cells > 0 and not self.apart and self.tensors == self.equal_tensors

    def __str__(self) -> str:
        return (
            f"{self.equal + self.rounded} of {self.cells} cells identical ({self.rounded} of them "
            f"to rounding), {self.equal_tensors} of {self.tensors} tensors of {self.runs} runs "
            "bit for bit" + "".join(f"\n  differs: {where}" for where in self.apart)
        )


def bench(*arguments: str) -> list[str]:
    """The command line `python -m bench` of this interpreter."""
    return [sys.executable, "-m", "bench", *arguments]


def environment(**more: str) -> dict[str, str]:
    """The environment of every process started here: this checkout, one thread."""
    return os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"} | more


def call(command: list[str], timeout: float = 1800, **more: str) -> subprocess.CompletedProcess:
    """Run a command to its end, its output kept as text.

    Args:
        command: the command line.
        timeout: seconds.
        more: environment variables.
    """
    return subprocess.run(
        command, capture_output=True, text=True, timeout=timeout, env=environment(**more)
    )


def compare(undisturbed: Path, disturbed: Path) -> Agreement:
    """Make the final tables of two results folders and compare all that they hold."""
    found = Agreement()
    for root in (undisturbed, disturbed):
        with redirect_stdout(StringIO()), redirect_stderr(StringIO()) as said:
            code = cli.main([str(root / "runs"), "--out", str(root), "--no-report"])
        if code:
            found.apart.append(f"{root}: {said.getvalue().strip()}")
    statuses = sorted(undisturbed.glob("runs/**/status.json"))
    found.runs = len(statuses)
    runs = [status.parent.relative_to(undisturbed) for status in statuses]
    tables = [table.relative_to(undisturbed) for table in sorted(undisturbed.glob("*.csv"))]
    logs = [run / name for run in runs for name in ("eval.csv", "train.csv")]
    for table in (*tables, *logs):
        compare_cells(undisturbed / table, disturbed / table, found)
    for run in runs:
        compare_tensors(undisturbed / run, disturbed / run, found)
    return found


def compare_cells(left: Path, right: Path, found: Agreement, but: Sequence[str] = ()) -> None:
    """Add the agreement of two CSV files, ignoring measured times and `but`."""
    if not right.exists():
        found.apart.append(f"{right} is missing")
        return
    with left.open(newline="") as a, right.open(newline="") as b:
        ours, theirs = list(csv.DictReader(a)), list(csv.DictReader(b))
    if len(ours) != len(theirs):
        found.apart.append(f"{right} has {len(theirs)} rows instead of {len(ours)}")
        return
    for n, (row, other) in enumerate(zip(ours, theirs, strict=True)):
        for column in row:
            if column in but or any(word in column for word in TIMED):
                continue
            found.cells += 1
            value = other.get(column, other.get(FORMER.get(column, column)))
            if row[column] == value:
                found.equal += 1
            elif _close(row[column], value):
                found.rounded += 1
            else:
                words = f"{row[column]!r}, {value!r}"
                found.apart.append(f"{right}, row {n}, {column}: {words}")


def _close(left: str, right: str | None) -> bool:
    try:
        a, b = float(left), float(right or "")
    except ValueError:
        return False
    return abs(a - b) <= ROUNDING * max(abs(a), abs(b))


def compare_tensors(left: Path, right: Path, found: Agreement) -> None:
    """Add the agreement of the last checkpoints of two runs."""
    states = [last_checkpoint(run) for run in (left, right)]
    if None in states:
        found.apart.append(f"{right} has no checkpoint")
        return
    ours, theirs = (_tensors(state) for state in states)
    found.tensors += len(ours)
    found.equal_tensors += sum(
        name in theirs and torch.equal(tensor, theirs[name]) for name, tensor in ours.items()
    )


def last_checkpoint(run: Path) -> dict[str, Any] | None:
    """Content of the newest checkpoint of a run; None if there is none."""
    paths = sorted(run.glob("checkpoints/step=*.pt"), key=lambda path: int(path.stem[5:]))
    return torch.load(paths[-1], weights_only=True, map_location="cpu") if paths else None


def _tensors(tree: Any, name: str = "") -> dict[str, torch.Tensor]:
    """Every tensor in nested containers, by its path."""
    if isinstance(tree, torch.Tensor):
        return {name: tree}
    if not isinstance(tree, dict | list | tuple):
        return {}
    items = tree.items() if isinstance(tree, dict) else enumerate(tree)
    parts = (_tensors(value, f"{name}/{key}") for key, value in items)
    return {key: value for part in parts for key, value in part.items()}


def about() -> str:
    """When, on which machine and at which commit a check was made."""
    commit = subprocess.run(
        ["git", "describe", "--always", "--dirty", "--exclude=*"],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    cpus = Path("/proc/cpuinfo").read_text().splitlines()
    name = next((line.partition(":")[2].strip() for line in cpus if "model name" in line), "")
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    return f"{when}, {os.cpu_count()} cores of {name}, commit {commit.stdout.strip()}"
