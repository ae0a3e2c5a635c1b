"""The recommendation: what is taken, what it costs, and how sure it is, from known numbers."""

import pytest
from synthetic_runs import PROTOCOL, costs, scores

from bench.compare.read import read_runs
from bench.compare.recommend import recommendation
from bench.compare.statistics import compare_runs
from bench.records import Status


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
    assert "It is lower than that of the other model (largest p" in text
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


def test_one_model_with_one_seed_is_no_recommendation_either(study_of):
    assert "not a recommendation" in study_of(ddpm_small=[5.0])


def test_the_best_that_is_also_the_cheapest_trades_nothing(study_of):
    text = study_of(dcgan_small=[2.0, 2.1, 2.2], ddpm_small=[5.0, 5.1, 5.2])
    assert "the lowest FID (domain) is that of dcgan_small" in text
    assert "nothing is traded away" in text


def test_a_collapsed_model_is_never_recommended_and_never_said_to_be_worse(make_run, tmp_path):
    for seed in range(3):
        bad = scores(1.0 + seed / 100) | costs(1, 100.0) | {"warning": "2 modes"}
        make_run("mlp_gan", seed, {"g": bad})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        make_run("dcgan_small", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
    text = recommend(tmp_path / "runs")
    assert "the lowest FID (domain) without signs of collapse is that of ddpm_small" in text
    assert "A lower FID, with signs of collapse, is that of mlp_gan ⚠ (g)." in text
    assert "It is lower than that of the other model" in text  # of dcgan_small alone
    assert "dcgan_small (g), 2.2" in text
    assert "Where samples must be cheap: dcgan_small (g)" in text


def test_nothing_is_recommended_where_every_model_collapsed(make_run, tmp_path):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": scores(1.0) | costs(1, 100.0) | {"warning": "2 modes"}})
    text = recommend(tmp_path / "runs")
    assert text.endswith("every model shows signs of collapse: none of them is to be recommended.")


def test_models_without_three_finished_seeds_are_named_as_not_compared(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        make_run("mlp_gan", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
        make_run("dcgan", seed, {}, status=Status("failed", "loss is nan", step=7))
    for seed in range(2):
        make_run("edm_small", seed, {"heun-9": scores(4.3) | costs(17, 9.0)})
    text = recommend(tmp_path / "runs")
    assert "It is lower than that of the other model" in text
    assert "Not compared, for want of 3 finished seeds: dcgan, edm_small." in text


def test_runs_of_the_recommended_model_that_failed_are_told(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        make_run("mlp_gan", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
    make_run("ddpm_small", 3, {}, status=Status("failed", "loss is nan", step=7))
    text = recommend(tmp_path / "runs")
    assert "1 of its 4 runs failed." in text
    assert "of its 3 runs" not in text


def test_a_fid_that_is_not_positive_is_compared_by_difference(study_of):
    text = study_of(ddpm_small=[-0.002, -0.001, -0.003], dcgan_small=[1.0, 1.1, 1.05])
    assert "It is lower than that of the other model" in text
    assert "higher by 1.05 [" in text


def test_without_latencies_nothing_is_said_of_cheaper_samplers(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | {"nfe": 10}})
        make_run("mlp_gan", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
    assert "cheap" not in recommend(tmp_path / "runs")


def test_nothing_trained_nothing_recommended(make_run, tmp_path):
    make_run("real", 0, {"held-out": scores(0.5) | {"nfe": 0}}, protocol={"samples": 360})
    assert recommend(tmp_path / "runs") == ""
