"""The training clock: detection of pauses, also with a process that is really stopped."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from bench.training.budget import Spent
from bench.training.clock import BEAT, SHORTEST_PAUSE, TrainingClock
from bench.training.trainer import Trainer

ROOT = Path(__file__).parents[3]


def readings(*steps: tuple[float, float]) -> TrainingClock:
    """A clock that was read after each (wall, processor) seconds."""
    now = [0.0, 0.0]
    clock = TrainingClock(wall=lambda: now[0], processor=lambda: now[1], _last=(0.0, 0.0))
    for wall, processor in steps:
        now[0] += wall
        now[1] += processor
        clock.now()
    return clock


def test_a_gap_without_work_is_a_pause():
    clock = readings((0.1, 0.1), (12.0, 0.05), (0.1, 0.1))
    assert clock.paused == pytest.approx(12.0 - BEAT)
    assert clock.now() == pytest.approx(12.2 - clock.paused)


@pytest.mark.parametrize(
    "step",
    [
        (5.0, 5.0),  # computing with the interpreter's lock held
        (SHORTEST_PAUSE, 0.0),  # a machine under load
        (20.0, 2.5),  # the same beside many others
    ],
)
def test_work_and_short_gaps_count(step):
    assert readings((0.1, 0.1), step).paused == 0.0


def test_pauses_add_up():
    assert readings((3.0, 0.0), (0.1, 0.1), (4.0, 0.0)).paused == pytest.approx(7.0 - 2 * BEAT)


@pytest.mark.parametrize("work", ["time.sleep(1.5)", "sum(range(60_000_000))"])
def test_a_long_step_of_a_running_process_counts(work):
    """It waits without the interpreter's lock, as for a device, or computes with it."""
    clock = TrainingClock()
    with clock.beating():
        exec(work)
        clock.now()
    assert clock.paused == 0.0


def test_nothing_is_a_pause_between_two_stretches_of_training():
    clock = TrainingClock()
    with clock.beating():
        clock.now()
    time.sleep(SHORTEST_PAUSE + 0.3)  # evaluation, which the trainer leaves out itself
    with clock.beating():
        clock.now()
    assert clock.paused == 0.0


TRAIN = """
import sys, time
sys.path.insert(0, "tests/support")
from pathlib import Path
from types import SimpleNamespace
from two_players import Two, make
from bench.training.budget import Budget
from bench.training.callbacks import SilentObserver
from bench.training.trainer import Trainer
Trainer._flops_of_step = lambda *_: 10.0

class Told(SilentObserver):
    def on_step(self):
        time.sleep(0.002)
        if trainer.spent.step == 1:
            print("training", flush=True)

trainer = make(Path(sys.argv[1]), Two(), Budget(seconds=2.0))
start = time.perf_counter()
trainer.fit(Told())
print(trainer.spent.seconds, time.perf_counter() - start, trainer.clock.paused)
"""


@pytest.mark.skipif(not hasattr(signal, "SIGSTOP"), reason="needs signals of POSIX")
def test_a_stopped_process_does_not_spend_its_budget(tmp_path):
    """Stopped for 3 s it trains for as long as it would have without."""
    command = [sys.executable, "-c", TRAIN, str(tmp_path)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, text=True, cwd=ROOT, env=environment) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "training\n"
            time.sleep(0.5)
            process.send_signal(signal.SIGSTOP)
            time.sleep(3.0)
            process.send_signal(signal.SIGCONT)
            seconds, wall, paused = map(float, process.communicate(timeout=60)[0].split())
        finally:
            process.kill()
    assert 2.0 <= seconds < 2.5
    assert paused == pytest.approx(3.0, abs=0.3)
    assert wall >= seconds + 2.7  # all of the two seconds were trained


def test_ranks_that_are_stopped_in_turn_lose_each_pause_once():
    """Two ranks train together for 15 s; the second is stopped for 3 s, then the first for 2 s."""
    trainers = [
        SimpleNamespace(clock=None, _started=0.0, spent=Spent(), world=None) for _ in range(2)
    ]
    for clocks in ((10.0, 7.0), (13.0, 12.0)):  # of each rank's clock, without its own pauses
        least = min(now - t._started for now, t in zip(clocks, trainers, strict=True))
        for now, trainer in zip(clocks, trainers, strict=True):
            trainer.clock = SimpleNamespace(now=lambda now=now: now)
            trainer.world = SimpleNamespace(least=lambda own, least=least: min(own, least))
            Trainer._agree_on_seconds(trainer)  # pyright: ignore[reportArgumentType]
    assert [trainer.spent.seconds for trainer in trainers] == [10.0, 10.0]
