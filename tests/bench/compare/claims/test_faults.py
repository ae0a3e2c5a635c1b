"""Faults of claims that an audit on synthetic projects found, each with what is right now."""

import math

import numpy as np
import pytest
from synthetic_runs import FLOOR, POINTS, mode_scores, scores, write_run

from bench.compare.claims.declaration import read_claim, read_claims, read_test
from bench.compare.claims.estimates import estimate
from bench.compare.claims.measurements import Seeds
from bench.compare.claims.pooling import by_protocol, measure
from bench.compare.claims.verdicts import judge
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.runs.directory import Status

ROLES = {"gan": ["dcgan_small"], "diffusion": ["ddpm_small"], "real": ["real"]}
COPYING = {"says": "", "kind": "copying", "numerator": "gan", "column": "nearest_trained"}
SPLIT, OWN = 0.03, 0.02
"""Standard deviations over splits, common to all seeds, and of a seed."""


def comparisons(folder):
    by_dataset = {}
    for run in read_runs([folder]):
        by_dataset.setdefault(run.dataset, []).append(run)
    return [compare_runs(runs) for runs in by_dataset.values()]


def named(name):
    (claim,) = (claim for claim in read_claims() if claim.name == name)
    return claim


def measured(folder, test):
    protocols = by_protocol(comparisons(folder))
    return [value for value, _ in measure(read_test({"says": ""} | test, ROLES), protocols)]


def nearest(share, error=0.02):
    return {
        "nearest_trained_domain": share,
        "nearest_trained_expected_domain": 0.8,
        "nearest_trained_error_domain": error,
    }


@pytest.mark.parametrize("sequential", [False, True])
def test_generators_that_copy_nothing_are_seldom_called_copying_in_either_direction(sequential):
    """One split for all seeds: Student's t over seeds alone is wrong in half of the cases."""
    rng = np.random.default_rng(0)
    test = read_test(COPYING, ROLES)
    error = math.hypot(SPLIT, OWN)
    wrong, alone = [0, 0], 0
    for _ in range(1000):
        values = SPLIT * rng.normal() + OWN * rng.normal(size=5)
        by_seed = {str(seed): float(value) for seed, value in enumerate(values)}
        split = Seeds(by_seed, error=error, freedom=150.0, limits=(-1.0, 1.0))
        found = estimate(test, split, sequential=sequential)
        wrong[found.effect > 0] += found.p < 0.05
        alone += estimate(test, Seeds(by_seed)).p < 0.05
    assert max(wrong) <= 25 + 3 * math.sqrt(25)  # 2.5 % in each direction
    assert alone > 400


def test_copying_is_found_although_the_split_has_an_error(tmp_path):
    for seed in range(5):
        row = scores(9.0) | nearest(0.97 + seed / 1000)
        write_run(tmp_path, "dcgan_small", seed, {"g": row})
    body = {"source": "C", "statement": "", "runs": [], "tests": [COPYING]}
    claim = read_claim("c", body, ROLES, "claims.yaml")
    (judgement,) = judge([claim], comparisons(tmp_path / "runs"))
    assert judgement.verdict == "supported"
    assert judgement.findings[0].estimate.effect == pytest.approx(0.172)


def test_runs_that_do_not_know_the_error_of_the_split_decide_nothing(tmp_path):
    for seed in range(5):
        row = scores(9.0) | (nearest(0.97) if seed else {})
        write_run(tmp_path, "dcgan_small", seed, {"g": row})
    (judgement,) = judge([named("privacy")], comparisons(tmp_path / "runs"))
    assert judgement.verdict == "open"
    assert judgement.findings[0].estimate.text == "split error unknown in 1 of 5"


def test_held_out_data_is_measured_with_an_error(tmp_path):
    for seed in range(5):
        row = scores(9.0) | {"recall_domain": 0.72 + 0.03 + seed / 1000}
        write_run(tmp_path, "dcgan_small", seed, {"g": row})
    test = {"kind": "difference", "factor": 0.8, "column": "recall", "numerator": "gan"}
    test |= {"baseline": "real"}
    ends = {"recall_domain": 0.9, "recall_low_domain": 0.83, "recall_high_domain": 0.97}
    write_run(tmp_path, "real", 0, {"r": scores(1.0) | ends}, protocol=FLOOR)
    (value,) = measured(tmp_path / "runs", test)
    assert value.error == pytest.approx(0.8 * 0.07 / 1.95996, rel=1e-4)
    found = estimate(read_test({"says": ""} | test, ROLES), value)
    assert found.p > 0.2  # 0.032 ± 0.029, however alike the seeds are
    exact = estimate(read_test({"says": ""} | test, ROLES), Seeds(value.values))
    assert exact.p < 1e-4


