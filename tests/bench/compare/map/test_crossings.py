"""Where learning curves cross: closed forms, a brute-force search, and coverage by simulation."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.compare.map.contenders import Contender, Point
from bench.compare.map.crossings import compare, stays_ahead

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


def test_intervals_cover_the_crossing_about_as_often_as_they_say():
    """Ten seeds: percentile intervals of a mean over so few cover about 90 %, not quite 95."""
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        shift = np.exp(0.15 * rng.normal(size=(2, 10, 1)))
        gan, diffusion = power(10, 0.2) * shift[0], power(14, 0.7) * shift[1]
        found = compare(contender("GAN", gan), contender("diffusion", diffusion), BUDGETS)
        covered += found.low <= 60 * 1.4**2 <= found.high
    assert 0.84 <= covered / 200 <= 0.97


def test_a_crossing_near_the_limit_may_never_come():
    rng = np.random.default_rng(0)
    shift = np.exp(0.2 * rng.normal(size=(2, 6, 1)))
    gan, diffusion = power(10, 0.2) * shift[0], power(18, 0.7) * shift[1]
    found = compare(contender("GAN", gan), contender("diffusion", diffusion), BUDGETS)
    assert found.low < 60 * 1.8**2
    assert math.isinf(found.high)
