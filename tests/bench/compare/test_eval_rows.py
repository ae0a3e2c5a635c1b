"""eval.csv by columns: frames equal columns and are built only on demand."""

import csv
import math
from pathlib import Path

import numpy as np
import pytest
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.eval_rows import NO_ROWS
from bench.compare.protocols import ProtocolError, split_runs
from bench.compare.read import read_run
from bench.schema import eval_columns


@pytest.fixture
def run(make_run):
    for k, fid in enumerate((8.0, 4.0, 6.0), start=1):
        rows = {name: scores(fid + k) | costs(10, 2.0) for name in ("ddim-10", "ddim-50")}
        path = make_run("ddpm", 0, rows, checkpoint=k, checkpoints=3)
    return read_run(path)


def test_columns_and_frames_hold_the_same(run):
    assert len(run.table) == 6
    assert tuple(run.points.columns) == eval_columns(("domain",))
    for column in run.points.columns:
        if column in run.table.layout.measured:
            assert run.points[column].dtype == np.float64
            np.testing.assert_array_equal(run.points[column], run.table.numbers(column))
        else:
            assert run.points[column].dtype == object
            assert tuple(run.points[column]) == run.table.texts(column)
    assert run.table.numbers("fid_domain").tolist() == [9.0, 9.0, 6.0, 6.0, 9.0, 9.0]


def test_the_last_rows_know_what_came_before(run):
    assert run.last.numbers("checkpoint").tolist() == [3, 3]
    assert run.rows["fid_domain"].to_list() == [9.0, 9.0]
    assert run.rows["best_fid"].to_list() == [6.0, 6.0]
    assert run.rows["best_checkpoint"].to_list() == [2.0, 2.0]
    assert run.rows["warned_at"].to_list() == ["", ""]


def as_written_before(path: Path) -> Path:
    """Take the column class_labels out of a run's eval.csv."""
    file = path / "eval.csv"
    rows = list(csv.reader(file.read_text().splitlines()))
    at = rows[0].index("class_labels")
    file.write_text("".join(",".join(row[:at] + row[at + 1 :]) + "\n" for row in rows))
    return path


def test_rows_of_before_class_labels_were_recorded(make_run):
    """Whoever has a class agreement was asked for classes, which were uniform then."""
    rows = {"generator": scores(4.0) | {"class_agreement": 0.9}, "other": scores(5.0)}
    protocol = {name: value for name, value in PROTOCOL.items() if name != "class_labels"}
    path = as_written_before(make_run("cgan", 0, rows, protocol=protocol))
    table = read_run(path).last
    assert table.texts("class_labels") == ("uniform", "")
    assert list(table.frame()["class_labels"]) == ["uniform", ""]
    assert table.where(np.array([True, False])).texts("class_labels") == ("uniform",)


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
    assert read_run(seen).last.texts("class_labels") == ("",)  # a classifier found no agreement


def test_rows_of_before_share_no_table_with_labels_of_the_data(make_run):
    agreement = {"class_agreement": 0.9}
    before = make_run("cgan", 0, {"generator": scores(4.0) | agreement})
    before = read_run(as_written_before(before))
    plain = read_run(as_written_before(make_run("gan", 0, {"generator": scores(4.0)})))
    now = read_run(
        make_run(
            "cond_ddpm",
            0,
            {"ddim": scores(4.0) | agreement},
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


def test_frames_are_built_only_when_asked_for(run):
    """They cost more than reading does."""
    assert not {"rows", "points"} & vars(run).keys()
    assert run.rows is run.rows


def test_some_rows_of_a_table(run):
    kept = run.table.where(run.table.numbers("checkpoint") == 2)
    assert kept.texts("sampler") == ("ddim-10", "ddim-50")
    assert kept.numbers("fid_domain").tolist() == [6.0, 6.0]


def test_columns_that_are_not_there(run):
    assert np.isnan(run.table.numbers("fid_inception")).all()
    assert run.table.texts("mood") == ()
    assert len(NO_ROWS) == 0
    assert NO_ROWS.frame().empty
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
    assert kept.points["checkpoint"].to_list() == [2.0]
    assert math.isclose(kept.rows["fid_domain"].item(), 4.5)
