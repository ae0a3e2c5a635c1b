"""Racing: standings of all pairs of models, Holm's correction of e-values, what is asked next."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compare.racing import corrected, next_question, standings
from bench.compare.sequential import LEVEL, confidence_sequence, equality_evidence, evidence
from scripts.error_rates_sequential import race, recorded


def seeds(means, spread: float, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return np.exp(np.log(means)[:, None] + spread * rng.normal(size=(len(means), count)))


def test_a_standing_is_that_of_its_pair():
    values = seeds([10.0, 20.0, 20.5], 0.1, 12)
    values[2, 3] = math.nan
    found = standings(values, margin=1.1, ratio=True)
    assert [(pair.a, pair.b) for pair in found.pairs] == [(0, 1), (0, 2), (1, 2)]
    pair = found.pairs[1]
    d = np.delete(np.log(values[0] / values[2]), 3)
    assert pair.seeds == (0, 1, 2, *range(4, 12))
    assert pair.differences == pytest.approx(d)
    assert pair.path == pytest.approx(evidence(d))
    assert pair.equal_path == pytest.approx(equality_evidence(d, math.log(1.1)))
    assert pair.interval == pytest.approx(np.exp(confidence_sequence(d)), rel=1e-6)
    assert pair.mean == pytest.approx(math.exp(d.mean()))
    assert (pair.state, pair.direction, pair.e_now) == ("settled", -1, pair.path[-1])
    assert (found.dropped, found.remaining) == ((1, 2), (0,))
    assert found.pairs[2].dropped
    assert found.open == ()


def test_without_ratio_it_is_the_difference():
    values = np.array([[0.5, 0.6, 0.4, 0.55, 0.5, 0.45], [-1.0, -0.9, -1.1, -1.0, -0.95, -1.05]])
    pair = standings(values, margin=0.2, ratio=False).pairs[0]
    assert pair.mean == pytest.approx(1.5)
    assert pair.direction == 1
    low, high = pair.interval
    assert low < 1.5 < high


def test_models_within_the_margin_are_equal():
    found = standings(seeds([10.0, 10.1], 0.02, 12), margin=1.1, ratio=True)
    assert found.pairs[0].state == "equal"
    assert found.remaining == (0, 1)
    assert found.open == ()
    assert found.pairs[0].needed == 12


def test_a_pair_without_common_seeds_counts_and_is_open():
    values = seeds([10.0, 20.0, 15.0], 0.1, 6)
    values[2] = math.nan
    found = standings(values, margin=1.1, ratio=True)
    assert found.pairs[0].threshold == 3 / LEVEL
    nothing = found.pairs[1]
    assert (nothing.path, nothing.p, nothing.state, nothing.direction) == ((), 1.0, "open", 0)
    assert math.isnan(nothing.mean)
    assert math.isnan(nothing.needed)
    assert nothing.interval == (0.0, math.inf)
    assert nothing.e_now == 1.0


def test_one_model_alone_remains():
    assert standings(np.ones((1, 3)), margin=1.1, ratio=True).remaining == (0,)
    assert standings(np.ones((2, 0)), margin=1.1, ratio=True).remaining == (0, 1)


def test_verdicts_in_a_circle_drop_no_model():
    first = np.arange(36) // 12  # each pair shares twelve seeds of its own
    values = np.full((3, 36), math.nan)
    rng = np.random.default_rng(0)
    for block, (better, worse) in enumerate([(0, 1), (1, 2), (2, 0)]):
        values[better, first == block] = np.exp(0.05 * rng.normal(size=12))
        values[worse, first == block] = 2 * np.exp(0.05 * rng.normal(size=12))
    found = standings(values, margin=1.1, ratio=True)
    assert [pair.state for pair in found.pairs] == ["settled"] * 3
    assert (found.dropped, found.remaining) == ((), (0, 1, 2))
    collapsed = np.vstack([values, 0.5 * np.ones(36)])
    found = standings(collapsed, margin=1.1, ratio=True, unfit=[3])
    assert found.dropped == ()  # the circle is all that may be recommended


def test_being_worse_than_a_collapsed_model_drops_no_model():
    values = seeds([5.0, 10.0, 20.0], 0.1, 12)  # the first one collapsed
    found = standings(values, margin=1.1, ratio=True, unfit=[0])
    assert [pair.state for pair in found.pairs] == ["settled"] * 3
    assert (found.dropped, found.remaining) == ((2,), (0, 1))
    assert standings(values, margin=1.1, ratio=True).remaining == (0,)
    found = standings(values, margin=1.1, ratio=True, unfit=[0, 1])
    assert found.dropped == ()  # nothing that may be recommended is better than the third


@pytest.mark.parametrize("value", [0.0, -2.0])
def test_ratios_need_positive_values(value):
    with pytest.raises(ValueError, match="needs positive values, got"):
        standings(np.array([[1.0, value, math.nan], [1.0, 2.0, 3.0]]), margin=1.1, ratio=True)


@pytest.mark.parametrize(
    ("margin", "ratio"),
    [(1.0, True), (0.9, True), (0.0, False), (math.nan, True), (math.inf, True)],
)
def test_a_margin_leaves_room(margin, ratio):
    with pytest.raises(ValueError, match=r"margin=.* is not a (ratio above 1|difference above 0)"):
        standings(np.ones((2, 3)), margin=margin, ratio=ratio)


@given(st.lists(st.floats(0.1, 1e5), min_size=1, max_size=6))
@settings(max_examples=100, deadline=None)
def test_holm_for_e_values_is_the_closed_test(e):
    """A pair is settled where every family that holds it has an e-value of its size / 0.05."""
    p, threshold = corrected(np.array(e)[:, None])
    families = [[k for k in range(len(e)) if kept >> k & 1] for kept in range(1, 2 ** len(e))]
    closed = [
        all(max(e[j] for j in family) >= len(family) / LEVEL for family in families if k in family)
        for k in range(len(e))
    ]
    clear = [abs(x * LEVEL / n - 1) > 1e-9 for x in e for n in range(1, len(e) + 1)]
    if all(clear):
        assert [value <= LEVEL for value in p] == closed
        assert [x >= t for x, t in zip(e, threshold, strict=True)] == closed


def test_the_threshold_falls_with_the_pairs_that_are_settled():
    _, threshold = corrected(np.array([[1e6], [3.0], [50.0], [2.0]]))
    assert threshold == [80, 40, 60, 40] or threshold == [80, 60, 60, 60]
    p, _ = corrected(np.array([[1e6], [3.0], [50.0], [2.0]]))
    assert p[2] == pytest.approx(3 / 50)


def test_the_largest_e_value_counts_and_the_last_one_is_for_the_page():
    values = np.stack([np.exp([*[-0.3, -0.31] * 5, 3.0, 3.0, 3.0]), np.ones(13)])
    pair = standings(values, margin=1.1, ratio=True).pairs[0]
    assert pair.state == "settled"
    assert pair.direction == -1  # A was lower when it was settled; the later mean is higher
    assert pair.mean > 1
    assert pair.e_now < 20


@pytest.mark.parametrize(
    ("needed", "have", "seconds", "chosen"),
    [
        ([10, 8, 30], [6, 6, 6], [60, 60, 1], 2),
        ([10, 8], [6, 6], [60, 60], 1),
        ([math.nan, 8], [1, 1], [60, 60], 0),
        ([6, 7], [6, 6], [2, 1], 1),
        ([math.inf, math.inf], [9, 9], [2, 1], 1),
        ([math.inf, 90], [9, 9], [1, 1000], 1),
    ],
)
def test_the_next_question_is_the_one_that_costs_least(needed, have, seconds, chosen):
    assert next_question(needed, have, seconds) == chosen


def test_there_must_be_a_question():
    with pytest.raises(ValueError, match="no open question"):
        next_question([], [], [])


def test_racing_finds_the_best_of_the_recorded_models_with_half_of_the_runs():
    means, spreads = recorded(skip=1)
    assert means.shape == spreads.shape == (12,)
    rng = np.random.default_rng(0)
    races = [race(means, spreads, rng) for _ in range(4)]
    assert np.mean([r.runs for r in races]) < 0.55
    assert not any(r.lost for r in races)
    assert all(r.loss <= 1.1 for r in races)
