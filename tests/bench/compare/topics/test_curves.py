"""Learning curves: exact at evaluation points, power laws between, censored beyond."""

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from synthetic_runs import costs, scores

from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.curves import (
    NEVER,
    Crossing,
    Curve,
    at,
    crossing,
    curve,
    learning_curves,
    median,
)
from bench.compare.topics.matched import blocks
from bench.compare.topics.pareto import training_front
from bench.runs.directory import Status

FALLING = Curve(np.array([1.0, 10.0, 100.0]), np.array([16.0, 4.0, 1.0]))

budgets = st.lists(st.floats(0.01, 1e15), min_size=1, max_size=6, unique=True).map(sorted)


@st.composite
def curves(draw, lowest=1e-3):
    metric = st.floats(lowest, 1e3)
    x = draw(budgets)
    assume(all(b > a * (1 + 1e-6) for a, b in pairwise(x)))
    y = draw(st.lists(metric, min_size=len(x), max_size=len(x)))
    return Curve(np.array(x), np.array(y))


def test_between_points_a_power_law_is_met_exactly():
    assert at(FALLING, math.sqrt(10)) == pytest.approx(8.0)
    law = Curve(np.array([2.0, 7.0, 300.0]), 5 * np.array([2.0, 7.0, 300.0]) ** -0.7)
    for x in (2.5, 7.1, 250.0):
        assert at(law, x) == pytest.approx(5 * x**-0.7)


def test_a_metric_that_is_not_positive_is_interpolated_linearly():
    assert at(Curve(np.array([1.0, 100.0]), np.array([4.0, -2.0])), 10) == pytest.approx(1.0)


def test_nothing_is_said_before_the_first_point_and_after_the_last():
    for x in (0.999, 100.001):
        assert math.isnan(at(FALLING, x))
    assert math.isnan(at(Curve(np.array([]), np.array([])), 1.0))


@given(curves(lowest=-10.0))
def test_exact_at_every_evaluation_point(curve):
    assert [at(curve, x) for x in curve.x] == curve.y.tolist()


@given(curves(), st.floats(0, 1))
def test_never_outside_its_neighbours(curve, share):
    x = float(np.exp((1 - share) * np.log(curve.x[0]) + share * np.log(curve.x[-1])))
    assume(curve.x[0] <= x <= curve.x[-1])
    k = int(np.searchsorted(curve.x, x, side="right"))
    near = curve.y[max(0, k - 2) : k + 1]
    assert near.min() * (1 - 1e-9) <= at(curve, x) <= near.max() * (1 + 1e-9)


def test_a_threshold_is_reached_between_points():
    assert crossing(FALLING, 8.0) == Crossing(pytest.approx(10**0.5), pytest.approx(10**0.5))
    assert crossing(FALLING, 4.0) == Crossing(10.0, 10.0)
    assert crossing(FALLING, 2.0).high == pytest.approx(10**1.5)


def test_a_threshold_that_is_never_reached_is_censored_at_the_last_point():
    assert crossing(FALLING, 0.5) == Crossing(100.0, math.inf)
    assert not crossing(FALLING, 0.5).reached
    assert crossing(FALLING, 0.5).high == math.inf


def test_a_threshold_above_the_first_point_was_reached_before_it():
    assert crossing(FALLING, 16.0) == Crossing(0.0, 1.0)
    assert crossing(FALLING, 99.0) == Crossing(0.0, 1.0)


def test_the_first_fall_counts_though_the_metric_rises_again():
    curve = Curve(np.array([1.0, 10.0, 100.0, 1000.0]), np.array([8.0, 2.0, 32.0, 2.0]))
    assert crossing(curve, 4.0).high == pytest.approx(10**0.5)


def test_a_threshold_is_reached_on_the_way_to_a_metric_below_zero():
    curve = Curve(np.array([1.0, 100.0]), np.array([4.0, -2.0]))
    assert crossing(curve, 1.0).low == pytest.approx(10.0)
    assert crossing(curve, 0.0).low == pytest.approx(100 ** (4 / 6))


@given(curves(), st.floats(1e-3, 1e3))
def test_at_the_crossing_the_metric_is_the_threshold(curve, threshold):
    when = crossing(curve, threshold)
    if when.low == when.high:
        x = min(max(when.high, curve.x[0]), curve.x[-1])
        assert at(curve, x) == pytest.approx(threshold, rel=1e-4)


def test_the_median_moment_of_censored_seeds():
    exact = [Crossing(x, x) for x in (3.0, 1.0, 2.0)]
    never = Crossing(5.0, math.inf)
    early = Crossing(0.0, 1.5)
    assert median(exact) == Crossing(2.0, 2.0)
    assert median([*exact[:2], never]) == Crossing(3.0, 3.0)  # 1, 3, beyond 5
    assert median([*exact[:1], never, never]) == Crossing(5.0, math.inf)
    assert median([exact[0], never]) == Crossing(4.0, math.inf)
    assert median([*exact, early]) == Crossing(1.5, 1.75)
    assert median([exact[0], NEVER, NEVER]) == NEVER


