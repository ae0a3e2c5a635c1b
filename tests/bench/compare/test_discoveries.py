"""Control of the false discovery rate over a page: the definition, closed forms, and simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compare.discoveries import false_discovery
from bench.compare.sequential import evidence
from bench.compare.stats import paired_differences

TESTS = st.lists(st.tuples(st.floats(1e-6, 1), st.booleans()), min_size=1, max_size=7)
LEVELS = st.sampled_from([0.01, 0.05, 0.2, 0.7])
NEAR = 1e-6  # relative distance from a limit at which either answer is right


def harmonic(count: int) -> float:
    return sum(1 / k for k in range(1, count + 1))


def share(p: float, anytime: bool, size: int, count: int, level: float) -> float:
    """What a hypothesis adds to the evidence of a set of so many, of a page of so many verdicts."""
    half = (count + size) / 2
    if anytime:
        return 1 / p / half if p < 1 else 0.0  # 1 stands for all evidence that is not for it
    whole = math.ceil(half)  # the calibrator of Benjamini & Yekutieli
    if harmonic(whole) * p > level:
        return 0.0
    return 1 / level / max(1, math.ceil(harmonic(whole) * p * whole / level))


def stands(count: int, tests: list[tuple[float, bool]], level: float) -> bool:
    """Xu et al. 2025, hypotheses in pairs: every set has evidence for its share of the verdicts."""
    if any(p > level for p, _ in tests[:count]):
        return False
    places = range(len(tests))
    for size in range(1, len(tests) + 1):
        for chosen in combinations(places, size):
            evidence = sum(share(*tests[k], size, len(tests), level) for k in chosen)
            if evidence < sum(k < count for k in chosen) / count / level:
                return False
    return True


def in_order(tests: list[tuple[float, bool]]) -> list[tuple[float, bool]]:
    factor = harmonic(len(tests))
    return sorted(tests, key=lambda test: test[0] if test[1] else factor * test[0])


@settings(max_examples=150)
@given(TESTS, LEVELS)
def test_it_is_closed_testing_by_definition(tests, level):
    tests = in_order(tests)
    adjusted = false_discovery(*map(list, zip(*tests, strict=True)))
    back = false_discovery(*map(list, zip(*tests[::-1], strict=True)))
    assert sorted(back) == sorted(adjusted)  # equal scaled p values may change places
    counts = range(1, len(tests) + 1)
    for above in (1 - NEAR, 1 + NEAR):
        most = max([k for k in counts if stands(k, tests, level * above)], default=0)
        found = sum(q <= level * above * (1 - NEAR) for q in adjusted)
        less = sum(q <= level * above * (1 + NEAR) for q in adjusted)
        assert found <= most <= less


@given(TESTS)
def test_it_is_never_behind_e_bh_and_benjamini_yekutieli_nor_ahead_of_the_evidence_itself(tests):
    tests = in_order(tests)
    p, anytime = map(list, zip(*tests, strict=True))
    adjusted = false_discovery(p, anytime)
    count, factor, least = len(p), harmonic(len(p)), 1.0
    for rank in range(count, 0, -1):
        scaled = p[rank - 1] if anytime[rank - 1] else factor * p[rank - 1]
        least = min(least, count / rank * scaled)
        assert adjusted[rank - 1] <= least
        assert adjusted[rank - 1] >= p[rank - 1] * (1 - 1e-9)
    assert adjusted == sorted(adjusted)


def test_by_hand():
    """e-values of 1000, 50, 25 and 2: for the first, all four together have the least evidence."""
    e = [1000.0, 50.0, 25.0, 2.0]
    p = [1 / x for x in e]
    # {first}: 1000 / 2.5; {first, last}: 1002 / 3; all but the second: 1027 / 3.5; all: 1077 / 4
    first = 4 / 1077
    # two verdicts: {second}: 50 / 2.5 >= 1 / (2 a) holds from a = 1 / 40; its own p is 1 / 50, but
    # {second, last}: 52 / 3 needs 3 / 104, and {second, third, last}: 77 / 3.5 needs 3.5 / 154
    second = 3 / 104
    adjusted = false_discovery(p, [True] * 4)
    assert adjusted[0] == pytest.approx(first)
    assert adjusted[1] == pytest.approx(second)
    assert false_discovery(p[::-1], [True] * 4) == pytest.approx(adjusted[::-1])
    assert false_discovery([0.01, 0.01], [False, False]) == pytest.approx([0.015, 0.015])
    assert false_discovery([0.02], [False]) == pytest.approx([0.02])


def test_what_was_not_possible_is_not_counted():
    assert false_discovery([], []) == []
    gaps = false_discovery([math.nan, 0.02], [True, True])
    assert math.isnan(gaps[0])
    assert gaps[1] == 0.02


def test_certainty_and_nothing_at_all():
    assert false_discovery([0.0, 1.0], [True, False]) == [0.0, 1.0]
    assert false_discovery([1e-310, 1.0], [True, True])[0] <= 1e-309
    with_nothing = false_discovery([0.03, 1.0], [True, True])
    assert with_nothing == pytest.approx([0.06, 1.0])  # 1 is no e-value of 1


def test_no_p_value_is_in_the_place_of_another():
    rng = np.random.default_rng(1)
    p, anytime = 10 ** rng.uniform(-4, 0, 20), rng.random(20) < 0.5
    adjusted = np.array(false_discovery(p.tolist(), anytime.tolist()))
    for _ in range(5):
        k = rng.permutation(20)
        assert false_discovery(p[k].tolist(), anytime[k].tolist()) == pytest.approx(adjusted[k])


def test_a_verdict_without_evidence_of_its_own_does_not_stand_beside_many_that_are_sure():
    p = [1e-9] * 30 + [0.9]
    assert false_discovery(p, [True] * 31)[-1] >= 0.9


def test_a_wrong_direction_that_the_data_chose_is_not_let_pass_by_the_others():
    """Of 21 claims one is at a time on the wrong side: its e-value of 40 has a chance of 1 / 80."""
    e = [40.0] + [19.0] * 20
    assert np.mean(e) == 20  # sets without pairs would let it pass: 21 / 80 of the pages are wrong
    assert min(false_discovery([1 / x for x in e], [True] * 21)) > 0.05


def least_favourable(rng: np.random.Generator, count: int, level: float) -> np.ndarray:
    """p values for which Benjamini & Hochberg's method is wrong as often as it can be.

    j of them are uniform between (j - 1) and j times level / count, with a chance of level over
    (j count) times count; all others lie above the level.
    """
    p = level + (1 - level) * rng.random(count)
    chances = np.array([level / j for j in range(1, count + 1)])
    j = int(np.searchsorted(np.cumsum(chances), rng.random())) + 1
    if j <= count:
        p[rng.permutation(count)[:j]] = level / count * (j - rng.random())
    return p


def benjamini_hochberg(p: np.ndarray, level: float) -> bool:
    return bool((np.sort(p) <= level * np.arange(1, len(p) + 1) / len(p)).any())


def test_the_worst_dependence_of_p_values_is_allowed_for():
    rng = np.random.default_rng(0)
    pages = [least_favourable(rng, 10, 0.05) for _ in range(1000)]
    assert np.mean([benjamini_hochberg(p, 0.05) for p in pages]) > 0.1  # the page can be wrong
    wrong = [min(false_discovery(p.tolist(), [False] * 10)) <= 0.05 for p in pages]
    assert np.mean(wrong) <= 0.05


@pytest.mark.parametrize("centres", [(0.0, 0.0), (0.0, 4.0), (0.1, 4.0), (0.3, 1.0)])
@pytest.mark.parametrize("kind", ["anytime", "fixed", "both"])
def test_false_discoveries_are_at_most_5_percent_of_the_discoveries(kind, centres):
    """20 claims that depend on each other, 8 of them with the second centre; also wrong signs."""
    rng = np.random.default_rng(0)
    means = np.repeat(centres, (12, 8))
    anytime = {"anytime": [True] * 20, "fixed": [False] * 20, "both": [True, False] * 10}[kind]
    shares = []
    for _ in range(200):
        d = rng.normal(size=(20, 8)) + 0.8 * rng.normal(size=8) + means[:, None]
        p = [x.p for x in paired_differences(d, np.zeros((1, 8)))]
        grown = np.minimum(1, 1 / evidence(d)[:, -1])
        p = [float(g) if a else q for a, g, q in zip(anytime, grown, p, strict=True)]
        found = np.array(false_discovery(p, anytime)) <= 0.05
        wrong = found & ((means == 0) | (d.mean(axis=1) < 0))
        shares.append(wrong.sum() / max(found.sum(), 1))
    assert np.mean(shares) <= 0.05
