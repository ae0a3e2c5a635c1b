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


SLOW_FEEDER = """
import importlib
import threading
import time

backend = "joblib.externals.loky.backend"
semaphores = importlib.import_module(f"{backend}.synchronize")
queues = importlib.import_module(f"{backend}.queues")
feed, unlink = queues.Queue._feed, semaphores.sem_unlink
unlinked = threading.Event()


def slow_feed(*of_queue):
    feed(*of_queue)
    time.sleep(0.3)  # the last one that needs the semaphores
    semaphores.sem_unlink = slow_unlink


def slow_unlink(name):
    unlink(name)
    if threading.current_thread() is not threading.main_thread():
        unlinked.set()
        time.sleep(0.3)  # now the program must not end


if __name__ == "__main__":
    from bench.runtime import joblib_processes

    queues.Queue._feed = staticmethod(slow_feed)
    print(joblib_processes.in_a_process(len, "ab", jobs=1))
    unlinked.wait(1)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="needs semaphores of POSIX")
def test_a_program_ends_without_warnings_of_leaked_semaphores():
    pytest.importorskip("hydra_plugins.hydra_joblib_launcher")
    line = [sys.executable, "-c", SLOW_FEEDER]
    done = subprocess.run(line, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert (done.stdout, done.stderr) == ("2\n", "")
