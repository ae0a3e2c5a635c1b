"""Evidence over seeds: fair bets by exact enumeration, closed forms, and simulated error rates."""

import math
import re
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import integrate, stats

from bench.compare import sequential
from bench.compare.sequential import (
    EFFECT_VARIANCE,
    LEVEL,
    MAX_SEEDS,
    bounded_evidence,
    confidence_sequence,
    equality_evidence,
    evidence,
    settled_after,
    share_evidence,
    share_sequence,
)
from scripts.error_rates import normal
from scripts.error_rates_sequential import (
    MARGIN,
    NOISES,
    called_equal,
    coverage,
    evidence_at_stop,
    false_verdicts,
    seeds_of_fixed_test,
    seeds_to_equality,
    seeds_to_settle,
)

ROOT = Path(__file__).resolve().parents[3]
RNG = np.random.default_rng(0)
SIGNS = np.array(list(product((-1.0, 1.0), repeat=9)))


def within(simulations: int, rate: float) -> float:
    """Four standard errors of a simulated rate."""
    return 4 * math.sqrt(rate * (1 - rate) / simulations)


@pytest.fixture
def only_symmetric(monkeypatch):
    monkeypatch.setattr(sequential, "SYMMETRIC_SHARE", 1 - 1e-16)


@pytest.fixture
def only_student(monkeypatch):
    monkeypatch.setattr(sequential, "SYMMETRIC_SHARE", 1e-300)


@pytest.mark.parametrize("heavy", [False, True])
def test_bets_on_symmetric_differences_are_fair_at_every_look(only_symmetric, heavy):
    sizes = stats.cauchy.rvs(size=9, random_state=1) if heavy else RNG.normal(size=9)
    e = evidence(SIGNS * np.abs(sizes))  # every assignment of signs, equally probable
    expected = e.mean(axis=0)
    assert (expected <= 1 + 1e-12).all()
    assert (expected > 0.75).all()  # the rest is the bet against the mean's direction
    highest = e.max(axis=1)
    assert all((highest >= x).mean() <= 1 / x for x in (2, 5, 10, 20))


@pytest.mark.parametrize("beyond", [0.0, 0.1, 1.0, 30.0])
def test_a_bet_on_equality_loses_where_the_centre_lies_beyond_the_margin(only_symmetric, beyond):
    d = SIGNS * np.abs(RNG.normal(size=9)) + MARGIN + beyond
    assert (equality_evidence(d, MARGIN).mean(axis=0) <= 1 + 1e-12).all()


@pytest.mark.parametrize("n", [2, 3, 6])
def test_students_evidence_is_the_bayes_factor_of_the_right_haar_prior(only_student, n):
    x = RNG.normal(0.7, 1.3, size=n)

    def marginal(sigma: float, variance: float) -> float:
        """Density of x for a scale, over the prior effect, times the Haar density 1 / sigma."""
        covariance = sigma**2 * (np.eye(n) + variance)
        return float(stats.multivariate_normal.pdf(x, np.zeros(n), covariance)) / sigma

    ours = evidence(x)[-1]
    with_effect, without = (
        integrate.quad(lambda u, g=g: marginal(math.exp(u), g) * math.exp(u), -8, 8)[0]
        for g in (EFFECT_VARIANCE, 0.0)
    )
    assert ours == pytest.approx(with_effect / without, rel=1e-6)


@pytest.mark.parametrize("n", [3, 5, 10, 30])
def test_students_evidence_is_fair_for_normal_differences(only_student, n):
    """e is a function of t, whose density at a look is known: its mean is exactly 1."""

    def e_value(t: float) -> float:
        d = np.full(n, 0.0)
        d[:2] = math.sqrt((n - 1) / 2) * np.array([1.0, -1.0])  # standard deviation 1
        return float(evidence(d + t / math.sqrt(n))[-1])

    mean = integrate.quad(lambda t: e_value(t) * stats.t.pdf(t, n - 1), -4000, 4000, points=[0])[0]
    tails = integrate.quad(
        lambda u: e_value(math.exp(u)) * stats.t.pdf(math.exp(u), n - 1) * math.exp(u), 0, 30
    )[0]
    middle = integrate.quad(lambda t: e_value(t) * stats.t.pdf(t, n - 1), -1, 1)[0]
    assert 2 * tails + middle == pytest.approx(1, abs=2e-4)
    assert mean <= 1 + 2e-4


