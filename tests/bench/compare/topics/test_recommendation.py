"""The recommendation from known numbers: choice, cost and certainty."""

from typing import Any

import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.recommendation import recommendation
from bench.runs.directory import Status
from bench.runs.looks import Look


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
    assert "after 2 min of training" in text
    assert "60 ms per sample" in text
    assert "It is lower than that of the other model (largest p" in text
    assert "dcgan_small (g), 2.01 times as high" in text
    assert "Where samples must be cheap: dcgan_small (g)" in text
    assert text.partition("300 times cheaper")[2].startswith(". FID of every trained row")
    assert "resamples" not in text


def test_seeds_that_overlap_leave_it_open(study_of, tmp_path):
    text = study_of(ddpm_small=[5.0, 9.0, 7.0], dcgan_small=[8.0, 5.5, 8.5])
    assert (
        "It is not shown to differ from dcgan_small (g): about 61 more seeds would tell, "
        "4 h 4 min: `python -m bench.decide model=dcgan_small,ddpm_small dataset=digits "
        f"results_root={tmp_path} hours=4.1`."
    ) in text
    assert "It is lower than" not in text


def test_an_interval_within_the_margin_is_called_equal(study_of):
    text = study_of(ddpm_small=[5.0, 5.2, 4.9], dcgan_small=[5.1, 5.15, 5.05])
    assert "It is equal within ±10 % to dcgan_small (g)." in text
    assert "bench.decide" not in text


def test_of_several_open_rivals_the_seeds_of_the_cheapest_verdict_are_said(study_of, tmp_path):
    text = study_of(
        ddpm_small=[5.0, 9.0, 7.0], dcgan_small=[8.0, 5.5, 8.5], mlp_gan=[8.0, 9.4, 9.9]
    )
    assert "It is not shown to differ from " in text
    assert " more seeds would tell the first of them, " in text
    assert "`python -m bench.decide model=dcgan_small,ddpm_small,mlp_gan dataset=digits res" in text


def test_the_hours_of_the_command_include_those_already_spent(make_run, tmp_path):
    command = "python -m bench dataset=digits"
    made = Status("finished", sequential=Look().text, seconds=1800, command=command)
    for model, fids in {"ddpm_small": (5.0, 9.0, 7.0), "dcgan_small": (8.0, 5.5, 8.5)}.items():
        for seed, fid in enumerate(fids):
            make_run(model, seed, {"g": scores(fid)}, status=made)
    text = recommend(tmp_path / "runs")
    assert "about 61 more seeds would tell, 2 d 13 h: `" in text
    assert " hours=64`" in text  # 61 seeds of both, after three, in half an hour each


def test_where_seeds_differ_there_is_no_number(make_run, tmp_path):
    for seed, fid in enumerate([5.0, 9.0, 7.0]):
        make_run("ddpm_small", seed, {"ddim-10": scores(fid)})
        make_run("dcgan_small", seed + 3, {"g": scores(fid + 1)})
    text = recommend(tmp_path / "runs")
    assert "dcgan_small (g): more seeds would tell: `python -m bench.decide model=" in text


@pytest.mark.parametrize("words", ["model.lr=1 dataset=digits", "'dataset.path=my images'"])
def test_a_command_that_cannot_be_shown_is_not_made_up(make_run, tmp_path, words):
    for seed, fid in enumerate([5.0, 9.0, 7.0]):
        made = Status("finished", command=f"python -m bench model=ddpm_small {words} seed={seed}")
        make_run("ddpm_small", seed, {"ddim-10": scores(fid)}, status=made)
        make_run("dcgan_small", seed, {"g": scores((8.0, 5.5, 8.5)[seed])})
    assert "`python -m bench.decide …`" in recommend(tmp_path / "runs")


@pytest.mark.parametrize("seeds", [1, 2])
def test_too_few_seeds_are_no_recommendation(study_of, seeds):
    text = study_of(ddpm_small=[5.0] * seeds, dcgan_small=[50.0] * seeds)
    assert "not a recommendation" in text
    assert "It is lower than" not in text
    assert "± –" not in text


def test_one_model_alone_says_so(study_of):
    assert "only trained model" in study_of(ddpm_small=[5.0, 5.1, 5.2])


