"""bench.runtime.jobs: shares of a machine, and the report that jobs append to."""

import multiprocessing

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import OmegaConf

from bench.runtime import jobs
from bench.runtime.jobs import Outcome, at_once, collect, free_gpu, gpus, quoted, tell


@pytest.mark.parametrize(
    ("launcher", "cores", "expected"),
    [
        ({}, 16, 1),  # Hydra's basic launcher: one job after the other
        ({"n_jobs": 1}, 16, 1),
        ({"n_jobs": 4}, 16, 4),
        ({"n_jobs": -1}, 6, 6),
        ({"n_jobs": -4}, 6, 3),
        ({"n_jobs": -9}, 6, 1),
    ],
)
def test_jobs_at_once_are_those_of_joblib(launcher, cores, expected):
    assert at_once(launcher, cores=cores) == expected


def test_gpus_go_in_turns_and_one_that_is_free_is_taken_before_a_busy_one(tmp_path):
    def gpu(job: int):
        return free_gpu(job, 2, tmp_path)

    with gpu(0) as first:
        with gpu(1) as second:
            assert (first, second) == (0, 1)
            with gpu(2) as more:  # more jobs than GPUs share them in turns
                assert more == 0
        with gpu(2) as third:  # job 1 has ended before job 0
            assert third == 1
    with gpu(4) as later:
        assert later == 0
    with free_gpu(3, 0, tmp_path) as none:
        assert none is None


def test_jobs_are_told_the_sweep_where_they_inherit_nothing(monkeypatch):
    monkeypatch.setenv(jobs.SWEEP, "sweep-1")
    monkeypatch.setenv(jobs.REPORT, "/a b/it's=here,{1}")
    line = jobs.with_environment(["-m", "model=mlp_gan"])
    parsed = OverridesParser.create().parse_overrides(line[2:])
    assert [override.value() for override in parsed] == ["sweep-1", "/a b/it's=here,{1}"]


def test_outside_a_sweep_there_is_nobody_to_tell(monkeypatch, tmp_path):
    monkeypatch.delenv(jobs.REPORT, raising=False)
    monkeypatch.chdir(tmp_path)
    tell(Outcome("nobody listens"))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "text",
    ["a b", "it's", "a\\b", "end\\", "a'\\'b", "${seed}", "\\${seed}", "\\'${x}", "a\n", "ü\u2028"],
)
def test_any_text_can_be_the_value_of_an_override(text):
    parsed = OverridesParser.create().parse_override(f"key={quoted(text)}")
    assert OmegaConf.create({"key": parsed.value()}).key == text


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
    monkeypatch.setenv(jobs.REPORT, str(file))
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


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\x85", "\r", "\x0b", "\x1c", "\n"])
def test_words_with_any_separator_of_lines_stay_one_outcome(tmp_path, monkeypatch, separator):
    file = tmp_path / "report"
    monkeypatch.setenv(jobs.REPORT, str(file))
    told = [Outcome(f"no{separator}data"), Outcome("left", left=True), Outcome("\udcff")]
    for outcome in told:
        tell(outcome)
    assert collect(file) == told


@pytest.mark.parametrize("damage", [b'{"words": "ha', b"\xff\xfe", b"[]", b'{"who": 1}'])
def test_a_damaged_line_costs_no_other_and_is_no_success(tmp_path, monkeypatch, damage):
    file = tmp_path / "report"
    monkeypatch.setenv(jobs.REPORT, str(file))
    tell(Outcome("first"))
    file.write_bytes(file.read_bytes() + damage + b"\n")
    tell(Outcome("last"))
    first, lost, last = collect(file)
    assert (first, last) == (Outcome("first"), Outcome("last"))
    assert not lost.left
