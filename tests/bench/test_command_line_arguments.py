"""bench.command_line: what a command line asks of Hydra, in every spelling."""

import os
from pathlib import Path

import pytest

import conf
from bench.command_line import (
    check_config_dir,
    check_names,
    first_folder,
    is_multirun,
    values,
    with_jobs,
)


@pytest.mark.parametrize(
    "line",
    [
        ["-m"],
        ["--multirun"],
        ["--multi", "seed=0"],
        ["-mp", "x"],
        ["seed=0", "-m"],
        ["hydra.mode=MULTIRUN"],
        ["hydra.mode='MULTIRUN'"],
        ["++hydra.mode=RunMode.MULTIRUN"],
        ["hydra.mode=2"],
        ["hydra.mode=RUN", "hydra.mode=MULTIRUN"],
        ["hydra.mode=RUN", "-m"],
    ],
)
def test_a_sweep_is_one_in_every_spelling(line):
    assert is_multirun(line)


@pytest.mark.parametrize(
    "line", [[], ["seed=0,1"], ["hydra.mode=RUN"], ["hydra.mode=no"], ["x=-m"], ["--cfg", "job"]]
)
def test_what_is_no_sweep_is_none(line):
    assert not is_multirun(line)


def test_values_are_read_as_hydra_reads_them():
    assert values(["seed=1", "seed=2"], "seed") == [2]
    assert values(["+experiment=a,'b'"], "experiment") == ["a", "'b'"]
    assert values(["experiment='families'"], "experiment") == ["families"]
    assert values(["seed=range(0,3)"], "seed") == ["0", "1", "2"]
    assert values(["results_root='a, b'"], "results_root") == ["a, b"]
    assert values(["seed=[", "seeds=1"], "seed") == []


@pytest.mark.parametrize(
    ("words", "folder"),
    [
        ([], "results"),
        (["results_root='my results'"], "my results"),
        (['results_root="a,b"'], "a,b"),
        (["results_root=a,b"], "a"),
        (["results_root=${oc.env:PLACE}/x"], "/there/x"),
        (["results_root=out/${seed}", "seed=3,4"], "out/3"),
        (["model=there_is_none"], None),
    ],
)
def test_the_folder_of_the_first_job_is_known_before_it_runs(monkeypatch, words, folder):
    monkeypatch.setenv("PLACE", "/there")
    assert first_folder(["-m", *words]) == folder


@pytest.mark.parametrize("flag", [("--config-dir", "{}"), ("--config-dir={}",), ("-cd", "{}")])
def test_the_folder_of_the_first_job_is_known_of_models_outside_too(tmp_path, flag):
    folder = tmp_path / "it's, mine"
    (folder / "model").mkdir(parents=True)
    (folder / "model" / "my_model.yaml").write_text("defaults: [real, _self_]\nname: my_model\n")
    words = [word.format(folder) for word in flag]
    assert first_folder(["-m", "seed=1,2", *words, "model=my_model", "results_root=x"]) == "x"


def test_a_file_outside_with_a_name_of_ours_is_refused(tmp_path):
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "mine.yaml").touch()
    check_config_dir(["-m", "--config-dir", str(tmp_path), "model=mine"])
    check_config_dir(["model=dcgan", "--config-dir", str(Path(conf.__file__).parent)])
    (tmp_path / "model" / "dcgan.yaml").touch()
    with pytest.raises(ValueError, match=r"^--config-dir \S+ has model/dcgan\.yaml, a name"):
        check_config_dir(["--config-dir", str(tmp_path)])


def test_joblib_runs_a_job_per_gpu_or_core_unless_told():
    line = ["-m", "hydra/launcher=joblib"]
    assert with_jobs(line, gpu_count=3, cores=8)[-1] == "hydra.launcher.n_jobs=3"
    assert with_jobs(line, gpu_count=0, cores=8)[-1] == "hydra.launcher.n_jobs=8"
    quoted = ["-m", "hydra/launcher='joblib'"]
    assert with_jobs(quoted, gpu_count=3, cores=8)[-1] == "hydra.launcher.n_jobs=3"
    told = [*line, "hydra.launcher.n_jobs=2"]
    assert with_jobs(told, gpu_count=3, cores=8) == told
    assert with_jobs(["-m"], gpu_count=3, cores=8) == ["-m"]


def test_a_sweep_never_has_more_threads_than_cores():
    line = ["-m", "hydra/launcher=joblib", "threads=4"]
    assert with_jobs(line, gpu_count=0, cores=8)[-1] == "hydra.launcher.n_jobs=2"
    assert with_jobs(line, gpu_count=0, cores=2)[-1] == "hydra.launcher.n_jobs=1"
    told = [*line, "hydra.launcher.n_jobs=2"]
    assert with_jobs(told, gpu_count=0, cores=8) == told
    with pytest.raises(ValueError, match=r"n_jobs=2 would run 2 jobs at once with 4 threads each"):
        with_jobs(told, gpu_count=0, cores=4)
    many = ["-m", "hydra/launcher=joblib", "hydra.launcher.n_jobs=3"]
    with pytest.raises(ValueError, match=r"3 jobs at once, but there are 2 cores .* at most 2, or"):
        with_jobs(many, gpu_count=0, cores=2)
    assert with_jobs(many, gpu_count=1, cores=2) == many


def test_names_that_are_not_text_are_refused(tmp_path, monkeypatch):
    check_names(["dataset.path=bücher"])
    with pytest.raises(ValueError, match=r"results_root=\\xff is not UTF-8: rename"):
        check_names([os.fsdecode(b"results_root=\xff")])
    folder = tmp_path / os.fsdecode(b"caf\xe9")
    folder.mkdir()
    monkeypatch.chdir(folder)
    with pytest.raises(ValueError, match=r"working directory .*caf\\xe9 is not UTF-8"):
        check_names([])


@pytest.mark.parametrize("value", ["null", "2024", "[a]"])
def test_results_root_that_is_no_text_names_no_folder(value):
    assert first_folder([f"results_root={value}"]) is None