def test_one_model_with_one_seed_is_no_recommendation_either(study_of):
    assert "not a recommendation" in study_of(ddpm_small=[5.0])


def test_the_best_that_is_also_the_cheapest_trades_nothing(study_of):
    text = study_of(dcgan_small=[2.0, 2.1, 2.2], ddpm_small=[5.0, 5.1, 5.2])
    assert "the lowest FID (domain) is that of dcgan_small" in text
    assert "No cheaper sampler" in text


def test_a_collapsed_model_is_never_recommended_and_never_said_to_be_worse(make_run, tmp_path):
    for seed in range(3):
        bad = scores(1.0 + seed / 100) | costs(1, 100.0) | {"warning": "2 modes"}
        make_run("mlp_gan", seed, {"g": bad})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        make_run("dcgan_small", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
    text = recommend(tmp_path / "runs")
    assert "the lowest FID (domain) without signs of collapse is that of ddpm_small" in text
    assert "A lower FID, but signs of collapse: mlp_gan ⚠ (g)." in text
    assert "It is lower than that of the other model" in text  # of dcgan_small alone
    assert "dcgan_small (g), 2.2" in text
    assert "Where samples must be cheap: dcgan_small (g)" in text


def test_nothing_is_recommended_where_every_model_collapsed(make_run, tmp_path):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": scores(1.0) | costs(1, 100.0) | {"warning": "2 modes"}})
    text = recommend(tmp_path / "runs")
    assert text.endswith("every model shows signs of collapse: none is recommended.")


COPIES = "copies: 31% of the samples all but coincide with one training image, 0.0% of held-out …"


@pytest.mark.parametrize(
    ("warning", "signs"),
    [("2 modes", "collapse"), (COPIES, "copying"), (f"2 modes; {COPIES}", "collapse and copying")],
)
def test_the_answer_says_which_signs_a_model_shows(make_run, tmp_path, warning, signs):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": scores(1.0 + seed / 100) | {"warning": warning}})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10)})
    text = recommend(tmp_path / "runs")
    without = signs.replace("and", "or")
    assert f"the lowest FID (domain) without signs of {without} is that of ddpm_small" in text
    assert f"A lower FID, but signs of {signs}: mlp_gan ⚠ (g)." in text
    assert "collapse or copying" not in text or signs == "collapse and copying"


def test_models_with_different_signs_are_named_apart(make_run, tmp_path):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": scores(1.0) | {"warning": "2 modes"}})
        make_run("dcgan", seed, {"g": scores(2.0) | {"warning": COPIES}})
        make_run("edm", seed, {"heun-9": far(3.0)})
    text = recommend(tmp_path / "runs")
    assert (
        "every model shows signs of collapse (mlp_gan ⚠ (g)) or shows signs of copying "
        "(dcgan ⚠ (g)) or has no sample near real data (edm (heun-9)): none is recommended."
    ) in text


@pytest.mark.parametrize(
    ("seeds", "warned", "taken"),
    [(1, 1, False), (2, 1, False), (3, 1, True), (3, 2, False), (5, 2, True), (4, 2, False)],
)
def test_an_entry_is_out_from_half_of_its_seeds_on(make_run, tmp_path, seeds, warned, taken):
    for seed in range(seeds):
        sign = {"warning": "2 modes"} if seed < warned else {}
        make_run("mlp_gan", seed, {"g": scores(1.0 + seed / 100) | sign})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10)})
    text = recommend(tmp_path / "runs")
    best = "mlp_gan ⚠ (g)" if taken else "ddpm_small (ddim-10)"
    assert f"is that of {best}: " in text
    show = "shows" if warned == 1 else "show"
    some = f"{warned} of {seeds} seeds of mlp_gan ⚠ (g) {show} signs of collapse."
    assert (some in text) == taken
    assert ("A lower FID, but signs of collapse" in text) == (not taken)