def test_a_gan_that_always_collapses_on_one_toy_set_is_not_unstable(tmp_path):
    for seed in range(5):
        for dataset in ("fashion_mnist", "ring8"):
            points = dataset == "ring8"
            kwargs = {"dataset": dataset}
            if points:
                kwargs |= {"protocol": POINTS, "extractors": ("identity",)}
            for model in (
                ("mlp_gan_points", "ddpm_mlp") if points else ("dcgan_small", "ddpm_small")
            ):
                row = mode_scores(1, 0.9, 2.0, 5 + seed / 9) if points else scores(9.0 + seed / 9)
                collapsed = points and model == "mlp_gan_points"
                row |= {"warning": "only 1 of 8 modes"} if collapsed else {}
                write_run(tmp_path, model, seed, {"g": row}, **kwargs)
    (judgement,) = judge([named("gan-instability")], comparisons(tmp_path / "runs"))
    assert judgement.verdict == "open"
    assert all("ring8" not in finding.where for finding in judgement.findings)


UNSTABLE = {
    "kind": "unstable_runs",
    "settings": ["lr"],
    "numerator": "gan",
    "baseline": "diffusion",
}


def test_instability_is_counted_over_settings_and_apart_from_collapse(tmp_path):
    command = "python -m bench model=dcgan_small model.training.lr=high"
    failed = Status("failed", "not finite", step=3, command=command)
    for seed in range(3):
        for model in ("dcgan_small", "ddpm_small"):
            for k, fid in enumerate((10.0, 20.0 if model == "dcgan_small" and seed else 9.0), 1):
                row = scores(fid) | {"warning": "only 1 of 10 modes"}
                write_run(tmp_path, model, seed, {"g": row}, checkpoint=k, checkpoints=2)
            if model == "ddpm_small":
                row = scores(9.0) | {"overrides": "model.training.lr=high"}
                write_run(tmp_path, model, seed, {"g": row}, variant="high")
        write_run(tmp_path, "dcgan_small", seed, {}, variant="high", status=failed)
    (counts,) = measured(tmp_path / "runs", UNSTABLE)
    assert counts.numerator == ((2, 3), (3, 3))  # two end at twice their best FID; a setting fails
    assert counts.baseline == ((0, 3), (0, 3))


def test_spreads_are_compared_within_settings(tmp_path):
    for seed in range(6):
        for model, spread in (("dcgan_small", 3.0), ("ddpm_small", 1.0)):
            for variant, changes in (("default", ""), ("low", "model.training.lr=low")):
                row = scores(10.0 * math.exp(spread * (seed % 3))) | {"overrides": changes}
                write_run(tmp_path, model, seed, {"g": row}, variant=variant)
    test = UNSTABLE | {"kind": "spread_over_seeds"}
    (found,) = measured(tmp_path / "runs", test)
    assert list(found.values.values()) == pytest.approx([math.log(3)] * 2)
    assert [seed for seed, _ in found.ordered] == [2, 2, 5, 5]  # three seeds at a time
    assert [value for _, value in found.ordered] == pytest.approx([math.log(3)] * 4)


def test_diversity_is_that_of_diffusion_at_the_same_budget(tmp_path):
    """Both far from held-out data after a short budget: no verdict against GANs."""
    for seed in range(5):
        for model in ("dcgan_small", "ddpm_small"):
            row = {"recall_domain": 0.2 + seed / 1000, "coverage_domain": 0.2 + seed / 1000}
            write_run(tmp_path, model, seed, {"g": scores(30.0) | row})
    write_run(tmp_path, "real", 0, {"r": scores(1.0)}, protocol=FLOOR)
    (judgement,) = judge([named("gan-diversity")], comparisons(tmp_path / "runs"))
    assert judgement.verdict != "contradicted"


def test_what_holds_by_construction_decides_nothing():
    assert named("diffusion-interpretable").undecidable
    compute = [test for test in named("diffusion-compute").tests if test.decides]
    assert [test.options["cost"] for test in compute] == ["train_flops"]  # at an equal FID
    for name in ("not-obsolete", "diffusion-controllable", "diffusion-sampling-cost"):
        for test in named(name).tests:
            fronts = "on the Pareto front" in test.says
            curves = any(side.curve == "edit_distance" for side in test.sides)
            steps = {side.sampler for side in test.sides} == {"ddim-50", "ddim-10"}
            assert not (test.decides and (fronts or curves or steps)), test.says


def test_modes_are_counted_where_there_are_many():
    tests = [t for t in named("gan-mode-collapse").tests if t.numerator[0].column == "modes"]
    sets = {name for test in tests for name in test.numerator[0].dataset}
    assert sets == {"stacked_digits", "stacked_mnist", "ring8", "grid25"}


def test_stabilisers_are_judged_by_the_learning_rates_that_work():
    decide = [test for test in named("gan-stabilisers").tests if test.decides]
    assert all(test.options == {"settings": ["lr"]} for test in decide)
