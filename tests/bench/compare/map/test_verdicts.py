"""Verdicts of cells: error rates by simulation, ranges of one more seed, and order of states."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from bench.compare.map.contenders import Contender, Point, best_on_earlier_seeds
from bench.compare.map.verdicts import Score, make_cell, settle

sys.path.insert(0, str(Path(__file__).parents[4] / "scripts"))
from map_error_rates import one_map


def contender(family: str, fids: list[float], **more) -> Contender:
    points = {
        str(k): [(60.0, Point(fid, **{"faulty": False, "far": False} | more))]
        for k, fid in enumerate(fids)
    }
    return Contender(family, family, "generator", points, math.nan, 0)


@pytest.mark.parametrize("kind", ["nobody", "chosen", "two"])
@pytest.mark.parametrize("sequential", [False, True])
def test_maps_of_equal_families_have_hardly_a_settled_cell(sequential, kind):
    rng = np.random.default_rng(1)
    false = [one_map(rng, kind, 5, sequential=sequential)[1] > 0 for _ in range(40)]
    assert np.mean(false) <= 0.125  # 5 % are allowed: at most 5 of 40 in 97 % of cases


def test_clear_leads_are_found():
    rng = np.random.default_rng(2)
    _, false, leads, found = np.sum(
        [one_map(rng, "half", 8, sequential=True) for _ in range(10)], axis=0
    )
    assert found > 0.5 * leads
    assert false <= 0.05 * found


def test_families_that_differ_by_the_margin_are_not_called_equal():
    rng = np.random.default_rng(3)
    assert sum(one_map(rng, "edge", 8, sequential=True)[1] for _ in range(10)) <= 1


def test_one_more_seed_lies_in_the_range_as_often_as_it_says():
    """The prediction interval of log FIDs, against a simulation."""
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(2000):
        logs = rng.normal(size=6)
        low, high = Score(contender("a", []), dict(enumerate(np.exp(logs[:5]))), "", 0.0).range
        inside += low <= math.exp(logs[5]) <= high
    assert 0.935 <= inside / 2000 <= 0.965


def test_the_p_value_is_the_largest_of_all_rivals():
    a, b, c = [5.0, 5.2, 5.1, 4.9], [6.0, 6.4, 6.1, 6.2], [9.0, 9.1, 9.3, 9.2]
    cell = make_cell(
        [contender("c", c), contender("a", a), contender("b", b)],
        60.0,
        None,
        sequential=False,
        margin=1.1,
    )
    p = stats.ttest_rel(np.log(a), np.log(b)).pvalue
    assert [s.contender.family for s in cell.scores] == ["a", "b", "c"]
    assert cell.p == pytest.approx(p)
    assert cell.lead == pytest.approx(stats.gmean(b) / stats.gmean(a))


def test_equal_families_are_called_equal_and_both_named():
    rng = np.random.default_rng(0)
    fids = [np.exp(math.log(10) + 0.01 * rng.normal(size=12)).tolist() for _ in range(2)]
    cell = make_cell(
        [contender("a", fids[0]), contender("b", fids[1])], 60.0, None, sequential=True, margin=1.1
    )
    (settled,) = settle([cell])
    assert settled.state == "equal"


def test_a_single_seed_a_far_family_and_an_empty_cell():
    one = make_cell(
        [contender("a", [5.0]), contender("b", [9.0])], 60.0, None, sequential=True, margin=1.1
    )
    assert (one.state, one.seeds, math.isnan(one.p)) == ("open", 1, True)
    far = make_cell(
        [contender("a", [5.0], far=True), contender("b", [9.0])],
        60.0,
        None,
        sequential=True,
        margin=1.1,
    )
    assert (far.state, far.leader.contender.family, far.scores[1].fault) == ("alone", "b", "far")
    empty = make_cell([contender("a", [5.0])], 240.0, 60.0, sequential=True, margin=1.1)
    assert (empty.state, empty.missing) == ("empty", (("a", "not scored at this budget"),))


def test_a_choice_by_earlier_seeds_leaves_the_tests_as_they_are():
    """The best of five equal models against an equal one: p is below 0.05 in 5 % of cases."""
    rng = np.random.default_rng(4)
    small = 0
    for _ in range(300):
        fids = np.exp(0.1 * rng.normal(size=(6, 9)))
        models = [contender("a", row.tolist()).points for row in fids[:5]]
        best = Contender("a", "", "", best_on_earlier_seeds(models), math.nan, 0)
        other = contender("b", fids[5].tolist())
        small += make_cell([best, other], 60.0, None, sequential=False, margin=1.1).p < 0.05
    assert small <= 25  # 15 are expected, 4 standard deviations are 15
