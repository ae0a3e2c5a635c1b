"""The line of a terminal: what fits, what stands above it, and no copy of it anywhere."""

import os
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from rich.cells import cell_len
from terminal import Screen, run_in_terminal

from bench.runtime import progress
from bench.runtime.printing import brief, duration
from bench.runtime.progress import Forecast, TrainingProgress, fitted, shown_progress

ROOT = Path(__file__).resolve().parents[3]


def running() -> TrainingProgress:
    """A run in the middle of its training."""
    shown = TrainingProgress("dcgan_small seed=1", place=(5, 12))
    shown.forecast = Forecast(training=120, point=8, last=20, points=4)
    shown.others = lambda left: None if left is None else left + 3600
    shown.step(0.5, 30_000, 60)
    shown.losses({"generator/loss": 1.234, "discriminator/loss": 0.4567, "generator/x": 1})
    shown.score("FID (domain) 12.3")
    return shown


@pytest.fixture
def board(monkeypatch: pytest.MonkeyPatch) -> progress._Board:
    board = progress._Board()
    monkeypatch.setattr(progress, "_board", board)
    return board


@pytest.mark.parametrize(
    ("width", "line"),
    [
        (
            200,
            "run 5 of 12 · dcgan_small seed=1 · 50% · 500 images/s · generator 1.23, discriminator "
            "0.457 · FID (domain) 12.3 · 2 min left · sweep 62 min left",
        ),
        (79, "5/12 · dcgan_small seed=1 · 50% · FID (domain) 12.3 · 2m left · sweep 62m"),
        (39, "5/12 dcgan_small seed=1 50% 2m /62m"),
    ],
)
def test_a_line_says_as_much_as_fits(board, width: int, line: str) -> None:
    board._shown.append(running())
    said = board.words(width)
    assert cell_len(said) <= width
    assert said == line


def test_no_width_is_exceeded_and_the_time_left_is_the_last_to_go(board) -> None:
    board._shown.append(running())
    for width in range(10, 160):
        said = board.words(width)
        assert cell_len(said) <= width
        if width >= 36:
            assert "5" in said.split()[0] or said.startswith("run 5 of 12")
            assert "2m" in said or "2 min" in said


def test_wide_letters_count_twice() -> None:
    assert fitted({"label": ("模型" * 10,)}, 12) == "模型模型模…"


def test_other_work_stands_on_the_line_of_its_run(board) -> None:
    board._shown.append(running())
    work = progress._Work("domain features of train, once", 60_000)
    work.advance(15_000)
    board._shown.append(work)
    said = board.words(200)
    assert said.startswith("run 5 of 12 · dcgan_small seed=1 · 50% · domain features of train")
    assert "15,000 of 60,000" in said


def test_an_evaluation_shows_its_sampler_and_then_the_score(board) -> None:
    shown = running()
    board._shown.append(shown)
    with shown.evaluating(2):
        shown.evaluation("ddim-10", 500, 2000)
        assert "evaluating ddim-10 500/2,000" in board.words(200)
        assert "· ddim-10 500/2,000 ·" in board.words(90)
        assert "generator" not in board.words(200)  # the losses
        shown.evaluation("ddim-10", 2000, 2000)
        assert "scoring ddim-10" in board.words(200)
    shown.score("FID (domain) 8.1")
    assert "FID (domain) 8.1" in board.words(200)
    assert "ddim" not in board.words(200)


def test_what_is_left_follows_what_was_measured() -> None:
    shown = TrainingProgress("x")
    assert shown.left() is None
    shown.forecast = Forecast(training=100, point=10, last=30, points=3)
    assert shown.left() == 150
    shown.step(0.25, 100, 50)  # twice as slow as estimated
    assert shown.left() == pytest.approx(150 + 50)
    with shown.evaluating(1):
        shown._since -= 20  # twice as slow as well
    assert shown.left() == pytest.approx(150 + 2 * 40, rel=0.01)


@pytest.mark.parametrize(
    ("seconds", "long", "short"),
    [
        (0.3, "0.3 s", "0s"),
        (45.2, "45 s", "45s"),
        (99.6, "2 min", "2m"),
        (720, "12 min", "12m"),
        (3600 * 3 + 1200, "3 h 20 min", "3h20m"),
        (3600 * 2, "2 h", "2h"),
        (3600 * 52, "2 d 4 h", "2d4h"),
    ],
)
def test_times_are_said_in_units_of_their_size(seconds: float, long: str, short: str) -> None:
    assert (duration(seconds), brief(seconds)) == (long, short)


