"""How runs record that they were made sequentially, and what they took."""

import json
import time
from pathlib import Path

import pytest
from in_process import bench

from bench.runs import directory, looks
from bench.runs.directory import RunDirectory, Status, read_status
from bench.runs.looks import ENVIRONMENT, Call, Look, read_look
from bench.runtime import jobs

TINY = [
    *("model=mlp_gan_points", "dataset=ring8", "budget.images=512", "evaluator.samples=100"),
    *("evaluator.cost_seconds=0", "evaluator.resamples=0", "threads=1"),
]


def test_a_look_is_read_as_it_was_written() -> None:
    look = Look(margin=1.25, look=7)
    assert look.text == "e-process margin=1.25 look=7"
    assert read_look(look.text) == look
    assert read_look("") is None
    with pytest.raises(ValueError, match="'three words missing' does not say how a run was made"):
        read_look("three words missing")


def test_who_finishes_a_run_does_not_change_how_it_was_begun(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    look = Look().text
    monkeypatch.setenv(ENVIRONMENT, look)
    assert Call.after(None, "", 0.0).sequential == look
    assert Call.after(Status("running"), "", 0.0).sequential == look
    assert Call.after(Status("finished"), "", 0.0).sequential == ""
    monkeypatch.delenv(ENVIRONMENT)
    assert Call.after(None, "", 0.0).sequential == ""
    assert Call.after(Status("running", sequential=look), "", 0.0).sequential == look


def test_the_seconds_of_earlier_calls_are_kept() -> None:
    start = time.perf_counter() - 10
    call = Call.after(Status("running", seconds=5.0), "python -m bench", start)
    status = call.status("failed", "not finite", 3, "generator")
    assert 15 <= status.seconds < 16
    assert (status.status, status.reason, status.step) == ("failed", "not finite", 3)
    assert (status.phase, status.command) == ("generator", "python -m bench")


def test_seconds_that_are_no_number_are_refused(tmp_path: Path) -> None:
    with RunDirectory(tmp_path) as run:
        run.write_status(Status("finished", seconds=12.5))
    assert read_status(tmp_path) == Status("finished", seconds=12.5)
    written = json.loads((tmp_path / "status.json").read_text()) | {"seconds": "long"}
    (tmp_path / "status.json").write_text(json.dumps(written))
    with pytest.raises(ValueError, match="its seconds is 'long'"):
        read_status(tmp_path)
    assert set(directory._KINDS) == {"step", "seconds"}


def test_jobs_on_other_machines_hear_of_the_look(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(jobs.SWEEP, "s")
    monkeypatch.setenv(jobs.REPORT, "r")
    assert len(jobs.with_environment([])) == 2
    monkeypatch.setenv(looks.ENVIRONMENT, Look().text)
    (said,) = jobs.with_environment([])[2:]
    assert said == "+hydra.job.env_set.BENCH_LOOK='e-process margin=1.1 look=0'"


def test_a_run_records_its_look_and_what_it_took(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv(ENVIRONMENT, Look(look=2).text)
    start = time.perf_counter()
    status = read_status(bench(*TINY).directory)
    took = time.perf_counter() - start
    assert status is not None
    assert status.status == "finished"
    assert status.sequential == "e-process margin=1.1 look=2"
    assert took / 2 < status.seconds <= took
