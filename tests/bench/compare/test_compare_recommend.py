"""The recommendation: what is taken, what it costs, and how sure it is, from known numbers."""

import pytest
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.read import read_runs
from bench.compare.recommend import recommendation
from bench.compare.statistics import compare_runs


def recommend(root) -> str:
    return " ".join(recommendation(compare_runs(read_runs([root]))))


@pytest.fixture
def study_of(make_run, tmp_path):
    """Write FIDs by seed: study_of(ddpm_small=[…], dcgan_small=[…]); the recommendation."""

    def write(**fids: list[float]) -> str:
        for model, values in fids.items():
            name, cost = ("ddim-10", costs(10, 60.0)) if "ddpm" in model else ("g", costs(1, 0.2))
            for seed, fid in enumerate(values):
                protocol = PROTOCOL | {"budget": "seconds=120"}
                make_run(model, seed, {name: scores(fid) | cost}, protocol=protocol)
        return recommend(tmp_path / "runs")

    return write


def test_a_clear_difference_is_said_with_its_size_and_what_is_cheaper(study_of):
    text = study_of(ddpm_small=[5.0, 5.2, 4.9], dcgan_small=[10.1, 10.3, 9.9])
    assert "the lowest FID (domain) is that of ddpm_small (ddim-10): 5.03 ± 0.15 over" in text
    assert "after 120 s of training" in text
    assert "60 ms per sample" in text
    assert "It is lower than that of every other model" in text
    assert "dcgan_small (g), 2.01 times as high" in text
    assert "Where samples must be cheap: dcgan_small (g)" in text
    assert "300 times cheaper, on the front in 100% of resamples" in text


def test_seeds_that_overlap_leave_it_open(study_of):
    text = study_of(ddpm_small=[5.0, 9.0, 7.0], dcgan_small=[8.0, 5.5, 8.5])
    assert "It is not shown to differ from dcgan_small (g): more seeds would tell." in text
    assert "It is lower than" not in text


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_are_no_recommendation(study_of, seeds):
    text = study_of(ddpm_small=[5.0] * seeds, dcgan_small=[50.0] * seeds)
    assert "not a recommendation" in text
    assert "It is lower than" not in text
    assert "± –" not in text


def test_one_model_alone_says_so(study_of):
    assert "only model trained" in study_of(ddpm_small=[5.0, 5.1, 5.2])


def test_the_best_that_is_also_the_cheapest_trades_nothing(study_of):
    text = study_of(dcgan_small=[2.0, 2.1, 2.2], ddpm_small=[5.0, 5.1, 5.2])
    assert "the lowest FID (domain) is that of dcgan_small" in text
    assert "nothing is traded away" in text


def test_a_collapsed_model_is_never_recommended_before_others(make_run, tmp_path):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": scores(1.0) | costs(1, 0.1) | {"warning": "2 modes"}})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
    text = recommend(tmp_path / "runs")
    assert "the lowest FID (domain) is that of ddpm_small" in text


def test_nothing_trained_nothing_recommended(make_run, tmp_path):
    make_run("real", 0, {"held-out": scores(0.5) | {"nfe": 0}}, protocol={"samples": 360})
    assert recommend(tmp_path / "runs") == ""
