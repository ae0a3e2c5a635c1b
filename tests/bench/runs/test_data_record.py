"""What a run records of its data: enough to use its model without the data set."""

import copy
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from in_process import bench

from bench.data.dataset import Dataset, Scale, Split, few_images
from bench.errors import RunError, one_sentence
from bench.evaluation.sampling import label_frequencies
from bench.runs.data_record import FILE, DataRecord, read_data, write_data
from bench.runs.reload import rebuild
from models.base import DataSpec

HASH = "0123456789abcdef"
COUNTS = (11, 3, 2)
TINY = (
    "evaluator.samples=100",
    "evaluator.cost_seconds=0",
    "evaluator.resamples=0",
    "budget.images=64",
    "threads=1",
)


def images(labels: tuple[int, ...] = COUNTS) -> Dataset:
    """Random grey images of 4x4, as many of each class as `labels` says."""
    y = np.repeat(np.arange(len(labels)), labels)
    x = np.random.default_rng(0).integers(0, 256, (len(y), 1, 4, 4), dtype=np.uint8)
    names = tuple("abcdefgh"[: len(labels)])
    return Dataset("tiny", Split(x, y), Split(x[:5], y[:5]), names, False, HASH)


def signals() -> Dataset:
    x = np.random.default_rng(0).uniform(-1, 1, (12, 2, 6)).astype(np.float32)
    scale = Scale(np.array([0.1, 1 / 3]), np.array([1e9 + 0.7, 2.0]))
    return replace(images(), train=Split(x), test=Split(x[:4]), classes=(), scale=scale)


def never() -> DataSpec:
    raise AssertionError("the data set was not to be read")


def kept(run: Path, dataset: Dataset) -> DataRecord:
    """What is read after a data set was recorded."""
    write_data(run, dataset)
    record = read_data(run, HASH)
    assert record is not None
    return record


@pytest.mark.parametrize("dataset", [images(), few_images(images(), 9), signals()])
def test_what_is_recorded_describes_the_data_as_the_data_set_does(tmp_path, dataset):
    record, whole = kept(tmp_path, dataset), dataset.spec()
    spec = record.spec(never)
    assert spec.shape == whole.shape
    assert spec.num_classes == whole.num_classes
    assert spec.held_out_size == whole.held_out_size
    assert spec.identity == whole.identity
    assert (spec.labelled is None) == (whole.labelled is None)
    assert (spec.to_unit is None) == (whole.to_unit is None)
    assert record.classes == dataset.classes
    assert (record.train_size, record.held_out_size) == (len(dataset.train), len(dataset.test))


def test_class_frequencies_are_kept_bit_for_bit(tmp_path):
    for dataset in (images(), replace(images(), frequencies=np.array([0.7, 0.2, 0.1]))):
        recorded = kept(tmp_path, dataset).label_frequencies("data")
        expected = label_frequencies(dataset, "data")
        assert recorded is not None
        assert expected is not None
        assert recorded.dtype == torch.float64
        assert torch.equal(recorded, expected)
        assert kept(tmp_path, dataset).label_frequencies("uniform") is None
    assert kept(tmp_path, images((4, 4))).label_frequencies("data") is None


def test_the_scale_of_signals_is_kept_bit_for_bit(tmp_path):
    dataset = signals()
    record = kept(tmp_path, dataset)
    own, x = dataset.scale, dataset.train.images
    assert own is not None
    assert record.scale is not None
    assert np.array_equal(record.scale.to_own(x), own.to_own(x))
    to_unit = record.spec(never).to_unit
    assert to_unit is not None
    assert np.array_equal(to_unit(torch.from_numpy(own.to_own(x))), own.to_unit(own.to_own(x)))


def test_the_data_set_is_read_once_and_only_when_a_model_asks_for_samples(tmp_path):
    dataset, reads = images(), []

    def read() -> DataSpec:
        reads.append(1)
        return dataset.spec()

    spec = copy.deepcopy(kept(tmp_path, dataset).spec(read))
    assert reads == []
    asked = torch.tensor([1, 3])
    assert torch.equal(spec.held_out(asked), dataset.spec().held_out(asked))
    assert spec.labelled is not None
    assert spec.labelled(3, uniform=True).x.shape == (3, 1, 4, 4)
    assert reads == [1]


def test_an_equal_record_is_not_written_again(tmp_path):
    write_data(tmp_path, images())
    before = (tmp_path / FILE).stat().st_mtime_ns, (tmp_path / FILE).stat().st_ino
    write_data(tmp_path, images())
    assert before == ((tmp_path / FILE).stat().st_mtime_ns, (tmp_path / FILE).stat().st_ino)
    (tmp_path / FILE).write_text("{}")
    assert kept(tmp_path, images()) == DataRecord.of(images())