@given(
    st.lists(st.tuples(st.floats(0, 100), st.floats(0, 100)), min_size=1, max_size=7),
    st.data(),
)
def test_the_median_is_between_its_bounds_whatever_the_censored_do(ends, data):
    crossings = [Crossing(min(e), max(e)) for e in ends]
    truth = [data.draw(st.floats(c.low, c.high)) for c in crossings]
    bounds = median(crossings)
    assert bounds.low - 1e-9 <= float(np.median(truth)) <= bounds.high + 1e-9


def test_points_without_a_value_are_left_out_and_repeated_budgets_count_once():
    metric = np.array([9.0, 8, 7, 6, math.nan, 5])
    along = curve(np.array([0.0, 10, 20, 20, 30, 40]), metric)
    assert (along.x.tolist(), along.y.tolist()) == ([10, 20, 40], [8, 6, 5])
    unknown = curve(np.full(6, math.nan), metric)
    assert len(unknown.x) == 0
    assert math.isnan(at(unknown, 1.0))


def test_curves_of_every_entry_by_seed_in_the_order_of_checkpoints(make_run):
    for seed in (10, 2):
        for k in (2, 1, 3):  # rows out of order, as after a resumed run
            rows = {
                name: scores(fid / k) | costs(1, 1.0) | {"images": 100 * k, "train_flops": 1e9 * k}
                for name, fid in (("ddim-10", 12.0 + seed), ("ddim-50", 6.0))
            }
            path = make_run("ddpm", seed, rows, checkpoint=k, checkpoints=3)
    make_run("ddpm", 3, {}, status=Status("failed", "not finite", 5))
    make_run("ddpm", 4, {"ddim-10": scores(1.0)}, status=Status("running", step=5))
    fifty, ten = learning_curves(compare_runs(read_runs([path.parent])))
    assert (fifty.entry.sampler, ten.entry.sampler) == ("ddim-50", "ddim-10")
    assert ten.entry.seeds == tuple(ten.entry.tables) == ("2", "10")
    assert (ten.points, ten.failed) == (3, 1)
    along = ten.along("images")[1]
    assert along.x.tolist() == [100, 200, 300]
    assert along.y.tolist() == [22.0, 11.0, pytest.approx(22 / 3)]
    assert ten.stacked("train_flops").tolist() == [[1e9, 2e9, 3e9]] * 2
    assert ten.final == pytest.approx((14 / 3, 22 / 3))
    assert [when.high for when in ten.crossings("images", 11.0)][1:] == [200.0, math.inf]


def test_untrained_entries_have_no_curve(study):
    comparison = compare_runs(read_runs([study]))
    names = {of.entry.model for of in learning_curves(comparison)}
    assert names == {"dcgan_small", "ddpm_small", "mlp_gan"}


def test_samplers_scored_at_the_end_only_have_one_point_whatever_other_seeds_have(make_run):
    """Seeds of an earlier version have every sampler at every point."""
    for seed, early in ((0, ("ddim-10", "ddim-50")), (1, ("ddim-10",))):
        for k in (1, 2, 3):
            names = early if k < 3 else ("ddim-10", "ddim-50")
            rows = {
                name: scores(fid / k) | costs(1, 1.0) | {"images": 100 * k}
                for name, fid in (("ddim-10", 12.0), ("ddim-50", 6.0))
                if name in names
            }
            path = make_run("ddpm", seed, rows, checkpoint=k, checkpoints=3)
    comparison = compare_runs(read_runs([path.parent]))
    fifty, ten = learning_curves(comparison)
    assert (fifty.entry.sampler, ten.entry.sampler) == ("ddim-50", "ddim-10")
    assert (fifty.checkpoints, ten.checkpoints) == ((3,), (1, 2, 3))
    assert fifty.stacked("images").tolist() == [[300], [300]]
    front = training_front(comparison, "train_seconds")
    assert {(c.entry.sampler, c.point, c.points) for c in front} == {
        ("ddim-10", 1, 3),
        ("ddim-10", 2, 3),
        ("ddim-10", 3, 3),
        ("ddim-50", 3, 3),
    }


def test_a_model_is_followed_by_the_sampler_that_was_scored_along_the_run(make_run):
    """Even if another one is better at the end, for which there is no curve."""
    for k in (1, 2):
        rows = {"dpmpp-10": scores(12.0 / k) | costs(10, 1.0) | {"images": 100 * k}}
        if k == 2:
            rows["ddim-50"] = scores(1.0) | costs(50, 5.0) | {"images": 200}
        make_run("ddpm", 0, rows, checkpoint=k, checkpoints=2)
        gan = {"generator": scores(9.0 / k) | costs(1, 1.0) | {"images": 100 * k}}
        path = make_run("gan", 0, gan, checkpoint=k, checkpoints=2)
    comparison = compare_runs(read_runs([path.parents[2]]))
    sections = {title: passages for title, *passages in blocks(comparison)}
    *sentences, table = sections["Equal samples seen"]
    assert {row[1].text for row in table.rows} == {"dpmpp-10", "generator"}
    assert not [sentence for sentence in sentences if "evaluated only once" in sentence]
    by_sampler = {entry.sampler: entry for entry in comparison.entries}
    assert not by_sampler["ddim-50"].followed
    assert by_sampler["dpmpp-10"].followed
