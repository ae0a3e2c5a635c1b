"""Sweeps with Hydra's launchers, over runs in use, and under torchrun."""

import csv
import importlib.util
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import in_process
import pytest
from hydra.errors import HydraException

from bench import cli
from bench.planning import _sweeper
from bench.runs.directory import RunDirectory
from bench.runtime import jobs
from bench.runtime.outlook import Outlook, Planned

TINY = [
    *("dataset=digits", "budget.images=256", "evaluator.samples=100"),
    *("evaluator.cost_seconds=0", "evaluator.resamples=0"),
]
LAUNCHERS = {
    "joblib": "hydra_plugins.hydra_joblib_launcher",
    "submitit_local": "hydra_plugins.hydra_submitit_launcher",
    "ray": "hydra_plugins.hydra_ray_launcher",
}


def sweep(
    *arguments: str, cwd: Path, launcher: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    line = [*(launcher or (sys.executable,)), "-m", "bench", "-m", *arguments, *TINY]
    return subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, timeout=400, env=one_thread()
    )


def one_thread() -> dict[str, str]:
    """The environment of a command."""
    return os.environ | {"OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}


def statuses(cwd: Path) -> list[str]:
    files = (cwd / "results" / "runs").rglob("status.json")
    return sorted(json.loads(file.read_text())["status"] for file in files)


@pytest.mark.parametrize("name", LAUNCHERS)
def test_a_failing_job_stops_no_other_and_reaches_the_exit_code(tmp_path: Path, name: str) -> None:
    try:
        found = importlib.util.find_spec(LAUNCHERS[name])
    except ModuleNotFoundError:
        found = None
    if found is None:
        pytest.skip(f"{LAUNCHERS[name]} is not installed: pip install -e '.[test]'")
    line = ("model=mlp_gan", "model.training.optimizers.generator.lr=1e30,2e-4")
    first = sweep(*line, f"hydra/launcher={name}", cwd=tmp_path)
    assert first.returncode == 1, first.stderr
    assert statuses(tmp_path) == ["failed", "finished"]
    assert not list(tmp_path.rglob(".report-*"))


def test_a_killed_worker_costs_its_job_and_no_other(tmp_path: Path) -> None:
    pytest.importorskip(LAUNCHERS["joblib"])
    more = ("budget.images=20000", "trainer.checkpoint_seconds=0.1", "hydra/launcher=joblib")
    small = [word for word in TINY if not word.startswith("budget")]
    line = [sys.executable, "-m", "bench", "-m", "model=mlp_gan", "seed=0,1,2", *small, *more]
    with (tmp_path / "said").open("w") as said:
        process = subprocess.Popen(line, cwd=tmp_path, stderr=said, env=one_thread())
    deadline = time.monotonic() + 200
    while process.poll() is None and time.monotonic() < deadline:
        if saved := list((tmp_path / "results").rglob("step=*.pt")):
            break
        time.sleep(0.02)
    run = saved[0].parents[1]
    os.kill(int((run / ".lock").read_text().split()[0]), signal.SIGKILL)
    assert process.wait(200) == 1
    words = (tmp_path / "said").read_text()
    assert f"{run.name} " in words
    assert "its process was ended by SIGKILL" in words
    assert "Traceback" not in words
    assert statuses(tmp_path) == ["finished", "finished", "running"]
    again = [word for word in line if word != "hydra/launcher=joblib"]  # quicker in one process
    done = subprocess.run(again, cwd=tmp_path, timeout=300, env=one_thread(), capture_output=True)
    assert done.returncode == 0, done.stderr
    assert statuses(tmp_path) == ["finished"] * 3


def test_failures_reach_the_exit_code_of_a_sweep_asked_for_by_hydra_mode(tmp_path: Path) -> None:
    more = ["++hydra.mode='MULTIRUN'", "model=mlp_gan", "seed=0,1", "device=abacus"]
    line = [sys.executable, "-m", "bench", *more]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, timeout=200)
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("device must be auto") == 2


@pytest.mark.parametrize(
    ("word", "made"),
    [
        ("results_root='my results'", {"my results"}),
        ("results_root=${oc.env:PLACE}", {"there"}),
        ("results_root=out_${seed}", {"out_1", "out_2"}),
        ("results_root=one,other", {"one", "other"}),
    ],
)
def test_a_sweep_makes_the_folders_of_its_runs_and_no_other(tmp_path: Path, word, made) -> None:
    temporary = tmp_path / "temporary"
    (tmp_path / "cwd").mkdir()
    temporary.mkdir()
    line = [sys.executable, "-m", "bench", "-m", "model=real", "seed=1,2", word, *TINY]
    environment = one_thread() | {"PLACE": "there", "TMPDIR": str(temporary)}
    done = subprocess.run(
        line, cwd=tmp_path / "cwd", capture_output=True, text=True, timeout=300, env=environment
    )
    assert done.returncode == 0, done.stderr
    assert {path.name for path in (tmp_path / "cwd").iterdir()} == made
    for root in made:
        assert [path.name for path in (tmp_path / "cwd" / root).iterdir()] == ["runs"]
        assert [path.name for path in (tmp_path / "cwd" / root / "runs").iterdir()] == ["digits"]
    assert not list(temporary.glob("bench-*"))


