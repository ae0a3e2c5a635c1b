"""The run directory: atomic files, resumption, one writer at a time."""

import fcntl
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from bench.errors import RunInUseError
from bench.runs.directory import RunDirectory, Status, read_status
from bench.runtime.atomic_files import TrainLog, locked
from bench.schema import eval_columns

COLUMNS = eval_columns(("domain",))


@pytest.fixture
def run(tmp_path):
    with RunDirectory(tmp_path / "digits" / "seed=0") as directory:
        yield directory


def test_a_new_run_has_its_folders_and_no_status(run):
    assert run.samples.is_dir()
    assert run.checkpoints.is_dir()
    assert run.status is None
    assert run.eval_rows() == []


def test_status_round_trips(run):
    status = Status("failed", reason="loss is nan", step=7, phase="generator", command="bench …")
    run.write_status(status)
    assert run.status == read_status(run.path) == status


@pytest.mark.parametrize("text", ["{", "[]", '{"status": "done"}', '{"state": "finished"}'])
def test_a_foreign_status_is_named(run, text):
    (run.path / "status.json").write_text(text)
    with pytest.raises(ValueError, match=r"status\.json"):
        read_status(run.path)


def test_the_same_configuration_reopens(run):
    config = {"model": {"lr": 1e-5, "betas": (0.5, 0.999)}, "seed": 0, "name": "é", "path": None}
    run.write_config(config)
    before = (run.path / "config.yaml").read_bytes()
    run.write_config(config)
    assert (run.path / "config.yaml").read_bytes() == before


def test_another_configuration_is_refused_by_key(run):
    run.write_config({"model": {"lr": 1e-5, "depth": 2}, "seed": 0})
    with pytest.raises(ValueError, match="another configuration") as error:
        run.write_config({"model": {"lr": 2e-5, "width": 3}, "seed": 0})
    message = str(error.value)
    assert "model.lr: 1e-05 → 2e-05" in message
    assert "model.depth: 2 → (absent)" in message
    assert "model.width: (absent) → 3" in message
    assert "seed" not in message.replace(str(run.path), "")
    assert "delete the directory or change results_root" in message


def test_the_override_that_restores_former_samplers_is_named(run):
    former = {"name": "ddpm_small", "build": {"samplers": ["ddim-50", "ddim-10"]}}
    run.write_config({"model": former, "precision": "fp32"})
    today = {"name": "ddpm_small", "build": {"samplers": ["dpmpp-10"]}}
    with pytest.raises(ValueError, match="made by an earlier version") as error:
        run.write_config({"model": today, "precision": "bf16"})
    restored = "model.build.samplers=[ddim-50,ddim-10] precision=fp32"
    assert f"give the command with {restored} to continue it" in str(error.value)


def test_a_run_of_a_version_without_a_setting_is_kept(run):
    run.write_config({"model": {"lr": 1e-5}, "seed": 0})
    with pytest.raises(ValueError, match=r"made by a version without evaluator\.labels") as error:
        run.write_config({"model": {"lr": 1e-5}, "seed": 0, "evaluator": {"labels": "data"}})
    assert "keep it, and set another results_root" in str(error.value)
    assert "delete" not in str(error.value)


def test_some_keys_may_differ(run):
    run.write_config({"logger": {"wandb": "disabled"}, "seed": 0})
    run.write_config({"logger": {"wandb": "offline"}, "seed": 0}, may_differ=("logger",))
    with pytest.raises(ValueError, match=r"logger\.wandb"):
        run.write_config({"logger": {"wandb": "offline"}, "seed": 0}, may_differ=("log",))


def row(checkpoint, sampler="ddim-50", **values):
    return {"checkpoint": checkpoint, "sampler": sampler, "weights": "ema", **values}


@pytest.mark.parametrize(
    ("rows", "complete"),
    [
        ([(1, "a"), (2, "a"), (2, "b")], True),  # points before the last have the first sampler
        ([(1, "a"), (1, "b"), (2, "a"), (2, "b")], True),  # or all, in earlier versions
        ([(1, "a"), (1, "b"), (2, "a")], False),
        ([(2, "a"), (2, "b")], False),
        ([(1, "b"), (2, "a"), (2, "b")], False),
        ([(1, "a")], False),
        ([], False),
    ],
)
def test_a_run_has_every_point_if_the_last_one_is_complete(run, rows, complete):
    run.append_eval([row(point, sampler) | {"checkpoints": 2} for point, sampler in rows], COLUMNS)
    assert run.has_every_point() is complete


