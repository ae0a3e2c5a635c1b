"""Runs on a part of the training images: what they record, and what may share a table with them."""

import csv
from pathlib import Path

import pytest
from in_process import bench

from bench.compare.protocols import ProtocolError, check_protocol, split_runs
from bench.compare.read import read_run
from bench.runtime.atomic_files import csv_text
from bench.schema import is_later

SMALL = (
    "dataset=digits",
    "model=mlp_gan",
    "budget.images=128",
    "evaluator.samples=100",
    "evaluator.cost_seconds=0",
    "evaluator.resamples=0",
    "threads=1",
)


def row(run: Path) -> dict[str, str]:
    with (run / "eval.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> tuple[Path, Path]:
    """A run on 80 images, and one on all."""
    given = (*SMALL, f"results_root={tmp_path_factory.mktemp('few')}")
    return bench(*given, "dataset.train_images=80").directory, bench(*given).directory


def test_the_rows_say_how_many_images_were_trained_on(runs):
    few, everything = map(row, runs)
    assert (few["train_images"], everything["train_images"]) == ("80", "all")
    for same in ("data_hash", "extractors", "reference_size", "held_out_samples"):
        assert few[same] == everything[same]
    metrics = ("fid_trained", "fid_held_out", "nn_trained", "nn_held_out")
    assert all(float(few[f"{metric}_domain"]) > 0 for metric in metrics)
    assert float(few["nn_trained_domain"]) > float(everything["nn_trained_domain"])


def test_they_share_no_table_with_runs_on_all_images(runs):
    read = [read_run(run) for run in runs]
    with pytest.raises(ProtocolError, match="differ in train_images"):
        check_protocol(read)
    groups = split_runs(read, ["train_images"])
    assert [values for values, _ in groups] == [{"train_images": "80"}, {"train_images": "all"}]


def test_a_run_of_before_was_trained_on_all_images(runs, tmp_path):
    former = {name: text for name, text in row(runs[1]).items() if not is_later(name)}
    assert "train_images" not in former
    path = tmp_path / "digits" / "mlp_gan" / "default" / "seed=0"
    path.mkdir(parents=True)
    (path / "eval.csv").write_text(csv_text(tuple(former), [list(former.values())]))
    read = read_run(path)
    assert read.last.texts("train_images") == ("all",)
    assert read.last.numbers("fid_trained_domain").tolist() != [0]
    check_protocol([read, read_run(runs[1])])
