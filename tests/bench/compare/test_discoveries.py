"""Control of the false discovery rate over a page: the definition, closed forms, and simulation."""

import math
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.compare.discoveries import false_discovery
from bench.compare.stats import paired_differences

TESTS = st.lists(st.tuples(st.floats(1e-6, 1), st.booleans()), min_size=1, max_size=7)
LEVELS = st.sampled_from([0.01, 0.05, 0.2, 0.7])
NEAR = 1e-6  # relative distance from a limit at which either answer is right


def harmonic(count: int) -> float:
    return sum(1 / k for k in range(1, count + 1))


def e_value(p: float, anytime: bool, size: int, level: float) -> float:
    """The calibrator of Benjamini & Yekutieli, for a set of so many hypotheses."""
    if anytime:
        return 1 / p if p < 1 else 0.0  # 1 stands for all evidence that is not for the verdict
    if harmonic(size) * p > level:
        return 0.0
    return size / level / max(1, math.ceil(harmonic(size) * p * size / level))


def stands(count: int, tests: list[tuple[float, bool]], level: float) -> bool:
    """Xu et al. 2025: every set has evidence for the share of its members among the verdicts."""
    if any(p > level for p, _ in tests[:count]):
        return False
    places = range(len(tests))
    for size in range(1, len(tests) + 1):
        for chosen in combinations(places, size):
            mean = sum(e_value(*tests[k], size, level) for k in chosen) / size
            if mean < sum(k < count for k in chosen) / count / level:
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
    """With e of 1000, 50, 25 and 2, the set of all but the second and third has the least for 1."""
    e = [1000.0, 50.0, 25.0, 2.0]
    p = [1 / x for x in e]
    first = 4 / sum(e)  # all four together: the mean is smaller than that of the first with others
    assert false_discovery(p, [True] * 4) == pytest.approx([first, 1 / 50, 1 / 25, 1 / 2])
    # Alone, each of two p values needs no correction beside the other one, if that is as small.
    assert false_discovery([0.01, 0.01], [False, False]) == pytest.approx([0.015, 0.015])
    assert false_discovery([0.02], [False]) == pytest.approx([0.02])


def test_what_was_not_possible_is_not_counted():
    assert false_discovery([], []) == []
    gaps = false_discovery([math.nan, 0.02], [True, True])
    assert math.isnan(gaps[0])
    assert gaps[1] == 0.02


def test_certainty_and_nothing_at_all():
    assert false_discovery([0.0, 1.0], [True, False]) == [0.0, 1.0]
    assert false_discovery([0.0, 1.0], [False, True]) == pytest.approx([0.0, 1.0], abs=1e-3)


def test_a_verdict_without_evidence_of_its_own_does_not_stand_beside_many_that_are_sure():
    p = [1e-9] * 30 + [0.9]
    assert stands(3, [(1e-9, True)] * 3, 0.05)
    assert false_discovery(p, [True] * 31)[-1] >= 0.9


@pytest.mark.parametrize("share", [0.0, 0.4, 0.8])
@pytest.mark.parametrize("anytime", [True, False])
def test_false_discoveries_are_at_most_5_percent_of_the_discoveries(anytime, share):
    """Tests of 20 hypotheses, of which a share is false, that depend on each other."""
    rng = np.random.default_rng(0)
    shares = []
    true = 20 - round(20 * share)
    for _ in range(300):
        noise = rng.normal(size=(20, 8)) + 0.8 * rng.normal(size=8)
        d = noise + np.where(np.arange(20) >= true, 4.0, 0.0)[:, None]
        if anytime:  # the likelihood ratio of a mean of 0.5 to 0, of noise with the same spread
            total = d.sum(axis=1) / math.sqrt(1 + 0.8**2)
            p = np.exp(-(0.5 * total - 8 * 0.125)).clip(max=1.0).tolist()
        else:
            p = [x.p for x in paired_differences(d, np.zeros((1, 8)))]
        found = np.array(false_discovery(p, [anytime] * 20)) <= 0.05
        shares.append(found[:true].sum() / max(found.sum(), 1))
    assert np.mean(shares) <= 0.05
