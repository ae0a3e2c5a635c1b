"""bench.launch: shares of a machine, and the report that jobs append to."""

import multiprocessing

import pytest

from bench import launch
from bench.launch import Outcome, collect, gpus, share, tell, with_jobs


@pytest.mark.parametrize(
    ("launcher", "gpu_count", "cores", "expected"),
    [
        ({}, 4, 16, [(-1, 0)] * 3),  # Hydra's basic launcher: one job after the other
        ({"n_jobs": 1}, 4, 16, [(-1, 0)] * 3),
        ({"n_jobs": 4}, 4, 16, [(0, 4), (1, 4), (2, 4), (3, 4), (0, 4)]),
        ({"n_jobs": 3}, 2, 16, [(0, 5), (1, 5), (0, 5)]),
        ({"n_jobs": 8}, 0, 4, [(-1, 1)] * 3),
        ({"n_jobs": -1}, 0, 6, [(-1, 1)] * 3),
        ({"n_jobs": -4}, 0, 6, [(-1, 2)] * 2),
    ],
)
def test_gpus_go_in_turns_and_threads_are_divided(launcher, gpu_count, cores, expected):
    found = [share(launcher, job, gpu_count=gpu_count, cores=cores) for job in range(len(expected))]
    assert found == expected


def test_joblib_runs_a_job_per_gpu_or_core_unless_told():
    line = ["-m", launch.JOBLIB]
    assert with_jobs(line, gpu_count=3, cores=8)[-1] == "hydra.launcher.n_jobs=3"
    assert with_jobs(line, gpu_count=0, cores=8)[-1] == "hydra.launcher.n_jobs=8"
    told = [*line, "hydra.launcher.n_jobs=2"]
    assert with_jobs(told, gpu_count=3, cores=8) == told
    assert with_jobs(["-m"], gpu_count=3, cores=8) == ["-m"]


def test_gpus_are_those_that_may_be_used(tmp_path, monkeypatch):
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    for name in ("0000:01:00.0", "0000:02:00.0"):
        (tmp_path / name).mkdir()
    assert gpus(tmp_path) == 2
    assert gpus(tmp_path / "nothing") == 0
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1")
    assert gpus(tmp_path) == 1
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert gpus(tmp_path) == 0


def _append(writer: int) -> None:
    for k in range(200):
        tell(Outcome(f"writer {writer}, line {k}: " + "ü" * (k % 50), left=k % 2 == 0))


def test_eight_processes_append_and_no_line_is_lost(tmp_path, monkeypatch):
    file = tmp_path / "folder" / "report"
    monkeypatch.setenv(launch.REPORT, str(file))
    processes = [
        multiprocessing.get_context("fork").Process(target=_append, args=(w,)) for w in range(8)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    words = {outcome.words.partition(":")[0] for outcome in collect(file)}
    assert words == {f"writer {w}, line {k}" for w in range(8) for k in range(200)}
    assert collect(file) == []
