"""Statistics over seeds: closed forms, parity with scipy, and their error rates by simulation."""

import math
from itertools import product
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from bench.compare.stats import (
    bootstrap_interval,
    hedges,
    holm,
    paired_difference,
    paired_differences,
    power,
    summarise,
    unpaired_difference,
    verdict,
    wilson,
)
from scripts.error_rates import (
    NOISES,
    bootstrap_coverage,
    common,
    family_wise_error,
    found_alone,
    normal,
    skewed,
    student_coverage,
)

ROOT = Path(__file__).resolve().parents[3]
RNG = np.random.default_rng(0)


def by_seed(values) -> dict[str, float]:
    return {str(k): float(value) for k, value in enumerate(values)}


def test_a_summary_is_over_seeds():
    s = summarise([3.0, 1.0, 2.0, 10.0])
    assert (s.n, s.mean, s.median, s.minimum, s.maximum) == (4, 4.0, 2.5, 1.0, 10.0)
    assert s.std == pytest.approx(math.sqrt(50 / 3))
    assert s.minimum < s.low < s.mean < s.high < s.maximum


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_seeds_have_no_interval(n):
    s = summarise([1.5, 2.5][:n])
    assert s.n == n
    assert math.isnan(s.low)
    assert math.isnan(s.high)
    assert math.isnan(s.std) == (n < 2)


@pytest.mark.parametrize("n", [3, 4, 5])
def test_the_bootstrap_of_few_seeds_is_exact(n):
    values = RNG.normal(size=n)
    means = np.sort([np.mean(resample) for resample in product(values, repeat=n)])
    wanted = np.quantile(means, [0.025, 0.975], method="inverted_cdf")
    assert bootstrap_interval(values) == pytest.approx(wanted.tolist())


def test_the_bootstrap_of_many_seeds_is_that_of_scipy():
    values = RNG.normal(size=40)
    theirs = stats.bootstrap(
        (values,), np.mean, n_resamples=20_000, method="percentile", rng=np.random.default_rng(1)
    ).confidence_interval
    error = values.std() / math.sqrt(40)
    assert bootstrap_interval(values) == pytest.approx(tuple(theirs), abs=0.05 * error)
    assert bootstrap_interval(values) == bootstrap_interval(values)


@pytest.mark.parametrize("n", [3, 5, 12])
def test_paired_differences_are_those_of_scipy(n):
    a, b = RNG.normal(10, 2, size=(2, n))
    theirs = stats.ttest_rel(a, b)
    d = paired_difference(by_seed(a), by_seed(b))
    assert (d.n, d.ratio) == (n, False)
    assert d.p == pytest.approx(theirs.pvalue, rel=1e-9)
    assert (d.low, d.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)
    assert d.mean == pytest.approx(a.mean() - b.mean())
    assert d.effect == pytest.approx(hedges(n - 1) * (a - b).mean() / (a - b).std(ddof=1))


def test_ratios_are_differences_of_logarithms():
    a, b = RNG.lognormal(size=(2, 5))
    ratio = paired_difference(by_seed(a), by_seed(b), ratio=True)
    logs = paired_difference(by_seed(np.log(a)), by_seed(np.log(b)))
    assert ratio.mean == pytest.approx(stats.gmean(a) / stats.gmean(b))
    assert (ratio.low, ratio.high) == pytest.approx((math.exp(logs.low), math.exp(logs.high)))
    assert (ratio.p, ratio.effect) == pytest.approx((logs.p, logs.effect))


@pytest.mark.parametrize("value", [0.0, -0.001])
def test_ratios_need_positive_values(value):
    with pytest.raises(ValueError, match="needs positive values, got"):
        paired_difference(by_seed([1.0, 2.0, value]), by_seed([1.0, 2.0, 3.0]), ratio=True)
    with pytest.raises(ValueError, match="needs positive values, got"):
        unpaired_difference([1.0, 2.0, value], [1.0, 2.0, 3.0], ratio=True)


