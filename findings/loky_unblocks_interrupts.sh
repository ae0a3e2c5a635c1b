#!/usr/bin/env bash
# joblib (loky): starting the first worker unblocks SIGINT in the caller, and so in that worker alone.
#
# Version:  joblib 1.5.3 (its vendored loky), on POSIX.
# Expected: A program that blocks SIGINT with signal.pthread_sigmask while it starts workers, so that
#           Ctrl-C reaches the program alone, has workers that all inherit the blocked signal, and finds
#           it still blocked after ProcessPoolExecutor.submit returns.
# Seen:     The first submit returns with SIGINT unblocked, and the first pool's worker has it unblocked;
#           the worker of a second pool, started in the same way, has it blocked. Of several workers one
#           is thus interrupted by Ctrl-C, and ends in a KeyboardInterrupt of its own.
# Cause:    The first submit starts a resource tracker, around whose start SIGINT and SIGTERM are blocked
#           and then unblocked, whatever the caller's mask was, instead of restoring that mask.
# Way out:  Start the trackers before blocking:
#           joblib.externals.loky.backend.resource_tracker.ensure_running() and, since starting a worker
#           starts the standard library's tracker too, multiprocessing.resource_tracker.ensure_running().
# Source:   joblib/externals/loky/backend/resource_tracker.py, ResourceTracker._launch: SIG_BLOCK before
#           and SIG_UNBLOCK after the start. For the standard library's tracker alone (Python 3.11.7 here):
#           CPython issue 110844.
set -euo pipefail

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install -qq --disable-pip-version-check joblib==1.5.3

cat >"$folder/masks.py" <<'PYTHON'
import multiprocessing.resource_tracker
import signal
import sys

from joblib.externals.loky.backend import resource_tracker
from joblib.externals.loky.process_executor import ProcessPoolExecutor


def is_blocked():
    return signal.SIGINT in signal.pthread_sigmask(signal.SIG_BLOCK, ())


def main(started_before):
    if started_before:
        resource_tracker.ensure_running()
        multiprocessing.resource_tracker.ensure_running()
    for number in ("first", "second"):
        pool = ProcessPoolExecutor(max_workers=1)
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        answer = pool.submit(is_blocked)
        caller = is_blocked()
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        print(f"{number} pool: blocked in the caller {caller}, in the worker {answer.result()}")
        pool.shutdown()


if __name__ == "__main__":
    main(sys.argv[1:] == ["started"])
PYTHON

cd "$folder"
seen=$(venv/bin/python masks.py)
echo "As it is:"
echo "$seen"
echo "With both trackers started before:"
around=$(venv/bin/python masks.py started)
echo "$around"
[[ $seen == *"first pool: blocked in the caller False, in the worker False"* ]] &&
  [[ $seen == *"second pool: blocked in the caller True, in the worker True"* ]] &&
  [[ $around == *"first pool: blocked in the caller True, in the worker True"* ]] || {
  echo "The behaviour has changed: read this script's first lines again." >&2
  exit 1
}
