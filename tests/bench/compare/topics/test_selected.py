"""Weights selected by a validation FID are shown as such, and compared with nothing."""

from pathlib import Path

import pytest
from synthetic_runs import scores, write_run

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.protocols import split_runs
from bench.compare.read import read_run, read_runs
from bench.compare.topics.headline import headline
from bench.compare.topics.page import Section
from bench.compare.topics.quality import main_table, selected_table
from bench.compare.writers.csv import to_frame
from bench.compare.writers.markdown import page
from bench.schema import best_of

LABEL = best_of(2, "ema")


def study(folder: Path, *, keep: bool) -> Path:
    """Two models of three seeds; of gan, weights were selected that beat all others."""
    for seed in range(3):
        for point, fid in ((1, 9.0), (2, 8.0 + seed / 10)):
            write_run(folder, "gan", seed, {"g": scores(fid)}, checkpoint=point, checkpoints=2)
            write_run(folder, "ddpm", seed, {"d": scores(fid - 3)}, checkpoint=point, checkpoints=2)
        if keep:
            selected = {"weights": LABEL, "kept_point": 1 + seed % 2, "validation_fid": 2.5}
            rows = {"g": scores(1.0 + seed) | selected}
            write_run(folder, "gan", seed, rows, checkpoint=2)
    return folder / "runs"


@pytest.fixture
def comparison(tmp_path: Path) -> Comparison:
    return compare_runs(read_runs([study(tmp_path, keep=True)]))


def test_everything_else_is_as_without_them(comparison: Comparison, tmp_path: Path) -> None:
    without = compare_runs(read_runs([study(tmp_path / "without", keep=False)]))
    assert main_table(comparison) == main_table(without)
    assert headline(comparison) == headline(without)
    pages = [
        page("digits", [Section(each)], "bench.compare").split("## Selected checkpoints")
        for each in (comparison, without)
    ]
    assert pages[0][0] == pages[1][0].split("## Over seeds")[0]
    assert pages[0][1].split("## Over seeds")[1] == pages[1][0].split("## Over seeds")[1]


def test_they_are_entries_of_their_own(comparison: Comparison) -> None:
    (entry,) = comparison.best
    assert (entry.model, entry.sampler, entry.weights, entry.seeds) == (
        "gan",
        "g",
        LABEL,
        tuple("012"),
    )
    assert entry.mean["fid_domain"] == pytest.approx(2.0)
    assert {row["weights"] for _, row in to_frame(comparison).iterrows()} == {"ema", LABEL}


def test_their_table_marks_nothing_and_names_who_had_no_such_choice(comparison: Comparison) -> None:
    table = selected_table(comparison)
    assert table is not None
    assert not any(cell.best for row in table.rows for cell in row)
    (row,) = table.rows
    texts = dict(zip(table.headings, (cell.text for cell in row), strict=True))
    assert texts["weights"] == LABEL
    assert texts["points selected"] == "1, 2, 1"
    text = page("digits", [Section(comparison)], "bench.compare")
    assert "- Models without a selected checkpoint: ddpm.\n" in text
    assert LABEL not in text.split("## Selected checkpoints")[0]


def test_a_run_is_split_and_read_with_them(tmp_path: Path) -> None:
    runs = read_runs([study(tmp_path, keep=True)])
    ((_, kept),) = split_runs(runs, ["device"])
    assert sum(len(run.best) for run in kept) == 3
    run = read_run(next(run.path for run in runs if run.model == "gan"))
    assert set(run.table.texts("weights")) == {"ema"}
    assert run.best.texts("weights") == (LABEL,)
