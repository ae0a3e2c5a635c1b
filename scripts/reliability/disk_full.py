"""Full disks, from the start or during training: what is reported, what is lost?

Every trial has a tmpfs of its own, which needs root. Command:
python -m scripts.reliability.disk_full [--fills 8]
"""

import argparse
import csv
import random
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bench.runtime.atomic_files import TRAIN_COLUMNS
from scripts.reliability.trial import (
    TINY,
    about,
    bench,
    call,
    compare,
    environment,
    last_checkpoint,
)

RUN = ("model=dcgan_small", "seed=0", "budget.images=24000", *TINY)

FREE_KIB = (0, 4, 8, 12, 16, 300, 1000, 1500)
"""Room that runs begin with: none, for the small files alone, for one checkpoint, for two."""


def main(arguments: list[str]) -> int:
    """Run every trial and print a row for each."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--fills", type=int, default=8, help="trials that fill up in training")
    given = options.parse_args(arguments)
    print(f"{about()}\npython -m bench {' '.join(RUN)}\n")
    moments = random.Random(0)
    delays = [moments.uniform(0, 1.5) for _ in range(given.fills)]
    bad = 0
    with tempfile.TemporaryDirectory(prefix="full") as folder:
        whole = Path(folder) / "undisturbed"
        call(bench(*RUN, f"results_root={whole}")).check_returncode()
        print("| the disk is full | exit code | file named | intact | resumed: |")
        print("|---|---|---|---|---|")
        trials = [(f"{kib} KiB are left", kib, None) for kib in FREE_KIB]
        trials += [(f"{s:.1f} s into training", None, s) for s in delays]
        for title, kib, delay in trials:
            with tmpfs(Path(folder) / "disk") as disk:
                row, good = trial(disk, whole, kib, delay)
                print(f"| {title} | {row} |", flush=True)
                bad += not good
    return int(bad > 0)


@contextmanager
def tmpfs(path: Path, size: str = "24m") -> Iterator[Path]:
    """A small file system of its own."""
    path.mkdir(exist_ok=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)], check=True)
    try:
        yield path
    finally:
        subprocess.run(["umount", str(path)], check=True)


def fill(disk: Path, free_kib: int = 0) -> Path:
    """Fill a disk except for some space; returns the file that fills it."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            file.truncate(max(0, file.tell() - 1024 * free_kib))
    return ballast


def trial(disk: Path, whole: Path, free_kib: int | None, delay: float | None) -> tuple[str, bool]:
    """Run on a disk that is full or fills up, free space, run again.

    Returns:
        Cells of a row, and whether everything was as expected.
    """
    command = bench(*RUN, f"results_root={disk / 'results'}")
    if delay is None:
        fill(disk, free_kib or 0)
        failed = call(command)
        code, said = failed.returncode, failed.stderr
    else:
        code, said = fill_while_training(disk, command, delay)
    sentence = said.strip().splitlines()[-1] if said.strip() else ""
    clear = "cannot be written" in sentence and "Traceback" not in said
    named = sentence.partition(" cannot be")[0].rpartition("/")[2] if clear else sentence
    harm = damage(disk / "results")
    (disk / "ballast").unlink()
    again = call(command)
    agreement = compare(whole, disk / "results")
    good = code == 2 and clear and not harm and again.returncode == 0 and agreement.whole
    cells = f"{agreement.equal + agreement.rounded} of {agreement.cells} cells"
    tensors = f"{agreement.equal_tensors} of {agreement.tensors} tensors"
    words = f"exit code {again.returncode}, {cells}, {tensors} the same"
    return f"{code} | {named} | {harm or 'yes'} | {words}", good


def fill_while_training(disk: Path, command: list[str], delay: float) -> tuple[int, str]:
    """Fill the disk some seconds after the run's first checkpoint; returns exit code and output."""
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment())
    while process.poll() is None and not list(disk.rglob("step=*.pt")):
        time.sleep(0.005)
    time.sleep(delay)
    while process.poll() is None:  # again and again: a checkpoint that goes leaves room
        fill(disk)
        time.sleep(0.02)
    said = process.communicate()[1]
    if process.returncode == 0:
        fill(disk)
    return process.returncode, said


def damage(results: Path) -> str:
    """Which written files are incomplete; empty if none."""
    found = []
    for status in results.rglob("status.json"):
        try:
            last_checkpoint(status.parent)
        except Exception as error:  # of whatever kind, the file cannot be used
            found.append(f"checkpoint: {error}")
    for table in results.rglob("*.csv"):
        text = table.read_text()
        with table.open(newline="") as file:
            rows = list(csv.reader(file))
        widths = {len(row) for row in rows}
        if len(widths) > 1 or (text and not text.endswith("\n")):
            found.append(f"{table.name} has rows that are not whole")
        if table.name == "train.csv" and rows and tuple(rows[0]) != TRAIN_COLUMNS:
            found.append("train.csv has no header")
    left = [path.name for path in results.rglob(".*") if path.suffix in (".tmp", ".partial")]
    return "; ".join(found + left)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
