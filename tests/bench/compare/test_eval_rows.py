"""eval.csv by columns: what its rows hold, and what files of earlier versions are read as."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.comparison import compare_runs
from bench.compare.eval_rows import NO_ROWS
from bench.compare.protocols import ProtocolError, split_runs
from bench.compare.read import read_run
from bench.compare.topics.quality import main_table
from bench.schema import eval_columns


@pytest.fixture
def run(make_run):
    for k, fid in enumerate((8.0, 4.0, 6.0), start=1):
        rows = {name: scores(fid + k) | costs(10, 2.0) for name in ("ddim-10", "ddim-50")}
        path = make_run("ddpm", 0, rows, checkpoint=k, checkpoints=3)
    return read_run(path)


def test_columns_hold_what_the_file_does(run):
    with (run.path / "eval.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(run.table) == len(rows) == 6
    assert {*run.table.layout.measured, *run.table.layout.texts} == set(eval_columns(("domain",)))
    for column in eval_columns(("domain",)):
        written = [row[column] for row in rows]
        if column in run.table.layout.measured:
            numbers = [float(text) if text else math.nan for text in written]
            np.testing.assert_array_equal(run.table.numbers(column), numbers)
        else:
            assert list(run.table.texts(column)) == written
    assert run.table.numbers("fid_domain").tolist() == [9.0, 9.0, 6.0, 6.0, 9.0, 9.0]


def test_rows_are_grouped_by_sampler_once(run):
    assert run.last.numbers("checkpoint").tolist() == [3, 3]
    assert list(run.samplers) == [("ddim-10", "ema"), ("ddim-50", "ema")]
    assert run.samplers["ddim-10", "ema"].numbers("checkpoint").tolist() == [1, 2, 3]
    assert run.samplers is run.samplers


def test_a_column_is_read_by_its_former_name(make_run):
    path = make_run("cgan", 0, {"generator": scores(4.0) | {"conditional_accuracy": 0.9}})
    file = path / "eval.csv"
    file.write_text(file.read_text().replace("conditional_accuracy", "class_agreement"))
    comparison = compare_runs([read_run(path)])
    assert comparison.entries[0].mean["conditional_accuracy"] == 0.9
    table = main_table(comparison)
    shown = dict(zip(table.headings, table.rows[0], strict=True))
    assert shown["class-conditional accuracy (%) ↑"].text == "90 ± –"


def as_written_before(path: Path) -> Path:
    """Take the column class_labels out of a run's eval.csv."""
    file = path / "eval.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    at = rows[0].index("class_labels")
    file.write_text("".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in rows))
    return path


def test_rows_of_before_class_labels_were_recorded(make_run):
    """Whoever has a class-conditional accuracy was asked for classes, which were uniform then."""
    rows = {"generator": scores(4.0) | {"conditional_accuracy": 0.9}, "other": scores(5.0)}
    protocol = {name: value for name, value in PROTOCOL.items() if name != "class_labels"}
    path = as_written_before(make_run("cgan", 0, rows, protocol=protocol))
    table = read_run(path).last
    assert table.texts("class_labels") == ("uniform", "")
    assert table.take(np.array([True, False])).texts("class_labels") == ("uniform",)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("model: {build: {_target_: models.gan.conditional.ConditionalGAN}}", "uniform"),
        ("model: {build: {conditional: true, network: {}}}", "uniform"),
        ("model: {build: {draft: [{build: {conditional: true}}]}}", "uniform"),
        ("model: {build: {conditional: false}}", ""),
        ("model: {build: {_target_: models.gan.gan.GAN}}", ""),
        ("other: {conditional: true}", ""),
        ("model: [", ""),
        ("[]", ""),
        (None, ""),
    ],
)
def test_rows_of_before_that_no_classifier_saw(make_run, config, expected):
    """The run's configuration says whether its model took classes."""
    unseen = {"modes": "", "class_kl": "", "class_tv": ""}
    path = as_written_before(make_run("any", 0, {"generator": scores(4.0) | unseen}))
    if config is not None:
        (path / "config.yaml").write_text(config)
    assert read_run(path).last.texts("class_labels") == (expected,)
    seen = as_written_before(make_run("any", 1, {"generator": scores(4.0)}))
    if config is not None:
        (seen / "config.yaml").write_text(config)
    assert read_run(seen).last.texts("class_labels") == ("",)  # a classifier found no accuracy


def test_rows_of_before_share_no_table_with_labels_of_the_data(make_run):
    accuracy = {"conditional_accuracy": 0.9}
    before = make_run("cgan", 0, {"generator": scores(4.0) | accuracy})
    before = read_run(as_written_before(before))
    plain = read_run(as_written_before(make_run("gan", 0, {"generator": scores(4.0)})))
    now = read_run(
        make_run(
            "cond_ddpm",
            0,
            {"ddim": scores(4.0) | accuracy},
            protocol=PROTOCOL | {"class_labels": "data"},
        )
    )
    with pytest.raises(ProtocolError, match=r"differ in class_labels cannot share a table"):
        split_runs([before, now])
    assert len(split_runs([plain, now])) == 1
    assert len(split_runs([plain, before])) == 1
    groups = {
        values["class_labels"]: [run.model for run in runs]
        for values, runs in split_runs([plain, before, now], ["class_labels"])
    }
    assert groups == {"data": ["gan", "cond_ddpm"], "uniform": ["gan", "cgan"]}


def test_some_rows_of_a_table(run):
    kept = run.table.take(run.table.numbers("checkpoint") == 2)
    assert kept.texts("sampler") == ("ddim-10", "ddim-50")
    assert kept.numbers("fid_domain").tolist() == [6.0, 6.0]


def test_columns_that_are_not_there(run):
    assert np.isnan(run.table.numbers("fid_inception")).all()
    assert run.table.texts("mood") == ()
    assert len(NO_ROWS) == 0
    assert len(NO_ROWS.numbers("images")) == 0


def test_an_earlier_point_of_another_protocol_is_no_result_of_it(make_run):
    """A run resumed on another device belongs to the table of the device where it ended."""
    for k, device in ((1, "cpu: A"), (2, "cpu: B")):
        protocol = PROTOCOL | {"device": device}
        row = scores(9.0 / k)
        moved = make_run("gan", 0, {"g": row}, protocol=protocol, checkpoint=k, checkpoints=2)
    runs = [read_run(moved)]
    for seed, device in ((1, "cpu: A"), (2, "cpu: B")):
        protocol = PROTOCOL | {"device": device}
        runs.append(read_run(make_run("gan", seed, {"g": scores(5.0)}, protocol=protocol)))
    groups = split_runs(runs, ["device"])
    found = {values["device"]: [run.seed for run in group] for values, group in groups}
    assert found == {"cpu: A": ["1"], "cpu: B": ["0", "2"]}
    (kept,) = [run for _, group in groups for run in group if run.seed == "0"]
    assert kept.table.numbers("checkpoint").tolist() == [2.0]
    assert kept.last.numbers("fid_domain").tolist() == [4.5]
