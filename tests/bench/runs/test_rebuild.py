"""Recorded runs built again: settings are checked, and nothing is written where they say."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image
from recorded_builds import REAL

from bench.config import Budget, LoggerSettings, TrainerSettings
from bench.data import sources
from bench.data.folder import load_folder
from bench.errors import RunError, one_sentence
from bench.runs.directory import RunDirectory, Status
from bench.runs.reload import rebuild


def recorded_folder(root: Path, **values: Any) -> Path:
    """A run of real data on a folder of images, whose configuration says also these values."""
    images = root / "images"
    images.mkdir()
    for k in range(24):
        pixels = np.random.default_rng(k).integers(0, 256, (8, 8, 3), np.uint8)
        Image.fromarray(pixels).save(images / f"{k:02}.png")
    load = {"_target_": "bench.data.folder.load_folder", "_partial_": True, "name": "pets"}
    load |= {"path": str(images), "image_size": 8}
    known = load_folder(path=str(images), image_size=8, data_root=root, cache_root=root / "own")
    config = {
        "seed": 0,
        "threads": None,
        "precision": "fp32",
        "device": "auto",
        "data_root": "data",
        "cache_root": str(root / "theirs"),
        "results_root": "results",
        "dataset": {"name": "pets", "flip": False, "load": load},
        "model": {"name": "real", "build": REAL, "training": {}},
        "budget": vars(Budget(images=8)),
        "trainer": vars(TrainerSettings()),
        "logger": vars(LoggerSettings()),
        "evaluator": {"samples": None, "batch_size": 8, "cost_seconds": 0, "resamples": 0}
        | {"extractor": None, "weights": {}},
        "data_hash": known.hash,
    } | values
    with RunDirectory(root / "run") as records:
        records.write_config(config)
        records.write_status(Status("finished"))
    return root / "run"


def test_nothing_is_written_where_a_recorded_configuration_says(tmp_path, monkeypatch):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    run = recorded_folder(tmp_path, data_root=str(tmp_path / "elsewhere"))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert "too few" in str(error.value) or "scored" in str(error.value)
    assert (tmp_path / "ours").is_dir()
    assert not (tmp_path / "theirs").exists()
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"threads": 10**9}, "threads must be at most 1024 or null"),
        ({"threads": "many"}, "threads must be a whole number or null"),
        ({"precision": "fp8"}, "precision must be auto, fp32 or bf16, got 'fp8'"),
        ({"seed": 2**63}, "seed must be at most 9223372036854775807"),
        ({"dataset": {"name": "../../x"}}, "dataset.name must be 1 to 100 printable characters"),
        ({"evaluator": {"samples": 10**12, "batch_size": 8}}, "evaluator.samples=1000000000000"),
        ({"evaluator": None}, "config.yaml: evaluator.samples is missing: bring"),
        ({"evaluator": []}, "config.yaml: evaluator.samples is missing: bring"),
        ({"evaluator": {"batch_size": "???"}}, "evaluator.batch_size must be a whole number"),
        ({"dataset": {"load": "???"}}, "dataset.load must name what to call"),
        ({"precision": "???"}, "config.yaml: precision must be auto, fp32 or bf16, got '???'"),
        ({"data_root": None}, "data_root must be text, got None"),
    ],
    ids=str,
)
def test_recorded_settings_are_checked_as_those_of_the_command_line(
    tmp_path, monkeypatch, values, said
):
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    run = recorded_folder(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    for key, value in values.items():
        config[key] = config[key] | value if isinstance(value, dict) else value
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert said in str(error.value)


@pytest.mark.parametrize("key", ["seed", "threads", "precision", "dataset", "evaluator"])
def test_recorded_settings_that_are_missing_are_named_with_their_file(tmp_path, key):
    run = recorded_folder(tmp_path)
    config = yaml.safe_load((run / "config.yaml").read_text())
    del config[key]
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    with (
        pytest.raises(RunError, match=rf"config\.yaml: {key}.* is missing") as error,
        one_sentence(),
    ):
        rebuild(run, "cpu")
    assert str(error.value).endswith("bring the file back, or do not use this run")


def recorded_mnist(root: Path, data_root: Path) -> Path:
    """A run of real data on MNIST, whose configuration says that it lay in data_root."""
    run = recorded_folder(root, data_root=str(data_root))
    config = yaml.safe_load((run / "config.yaml").read_text())
    load = {"_target_": "bench.data.sources.load_mnist", "_partial_": True}
    config["dataset"] = {"name": "mnist", "flip": False, "load": load}
    (run / "config.yaml").write_text(yaml.safe_dump(config))
    return run


@pytest.mark.parametrize("loader", ["sources.load_mnist", "stacked.load_stacked_mnist"])
def test_nothing_is_downloaded_into_a_recorded_folder(tmp_path, monkeypatch, loader):
    """Only into one's own: the folder given, or the default one."""
    downloads = []

    class DownloadedError(Exception):
        pass

    def download(source, data_root):
        downloads.append(data_root)
        raise DownloadedError

    monkeypatch.setattr(sources, "_download", download)
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    theirs = tmp_path / "theirs-data"
    theirs.mkdir()
    run = recorded_mnist(tmp_path, theirs)
    config = (run / "config.yaml").read_text()
    (run / "config.yaml").write_text(config.replace("sources.load_mnist", loader))
    with pytest.raises(RunError) as error, one_sentence():
        rebuild(run, "cpu")
    assert str(error.value) == (
        f"MNIST is not at {theirs}/MNIST/raw, and nothing is downloaded to where a recorded run "
        "had its data: name a folder that has it, or that it may be downloaded to, with --data-root"
    )
    assert not list(theirs.iterdir())
    with pytest.raises(DownloadedError):  # who names the folder wants it there
        rebuild(run, "cpu", theirs)
    theirs.rmdir()
    with pytest.raises(DownloadedError):
        rebuild(run, "cpu")
    assert downloads == [theirs, tmp_path / "data"]


def test_data_is_downloaded_to_the_own_folder_if_the_run_had_it_there(tmp_path, monkeypatch):
    downloads = []
    monkeypatch.setattr(sources, "_download", lambda source, root: downloads.append(root))
    monkeypatch.setenv("BENCH_CACHE", str(tmp_path / "ours"))
    monkeypatch.setenv("BENCH_DATA", str(tmp_path / "data"))
    (tmp_path / "data").mkdir()
    with pytest.raises(FileNotFoundError, match="train-images-idx3-ubyte"):
        rebuild(recorded_mnist(tmp_path, tmp_path / "data"), "cpu")
    assert downloads == [tmp_path / "data"]