def test_eval_rows_are_keyed_by_checkpoint_and_sampler(run):
    run.append_eval([row(1, fid_domain=9.0), row(2, fid_domain=8.0)], COLUMNS)
    run.append_eval([row(1, fid_domain=7.0), row(2, "ddim-10", fid_domain=6.0)], COLUMNS)
    rows = run.eval_rows()
    assert [(r["checkpoint"], r["sampler"], r["fid_domain"]) for r in rows] == [
        ("1", "ddim-50", "7.0"),
        ("2", "ddim-50", "8.0"),
        ("2", "ddim-10", "6.0"),
    ]
    assert tuple(rows[0]) == COLUMNS


def test_eval_values_keep_their_precision_and_absent_ones_are_empty(run):
    values = {
        "fid_domain": 0.1 + 0.2,
        "kid_domain": float("nan"),
        "is_domain": None,
        "recall_domain": np.float32("nan"),
        "precision_domain": np.float64(0.5),
        "parameters": 12,
        "dataset": 'digits, "small"',
    }
    run.append_eval([row(1, **values)], COLUMNS)
    (written,) = run.eval_rows()
    assert float(written["fid_domain"]) == 0.1 + 0.2
    assert written["kid_domain"] == written["is_domain"] == written["recall_domain"] == ""
    assert written["precision_domain"] == "0.5"
    assert written["parameters"] == "12"
    assert written["dataset"] == 'digits, "small"'


def test_unknown_or_changed_columns_are_refused(run):
    with pytest.raises(ValueError, match="fid_inception"):
        run.append_eval([row(1, fid_inception=1.0)], COLUMNS)
    run.append_eval([row(1)], COLUMNS)
    with pytest.raises(ValueError, match="other columns"):
        run.truncate_eval(1, eval_columns(("domain", "inception")))


def test_rows_of_later_checkpoints_are_dropped_on_resume(run):
    run.append_eval([row(1), row(2), row(3)], COLUMNS)
    run.truncate_eval(2, COLUMNS)
    assert [written["checkpoint"] for written in run.eval_rows()] == ["1", "2"]


@pytest.mark.parametrize(("accuracy", "labels"), [("0.9", "uniform"), ("", "")])
def test_rows_of_before_get_the_columns_added_and_renamed_since(run, accuracy, labels):
    former = {"conditional_accuracy": "class_agreement"}
    now = [c for c in reversed(COLUMNS) if c not in ("class_labels", "blind_domain")]
    before = tuple(former.get(c, c) for c in now)
    rows = [row(1, fid_domain=0.5, class_agreement=accuracy), row(2)]
    lines = [",".join(str(r.get(c, "")) for c in before) for r in rows]
    (run.path / "eval.csv").write_text("\n".join([",".join(before), *lines, ""]))
    run.truncate_eval(2, COLUMNS)
    first, second = run.eval_rows()
    assert tuple(first) == tuple(second) == COLUMNS
    found = [first[c] for c in ("fid_domain", "conditional_accuracy", "class_labels")]
    assert (*found, first["blind_domain"]) == ("0.5", accuracy, labels, "")
    run.append_eval([row(2, fid_domain=0.25)], COLUMNS)
    assert [written["fid_domain"] for written in run.eval_rows()] == ["0.5", "0.25"]


def test_train_log_is_long_form(run):
    run.train.log({"generator/loss": 0.5, "lr": 1e-5}, step=1, images=64, train_seconds=0.25)
    run.train.flush()
    assert run.train.path.read_text() == (
        "step,images,train_seconds,key,value\n1,64,0.250,generator/loss,0.5\n1,64,0.250,lr,1e-05\n"
    )


def test_train_log_flushes_by_itself_in_blocks(tmp_path):
    log = TrainLog(tmp_path / "train.csv")
    for step in range(1, 1001):
        log.log({"loss": 1.0}, step=step, images=step, train_seconds=0.0)
    written = log.path.read_text().splitlines()
    assert 512 < len(written) < 1001
    log.flush()
    assert len(log.path.read_text().splitlines()) == 1001


def test_closing_writes_what_is_pending(tmp_path):
    with RunDirectory(tmp_path) as run:
        run.train.log({"loss": 1.0}, step=1, images=1, train_seconds=0.0)
    assert run.train.path.read_text().endswith("1,1,0.000,loss,1.0\n")