def test_noise_of_two_values_is_called_a_difference_in_at_most_one_of_twenty_cases():
    """Where nothing varies Student's t would be certain: +c, +c, +c, +c has probability 1/16."""
    e = [np.ones(1)]  # e depends on the numbers of +c and -c alone
    for n in range(1, MAX_SEEDS + 1):
        paths = np.array([[1.0] * k + [-1.0] * (n - k) for k in range(n + 1)])
        e.append(evidence(paths)[:, -1])
    alive, found = {0: 1.0}, 0.0
    for n in range(1, MAX_SEEDS + 1):
        moved: dict[int, float] = {}
        for k, p in alive.items():
            for up in (0, 1):
                moved[k + up] = moved.get(k + up, 0.0) + p / 2
        found += sum(p for k, p in moved.items() if e[n][k] >= 1 / LEVEL)
        alive = {k: p for k, p in moved.items() if e[n][k] < 1 / LEVEL}
    assert 0.02 < found <= 0.05


@pytest.mark.parametrize("spread", [0.0, 1e-3])
def test_models_of_two_outcomes_are_rarely_called_different(spread):
    """Two models that collapse with probability 1/2 differ by -1, 0, 1 with 1/4, 1/2, 1/4."""
    paths = np.array(list(product((-1.0, 0.0, 1.0), repeat=9)))
    probability = np.prod(np.where(paths == 0, 0.5, 0.25), axis=1)
    e = evidence(paths + spread * RNG.normal(size=paths.shape))
    found = probability[e.max(axis=1) >= 1 / LEVEL].sum()
    assert probability.sum() == pytest.approx(1)
    assert found <= 0.05 / 2


def test_evidence_does_not_look_ahead():
    d = np.array([1e-7, 2e-7, -1e-7, 3e-7, 1e9])
    assert evidence(d)[:4] == pytest.approx(evidence(d[:4]))
    assert evidence(d)[3] != pytest.approx(1)


def test_evidence_is_that_of_the_seeds_that_are_there():
    d = RNG.normal(1, 1, size=7)
    gaps = np.insert(d, [0, 3, 3], math.nan)
    assert evidence(gaps)[[1, 2, 3, 6, 7, 8, 9]] == pytest.approx(evidence(d))
    assert evidence(gaps)[4:6] == pytest.approx(evidence(gaps)[[3, 3]])
    assert evidence(np.stack([gaps, -gaps]))[1] == pytest.approx(evidence(gaps))
    assert evidence(gaps, np.array(0.4)) == pytest.approx(evidence(gaps - 0.4))


def test_only_evidence_in_the_direction_of_the_mean_counts():
    d = np.array([0.01] * 20 + [-5.0])
    assert evidence(d)[19] > 20
    assert d.mean() < 0
    assert evidence(d)[20] < 1  # twenty gains do not show that a negative mean is positive


def test_rounding_is_no_variation():
    copies = 0.01 + 1e-7 * RNG.normal(size=5)
    assert evidence(copies)[-1] > 100  # certain, if values were known to eight digits
    assert evidence(copies, size=1.0)[-1] == pytest.approx(evidence(np.full(5, 0.3))[-1], 1e-3)
    assert evidence(np.full(5, 0.3))[-1] < 20 <= evidence(np.full(8, 0.3))[-1]
    assert evidence(1e-8 * RNG.normal(size=9), size=1.0)[-1] == pytest.approx(
        evidence(np.zeros(9))[-1]
    )


def test_equal_models_are_shown_to_be_equal_without_noise():
    e = equality_evidence(np.zeros(8), MARGIN)
    assert (np.diff(e) > 0).all()
    assert e[4] < 20 <= e[6]
    assert (equality_evidence(np.full(8, 1.01 * MARGIN), MARGIN) == 0).all()


