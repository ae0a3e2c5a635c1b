"""SIGKILL at random moments of a sweep that is restarted: are its results identical?

Command: python -m scripts.reliability.kills [--kills 20] [--aimed 5] [--images 12000]
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from bench.runs.directory import read_status
from scripts.reliability.trial import (
    TINY,
    about,
    bench,
    call,
    compare,
    environment,
    last_checkpoint,
)

MODELS = "model=mlp_gan,dcgan_small,ddpm_small"


def main(arguments: list[str]) -> int:
    """Run the sweep undisturbed and killed, print what was hit and how the results agree."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=20, help="at random moments")
    options.add_argument("--aimed", type=int, default=5, help="while a checkpoint is written")
    options.add_argument("--longest", type=float, default=10.0, help="seconds between two kills")
    options.add_argument("--images", type=int, default=12000, help="budget of every run")
    options.add_argument("--models", default=MODELS, help="override that names the models")
    options.add_argument("--seeds", default="seed=0,1", help="override that names the seeds")
    options.add_argument("--random-seed", type=int, default=0, help="of the moments")
    given = options.parse_args(arguments)
    sweep = ["-m", given.models, given.seeds, f"budget.images={given.images}", *TINY]
    print(f"{about()}\npython -m bench {' '.join(sweep)}")
    with tempfile.TemporaryDirectory(prefix="kills") as folder:
        whole, killed = Path(folder) / "undisturbed", Path(folder) / "killed"
        start = time.monotonic()
        call(bench(*sweep, f"results_root={whole}")).check_returncode()
        print(f"undisturbed: {time.monotonic() - start:.0f} s")
        moments = random.Random(given.random_seed)
        delays = [moments.uniform(0, given.longest) for _ in range(given.kills)]
        delays += [None] * given.aimed
        moments.shuffle(delays)
        command = bench(*sweep, f"results_root={killed}")
        phases = Counter(kill(command, killed, delay) for delay in delays)
        last = call(command)
        print(f"{sum(phases.values())} kills, last exit code {last.returncode}; hit:")
        for phase, count in phases.most_common():
            print(f"- {phase}: {count}")
        left = [path.name for path in killed.rglob(".*") if path.suffix in (".tmp", ".partial")]
        agreement = compare(whole, killed)
        print("\n".join([f"{agreement}\nleft-over files: {len(left)}", *left]))
        return int(last.returncode != 0 or bool(left) or not agreement.whole)


def kill(command: list[str], root: Path, delay: float | None) -> str:
    """Start the sweep and kill its process group after some seconds of its first run, or in a save.

    Args:
        command: the sweep.
        root: its results.
        delay: seconds; None kills as soon as a checkpoint is being written.

    Returns:
        What the sweep was doing.

    Raises:
        RuntimeError: the sweep ended before it could be killed.
    """
    started = time.time()
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=environment(),
        start_new_session=True,
    )
    assert process.stderr is not None
    for line in process.stderr:  # what is to come, then ▶: the first run begins
        if line.startswith("▶".encode()):
            break
    if delay is None:
        while process.poll() is None and not is_saving(root, started):
            pass
    else:
        time.sleep(delay)
    if process.poll() is not None:
        raise RuntimeError("the sweep ended before its last kill: give --images more")
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    return phase(root, started)


def is_saving(root: Path, started: float) -> bool:
    """Whether the process that started then, not an earlier one, is writing a checkpoint."""
    for path in root.rglob(".step=*.partial"):
        try:
            if path.stat().st_mtime >= started:
                return True
        except FileNotFoundError:  # it is whole by now
            continue
    return False


def phase(root: Path, started: float) -> str:
    """What a killed sweep was doing, inferred from its files.

    Args:
        root: its results.
        started: when its process began, seconds since the epoch.
    """
    for file in root.rglob("status.json"):
        status = read_status(file.parent)
        if status is None or status.status != "running" or file.stat().st_mtime < started:
            continue
        if is_saving(file.parent, started):
            return "a checkpoint being written"
        since = [path for path in file.parent.rglob(".*") if path.stat().st_mtime >= started]
        if any(path.suffix == ".tmp" for path in since):
            return "a CSV, status or picture being written"
        state = last_checkpoint(file.parent)
        table = file.parent / "eval.csv"
        rows = table.read_text().splitlines()[1:] if table.exists() else []
        if state and state["spent"]["point"] > len(rows) // samplers(rows):
            return "evaluation"
        return "training"
    return "between two runs, or starting"


def samplers(rows: list[str]) -> int:
    """Number of rows per evaluation point in eval.csv; 1 if there is none yet."""
    return max(1, len({row.split(",")[4] for row in rows}))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