def test_a_bug_in_one_job_is_shown_whole_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(  # its words split lines in Unicode
        "def build(data, **options):\n    raise KeyError('a\\u2028b\\u2029c\\x85d')\n"
    )
    line = ("model=mlp_gan", "model.build._target_=broken.build,models.gan.gan.GAN")
    done = sweep(*line, cwd=tmp_path)
    assert done.returncode == 1
    assert "KeyError: 'a" in done.stderr
    assert "Traceback" in done.stderr
    assert "JSONDecodeError" not in done.stderr
    assert statuses(tmp_path) == ["finished"]


JOBLIB = ("-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=2")


@pytest.mark.parametrize(
    ("first", "second", "launched"),
    [
        (JOBLIB, JOBLIB, [["seed=0", "seed=1"]]),
        (("-m",), ("-m",), [["seed=0"], ["seed=1"]]),
        (JOBLIB, (*JOBLIB, "hydra.launcher.n_jobs=1"), [["seed=0"], ["seed=1"]]),
        ((*JOBLIB, "experiment=a"), (*JOBLIB, "experiment=b"), [["seed=0"], ["seed=1"]]),
    ],
)
def test_joblib_gets_the_jobs_of_all_grids_at_once(first, second, launched, monkeypatch, tmp_path):
    """So that no core idles while the last jobs of a grid end."""
    split = _sweeper().__dict__["split_arguments"]
    found: list[list[str]] = []

    def run(line: list[str], place: jobs.Sweep) -> bool:
        batches = [[[line[-1]]]]
        if _sweeper().__dict__["split_arguments"] is not split:
            batches = _sweeper().split_arguments([], None)
        found.extend([words[-1] for words in batch] for batch in batches)
        return True

    monkeypatch.setattr(cli, "_run_jobs", run)
    lines = [[*first, "seed=0"], [*second, "seed=1"]]
    outlook = Outlook(tuple(Planned((seed,)) for seed in ("seed=0", "seed=1", "seed=0")))
    assert cli._run_lines(lines, jobs.Sweep(tmp_path, tmp_path / "report", shared=False), outlook)
    assert found == launched


def test_a_launcher_that_breaks_ends_no_command(monkeypatch, tmp_path) -> None:
    place = jobs.Sweep(tmp_path, tmp_path / "report", shared=False)
    monkeypatch.setenv(jobs.SWEEP, "sweep-1")
    monkeypatch.setenv(jobs.REPORT, "report")
    tried = []

    def job(error: Exception) -> None:
        tried.append(sys.argv[2])
        try:
            raise error
        except Exception:
            sys.exit(1)  # as Hydra does

    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setattr(cli, "_job", lambda: job(RuntimeError("a worker was killed")))
    assert not cli._run_jobs(["-m", "seed=0"], place)
    monkeypatch.setattr(cli, "_job", lambda: job(HydraException("no such option")))
    with pytest.raises(SystemExit):
        cli._run_jobs(["-m", "seed=1"], place)
    assert tried == ["seed=0", "seed=1"]


def test_runs_that_another_process_is_at_are_left_to_it(tmp_path: Path) -> None:
    in_process.bench("model=mlp_gan", "seed=0", *TINY, f"results_root={tmp_path / 'results'}")
    (run,) = (tmp_path / "results" / "runs").rglob("seed=0")
    before = (run / "eval.csv").read_bytes()
    with RunDirectory(run):
        done = sweep("model=mlp_gan", "seed=0,1", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert f"is in use by process {os.getpid()}" in done.stderr
    assert "1 runs were left to the processes that are at them" in done.stderr
    assert (run / "eval.csv").read_bytes() == before
    assert statuses(tmp_path) == ["finished", "finished"]


def test_a_sweep_under_torchrun_trains_every_run_on_two_processes(tmp_path: Path) -> None:
    torchrun = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    for expected in ("✓", "already finished: skipped"):
        done = sweep("model=mlp_gan,real", "seed=0,1", cwd=tmp_path, launcher=torchrun)
        assert done.returncode == 0, done.stderr
        assert done.stderr.count(expected) >= 3
        assert done.stderr.count("its scores do not depend on the seed") == 1  # said by one process
    assert statuses(tmp_path) == ["finished"] * 3
    tables = [file.read_text().splitlines() for file in tmp_path.rglob("eval.csv")]
    rows = [row["processes"] for table in tables for row in csv.DictReader(table)]
    assert rows.count("2") >= 2
