"""Sweeps in processes of joblib."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]

FIRST_PROCESS = """
import signal

def is_blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())

if __name__ == "__main__":
    from bench.runtime.joblib_processes import _no_interrupts, _pool

    pool = _pool(1)
    with _no_interrupts():
        answer = pool.submit(is_blocked)
    print(answer.result())
    pool.shutdown()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs signals of POSIX")
def test_the_first_process_of_a_sweep_hears_no_interrupt_either():
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    line = [sys.executable, "-c", FIRST_PROCESS]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout == "True\n", done.stderr
