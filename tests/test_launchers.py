"""Sweeps through Hydra's launchers, over runs that others are at, and under torchrun."""

import csv
import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hydra.errors import HydraException

from bench import cli, launch
from bench.records import RunDirectory

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
    environment = os.environ | {"OMP_NUM_THREADS": "1", "RAY_DEDUP_LOGS": "0"}
    return subprocess.run(
        line, cwd=cwd, capture_output=True, text=True, timeout=400, env=environment
    )


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


def test_a_bug_in_one_job_is_shown_whole_and_stops_no_other(tmp_path: Path) -> None:
    (tmp_path / "broken.py").write_text(
        "def build(data, **options):\n    raise KeyError('a bug')\n"
    )
    line = ("model=mlp_gan", "model.build._target_=broken.build,models.gan.gan.GAN")
    done = sweep(*line, cwd=tmp_path)
    assert done.returncode == 1
    assert "KeyError: 'a bug'" in done.stderr
    assert "Traceback" in done.stderr
    assert statuses(tmp_path) == ["finished"]


def test_a_launcher_that_breaks_stops_no_other_grid(monkeypatch) -> None:
    monkeypatch.setenv(launch.SWEEP, "sweep-1")
    monkeypatch.setenv(launch.REPORT, "report")
    tried = []

    def job(error: Exception) -> None:
        tried.append(sys.argv[2])
        try:
            raise error
        except Exception:
            sys.exit(1)  # as Hydra does

    monkeypatch.setattr(sys, "argv", ["bench"])
    monkeypatch.setattr(cli, "_job", lambda: job(RuntimeError("a worker was killed")))
    assert not cli._run_line(["-m", "seed=0"])
    monkeypatch.setattr(cli, "_job", lambda: job(HydraException("no such option")))
    with pytest.raises(SystemExit):
        cli._run_line(["-m", "seed=1"])
    assert tried == ["seed=0", "seed=1"]


def test_runs_that_another_process_is_at_are_left_to_it(tmp_path: Path) -> None:
    assert sweep("model=mlp_gan", "seed=0", cwd=tmp_path).returncode == 0
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
        assert done.stderr.count(expected) >= 4
    assert statuses(tmp_path) == ["finished"] * 4
    tables = [file.read_text().splitlines() for file in tmp_path.rglob("eval.csv")]
    rows = [row["processes"] for table in tables for row in csv.DictReader(table)]
    assert rows.count("2") >= 2
