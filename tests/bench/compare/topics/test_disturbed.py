"""Runs that did not get their cores are marked, named, and decide nothing."""

import math

import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.compare.claims.selection import Member, column
from bench.compare.comparison import comparable, compare_runs, left_out
from bench.compare.read import read_run, read_runs
from bench.compare.topics.columns import best_entries, measure
from bench.compare.topics.headline import headline
from bench.compare.topics.page import notes
from bench.compare.topics.pairs import compare_pairs
from bench.compare.topics.recommendation import recommendation
from bench.compare.writers.terminal import make_console, show_briefly

SECONDS = PROTOCOL | {"budget": "seconds=120"}
IMAGES = PROTOCOL | {"budget": "images=180000"}


@pytest.fixture
def compared(make_run):
    """Runs of two models; the better one waited for a core in all seeds, or in one."""

    def make(disturbed: int, protocol=SECONDS, waited: float = 60.0):
        for model, fid in (("dcgan", 5.0), ("ddpm", 9.0)):
            for seed in range(3):
                waits = waited if model == "dcgan" and seed < disturbed else 1.2
                row = scores(fid + seed / 10) | costs(1, 1.0) | {"train_waiting_seconds": waits}
                path = make_run(model, seed, {"s": row}, protocol=protocol)
        return compare_runs(read_runs([path.parents[2]]))

    return make


def test_undisturbed_runs_are_all_compared(compared):
    comparison = compared(0)
    assert comparable(comparison) is comparison
    assert not left_out(comparison)
    assert not any("waited" in note for note in notes(comparison))


def test_no_conclusion_rests_on_seconds_without_a_core(compared):
    comparison = compared(3)
    assert [comparison.marked(entry) for entry in comparison.entries] == ["dcgan †", "ddpm"]
    said = " ".join(recommendation(comparison))
    assert "the lowest FID (domain) is that of ddpm (s)" in said
    assert "dcgan seed 0 (50%), dcgan seed 1 (50%), dcgan seed 2 (50%); delete" in said
    assert not compare_pairs(comparable(comparison))
    assert best_entries(comparison, measure("fid", "domain")) == frozenset()
    (note,) = (note for note in notes(comparison) if note.startswith("† dcgan: training waited"))
    assert "seed 0 for 50% of its seconds" in note


def test_nominal_runs_are_compared_and_their_waiting_is_by_the_clock(make_run, tmp_path):
    protocol = PROTOCOL | {"budget": "seconds=120,clock=nominal"}
    measured = {"images": 60_000, "train_images_per_second": 200.0}  # 300 s
    row = scores(5.0) | costs(1, 1.0) | measured | {"train_waiting_seconds": 60.0}
    make_run("dcgan", 0, {"s": row}, protocol=protocol)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    (run,) = comparison.runs
    assert run.waiting == pytest.approx(60 / 300)
    assert run.disturbed
    assert not run.timed
    assert not left_out(comparison)
    (note,) = (note for note in notes(comparison) if "training waited" in note)
    assert "Its nominal seconds and its scores do not depend on that" in note


def test_the_other_seeds_are_compared(compared):
    comparison = compared(1)
    (of_gan,) = (e for e in comparable(comparison).entries if e.model == "dcgan")
    assert of_gan.seeds == ("1", "2")


def test_nothing_is_recommended_where_no_run_got_its_cores(make_run):
    row = scores(5.0) | costs(1, 1.0) | {"train_waiting_seconds": 119.0}
    path = make_run("dcgan", 0, {"s": row}, protocol=SECONDS)
    (said,) = recommendation(compare_runs(read_runs([path])))
    assert said.startswith("Not compared, because training waited for a core for more than 10%")


def test_models_that_did_not_get_their_cores_were_trained(make_run, tmp_path):
    row = scores(5.0) | costs(1, 1.0) | {"train_waiting_seconds": 119.0}
    make_run("dcgan", 0, {"s": row}, protocol=SECONDS)
    make_run("real", 0, {"held-out": scores(1.0) | {"nfe": 0}}, protocol=FLOOR)
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    for words in (" ".join(recommendation(comparison)), " ".join(headline(comparison))):
        assert "no model was trained" not in words
        assert "Not compared, because training waited for a core" in words


def test_scores_at_equal_images_do_not_depend_on_cores(compared):
    comparison = compared(3, IMAGES)
    assert comparable(comparison) is comparison
    assert best_entries(comparison, measure("fid", "domain"))
    assert not {0} & best_entries(comparison, measure("train_images_per_second"))
    assert any("scores at equal samples or operations can" in note for note in notes(comparison))
    (run, *_) = comparison.disturbed["dcgan", "default"]
    member = Member(run, "s", "0", broadcast=False)
    assert math.isnan(column(member, "train_seconds")[-1])
    assert column(member, "fid")[-1] == 5.0


def test_files_of_earlier_versions_do_not_say(make_run, tmp_path):
    path = make_run("dcgan", 0, {"s": scores(5.0) | costs(1, 1.0)}, protocol=SECONDS)
    run = read_run(path)
    assert math.isnan(run.waiting)
    assert not run.disturbed


def test_the_table_after_a_sweep_says_what_its_marks_mean(compared, capsys):
    show_briefly(make_console(), compared(3))
    said = capsys.readouterr().out
    assert "dcgan †" in said
    assert "† training waited for a core for more than 10% of its seconds: see the report." in said
    assert "⚠" not in said
    show_briefly(make_console(), compared(0))
    assert "†" not in capsys.readouterr().out


@pytest.mark.parametrize(("slowest", "noted"), [(1500.0, False), (1250.0, False), (1150.0, True)])
def test_seeds_that_trained_at_different_speeds_are_noted(make_run, slowest, noted):
    """Other work on the same processor slows training without any waiting."""
    for seed, speed in enumerate([1500.0, 1480.0, slowest]):
        row = scores(5.0 + seed / 10) | costs(1, 1.0) | {"train_images_per_second": speed}
        path = make_run("dcgan", seed, {"s": row}, protocol=SECONDS)
    found = [n for n in notes(compare_runs(read_runs([path.parents[2]]))) if "samples/s" in n]
    assert bool(found) == noted
    if noted:
        assert found[0].startswith("dcgan: its seeds trained at 1150 to 1500 samples/s.")


def test_a_budget_of_images_is_spent_whatever_the_speed(make_run):
    for seed, speed in enumerate([1500.0, 700.0]):
        row = scores(5.0) | costs(1, 1.0) | {"train_images_per_second": speed}
        path = make_run("dcgan", seed, {"s": row}, protocol=IMAGES)
    said = notes(compare_runs(read_runs([path.parents[2]])))
    assert not any("samples/s" in note for note in said)
