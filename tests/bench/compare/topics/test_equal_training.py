"""Tables at equal training, and the time until an FID is reached, worked by hand."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st
from synthetic_runs import costs, scores

from bench.compare.cells import Cell
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.curves import Crossing, learning_curves
from bench.compare.topics.equal_training import (
    TRAININGS,
    best_samplers,
    budgets,
    marked,
    rounded_up,
    thresholds,
    time_table,
    training_table,
    when_text,
)
from bench.runs.directory import Status

SECONDS, FLOPS, IMAGES = TRAININGS


def write(make_run, model, fids, speed=1.0, seeds=(0, 1, 2), end=100.0):
    """FIDs at equidistant points; seed s has (1 + s) / 2 times of them, medians as given."""
    for seed in seeds:
        for k, fid in enumerate(fids, start=1):
            seconds = end * k / len(fids)
            consumed = {"train_seconds": seconds, "images": 1000 * speed * seconds}
            row = scores(fid * (1 + seed) / 2) | costs(1, 1.0) | consumed | {"train_flops": ""}
            path = make_run(model, seed, {"s": row}, checkpoint=k, checkpoints=len(fids))
    return path.parents[2]


def texts(table):
    return [[f"{c.text}{' *' * c.best}" for c in row] for row in table.rows]


@pytest.fixture
def two(make_run):
    """The DDPM sees a tenth of the GAN's images; at the end its FID is half of it."""
    write(make_run, "gan", (16.0, 8.0, 8.0, 8.0), speed=10.0)
    return write(make_run, "ddpm", (64.0, 16.0, 8.0, 4.0))


def test_equal_seconds(two):
    comparison = compare_runs(read_runs([two]))
    table, absent = training_table(comparison, learning_curves(comparison), SECONDS)
    assert table is not None
    assert table.headings == ("model", "sampler", "seeds", "at 25 s ↓", "at 50 s ↓", "at 100 s ↓")
    assert texts(table) == [
        ["ddpm", "s", "3", "64 ± 32", "16.0 ± 8.0", "4.0 ± 2.0 *"],
        ["gan", "s", "3", "16.0 ± 8.0 *", "8.0 ± 4.0 *", "8.0 ± 4.0"],
    ]
    assert absent == []


def test_equal_images_say_nothing_of_what_was_evaluated_apart(two, make_run):
    """The GAN's first point is beyond the DDPM's last; with a third model two can be compared."""
    comparison = compare_runs(read_runs([two]))
    assert budgets(learning_curves(comparison), "images") == []
    table, absent = training_table(comparison, learning_curves(comparison), IMAGES)
    assert table is None
    assert [entry.model for entry in absent] == ["ddpm", "gan"]
    write(make_run, "dit", (70.0, 35.0), speed=0.5)
    comparison = compare_runs(read_runs([two]))
    table, absent = training_table(comparison, learning_curves(comparison), IMAGES)
    assert table is not None
    assert table.headings[3:] == ("at 25.0k samples ↓", "at 50.0k samples ↓")
    assert texts(table) == [
        ["ddpm", "s", "3", "64 ± 32 *", "16.0 ± 8.0 *"],
        ["dit", "s", "3", "70 ± 35", "35 ± 18"],
    ]
    assert [entry.model for entry in absent] == ["gan"]


def test_every_model_that_can_be_compared_has_a_column(make_run):
    """No budget is reached by all; each column brings in whom the others lack."""
    for model, speed in (("a", 1.0), ("b", 1.1), ("c", 100.0), ("d", 110.0)):
        folder = write(make_run, model, (4.0, 2.0), speed=speed)
    curves = learning_curves(compare_runs(read_runs([folder])))
    assert budgets(curves, "images") == [100e3, 10_000e3]


def test_every_seed_has_a_value_where_a_budget_is_chosen(make_run):
    """Seed 1 is first evaluated at 60 s: a quarter and a half of the common 100 s are too early."""
    write(make_run, "gan", (4.0, 2.0), seeds=(0,))
    write(make_run, "gan", (4.0, 2.0), end=120.0, seeds=(1,))
    folder = write(make_run, "ddpm", (4.0, 3.0, 2.0, 1.0))
    curves = learning_curves(compare_runs(read_runs([folder])))
    assert budgets(curves, "train_seconds") == [100.0]


def test_a_budget_that_only_two_reach_has_a_column(make_run):
    write(make_run, "long", (8.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0, 4.0), end=400.0)
    write(make_run, "longer", 16 * (2.0,), end=800.0)
    folder = write(make_run, "short", (9.0, 3.0), end=100.0)
    comparison = compare_runs(read_runs([folder]))
    curves = learning_curves(comparison)
    assert budgets(curves, "train_seconds") == [50, 100, 400]
    table, _ = training_table(comparison, curves, SECONDS)
    assert table is not None
    assert [row[-1] for row in texts(table)] == ["2.0 ± 1.0 *", "–", "4.0 ± 2.0"]