@pytest.mark.parametrize("n", [5, 12, 30])
def test_confidence_sequences_are_the_centres_that_are_not_excluded(n):
    d = RNG.normal(0.5, 0.2, size=n)
    low, high = confidence_sequence(d)
    inside, step = np.linspace(low, high, 52)[1:-1], 1e-3 * (high - low)
    for end, outwards in ((low, -step), (high, step)):
        assert (
            evidence(d, end)[-1] <= 1 / LEVEL * 1.01
        )  # it jumps where a centre passes the first d
        assert evidence(d, end + outwards)[-1] > 1 / LEVEL
    assert (evidence(np.broadcast_to(d, (50, n)), inside)[:, -1] < 1 / LEVEL).all()
    assert confidence_sequence(np.insert(d, 1, math.nan)) == pytest.approx((low, high))
    assert confidence_sequence(3 - 2 * d) == pytest.approx((3 - 2 * high, 3 - 2 * low), rel=1e-4)


def test_intervals_are_infinite_until_some_centre_is_excluded():
    assert confidence_sequence(np.array([])) == (-math.inf, math.inf)
    assert confidence_sequence(np.array([1.0, 1.2, 0.9])) == (-math.inf, math.inf)
    assert confidence_sequence(np.full(8, 2.0)) == pytest.approx((2, 2), abs=1e-4)


@pytest.mark.parametrize("null", [0.1, 0.5, 0.8])
def test_bets_on_bounded_values_are_fair(null):
    paths = np.array(list(product((0.0, 1.0), repeat=6)))
    probability = np.prod(np.where(paths == 1, null, 1 - null), axis=1)
    e = np.array([bounded_evidence(4 + 3 * x, 4 + 3 * null, 4, 7) for x in paths])
    assert probability @ e == pytest.approx(np.ones(6))


def test_bets_on_values_with_bounds_of_their_own_are_fair():
    high = np.array([1.0, 2.0, 5.0, 8.0])
    null, paths = 0.75, np.array(list(product((0.0, 1.0), repeat=4)))
    probability = np.prod(np.where(paths == 1, null / high, 1 - null / high), axis=1)
    e = np.array([bounded_evidence(x * high, null, 0.0, high) for x in paths])
    assert probability @ e == pytest.approx(np.ones(4))


def test_a_certain_collapse_is_shown_without_any_spread():
    """One of eight modes in each of three seeds, against 90 % of them: the values never vary."""
    e = bounded_evidence(np.ones(3), 0.9 * 8, 0.0, 8.0)
    assert (np.diff(e) > 0).all()
    assert e[-1] > 20
    assert bounded_evidence(np.ones(3), 4.0, 0.0, 8.0)[-1] < 2  # half of them takes more seeds


@pytest.mark.parametrize(("value", "null"), [(9.0, 4.0), (-0.1, 4.0), (1.0, 8.5), (1.0, -1.0)])
def test_values_outside_their_bounds_are_refused(value, null):
    with pytest.raises(ValueError, match="must lie between their bounds"):
        bounded_evidence(np.array([1.0, value]), null, 0.0, 8.0)


@pytest.mark.parametrize("null", [0.05, 0.5])
def test_evidence_of_shares_is_a_beta_mixture(null):
    outcomes = np.array([1, 0, 1, 1, 0, 1])
    n, k = len(outcomes), int(outcomes.sum())

    def likelihood(p: float) -> float:
        return p**k * (1 - p) ** (n - k)

    mixed = integrate.quad(lambda p: likelihood(p) * stats.beta.pdf(p, 0.5, 0.5), 0, 1)[0]
    assert share_evidence(outcomes, null)[-1] == pytest.approx(mixed / likelihood(null), rel=1e-6)
    paths = np.array(list(product((0, 1), repeat=6)))
    probability = np.prod(np.where(paths == 1, null, 1 - null), axis=1)
    e = np.array([share_evidence(x, null) for x in paths])
    assert probability @ e == pytest.approx(np.ones(6))


@pytest.mark.parametrize(("k", "n"), [(0, 5), (3, 5), (12, 30), (30, 30)])
def test_intervals_of_shares_are_those_that_are_not_excluded(k, n):
    outcomes = np.array([1] * k + [0] * (n - k))
    low, high = share_sequence(outcomes)
    assert low <= k / n <= high
    for end, outside in ((low, -0.002), (high, 0.002)):
        if 0 < end < 1:
            assert share_evidence(outcomes, end)[-1] < 1 / LEVEL
            assert share_evidence(outcomes, end + outside)[-1] > 1 / LEVEL