def test_a_run_of_before_has_none(tmp_path):
    assert read_data(tmp_path, HASH) is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"shape": [1, 4, "4"]}, "its shape is [1, 4, '4']"),
        ({"shape": [1, 4, 4, 4]}, "its shape is [1, 4, 4, 4]"),
        ({"shape": []}, "its shape is []"),
        ({"shape": [1, 0, 4]}, "its shape is [1, 0, 4]"),
        ({"shape": [True, 4, 4]}, "its shape is [True, 4, 4]"),
        ({"name": "../x"}, "its name is '../x'"),
        ({"hash": 3}, "its hash is 3"),
        ({"classes": None}, "its classes is None"),
        ({"classes": ["a", "b"]}, "its frequencies is [0.6875"),
        ({"frequencies": [0.5, 0.5, 0.5]}, "its frequencies is [0.5, 0.5, 0.5]"),
        ({"frequencies": [1.0, 0.5, -0.5]}, "its frequencies is [1.0, 0.5, -0.5]"),
        ({"frequencies": [float("nan"), 0.5, 0.5]}, "its frequencies is [nan, 0.5, 0.5]"),
        ({"signal_low": [0.0]}, "its signal_high is None"),
        ({"signal_low": [0.0, 1.0], "signal_high": [1.0, 2.0]}, "its signal_low is [0.0, 1.0]"),
        ({"train_images": 0}, "its train_images is 0"),
        ({"held_out_size": 2.5}, "its held_out_size is 2.5"),
        ({"more": 1}, "it must have name, hash, shape, classes,"),
    ],
    ids=str,
)
def test_what_does_not_fit_is_named(tmp_path, change: dict[str, Any], said: str):
    write_data(tmp_path, images())
    written = json.loads((tmp_path / FILE).read_text())
    (tmp_path / FILE).write_text(json.dumps(written | change))
    with pytest.raises(ValueError, match="damaged") as error:
        read_data(tmp_path, HASH)
    assert str(error.value).startswith(f"{tmp_path / FILE} is damaged ({said}")
    assert str(error.value).endswith("): delete this file, and the data set itself is read")


@pytest.mark.parametrize("text", ["", "{", "[]", "3", '"a"', "[" * 100_000, "null"])
def test_another_file_is_damaged(tmp_path, text):
    (tmp_path / FILE).write_text(text)
    with pytest.raises(ValueError, match=r"data\.json is damaged \(.*\): delete this file"):
        read_data(tmp_path, HASH)


def test_a_record_of_other_data_is_refused(tmp_path):
    write_data(tmp_path, images())
    with pytest.raises(ValueError, match="describes data of the hash 0123456789abcdef, and config"):
        read_data(tmp_path, "f" * 16)


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Finished runs of a GAN and of real data."""
    root = f"results_root={tmp_path_factory.mktemp('results')}"
    names = ("mlp_gan", "real")
    made = [bench(f"model={name}", "dataset=digits", *TINY, root).directory for name in names]
    return dict(zip(names, made, strict=True))


@pytest.fixture
def gone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the data set be missing."""

    def missing(*arguments: object, **more: object) -> Dataset:
        raise FileNotFoundError("digits are not here: bring them back")

    monkeypatch.setattr("bench.build.build_dataset", missing)


@pytest.mark.usefixtures("gone")
def test_a_run_is_rebuilt_without_its_data(runs):
    run = rebuild(runs["mlp_gan"], "cpu")
    assert run.data.shape == (1, 8, 8)
    assert run.options.samples == 100
    sampler = run.model.eval().samplers["generator"]
    assert sampler.generate(2, torch.Generator().manual_seed(0), None).shape == (2, 1, 8, 8)


def sentence(run: Path) -> str:
    """What the user is told where the held-out sampler is asked for two samples."""

    def sample() -> None:
        model = rebuild(run, "cpu").model
        model.samplers["held-out"].generate(2, torch.Generator(), None)

    with pytest.raises(RunError) as error, one_sentence():
        sample()
    return str(error.value)


@pytest.mark.usefixtures("gone")
def test_a_model_that_returns_data_says_that_it_needs_it(runs):
    assert sentence(runs["real"]) == (
        f"{runs['real']}: its model needs samples of its data set, digits, which cannot be read: "
        "digits are not here: bring them back"
    )


@pytest.mark.usefixtures("gone")
def test_a_run_of_before_reads_its_data_set(runs, tmp_path):
    config = (runs["mlp_gan"] / "config.yaml").read_text()
    (tmp_path / "config.yaml").write_text(config)
    (tmp_path / "status.json").write_text('{"status": "finished"}')
    assert sentence(tmp_path) == "digits are not here: bring them back"