@pytest.mark.parametrize(
    ("ends", "text"), [((100, 90, 50), "3.0 ± 1.4 (2 of 3)"), ((100, 50, 50), "–")]
)
def test_what_few_seeds_say_is_not_the_value_of_an_entry(make_run, ends, text):
    """The GAN's seeds 0 and 1 have FIDs of 2 and 4, lower than the mean of any other model."""
    for seed, end in enumerate(ends):
        write(make_run, "gan", (4.0, 4.0), end=end, seeds=(seed,))
    write(make_run, "ddpm", (4.0, 4.0), end=90.0)
    folder = write(make_run, "dit", (5.0, 5.0), end=95.0)
    comparison = compare_runs(read_runs([folder]))
    curves = learning_curves(comparison)
    assert budgets(curves, "train_seconds") == [50.0, 90.0]
    table, _ = training_table(comparison, curves, SECONDS)
    assert table is not None
    last = {row[0]: row[-1] for row in texts(table)}
    assert last == {"gan": text, "ddpm": "4.0 ± 2.0 *", "dit": "5.0 ± 2.5"}


def test_what_was_not_counted_has_no_table(two):
    comparison = compare_runs(read_runs([two]))
    assert budgets(learning_curves(comparison), "train_flops") == []
    assert training_table(comparison, learning_curves(comparison), FLOPS)[0] is None


def test_cells_say_how_many_seeds_have_a_value():
    cells = marked([[2.0, 2.0], [], [5.0, 6.0, 7.0], [2.0], [2.0]], [3, 3, 3, 1, 1])
    assert cells == [
        Cell("2 ± 0 (2 of 3)"),
        Cell("–"),
        Cell("6.0 ± 1.0"),
        Cell("2 ± –", True),
        Cell("2 ± –", True),
    ]
    assert marked([[1.0], []], [1, 1]) == [Cell("1 ± –"), Cell("–")]


def test_time_to_fid(two, make_run):
    make_run("gan", 7, {}, status=Status("failed", "not finite", 3))
    comparison = compare_runs(read_runs([two]))
    curves = learning_curves(comparison)
    assert thresholds(curves) == [8.0, 4.0]
    table = time_table(comparison, curves, SECONDS, [8.0, 4.0])
    assert table.headings[3:] == ("s until FID ≤ 8", "s until FID ≤ 4")
    assert texts(table) == [
        # 32 8 4 2 falls to 8 at 50 s, 64 16 8 4 at 75 s, 96 24 12 6 later
        ["ddpm", "s", "3", "75 (3 of 3) *", "100 (2 of 3) *"],
        # 8 4 4 4 at once, 16 8 8 8 at 50 s, 24 12 12 12 never, and one failed
        ["gan", "s", "3", "> 75 (2 of 4)", "> 100 (1 of 4)"],
    ]


def test_the_first_is_marked_only_if_it_surely_is(make_run):
    write(make_run, "early", (2.0, 1.0))
    folder = write(make_run, "also", (3.0, 1.0), end=160.0)
    comparison = compare_runs(read_runs([folder]))
    table = time_table(comparison, learning_curves(comparison), SECONDS, [4.0])
    assert [row[-1] for row in texts(table)] == ["≤ 80 (3 of 3)", "≤ 50 (3 of 3)"]


def test_what_is_known_of_a_moment():
    inf = math.inf
    known = {(3.0, 3.0): "3", (3.0, inf): "> 3", (0.0, 3.0): "≤ 3", (1.0, 2.0): "1–2"}
    known |= {(inf, inf): "never", (0.0, inf): "> 0"}
    assert {ends: when_text(Crossing(*ends)) for ends in known} == known
    assert when_text(Crossing(2e12, 3e12), 1e12) == "2–3"


def test_of_every_model_the_sampler_that_is_best_at_the_end(make_run):
    for k, (ten, fifty) in enumerate([(5.0, 9.0), (4.0, 3.0)], start=1):
        rows = {"ddim-10": scores(ten), "ddim-50": scores(fifty)}
        rows = {name: row | costs(1, 1.0) for name, row in rows.items()}
        path = make_run("ddpm", 0, rows, checkpoint=k, checkpoints=2)
    best = best_samplers(learning_curves(compare_runs(read_runs([path]))))
    assert [of.entry.sampler for of in best] == ["ddim-50"]


@given(st.floats(1e-4, 1e6))
def test_thresholds_are_rounded_up_to_three_digits(value):
    rounded = rounded_up(value)
    assert value <= rounded <= value * 1.0101
    assert rounded == float(f"{rounded:.3g}")
