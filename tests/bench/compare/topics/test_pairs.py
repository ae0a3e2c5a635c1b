"""Differences between models: pairs, tests, and correction for their number."""

import math
import time
from itertools import combinations

import numpy as np
import pytest
from scipy import stats
from synthetic_runs import FLOOR, costs, scores

from bench.compare.comparison import Comparison, compare_runs
from bench.compare.read import read_runs
from bench.compare.stats import holm, paired_difference, power, unpaired_difference
from bench.compare.topics.pairs import (
    all_differences,
    compare_pairs,
    contestants,
    pairs_sentences,
    pairs_table,
)
from bench.runs.directory import Status

FIDS = {
    "ddpm": (9.8, 10.4, 10.1, 9.9),
    "edm": (10.0, 10.5, 10.4, 9.8),
    "dcgan": (20.1, 24.0, 19.5, 22.2),
}

THREE = [("ddpm", "edm"), ("ddpm", "dcgan"), ("edm", "dcgan")]
"""All pairs of them, by mean FID."""


@pytest.fixture
def compared(make_run, tmp_path):
    """Compare models with these FIDs by seed: compared(model=(…), …)."""

    def compared(**models: tuple[float, ...]) -> Comparison:
        for model, fids in models.items():
            for seed, fid in enumerate(fids):
                make_run(model, seed, {"ddim-50": scores(fid) | costs(50, 30.0)})
        return compare_runs(read_runs([tmp_path]))

    return compared


def seeded(values) -> dict[str, float]:
    return {str(seed): value for seed, value in enumerate(values)}


def test_all_pairs_are_compared_seed_by_seed_and_adjusted_together(compared):
    pairs = compare_pairs(compared(**FIDS))
    names = [(pair.a.model, pair.b.model) for pair in pairs]
    assert names == THREE
    p = [stats.ttest_rel(np.log(FIDS[a]), np.log(FIDS[b]))[1] for a, b in names]
    assert [pair.difference.p for pair in pairs] == pytest.approx(p)
    assert [pair.p for pair in pairs] == pytest.approx(holm(p))
    assert [pair.verdict for pair in pairs] == ["not shown to differ", "different", "different"]
    assert pairs[1].difference.mean == pytest.approx(
        stats.gmean(FIDS["ddpm"]) / stats.gmean(FIDS["dcgan"])
    )


def test_the_table_says_who_is_lower_and_how_sure(compared):
    comparison = compared(**FIDS)
    table = pairs_table(comparison, compare_pairs(comparison))
    assert table.headings == (
        "A",
        "B",
        "seeds",
        "FID (domain) A / B [95 %]",
        "effect size",
        "p (Holm)",
        "verdict",
    )
    rows = [[cell.text for cell in row] for row in table.rows]
    theirs = stats.ttest_rel(np.log(FIDS["ddpm"]), np.log(FIDS["dcgan"])).confidence_interval()
    ends = ", ".join(f"{math.exp(end):.3f}" for end in theirs)
    assert rows[1][:4] == ["ddpm, ddim-50", "dcgan, ddim-50", "4", f"0.470 [{ends}]"]
    assert [row[-1] for row in rows] == [
        "not shown to differ",
        "different: ddpm is lower",
        "different: edm is lower",
    ]


def test_a_model_is_drawn_by_the_first_sampler_that_it_lists_not_by_its_best(make_run, tmp_path):
    for seed in range(3):
        slow, fast = scores(12.0 + seed), scores(9.0 + seed)
        make_run("ddpm", seed, {"ddpm-1000": slow, "ddim-50": fast})
        make_run("dcgan", seed, {"generator": scores(11.0 + seed**2)})
        make_run("real", 0, {"held-out": scores(0.1)}, protocol=FLOOR)
    make_run("edm", 0, {}, status=Status("failed", "out of memory", 3))
    comparison = compare_runs(read_runs([tmp_path]))
    found = [(entry.model, entry.sampler) for entry in contestants(comparison)]
    assert found == [("dcgan", "generator"), ("ddpm", "ddpm-1000")]


def test_two_seeds_give_no_verdict_and_the_page_says_so(compared):
    comparison = compared(ddpm=(9.0, 9.1), dcgan=(20.0, 20.1))
    pairs = compare_pairs(comparison)
    assert [(pair.verdict, pair.difference.n) for pair in pairs] == [("too few seeds", 2)]
    assert math.isnan(pairs[0].p)
    (sentence,) = pairs_sentences(comparison, pairs)
    assert "No verdict" in sentence


def test_a_pair_without_verdict_does_not_count_in_the_family(compared):
    comparison = compared(**FIDS, gan=(30.0,))
    pairs = compare_pairs(comparison)
    by_name = {(pair.a.model, pair.b.model): pair for pair in pairs}
    p = [by_name[names].difference.p for names in THREE]
    assert by_name["ddpm", "dcgan"].p == pytest.approx(holm(p)[1])
    assert by_name["ddpm", "gan"].verdict == "too few seeds"
    assert "here 3 (Holm)" in pairs_sentences(comparison, pairs)[0]


