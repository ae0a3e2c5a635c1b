"""The share of runs that failed or collapsed is reported, not omitted."""

from typing import Any

import pytest
from synthetic_runs import FLOOR, scores

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.stats import wilson
from bench.compare.topics.outcomes import Outcome, outcomes, outcomes_table
from bench.compare.topics.page import notes
from bench.compare.writers.csv import to_frame
from bench.runs.directory import Status

FAILED = Status("failed", "the generator loss was not finite at step 7", step=7)
WARNING = {"warning": "only 2 of 10 classes"}


@pytest.fixture
def comparison(make_run, tmp_path) -> Comparison:
    """A GAN of which one seed of four failed and one collapsed, and others beside it."""
    make_run("gan", 0, {}, status=FAILED)
    make_run("gan", 1, {"generator": scores(30.0) | WARNING})
    make_run("gan", 2, {"generator": scores(12.0) | WARNING}, checkpoint=1, checkpoints=2)
    make_run("gan", 2, {"generator": scores(11.0)}, checkpoint=2)  # it has recovered
    make_run("gan", 3, {"generator": scores(10.0)})
    make_run("gan", 4, {"generator": scores(9.0)}, status=Status("running", step=40))
    for seed in range(3):
        few = scores(50.0) | WARNING
        make_run("ddpm", seed, {"ddim-50": scores(8.0), "ddim-2": few})
    make_run("edm", 0, scores_that_failed_late(), status=FAILED)
    make_run("real", 0, {"held-out": scores(0.1)}, protocol=FLOOR)
    return compare_runs(read_runs([tmp_path]))


def scores_that_failed_late() -> dict[str, dict[str, Any]]:
    """Rows of a run that was evaluated, with signs of collapse, before it failed."""
    return {"heun-9": scores(70.0) | WARNING}


def test_failed_and_collapsed_runs_are_counted_once(comparison):
    found = {outcome.model: outcome for outcome in outcomes(comparison)}
    assert found == {
        "ddpm": Outcome("ddpm", "default", runs=3, failed=0, collapsed=0),
        "edm": Outcome("edm", "default", runs=1, failed=1, collapsed=0),
        "gan": Outcome("gan", "default", runs=4, failed=1, collapsed=1),
    }


def test_copying_is_marked_and_no_collapse(make_run, tmp_path):
    copies = {"warning": "copies: 40% of the samples all but coincide with one training image"}
    both = {"warning": f"{WARNING['warning']}; {copies['warning']}"}
    make_run("gan", 0, {"generator": scores(9.0) | copies})
    make_run("gan", 1, {"generator": scores(9.0) | both})
    make_run("samples", 0, {"stored-1": scores(0.1) | copies}, protocol=FLOOR)
    comparison = compare_runs(read_runs([tmp_path]))
    assert [(o.model, o.collapsed) for o in outcomes(comparison)] == [("gan", 1)]
    frame = to_frame(comparison).set_index("model")
    assert frame["seeds_collapsed"].to_dict() == {"gan": 1, "samples": 0}
    assert [comparison.marked(entry) for entry in comparison.entries] == ["gan ⚠", "samples ⚠"]
    said = notes(comparison)
    assert "⚠ samples, stored-1: signs of copying at the last evaluation point in seed 0" in said[1]
    assert "⚠ gan, generator: signs of collapse and copying at the last" in said[0]


def test_the_share_has_its_interval(comparison):
    table = outcomes_table(comparison, outcomes(comparison))
    rows = [[cell.text for cell in row] for row in table.rows]
    low, high = wilson(2, 4)
    assert rows[-1] == ["gan", "4", "1", "1", f"50% [{low:.0%}, {high:.0%}]"]
    assert rows[0] == ["ddpm", "3", "0", "0", "0% [0%, 56%]"]


def test_variants_are_counted_apart(make_run, tmp_path):
    for seed in range(2):
        row = scores(9.0) | {"overrides": "model.build.width=64"}
        make_run("gan", seed, {"generator": row}, variant="0a1b")
    make_run("gan", 0, {}, status=FAILED)
    comparison = compare_runs(read_runs([tmp_path]))
    wide = comparison.label(comparison.entries[0])
    assert wide != "gan"
    table = outcomes_table(comparison, outcomes(comparison))
    rows = [[cell.text for cell in row][:3] for row in table.rows]
    assert rows == [[wide, "2", "0"], ["gan", "1", "1"]]


def test_counts_reach_the_csv(comparison):
    frame = to_frame(comparison).set_index(["model", "sampler", "status"])
    counts = ["runs_ended", "runs_failed", "seeds_collapsed"]
    assert frame.loc[("gan", "generator", "finished"), counts].tolist() == [4, 1, 1]
    assert frame.loc[("ddpm", "ddim-50", "finished"), counts].tolist() == [3, 0, 0]
    assert frame.loc[("ddpm", "ddim-2", "finished"), counts].tolist() == [3, 0, 3]
    assert frame.loc[("real", "held-out", "finished"), counts[:2]].isna().all()