def test_models_without_three_finished_seeds_are_named_as_not_compared(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        make_run("mlp_gan", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
        make_run("dcgan", seed, {}, status=Status("failed", "loss is nan", step=7))
    for seed in range(2):
        make_run("edm_small", seed, {"heun-9": scores(4.3) | costs(17, 9.0)})
    text = recommend(tmp_path / "runs")
    assert "It is lower than that of the other model" in text
    first = text.partition(". It is lower")[0]
    assert first.endswith("6 ms per sample; dcgan has no finished run")
    assert "Not compared, because of fewer than 3 finished seeds: edm_small." in text


@pytest.mark.parametrize("others", [0, 2])
def test_a_model_with_enough_seeds_is_not_said_to_have_few(make_run, tmp_path, others):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        if seed >= others:
            make_run("dcgan", seed, {}, status=Status("failed", "loss is nan", step=7))
    for seed in range(others):
        make_run("dcgan", seed, {"g": scores(9.0) | costs(1, 9.0)})
    text = recommend(tmp_path / "runs")
    assert "over 3 seeds" in text
    assert "fewer than 3 seeds" not in text
    assert ("dcgan has no finished run" in text) == (others == 0)
    assert ("Not compared, because of fewer than 3 finished seeds: dcgan." in text) == (others > 0)


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
    assert recommend(tmp_path / "runs") == (
        "On digits, no model was trained. Not trained here, and so not ranked: real (held-out), "
        "held-out real data, FID 0.500."
    )


def test_nothing_scored_nothing_said(make_run, tmp_path):
    make_run("real", 0, {"held-out": {"nfe": 0}}, protocol=FLOOR)
    failed = Status("failed", "loss is nan", step=7)
    make_run("dcgan", 0, {}, status=failed)
    text = recommend(tmp_path / "runs")
    assert text.startswith("On digits, no model has a result: dcgan. Not trained here, and so not")


def test_every_scored_row_is_named_and_foreign_ones_as_such(make_run, tmp_path):
    for seed in range(3):
        rows = {"ddim-10": scores(4.0 + seed / 10), "ddim-50": scores(3.0 + seed / 10)}
        make_run("ddpm_small", seed, {k: v | costs(10, 6.0) for k, v in rows.items()})
        make_run("mlp_gan", seed, {"g": scores(9.0 + seed / 10) | costs(1, 0.1)})
    make_run("real", 0, {"held-out": scores(0.14) | {"nfe": 0}}, protocol=FLOOR)
    copies = scores(0.15) | {"warning": "copies: 97% of the samples"}
    make_run("samples", 0, {"stored": copies}, protocol=FLOOR)
    text = recommend(tmp_path / "runs")
    assert "is that of ddpm_small (ddim-50)" in text
    assert (
        "FID of every trained row: ddpm_small (ddim-50 3.10, ddim-10 4.10); mlp_gan (g 9.10)."
    ) in text
    assert (
        "Not trained here, and so not ranked: real (held-out), held-out real data, FID 0.140; "
        "samples ⚠ (stored), samples made elsewhere, FID 0.150, with signs of copying, which "
        "FID does not detect."
    ) in text


def far(fid: float) -> dict[str, Any]:
    """Scores of samples of which none is near real data."""
    return scores(fid, precision=0.0) | {"coverage_domain": 0.0}


def test_where_no_sample_is_near_real_data_there_is_no_answer(make_run, tmp_path):
    for seed in range(3):
        make_run("dcgan_small", seed, {"g": far(90.0 + seed) | costs(1, 0.1)})
        make_run("mlp_gan", seed, {"g": far(190.0 + seed) | costs(1, 0.1)})
    make_run("ddpm_small", 0, {}, status=Status("running", step=3))
    text = recommend(tmp_path / "runs")
    assert text.startswith(
        "On digits, after the same budget of training, there is no answer: the lowest FID (domain) "
        "is that of dcgan_small (g), 91.0 ± 1.0 over 3 seeds, but its precision, recall and "
        "coverage are 0: the budget was too small for any answer; ddpm_small has no finished run."
    )
    for word in ("cheap", "lower than", "recommend"):
        assert word not in text


def test_a_lower_fid_of_samples_far_from_real_data_is_not_recommended(make_run, tmp_path):
    for seed in range(3):
        make_run("mlp_gan", seed, {"g": far(1.0 + seed / 10) | costs(1, 0.1)})
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
    text = recommend(tmp_path / "runs")
    assert "the lowest FID (domain) with samples near real data is that of ddpm_small" in text
    assert "no sample near real data (precision and coverage 0): mlp_gan (g)." in text
    assert "Where samples must be cheap" not in text


def test_a_collapsed_model_is_not_recommended_where_samples_must_be_cheap(make_run, tmp_path):
    for seed in range(3):
        make_run("ddpm_small", seed, {"ddim-10": scores(4.0 + seed / 10) | costs(10, 6.0)})
        bad = scores(9.0) | costs(1, 0.1) | {"warning": "only 2 of 10 modes"}
        make_run("mlp_gan", seed, {"g": bad})
        make_run("dcgan_small", seed, {"g": scores(30.0 + seed) | costs(1, 0.5)})
    text = recommend(tmp_path / "runs")
    assert "Where samples must be cheap: dcgan_small (g)" in text


def test_seeds_that_trained_for_a_while_longer_and_are_far_better_ask_for_budget(
    make_run, tmp_path
):
    """Seeds at 71, 194 and 2.2 after 45, 37 and 58 steps."""
    for seed, (fid, steps) in enumerate(((71.0, 45), (194.0, 37), (2.2, 58))):
        spent = {"step": steps, "images": 64 * steps}
        make_run("dcgan_small", seed, {"g": scores(fid) | costs(1, 0.2) | spent})
        make_run("ddpm_small", seed, {"ddim-10": scores(100.0 + 30 * seed) | costs(10, 60.0)})
    text = recommend(tmp_path / "runs")
    assert "the FID of dcgan_small (g) still fell steeply where training ended: more budget" in text
    assert "more seeds would tell" not in text
    assert "bench.decide" not in text


@pytest.mark.parametrize(("power", "steep"), [(2.0, True), (1.05, True), (0.7, False), (0, False)])
def test_curves_that_fall_as_fast_as_the_budget_grows_ask_for_budget(
    make_run, tmp_path, power, steep
):
    for seed, level in enumerate((5.0, 9.0, 7.0)):
        for k in (1, 2, 3, 4):
            row = scores(level * (4 / k) ** power) | costs(1, 0.2) | {"images": 1000 * k}
            make_run("dcgan_small", seed, {"g": row}, checkpoint=k, checkpoints=4)
        make_run("ddpm_small", seed, {"ddim-10": scores((8, 5.5, 8.5)[seed]) | costs(10, 60.0)})
    text = recommend(tmp_path / "runs")
    assert ("more budget would tell, not more seeds" in text) is steep
    assert ("more seeds would tell, " in text) is not steep


def test_a_clear_difference_of_curves_that_still_fall_says_so(make_run, tmp_path):
    for seed in range(3):
        for k in (1, 2):
            row = scores((5.0 + seed / 10) * (2 / k) ** 2) | costs(1, 0.2) | {"images": 1000 * k}
            make_run("dcgan_small", seed, {"g": row}, checkpoint=k, checkpoints=2)
        make_run("ddpm_small", seed, {"ddim-10": scores(50.0 + 3 * seed) | costs(10, 60.0)})
    text = recommend(tmp_path / "runs")
    assert "It is lower than that of the other model" in text
    assert "fell steeply where training ended: more budget may change the answer." in text


@pytest.mark.parametrize(
    ("budget", "words"),
    [
        ("seconds=40", "40 s"),
        ("seconds=120,clock=nominal", "2 min (nominal)"),
        ("seconds=60", "1 min"),
        ("seconds=90", "90 s"),
        ("seconds=150", "2 min 30 s"),
        ("seconds=600", "10 min"),
        ("seconds=1920", "32 min"),
        ("seconds=4800", "1 h 20 min"),
        ("seconds=3600,images=5000", "1 h or 5000 images"),
        ("seconds=soon", "seconds=soon"),
    ],
)
def test_budgets_are_said_in_words_and_not_rounded(make_run, tmp_path, budget, words):
    make_run("dcgan_small", 0, {"g": scores(4.0)}, protocol=PROTOCOL | {"budget": budget})
    assert f"after {words} of training" in recommend(tmp_path / "runs")
