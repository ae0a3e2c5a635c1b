"""Reading runs that are still going on: state, progress, losses, scores, newest samples."""

import fcntl
import json
import math
import os
import platform
import shutil
from dataclasses import replace

import numpy as np
import pytest
from synthetic_runs import scores, write_run

from bench.compare.live import LiveRuns, LossLog, is_alive
from bench.compare.writers.html.live import (
    counts,
    labels,
    live_part,
    loss_figure,
    seconds_left,
    thinned,
)
from bench.runs.directory import RunDirectory, Status
from bench.runtime.atomic_files import TRAIN_COLUMNS

HEADER = ",".join(TRAIN_COLUMNS) + "\n"
MINE = f"{os.getpid()} on {platform.node()}\n"
GONE = f"{2**22 + 1} on {platform.node()}\n"
"""A lock file of a process that cannot exist, whose number is larger than Linux gives."""


def running(tmp_path, model="mlp_gan", seed=0, *, rows=None, lock=MINE, step=7, **values):
    """A run that is going on, of 100 images and with two evaluation points."""
    status = Status("running", step=step, command=f"python -m bench model={model}", seconds=12.5)
    path = write_run(tmp_path, model, seed, rows or {}, status=status, checkpoints=2, **values)
    (path / ".lock").write_text(lock)
    budget = {"images": 100, "seconds": None, "flops": None, "checkpoints": 2}
    (path / "config.yaml").write_text(json.dumps({"budget": budget}))
    return path


def read(tmp_path, **by_model):
    return LiveRuns([tmp_path / "runs"]).read()


def test_a_log_is_read_as_it_grows_in_whole_lines(tmp_path):
    log = LossLog(tmp_path / "train.csv")
    assert log.read() == 0
    log.file.write_text(HEADER + "1,64,0.5,generator/loss,2.5\n2,128,1.0,gen")
    log.read()
    assert (log.step, log.images, log.seconds) == (1, 64, 0.5)
    with log.file.open("a") as file:
        file.write('erator/loss,nan\n2,128,1.0,"odd, key",7\n')
    log.read()
    assert list(log.curves["generator/loss"].images) == [64, 128]
    assert log.curves["generator/loss"].values[0] == 2.5
    assert math.isnan(log.curves["generator/loss"].values[1])
    assert list(log.curves["odd, key"].values) == [7]


def test_only_what_was_appended_is_read_again(tmp_path, monkeypatch):
    log = LossLog(tmp_path / "train.csv")
    log.file.write_text(HEADER + "1,64,0.5,a,1\n" * 1000)
    log.read()
    added = []
    monkeypatch.setattr(log, "_add", added.append)
    log.read()
    assert added == []
    with log.file.open("a") as file:
        file.write("2,128,0.9,a,2\n")
    log.read()
    assert added == [["2", "128", "0.9", "a", "2"]]


@pytest.mark.parametrize("again", ["1,64,0.5,a,9\n", "1,64,0.5,a,9\n" * 9])
def test_a_log_that_was_replaced_is_read_anew(tmp_path, again):
    log = LossLog(tmp_path / "train.csv")
    log.file.write_text(HEADER + "1,64,0.5,a,1\n2,128,0.9,a,2\n3,192,1.4,a,3\n")
    log.read()
    log.file.write_text(HEADER + again)
    log.read()
    assert list(log.curves["a"].values) == [9] * again.count("\n")
    assert log.step == 1
    log.file.unlink()
    assert log.read() == 0
    assert log.curves == {}


def test_a_running_run_tells_how_far_it_is(tmp_path):
    row = {"generator": scores(30.0) | {"images": 50, "train_seconds": 4.0, "step": 5}}
    path = running(tmp_path, rows=row)
    (path / "train.csv").write_text(HEADER + "8,80,6.0,generator/loss,2.5\n")
    (path / "samples").mkdir(exist_ok=True)
    for name in ("checkpoint=1_generator", "checkpoint=2_generator", "checkpoint=2_x_trajectory"):
        (path / "samples" / f"{name}.png").write_bytes(b"png")
    (run,) = read(tmp_path)
    assert run.state == "running"
    assert (run.model, run.seed, run.step, run.images, run.seconds) == ("mlp_gan", "0", 8, 80, 6.0)
    assert run.share == pytest.approx(0.8)
    assert seconds_left(run) == pytest.approx(1.5)
    by_the_clock = replace(run, nominal=True, all_seconds=6.0)  # nominal ones are no time
    assert seconds_left(by_the_clock) == pytest.approx(6 * (1 - run.share) / run.share)
    assert run.all_seconds == 12.5
    assert [(s.point, s.images, s.fid) for s in run.scores] == [(1, 50, 30.0)]
    assert (run.extractor, run.points) == ("domain", 2)
    assert (run.picture, run.picture_point) == (
        path / "samples" / "checkpoint=2_generator.png",
        2,
    )