PROGRAM = """
    import logging, sys, time, warnings
    from bench.cli import _log_to_stderr
    from bench.runtime import progress
    from bench.runtime.progress import Forecast, TrainingProgress, shown_progress

    progress.REDRAWN, progress.LOGGED = 0.05, 0.3
    _log_to_stderr()
    with TrainingProgress("dcgan_small seed=1", place=(5, 12)) as shown:
        shown.forecast = Forecast(100, 1, 1, 1)
        for k in range(20):
            shown.step(0.01 * k, 100 * k, float(k))
            time.sleep(0.06)
            if k == 3:
                logging.getLogger("bench.x").warning("a message as long as " + "two rows " * 9)
            if k == 8:
                warnings.warn("something")
            if k == 12:
                print("begun, ", end="", flush=True)
                time.sleep(0.2)
                print("ended")
            if k == 15:
                with shown_progress("reading", 4) as advance:
                    for _ in range(4):
                        time.sleep(0.06)
                        advance(1)
    logging.getLogger("bench.x").info("the end")
"""


def program() -> tuple[list[str], dict[str, str]]:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return [sys.executable, "-c", textwrap.dedent(PROGRAM)], environment


def test_jobs_that_share_a_terminal_do_not_wait_a_minute_between_lines(tmp_path: Path) -> None:
    shared = PROGRAM.replace("progress.LOGGED = 0.05, 0.3", "progress.SHARED = 0.05, 0.3")
    shared = shared.replace(
        "_log_to_stderr()\n", "_log_to_stderr()\n    progress.share_terminal()\n", 1
    )
    line = [sys.executable, "-c", textwrap.dedent(shared)]
    code, screen = run_in_terminal(line, tmp_path, program()[1], width=120)
    assert code == 0
    lines = [line for line in screen.lines if "run 5 of 12 · dcgan_small seed=1" in line]
    assert len(lines) >= 2


@pytest.mark.parametrize("width", [80, 40])
def test_a_terminal_keeps_no_copy_of_the_line(tmp_path: Path, width: int) -> None:
    seen: list[str] = []

    def watch(screen: Screen, resize) -> None:
        copies = [line for line in screen.lines if line.startswith(("5/12", "run 5"))]
        assert len(copies) <= 1, screen.lines
        seen.extend(copies)

    code, screen = run_in_terminal(*program()[:1], tmp_path, program()[1], width=width, watch=watch)
    assert code == 0
    assert any(re.search(r"dcgan_small seed=1 .*\d+ ?s", line) for line in seen)
    assert any("reading" in line for line in seen)
    text = "".join(screen.lines)
    assert "a message as long as " + "two rows " * 8 in text  # wrapped by the terminal alone
    assert "UserWarning: something" in text
    assert "begun, ended" in screen.lines
    assert screen.lines[-1] == "the end"
    assert not [line for line in screen.lines if line.startswith(("5/12", "run 5"))]


def test_a_terminal_that_is_made_narrower_keeps_no_copy_either(tmp_path: Path) -> None:
    widths = [100, 60, 45, 30, 70]

    def watch(screen: Screen, resize) -> None:
        if widths and any(line.startswith(("5/12", "run 5")) for line in screen.lines):
            resize(widths.pop(0))

    command, environment = program()
    code, screen = run_in_terminal(command, tmp_path, environment, width=120, watch=watch)
    assert code == 0
    assert not widths
    assert not [line for line in screen.lines if "dcgan_small" in line], screen.lines


def test_a_log_file_has_a_plain_line_now_and_then(tmp_path: Path) -> None:
    command, environment = program()
    done = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 0
    lines = [line for line in done.stderr.splitlines() if "dcgan_small" in line]
    assert 2 <= len(lines) <= 8  # about every 0.3 s of 1.6 and more
    assert lines[0].startswith("  run 5 of 12 · dcgan_small seed=1 · ")
    assert "\x1b" not in done.stderr + done.stdout
    assert "\r" not in done.stderr


def test_nothing_is_shown_where_nothing_goes_on(board) -> None:
    assert board.words(80) == ""
    with shown_progress("reading", 4) as advance:
        advance(1)
        assert board.words(80).startswith("reading 1 of 4 · ")
    assert board._thread is None