@pytest.mark.parametrize("cut", range(1, 21))
def test_a_log_cut_anywhere_resumes_without_its_last_line(tmp_path, cut):
    log = TrainLog(tmp_path / "train.csv")
    for step in (1, 2, 30):
        log.log({"loss": step}, step=step, images=step, train_seconds=0.0)
    log.flush()
    whole = log.path.read_bytes()
    last_line = len("30,30,0.000,loss,30.0\n")
    assert cut < last_line
    log.path.write_bytes(whole[:-cut])
    log.truncate_after(30)
    assert log.path.read_bytes() == whole[:-last_line]


@pytest.mark.parametrize(("step", "kept"), [(0, []), (2, [1, 2]), (9, [1, 2, 3])])
def test_resuming_drops_later_steps(tmp_path, step, kept):
    log = TrainLog(tmp_path / "train.csv")
    for k in (1, 2, 3):
        log.log({"loss": k}, step=k, images=k, train_seconds=0.0)
    log.flush()
    log.log({"loss": 4}, step=4, images=4, train_seconds=0.0)
    log.truncate_after(step)
    log.flush()
    lines = log.path.read_text().splitlines()[1:]
    assert [int(line.split(",")[0]) for line in lines] == kept


def test_a_log_cut_in_its_header_starts_again(tmp_path):
    log = TrainLog(tmp_path / "train.csv")
    log.path.write_text("step,ima")
    log.truncate_after(0)
    assert log.path.read_text() == "step,images,train_seconds,key,value\n"


def test_two_writers_are_refused(run):
    with pytest.raises(RunInUseError, match=f"in use by process {os.getpid()}"):
        RunDirectory(run.path)
    run.close()
    RunDirectory(run.path).close()


HOLD = """
import sys, time
from pathlib import Path
from bench.runs.directory import RunDirectory
run = RunDirectory(Path(sys.argv[1]))
print("open", flush=True)
time.sleep(60)
"""


def test_a_killed_process_leaves_no_lock(tmp_path):
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "open\n"
        with pytest.raises(RunInUseError, match=f"in use by process {holder.pid}"):
            RunDirectory(tmp_path)
    finally:
        holder.kill()
        holder.communicate()
    RunDirectory(tmp_path).close()


def test_files_are_replaced_whole(run, monkeypatch):
    run.write_status(Status("running"))

    def crash(source, target):
        raise OSError("killed")

    monkeypatch.setattr(os, "replace", crash)
    with pytest.raises(OSError, match="killed"):
        run.write_status(Status("finished"))
    assert json.loads((run.path / "status.json").read_text())["status"] == "running"


def test_records_need_no_torch():
    check = "import sys, bench.runs.directory; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", check], cwd=Path.cwd()).returncode == 0


def test_a_lock_is_held_by_one_process_and_ends_with_it(tmp_path):
    lock = tmp_path / "new" / "file.lock"
    program = (
        "import sys, pathlib\nfrom bench.runtime.atomic_files import locked\n"
        "with locked(pathlib.Path(sys.argv[1])):\n    print('in', flush=True)\n    input()\n"
    )
    command = [sys.executable, "-c", program, str(lock)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"in\n"
    with lock.open() as file, pytest.raises(BlockingIOError):
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    holder.kill()
    holder.wait()
    with locked(lock):
        pass


@pytest.mark.parametrize(
    ("names", "size", "samples", "depends"),
    [
        (("domain", "inception"), 50_000, 2000, True),
        (("domain", "inception"), 50_000, 50_000, False),  # as many images as samples
        (("domain", "inception"), 10_000, 2000, False),
        (("domain",), 50_000, 2000, False),
    ],
)
def test_runs_of_before_go_on_unless_a_part_of_the_reference_changes_them(
    tmp_path, names, size, samples, depends
):
    recorded = {"seed": 0, "evaluator": {"samples": samples}}
    present = {"seed": 0, "evaluator": {"samples": samples, "further_reference": 10_000}}
    row = {"checkpoint": 1, "sampler": "generator", "reference_size": size, "samples": samples}
    with RunDirectory(tmp_path / "seed=0") as records:
        records.write_config(recorded)
        records.append_eval([row], eval_columns(names))
        if not depends:
            records.check_config(present)
            return
        with pytest.raises(ValueError, match=r"evaluator.further_reference=null to continue"):
            records.check_config(present)
        records.check_config(
            {**present, "evaluator": {"samples": samples, "further_reference": None}}
        )