def test_the_seeds_that_will_be_needed():
    d = RNG.normal(1, 1, size=6)
    assert settled_after(d.tolist(), 20, None) == settled_after(d.tolist(), 20, None)
    assert settled_after(d.tolist(), 20, None) < settled_after(d.tolist(), 300, None)
    assert settled_after([1.0, 1.1, 0.9, 1.0, 1.1, 0.9, 1.0, 1.1], 20, None) == 8
    assert math.isnan(settled_after([1.0], 20, None))
    assert math.isnan(settled_after([1.0, 1.0, 1.0], 20, None))
    assert math.isnan(settled_after([1.0, 1.0 + 1e-8, 1.0], 20, None, size=1.0))
    assert settled_after([1.0, -1.1, 1.0, -1.0], 20, None, most=30) == math.inf
    near = [0.05, -0.04, 0.01, -0.02]
    assert settled_after(near, 20, 0.1, most=60) < settled_after(near, 20, None, most=60)
    assert settled_after(near, 300, 0.1, most=60) > settled_after(
        near, 300, 0.1, equal_threshold=20, most=60
    )


def test_the_estimate_of_needed_seeds_is_right_half_the_time():
    simulations, most = 150, 60
    d = np.random.default_rng(2).normal(1.0, 1.0, size=(simulations, most))
    reached = evidence(d) >= 20
    actual = np.where(reached.any(axis=1), reached.argmax(axis=1) + 1, math.inf)
    late = actual > 6
    estimates = np.array([settled_after(row[:6].tolist(), 20, None, most=most) for row in d[late]])
    assert 0.3 < (actual[late] <= estimates).mean() < 0.7


@given(st.lists(st.floats(-100, 100), min_size=1, max_size=8), st.floats(0.01, 1000))
@settings(max_examples=60, deadline=None)
def test_evidence_does_not_depend_on_the_unit(d, unit):
    x = np.round(np.array(d), 3)
    assert evidence(unit * x) == pytest.approx(evidence(x), rel=1e-4)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_looking_after_every_seed_calls_a_model_different_from_itself_in_at_most_5_percent(noise):
    simulations = 3000
    sequential_rate, fixed = false_verdicts(noise, 2, simulations)
    assert sequential_rate <= 0.05 + within(simulations, 0.05) / 2
    assert fixed > 0.12  # the foil: Student's t was not made for that
    assert false_verdicts(noise, 6, 300)[0] <= 0.05 + within(300, 0.05)
    e = evidence_at_stop(noise, simulations)
    assert e.mean() <= 1 + 4 * e.std() / math.sqrt(simulations)


def test_differences_are_settled_with_little_more_than_the_seeds_of_a_fixed_test():
    def by(effect: float) -> float:
        return float(np.quantile(seeds_to_settle(effect, 1, 2000), 0.8))

    assert seeds_of_fixed_test(1.0, 1) == 10
    assert by(1.0) <= 1.6 * 10 + 1
    assert by(3.0) <= 8


@pytest.mark.parametrize("pairs", [1, 15])
@pytest.mark.parametrize("effect", [1, 2, 3])
def test_the_page_on_statistics_has_the_seeds_of_the_fixed_test(effect, pairs):
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    row = rf"\| {effect} standard deviations? \| {pairs} \| \d+ \| (\d+) \| (\d+) \| ([\d.]+) \|"
    found = re.search(row, page)
    assert found
    most, fixed = int(found[1]), int(found[2])
    assert fixed == seeds_of_fixed_test(effect, pairs)
    assert float(found[3]) == pytest.approx(most / fixed, abs=0.005)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_models_at_the_margin_are_called_equal_in_at_most_5_percent(noise):
    simulations = 2000
    for spread in (0.02, 0.1):
        rate = called_equal(noise, spread, MARGIN, simulations)
        assert rate <= 0.05 + within(simulations, 0.05) / 2


def test_identical_models_are_found_to_be_equal():
    assert np.median(seeds_to_equality(0.02, 500)) <= 6
    assert np.median(seeds_to_equality(0.05, 500)) <= 12


def test_intervals_of_all_looks_cover_together():
    simulations = 100
    assert coverage(normal, simulations) >= 0.95 - within(simulations, 0.95)