def test_selected_weights_are_no_evaluation_point(tmp_path):
    """Rows of `trainer.keep=best` are at the last point too, and here they have another FID."""
    for checkpoint, fid in ((1, 20.0), (2, 30.0)):
        rows = {"g": scores(fid)}
        path = write_run(tmp_path, "mlp_gan", 0, rows, checkpoint=checkpoint, checkpoints=2)
    best = {"weights": "best of 2 (ema)", "kept_point": 1, "validation_fid": 9.0, "warning": "sign"}
    write_run(tmp_path, "mlp_gan", 0, {"g": scores(90.0) | best}, checkpoint=2, checkpoints=2)
    (path / ".lock").write_text(MINE)
    (run,) = read(tmp_path)
    assert [(score.point, score.fid) for score in run.scores] == [(1, 20.0), (2, 30.0)]
    assert run.warning == ""


def test_states(tmp_path):
    running(tmp_path, seed=0)
    running(tmp_path, seed=1, lock=GONE)
    running(tmp_path, seed=2, lock="17 on elsewhere\n")
    write_run(tmp_path, "mlp_gan", 3, {"generator": scores(3.0)})
    write_run(tmp_path, "mlp_gan", 4, {}, status=Status("failed", "not finite", step=3))
    for seed, lock in ((5, MINE), (6, GONE)):
        path = running(tmp_path, seed=seed, lock=lock)
        (path / "status.json").unlink()
    empty = running(tmp_path, seed=7, lock=GONE)  # of a command that was refused
    for name in ("status.json", "config.yaml"):
        (empty / name).unlink()
    found = {run.seed: run.state for run in read(tmp_path)}
    assert found == {
        "0": "running",
        "1": "stopped",
        "2": "running",
        "3": "finished",
        "4": "failed",
        "5": "starting",
        "6": "stopped",
    }
    assert counts(read(tmp_path)) == "2 running, 1 starting, 2 stopped, 1 failed, 1 finished"


@pytest.mark.parametrize(
    ("owner", "alive"),
    [(MINE, True), (GONE, False), ("", True), ("9" * 40 + " on x", True)],
    ids=["mine", "gone", "nobody", "no number"],  # the number of a process differs between workers
)
def test_a_process_is_gone_only_if_that_is_known(owner, alive):
    assert is_alive(owner) is alive


def test_reading_takes_no_lock(tmp_path, monkeypatch):
    running(tmp_path)

    def refuse(*_):
        raise AssertionError("a lock was taken, which could keep a run from starting")

    monkeypatch.setattr(fcntl, "flock", refuse)
    assert len(read(tmp_path)) == 1


def test_a_run_can_be_written_to_while_it_is_read(tmp_path):
    path = running(tmp_path)
    runs = LiveRuns([tmp_path])
    runs.read()
    with RunDirectory(path) as records:
        assert [run.state for run in runs.read()] == ["running"]
        records.write_status(Status("finished"))
    assert [run.state for run in runs.read()] == ["finished"]


def test_what_changed_is_seen_and_what_did_not_is_not(tmp_path):
    path = running(tmp_path)
    runs = LiveRuns([tmp_path / "runs"])
    (first,), (second,) = runs.read(), runs.read()
    assert first.signature == second.signature
    (path / "train.csv").write_text(HEADER + "8,80,6.0,generator/loss,2.5\n")
    (third,) = runs.read()
    assert third.signature != second.signature
    assert third.compared == second.compared  # no table shows losses
    with RunDirectory(path) as records:
        records.write_status(Status("finished"))
    (fourth,) = runs.read()
    assert fourth.compared != third.compared


def test_a_sign_of_life_is_a_change_of_the_run_and_of_no_table(tmp_path):
    path = running(tmp_path)
    runs = LiveRuns([tmp_path / "runs"])
    (first,) = runs.read()
    os.utime(path / ".lock", (first.changed + 100, first.changed + 100))
    (second,) = runs.read()
    assert second.changed == pytest.approx(first.changed + 100)
    assert second.signature != first.signature
    assert second.compared == first.compared


