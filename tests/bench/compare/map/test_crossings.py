"""Where learning curves cross: closed forms, brute-force searches, and coverage by simulation."""

import math
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.compare.map.contenders import Contender, Point
from bench.compare.map.crossings import compare, interval, stays_ahead

sys.path.insert(0, str(Path(__file__).parents[4] / "scripts"))
from map_error_rates import one_crossover

BUDGETS = (15.0, 30.0, 60.0, 120.0, 240.0)


def contender(family: str, curves: np.ndarray, budgets=BUDGETS) -> Contender:
    """FIDs by seed and budget, (S, C)."""
    points = {
        str(seed): [
            (b, Point(float(fid), False, False)) for b, fid in zip(budgets, row, strict=True)
        ]
        for seed, row in enumerate(curves)
    }
    return Contender(family, family, "", points, math.nan, 0)


def power(at: float, slope: float) -> np.ndarray:
    return at * (np.array(BUDGETS) / 60) ** -slope


def test_power_laws_cross_where_they_are_equal():
    """10 t^-0.2 and 14 t^-0.7 (t in minutes) are equal at t = 1.4^2."""
    gan, diffusion = np.tile(power(10, 0.2), (3, 1)), np.tile(power(14, 0.7), (3, 1))
    found = compare(contender("GAN", gan), contender("diffusion", diffusion), BUDGETS)
    assert (found.first.family, found.second.family) == ("GAN", "diffusion")
    assert found.budget == pytest.approx(60 * 1.4**2)
    assert found.low == pytest.approx(found.budget)
    assert found.high == pytest.approx(found.budget)
    turned = compare(contender("diffusion", diffusion), contender("GAN", gan), BUDGETS)
    assert (turned.first.family, turned.budget) == ("GAN", pytest.approx(found.budget))


def test_curves_that_do_not_cross_never_do_within_the_limit():
    found = compare(
        contender("a", np.tile(power(10, 0.5), (3, 1))),
        contender("b", np.tile(power(20, 0.5), (3, 1))),
        BUDGETS,
    )
    assert (found.budget, found.low, found.high) == (math.inf, math.inf, math.inf)
    assert found.limit == 240


def test_too_few_seeds_or_budgets_have_no_crossover():
    two = contender("a", np.tile(power(10, 0.5), (2, 1)))
    assert compare(two, contender("b", np.tile(power(9, 0.1), (3, 1))), BUDGETS) is None
    one = contender("a", np.full((3, 1), 9.0), (15.0,))
    assert compare(one, contender("b", np.full((3, 1), 8.0), (15.0,)), BUDGETS) is None


@given(st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3), min_size=2, max_size=6))
def test_the_budget_is_that_of_a_search_along_the_curve(differences):
    budgets = 15.0 * 2.0 ** np.arange(len(differences))
    (found,) = stays_ahead(budgets, np.array([differences]))
    fine = np.exp(np.linspace(math.log(budgets[0]), math.log(budgets[-1]), 20_001))
    values = np.interp(np.log(fine), np.log(budgets), differences)
    behind = np.flatnonzero(values <= 0)
    if not len(behind):
        assert found == 0
    elif behind[-1] == len(fine) - 1:
        assert math.isinf(found)
    else:
        assert found == pytest.approx(fine[behind[-1]], rel=1e-3)


@pytest.mark.parametrize("seeds", [3, 5])
def test_intervals_cover_the_crossing_as_often_as_they_say(seeds):
    rng = np.random.default_rng(seeds)
    covered = [one_crossover(rng, seeds, 1.4)[0] for _ in range(300)]
    assert 0.91 <= np.mean(covered) <= 0.985  # 0.95 with a standard error of 0.013


def test_the_interval_has_the_budgets_that_a_t_test_does_not_reject():
    rng = np.random.default_rng(1)
    differences = np.array([-0.4, -0.2, 0.1, 0.5]) + 0.05 * rng.normal(size=(5, 4))
    budgets = np.array(BUDGETS[:4])
    (estimate,) = stays_ahead(budgets, differences.mean(axis=0)[None])
    low, high = interval(budgets, differences, estimate)
    fine = np.exp(np.linspace(math.log(budgets[0]), math.log(budgets[-1]), 2001))
    along = [np.interp(np.log(fine), np.log(budgets), row) for row in differences]
    kept = fine[stats.ttest_1samp(along, 0.0).pvalue >= 0.05]
    assert budgets[0] < kept.min() < estimate < kept.max() < budgets[-1]
    assert (low, high) == (pytest.approx(kept.min(), rel=3e-3), pytest.approx(kept.max(), rel=3e-3))


def test_curves_that_are_not_told_apart_have_no_known_ends():
    rng = np.random.default_rng(2)
    differences = np.array([-0.01, -0.01]) + 0.5 * rng.normal(size=(4, 2))
    assert interval(np.array([15.0, 30.0]), differences, math.inf) == (0.0, math.inf)


def test_a_crossing_near_the_limit_may_never_come():
    rng = np.random.default_rng(0)
    shift = np.exp(0.2 * rng.normal(size=(2, 6, 1)))
    gan, diffusion = power(10, 0.2) * shift[0], power(18, 0.7) * shift[1]
    found = compare(contender("GAN", gan), contender("diffusion", diffusion), BUDGETS)
    assert found.low < 60 * 1.8**2
    assert math.isinf(found.high)
