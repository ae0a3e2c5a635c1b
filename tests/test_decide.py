"""`python -m bench.decide` as users start it: killed, started again, and ended."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

LINE = [
    *("dataset=ring8", "model=rectified_flow_points,drifting_points", "budget.images=20000"),
    *("evaluator.samples=100", "evaluator.resamples=0", "evaluator.cost_seconds=0", "threads=1"),
    *("hours=1", "seeds=3"),
]


def start(cwd: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "bench.decide", *LINE],
        cwd=cwd,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def statuses(cwd: Path) -> list[dict[str, object]]:
    files = sorted((cwd / "results" / "runs").rglob("status.json"))
    return [json.loads(file.read_text()) for file in files]


def wait_for_runs(cwd: Path, process: subprocess.Popen[str], count: int) -> None:
    """Wait until the given number of runs have begun."""
    end = time.monotonic() + 300
    while len(statuses(cwd)) < count:
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < end
        time.sleep(0.05)


def test_killed_in_a_block_the_same_command_goes_on_and_settles(tmp_path: Path) -> None:
    killed = start(tmp_path)
    wait_for_runs(tmp_path, killed, 1)
    killed.kill()  # its process of jobs ends with it, or the next call would find runs in use
    killed.wait()
    interrupted = start(tmp_path)
    wait_for_runs(tmp_path, interrupted, 3)
    interrupted.send_signal(signal.SIGINT)
    _, said = interrupted.communicate(timeout=200)
    assert interrupted.returncode == 130
    assert said.splitlines()[-1] == (
        "bench.decide: interrupted: the same command goes on from what is saved"
    )
    assert "Traceback" not in said
    ended = start(tmp_path)
    answer, said = ended.communicate(timeout=400)
    assert ended.returncode == 0, said
    found = statuses(tmp_path)
    assert 4 <= len(found) <= 6
    assert {status["status"] for status in found} == {"finished"}
    assert all(str(s["sequential"]).startswith("e-process margin=1.1 look=") for s in found)
    assert "Of 1 question, " in answer
    assert (tmp_path / "results" / "comparison" / "ring8.md").exists()