def test_only_shared_seeds_are_compared():
    a = {"0": 5.0, "1": 7.0, "2": 6.0, "7": 1000.0}
    b = {"3": -1000.0, "2": 5.5, "0": 4.0, "1": 6.5}
    d = paired_difference(a, b)
    assert d.n == 3
    assert d.p == pytest.approx(stats.ttest_rel([5, 7, 6], [4, 6.5, 5.5])[1])


def test_many_pairs_are_compared_as_one_by_one():
    x, y = RNG.normal(5, 1, size=(2, 20, 6))
    x[RNG.random(x.shape) < 0.3] = math.nan
    together = paired_differences(x, y)
    assert len({d.n for d in together}) > 2
    for d, a, b in zip(together, x, y, strict=True):
        known = {k: v for k, v in by_seed(a).items() if not math.isnan(v)}
        assert [*vars(d).values()] == pytest.approx(
            [*vars(paired_difference(known, by_seed(b))).values()], nan_ok=True
        )


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_shared_seeds_have_neither_interval_nor_p(n):
    d = paired_difference(by_seed([1.0, 2.0][:n]), by_seed([3.0, 5.0, 4.0]))
    assert d.n == n
    assert math.isnan(d.mean) == (n == 0)
    assert all(map(math.isnan, (d.low, d.high, d.p, d.effect)))


@pytest.mark.parametrize("ratio", [False, True])
def test_a_model_against_itself_has_p_1(ratio):
    values = by_seed([3.1, 4.1, 5.9])
    d = paired_difference(values, values, ratio=ratio)
    assert (d.p, d.effect, d.mean) == (1.0, 0.0, float(ratio))
    assert unpaired_difference([2.0] * 3, [2.0] * 3).p == 1.0


@pytest.mark.parametrize("written", [lambda x: x, lambda x: float(f"{x:.7g}")])
@pytest.mark.parametrize("n", [3, 5, 6])
def test_copies_of_one_seed_do_not_prove_a_difference(n, written):
    a = by_seed([10.123456789] * n)
    b = by_seed([written(9.1 + k * 1e-12) for k in range(n)])
    d = paired_difference(a, b, ratio=True)
    assert d.p == 2.0 ** (1 - n)  # the sign test's, not the zero of a spread that is rounding
    assert (d.low, d.high, d.effect) == (d.mean, d.mean, math.inf)


def test_constant_unpaired_samples_have_the_p_of_a_permutation_test():
    d = unpaired_difference([1.0] * 4, [2.0] * 3)
    assert d.p == pytest.approx(2 / 35)
    assert d.effect == -math.inf


@pytest.mark.parametrize("sizes", [(3, 3), (5, 9)])
def test_unpaired_differences_are_those_of_scipy(sizes):
    a, b = RNG.normal(10, 2, sizes[0]), RNG.normal(11, 5, sizes[1])
    theirs = stats.ttest_ind(a, b, equal_var=False)
    d = unpaired_difference(a.tolist(), b.tolist())
    assert d.n == min(sizes)
    assert d.p == pytest.approx(theirs[1], rel=1e-9)
    assert (d.low, d.high) == pytest.approx(tuple(theirs.confidence_interval()), rel=1e-9)


def test_hedges_correction_removes_the_bias():
    d = RNG.normal(0.8, 1.0, size=(200_000, 5))
    raw = d.mean(axis=1) / d.std(axis=1, ddof=1)
    assert raw.mean() > 0.95
    assert (hedges(4) * raw).mean() == pytest.approx(0.8, abs=0.01)
    assert math.isnan(hedges(1))


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@given(st.lists(st.floats(0, 1), min_size=1, max_size=6))
def test_holm_is_the_closed_test_of_bonferroni(p):
    families = [
        [k for k in range(len(p)) if kept >> k & 1] for kept in range(1, 2 ** len(p))
    ]  # Marcus et al. 1976: rejected where every family that it is in is rejected
    bonferroni = [min(1.0, len(family) * min(p[k] for k in family)) for family in families]
    closed = [
        max(q for q, family in zip(bonferroni, families, strict=True) if k in family)
        for k in range(len(p))
    ]
    assert holm(p) == pytest.approx(closed, abs=1e-12)


def test_comparisons_that_could_not_be_made_do_not_count():
    adjusted = holm([0.01, math.nan, 0.04])
    assert adjusted[::2] == pytest.approx([0.02, 0.04])
    assert math.isnan(adjusted[1])