def test_runs_that_are_removed_or_damaged_are_no_error(tmp_path):
    runs = LiveRuns([tmp_path / "runs"])
    assert runs.read() == []
    path = running(tmp_path, rows={"generator": scores(30.0)})
    assert [len(run.scores) for run in runs.read()] == [1]
    (path / "eval.csv").write_text("checkpoint,sam")
    (path / "status.json").write_text("{")
    (run,) = runs.read()
    assert len(run.scores) == 1  # as last read
    assert "eval.csv" in run.reason
    shutil.rmtree(path)
    assert runs.read() == []


def test_variants_of_a_model_are_named_by_their_settings(tmp_path):
    for variant, rate in (("a1", "0.1"), ("b2", "0.2")):
        command = f"python -m bench -m model=mlp_gan model.build.lr={rate} seed=0"
        status = Status("running", command=command)
        write_run(tmp_path, "mlp_gan", 0, {}, variant=variant, status=status)
    write_run(tmp_path, "ddpm_small", 0, {}, status=Status("running"))
    found = labels(read(tmp_path)).values()
    assert {name.replace("\N{NO-BREAK SPACE}", " ") for name in found} == {
        "ddpm_small, seed 0",
        "mlp_gan (build.lr=0.1), seed 0",
        "mlp_gan (build.lr=0.2), seed 0",
    }


def test_a_long_log_is_shown_by_means_of_neighbours(tmp_path):
    path = running(tmp_path)
    lines = [f"{k},{k},0.1,generator/loss,{k % 2}\n" for k in range(1, 1001)]
    (path / "train.csv").write_text(HEADER + "".join(lines))
    (run,) = read(tmp_path)
    x, y = thinned(run.curves["generator/loss"], 100)
    assert x.shape == y.shape == (100,)
    assert np.allclose(y, 0.5)
    assert x.tolist() == [5.5 + 10 * k for k in range(100)]
    x, y = thinned(run.curves["generator/loss"], 1000)
    assert y.tolist() == [k % 2 for k in range(1, 1001)]
    figure = loss_figure(run)
    assert figure is not None
    assert [view.label for view in figure.views] == ["losses"]
    assert len(figure.views[0].data[0]["x"]) == 200


@pytest.mark.parametrize(
    ("budget", "share"),
    [
        ({"seconds": 12.0}, 0.5),
        ({"seconds": 12.0, "images": 100}, 0.8),
        ({"flops": 1e9}, math.nan),
        ({"images_by_default": 160}, 0.5),
        ({"images": "many"}, math.nan),
        ({}, math.nan),
    ],
)
def test_the_share_of_every_kind_of_budget(tmp_path, budget, share):
    path = running(tmp_path)
    (path / "config.yaml").write_text(json.dumps({"budget": budget}))
    (path / "train.csv").write_text(HEADER + "8,80,6.0,generator/loss,2.5\n")
    (run,) = read(tmp_path)
    assert run.share == pytest.approx(share, nan_ok=True)


def part(tmp_path):
    """The part of the page on the runs as they are."""
    return live_part(read(tmp_path), written=1e9, every=60, note="")


def test_every_value_of_the_table_stands_below_its_own_heading(tmp_path):
    running(tmp_path, rows={"generator": scores(30.0)})
    table = part(tmp_path).split("<table")[1].split("</table>")[0]
    head, body = table.split("<tbody")
    assert head.count("<th") - head.count("<thead") == body.count("<td") + body.count("<th") == 10
    assert head.count("last change") == 1


def test_a_stopped_run_names_the_command_that_resumes_it(tmp_path):
    running(tmp_path)
    assert "To resume it" not in part(tmp_path)
    running(tmp_path, "ddpm_small", lock=GONE)
    text = part(tmp_path)
    assert text.count("To resume it") == 1
    assert "<code>python -m bench model=ddpm_small</code>" in text


def test_without_a_run_that_has_ended_the_page_promises_no_tables_below(tmp_path):
    running(tmp_path)
    assert "No run has ended yet" in part(tmp_path)
    write_run(tmp_path, "mlp_gan", 3, {"generator": scores(3.0)})
    assert "No run has ended yet" not in part(tmp_path)
    assert "below are of runs that have ended" in part(tmp_path)


def test_a_trained_run_that_is_being_scored_says_so(tmp_path):
    path = running(tmp_path)
    (path / "train.csv").write_text(HEADER + "8,80,6.0,generator/loss,2.5\n")
    text = part(tmp_path)
    assert "about 1.5 s" in text
    assert "scoring" not in text
    (path / "train.csv").write_text(HEADER + "10,100,7.5,generator/loss,2.5\n")
    text = part(tmp_path)
    assert ">scoring<" in text
    assert "training has ended, scoring goes on" in text