def test_seeds_that_do_not_pair_are_compared_by_welch():
    a, b = {"0": 9.0, "1": 9.5, "2": 9.9}, {"2": 15.0, "3": 14.0, "4": 17.0, "5": 16.0}
    (found,) = all_differences([a, b])
    assert found == unpaired_difference([*a.values()], [*b.values()], ratio=True)
    (paired,) = all_differences([a, a | {"9": 4.0}])
    assert (paired.n, paired.p) == (3, 1.0)


@pytest.mark.parametrize("lowest", [0.0, -0.002])
def test_distances_that_are_not_positive_are_compared_by_difference(compared, lowest):
    comparison = compared(ddpm=(lowest, 0.01, 0.02), dcgan=(0.5, 0.7, 0.55))
    pairs = compare_pairs(comparison)
    assert pairs[0].difference == paired_difference(
        seeded((lowest, 0.01, 0.02)), seeded((0.5, 0.7, 0.55))
    )
    assert "A − B" in pairs_table(comparison, pairs).headings[3]
    assert "some are not positive" in pairs_sentences(comparison, pairs)[0]
    assert pairs_table(comparison, pairs).rows[0][-1].text == "different: ddpm is lower"


def test_all_pairs_come_in_the_order_of_combinations():
    rng = np.random.default_rng(0)
    samples = [seeded(rng.lognormal(size=4).tolist()) for _ in range(5)]
    wanted = [paired_difference(a, b, ratio=True) for a, b in combinations(samples, 2)]
    for found, one in zip(all_differences(samples), wanted, strict=True):
        assert [*vars(found).values()] == pytest.approx([*vars(one).values()])


def test_of_many_models_the_pairs_with_the_lowest_are_shown_and_all_count(compared):
    rng = np.random.default_rng(0)
    models = {f"m{k}": tuple(10 * (1 + k) * rng.lognormal(0, 0.05, 3)) for k in range(9)}
    comparison = compared(**models)
    pairs = compare_pairs(comparison)
    assert len(pairs) == 36
    table = pairs_table(comparison, pairs)
    assert [row[0].text for row in table.rows] == ["m0, ddim-50"] * 8
    sentences = pairs_sentences(comparison, pairs)
    assert "here 36 (Holm)" in sentences[0]
    assert any("lowest mean FID" in sentence for sentence in sentences)


def test_of_many_variants_models_are_compared_as_they_are_configured(make_run, compared, tmp_path):
    def vary(seed: int, lr: int) -> None:
        row = scores(30.0 + lr + seed) | {"overrides": f"model.lr={lr} budget.seconds=120"}
        make_run("dcgan", seed, {"generator": row}, variant=f"v{lr}")

    for seed in range(3):
        for lr in range(5):
            vary(seed, lr)
    few = compared(**FIDS)
    assert len(contestants(few)) == 8
    assert len(compare_pairs(few)) == 28
    vary(0, 5)
    many = compare_runs(read_runs([tmp_path]))
    assert [(entry.model, entry.variant) for entry in contestants(many)] == [
        (model, "default") for model in ("ddpm", "edm", "dcgan")
    ]
    sentences = pairs_sentences(many, compare_pairs(many))
    assert "here 3 (Holm)" in sentences[0]
    assert "with overrides of the model are not compared" in sentences[1]


def test_variants_of_one_model_are_compared_however_many(make_run, tmp_path):
    for variant in range(9):
        row = scores(30.0 + variant) | {"overrides": f"model.lr={variant}"}
        make_run("dcgan", 0, {"generator": row}, variant=f"v{variant}")
    assert len(contestants(compare_runs(read_runs([tmp_path])))) == 9


def test_power_is_said_for_the_fewest_seeds(compared):
    comparison = compared(**FIDS, gan=(30.0, 20.0, 25.0))
    sentence = pairs_sentences(comparison, compare_pairs(comparison))[-1]
    alone, strictest = power(3, 1.0), power(3, 1.0, 0.05 / 6)
    assert "with 3 seeds" in sentence
    assert f"is found in {alone:.0%} of cases by a single comparison" in sentence
    assert f"in {strictest:.1%} at the strictest step of Holm's correction for 6 pairs" in sentence


def test_one_model_has_nobody_to_differ_from(compared):
    assert compare_pairs(compared(ddpm=(9.0, 9.1, 9.2))) == ()


def test_two_hundred_models_are_compared_in_a_second():
    rng = np.random.default_rng(0)
    samples = [seeded(rng.lognormal(size=5).tolist()) for _ in range(200)]
    start = time.process_time()
    holm([d.p for d in all_differences(samples)])
    assert time.process_time() - start < 1.0