@pytest.mark.parametrize(
    ("p", "n", "words"),
    [
        (0.049, 3, "different"),
        (0.05, 3, "not shown to differ"),
        (0.0001, 2, "too few seeds"),
        (math.nan, 5, "too few seeds"),
    ],
)
def test_verdicts(p, n, words):
    assert verdict(p, n) == words


@pytest.mark.parametrize(("k", "n"), [(0, 3), (1, 5), (5, 5), (7, 30)])
def test_shares_have_the_interval_of_scipy(k, n):
    theirs = stats.binomtest(k, n).proportion_ci(method="wilson")
    assert wilson(k, n) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def within(simulations: int, rate: float) -> float:
    """Four standard errors of a simulated rate: exceeded in one of 16,000 runs by chance."""
    return 4 * math.sqrt(rate * (1 - rate) / simulations)


@pytest.mark.parametrize("noise", NOISES.values(), ids=NOISES)
def test_one_model_is_called_different_from_itself_in_at_most_one_of_twenty_families(noise):
    simulations = 1000
    rate = family_wise_error(noise, 5, simulations)
    assert rate <= 0.05 + within(simulations, 0.05)


def test_without_holm_it_would_be_called_different_more_often(monkeypatch):
    monkeypatch.setattr("scripts.error_rates.holm", lambda p: p)
    assert family_wise_error(normal, 5, 400) > 0.2


def test_models_of_different_seeds_are_not_called_different_either():
    simulations = 300
    rate = family_wise_error(skewed, 5, simulations, paired=False)
    assert rate <= 0.05 + within(simulations, 0.05)


def test_a_difference_of_one_standard_deviation_over_five_seeds_is_found_as_computed():
    simulations, computed = 20_000, power(5, 1.0)
    assert computed == pytest.approx(0.4014, abs=1e-4)  # of the noncentral t distribution
    assert found_alone(1.0, 5, simulations) == pytest.approx(
        computed, abs=within(simulations, computed)
    )


def test_power_is_that_of_scipy():
    for n, effect, level in [(3, 1.0, 0.05), (5, -0.7, 0.01), (10, 0.0, 0.05)]:
        t, shift = stats.t.ppf(1 - level / 2, n - 1), effect * math.sqrt(n)
        theirs = stats.nct.sf(t, n - 1, shift) + stats.nct.cdf(-t, n - 1, shift)
        assert power(n, effect, level) == pytest.approx(theirs, rel=1e-6)
    assert power(7, 0.0, 0.05) == pytest.approx(0.05)


@pytest.mark.parametrize("effect", [-3.0, 3.0, 10.0, 100.0])
def test_power_is_known_where_a_tail_is_too_small_for_scipy(effect):
    powers = [power(n, effect, 0.05 / 15) for n in range(3, 30)]
    assert powers == sorted(powers)
    assert powers[-1] == pytest.approx(1.0)


@pytest.mark.parametrize("n", [3, 5, 10])
@pytest.mark.parametrize("noise", [normal, common])
def test_students_interval_covers_as_often_as_it_says(noise, n):
    simulations = 20_000
    rate = student_coverage(noise, n, simulations)
    assert rate == pytest.approx(0.95, abs=within(simulations, 0.95))


@pytest.mark.parametrize("n", [3, 5, 10])
def test_students_interval_is_not_short_of_skewed_noise(n):
    simulations = 20_000
    assert student_coverage(skewed, n, simulations) >= 0.95 - within(simulations, 0.95)


def test_the_page_on_statistics_has_the_computed_power():
    page = (ROOT / "docs" / "statistics.md").read_text(encoding="utf-8")
    cells = " | ".join(f"{100 * power(n, 1.0):.1f} %" for n in (3, 5, 10))
    assert f"| the paired differences: the same, computed | {cells} |" in page


def test_the_bootstrap_interval_is_too_short_of_five_seeds():
    simulations = 4000
    rate = bootstrap_coverage(normal, 2.0, 5, simulations)
    assert rate == pytest.approx(0.845, abs=within(simulations, 0.845))  # not 0.95
