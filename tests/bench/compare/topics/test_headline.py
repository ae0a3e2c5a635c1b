"""The headline for newcomers: families, sizes, prices and how sure it is, from known numbers."""

from pathlib import Path

import pytest
import yaml
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.compare.cli import main, show_runs
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.headline import families, headline
from bench.compare.topics.page import notes
from bench.compare.topics.recommendation import answer

CONF = Path(__file__).parents[4] / "conf"
NEITHER = {
    *("ddgan", "ddgan_small", "hybrid", "hybrid_small", "latent_diffusion"),
    *("latent_diffusion_small", "vae", "vae_small", "real", "samples"),
}


def said(root: Path) -> str:
    return " ".join(headline(compare_runs(read_runs([root / "runs"]))))


@pytest.fixture
def study_of(make_run, tmp_path):
    """Write FIDs by model; the headline."""

    def write(more: dict | None = None, **fids: list[float]) -> str:
        for model, values in fids.items():
            name, cost = ("ddim-10", costs(10, 60.0)) if "ddpm" in model else ("g", costs(1, 0.2))
            for seed, fid in enumerate(values):
                protocol = PROTOCOL | {"budget": "seconds=120"}
                row = scores(fid) | cost | (more or {}).get(model, {})
                make_run(model, seed, {name: row}, protocol=protocol)
        return said(tmp_path)

    return write


def test_every_model_is_in_one_family_or_in_none_for_a_reason():
    listed = yaml.safe_load((CONF / "families.yaml").read_text())["families"]
    models = [model for names in listed.values() for model in names]
    assert len(models) == len(set(models))
    assert {file.stem for file in (CONF / "model").glob("*.yaml")} == {*models, *NEITHER}
    assert families()["wgan_gp_small"] == "GAN"
    assert families()["edm"] == "diffusion model"
    assert families()["rectified_flow"] == "flow"
    assert families()["meanflow_small"] == families()["one_step"] == "few-step model"
    assert families()["drifting"] == "drifting model"


def test_one_seed_names_the_leader_the_size_the_price_and_that_it_is_a_first_look(
    study_of, make_run, tmp_path
):
    make_run("real", 0, {"held-out": scores(1.0) | {"nfe": 0}}, protocol=FLOOR)
    text = study_of(dcgan_small=[8.0], mlp_gan=[30.0], ddpm_small=[20.0])
    assert text == (
        "On digits, after 2 min of training, the best GAN is ahead of the best diffusion model: "
        "FID (domain) 8 (dcgan_small) against 20 (ddpm_small), a factor of 2.50. FID is a distance "
        "from real images, lower is better: held-out real images have 1, this GAN is 8 times and "
        "this diffusion model is 20 times as far. One sample takes 0.200 ms with this GAN and 60 "
        "ms with this diffusion model, 300 times as long. With 1 "
        "seed per model this is a first look, not a recommendation: that takes at least 3 seeds "
        "(seed=0,1,2)."
    )


def test_the_dearer_family_may_be_ahead(study_of):
    text = study_of(dcgan_small=[20.0, 20.0], ddpm_small=[8.0, 8.0])
    assert "the best diffusion model is ahead of the best GAN: FID (domain) 8 (ddpm_small)" in text
    assert "0.200 ms with this GAN and 60 ms with this diffusion model, 300 times" in text
    assert "With 2 seeds per model this is a first look" in text


def test_three_seeds_that_differ_clearly_are_said_to(study_of):
    text = study_of(dcgan_small=[8.0, 8.1, 7.9], ddpm_small=[20.0, 20.5, 19.8])
    assert "is ahead of" in text
    assert "Over 3 seeds, chance does not explain this difference" in text
    assert "first look" not in text


def test_three_seeds_that_overlap_put_nobody_ahead(study_of):
    text = study_of(dcgan_small=[5.0, 9.0, 7.0], ddpm_small=[8.0, 5.5, 8.5])
    assert "the best GAN is not shown to be ahead of the best diffusion model" in text
    assert "between 3 seeds may be chance: about 61 more seeds would tell, 4 h 4 min: `pyt" in text


def test_families_that_are_as_good_are_called_equal(study_of):
    text = study_of(dcgan_small=[5.0, 5.2, 4.9], ddpm_small=[5.1, 5.15, 5.05])
    assert "the best GAN and the best diffusion model are equal within ±10 %: FID" in text
    assert "Over 3 seeds, chance does not explain that they are so close (p below 0.05)." in text


def test_the_headline_and_the_recommendation_test_alike(study_of, make_run, tmp_path):
    """The difference from ddpm_small is clear alone, and not after Holm's correction for two."""
    study_of(dcgan_small=[8.0, 8.4, 7.9], ddpm_small=[9.2, 9.0, 9.1])
    before = said(tmp_path)
    for seed, fid in enumerate([9.5, 8.6, 10.0]):
        make_run(
            "wgan_gp_small",
            seed,
            {"g": scores(fid) | costs(1, 0.2)},
            protocol=PROTOCOL | {"budget": "seconds=120"},
        )
    text = said(tmp_path)
    recommended = " ".join(answer(compare_runs(read_runs([tmp_path / "runs"]))))
    assert "Over 3 seeds, chance does not explain" in before
    assert "may be chance" in text
    assert "not shown to differ" in recommended


def test_a_family_without_a_sample_near_real_data_is_not_ranked(study_of):
    far = {f"{m}_domain": 0.0 for m in ("precision", "recall", "coverage", "density")}
    text = study_of({"ddpm_small": far}, dcgan_small=[8.0], ddpm_small=[500.0])
    assert "after 2 min of training, the best GAN is ahead so far: FID (domain) 8 (dcgan" in text
    assert "no diffusion model has samples that resemble real ones yet" in text
    assert "500" not in text


def test_a_collapsed_family_is_not_ranked(study_of):
    text = study_of({"dcgan_small": {"warning": "2 modes"}}, dcgan_small=[3.0], ddpm_small=[8.0])
    assert "the best diffusion model is ahead: FID (domain) 8 (ddpm_small);" in text
    assert "no GAN can be compared with it: their samples collapsed or are copies." in text


def course(make_run, model: str, fids: list[float], budgets: list[int], **more: float) -> None:
    """Three seeds of a model that was scored at these budgets (images)."""
    for seed in range(3):
        for k, (fid, images) in enumerate(zip(fids, budgets, strict=True), start=1):
            noise = (0.0, 0.02, -0.01)[(seed + len(model)) % 3]
            row = scores(fid * (1 + noise)) | costs(1, 0.2) | {"images": images} | more
            protocol = PROTOCOL | {"budget": "seconds=4800"}
            points = {"checkpoint": k, "checkpoints": len(fids)}
            make_run(model, seed, {"s": row}, protocol=protocol, **points)


@pytest.mark.parametrize("budgets", [[100, 200, 300, 400], [100, 200, 400, 800]])
@pytest.mark.parametrize("falling", ["dcgan_small", "ddpm_small"])
def test_a_model_that_has_not_had_its_budget_is_named_and_nobody_is_simply_ahead(
    make_run, tmp_path, falling, budgets
):
    settled = "ddpm_small" if falling == "dcgan_small" else "dcgan_small"
    course(make_run, falling, [350.0, 335.0, 266.0, 70.0], budgets)
    course(make_run, settled, [9.0, 8.4, 8.2, 8.0], budgets)
    text = said(tmp_path)
    assert "after 1 h 20 min of training" in text
    assert " is ahead of the best " in text
    assert text.count("is ahead") == text.count("so far: ") == 1
    assert f"{falling} has not had its budget: its FID still fell steeply where training" in text


def test_a_leader_that_still_falls_is_ahead_so_far(make_run, tmp_path):
    course(make_run, "dcgan_small", [350.0, 335.0, 266.0, 5.0], [100, 200, 300, 400])
    course(make_run, "ddpm_small", [70.0, 60.0, 56.0, 55.0], [100, 200, 300, 400])
    text = said(tmp_path)
    assert "the best GAN is ahead of the best diffusion model so far: FID" in text
    assert "dcgan_small has not had its budget" in text


def test_a_third_family_that_still_falls_is_named_too(make_run, tmp_path):
    course(make_run, "dcgan_small", [9.0, 8.4, 8.2, 8.0], [100, 200, 300, 400])
    course(make_run, "ddpm_small", [20.0, 19.0, 18.5, 18.0], [100, 200, 300, 400])
    course(make_run, "rectified_flow_small", [350.0, 335.0, 266.0, 70.0], [100, 200, 300, 400])
    text = said(tmp_path)
    assert "is ahead of the best diffusion model so far" in text
    assert "rectified_flow_small has not had its budget" in text


def test_curves_that_fell_before_are_no_reservation(make_run, tmp_path):
    course(make_run, "dcgan_small", [350.0, 9.0, 8.2, 8.0], [100, 200, 300, 400])
    course(make_run, "ddpm_small", [90.0, 60.0, 56.0, 55.0], [100, 200, 300, 400])
    assert "so far" not in said(tmp_path)


def test_open_differences_of_curves_that_fall_ask_for_no_more_seeds(make_run, tmp_path):
    for seed, level in enumerate((5.0, 9.0, 7.0)):
        for k in (1, 2):
            row = scores(level * (2 / k) ** 2) | costs(1, 0.2) | {"images": 1000 * k}
            make_run("dcgan_small", seed, {"g": row}, checkpoint=k, checkpoints=2)
        make_run("ddpm_small", seed, {"s": scores((8, 5.5, 8.5)[seed]) | costs(10, 60.0)})
    text = said(tmp_path)
    assert "is not shown to be ahead" in text
    assert "A difference of this size between 3 seeds may be chance. dcgan_small has not" in text


def test_all_reservations_together_are_five_sentences(make_run, tmp_path):
    course(make_run, "dcgan_small", [350.0, 335.0, 266.0, 70.0], [100, 200, 300, 400])
    course(make_run, "ddpm_small", [350.0, 335.0, 266.0, 8.0], [100, 200, 300, 400])
    course(make_run, "edm_small", [9.0, 8.4, 8.2, 8.1], [1, 2, 3, 4], train_waiting_seconds=60.0)
    seconds = PROTOCOL | {"budget": "seconds=4800", "class_labels": "data"}
    make_run("cond_ddpm_small", 0, {"s": scores(1.0)}, protocol=seconds)
    make_run("real", 0, {"held-out": scores(1.0) | {"nfe": 0}}, protocol=FLOOR)
    sentences = headline(compare_runs(read_runs([tmp_path / "runs"])))
    assert len(sentences) == 5
    assert all(sentence.endswith(".") and ". " not in sentence for sentence in sentences)
    last = sentences[-1]
    assert last.startswith("ddpm_small and dcgan_small have not had their budget: ")
    assert "; not compared, because training waited" in last
    assert (
        "; class-conditional, and so not compared with these: cond_ddpm_small (s), FID 1." in last
    )


@pytest.mark.parametrize(("samples", "told"), [(30, True), (499, True), (500, False)])
def test_few_scored_samples_are_told_in_place_of_the_distance(make_run, tmp_path, samples, told):
    protocol = PROTOCOL | {"samples": samples}
    make_run("dcgan_small", 0, {"g": scores(8.0)}, protocol=protocol)
    make_run("ddpm_small", 0, {"ddim-10": scores(20.0)}, protocol=protocol)
    make_run("real", 0, {"r": scores(1.0) | {"nfe": 0}}, protocol=FLOOR | {"samples": samples})
    text = said(tmp_path)
    few = f"lower is better, but FID of {samples} samples is far too high and noisy: hold out more"
    assert (few in text) is told
    assert ("times as far" in text) is not told
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    for sentences in (answer(comparison), notes(comparison)):
        assert any("is far too high and noisy" in sentence for sentence in sentences) is told


def test_more_held_out_images_than_were_scored_are_asked_for(make_run, tmp_path):
    protocol = PROTOCOL | {"samples": 100, "held_out_samples": 700}
    make_run("dcgan_small", 0, {"g": scores(8.0)}, protocol=protocol)
    make_run("ddpm_small", 0, {"ddim-10": scores(20.0)}, protocol=protocol)
    assert "far too high and noisy: set evaluator.samples=700." in said(tmp_path)


def test_where_every_model_collapsed_no_family_is_ahead(study_of):
    bad = {"warning": "2 modes"}
    text = study_of({"dcgan_small": bad, "ddpm_small": bad}, dcgan_small=[3.0], ddpm_small=[8.0])
    assert "is ahead" not in text
    assert "every model shows signs of collapse: none is recommended." in text
    assert "cheap" not in text


def test_of_a_family_the_best_that_has_not_collapsed_is_compared(study_of):
    bad = {"mlp_gan": {"warning": "2 modes"}}
    text = study_of(bad, mlp_gan=[1.0], dcgan_small=[8.0], ddpm_small=[20.0])
    assert "FID (domain) 8 (dcgan_small) against 20 (ddpm_small)" in text
    assert "mlp_gan" not in text


def test_without_latencies_no_price_is_made_up(make_run, tmp_path):
    make_run("dcgan_small", 0, {"g": scores(8.0)})
    make_run("ddpm_small", 0, {"ddim-10": scores(20.0)})
    assert "One sample takes" not in said(tmp_path)


@pytest.mark.parametrize("models", [("dcgan_small", "mlp_gan"), ("hybrid_small", "ddpm_small")])
def test_of_fewer_than_two_families_the_recommendation_is_the_headline(make_run, tmp_path, models):
    for k, model in enumerate(models):
        make_run(model, 0, {"g": scores(8.0 + k)})
    text = said(tmp_path)
    assert text == " ".join(answer(compare_runs(read_runs([tmp_path / "runs"]))))
    assert f"the lowest FID (domain) is that of {models[0]} (g): 8 over 1 seed" in text
    assert "FID of every trained row" not in text


def test_a_ranking_by_a_weak_classifier_is_no_headline(study_of):
    weak = {"classifier_error": 0.29}
    text = study_of({"dcgan_small": weak, "ddpm_small": weak}, dcgan_small=[8.0], ddpm_small=[20.0])
    assert "is ahead" not in text
    assert "29" in text


def test_the_terminal_ends_with_the_headline_and_the_paths(study_of, tmp_path, capsys):
    text = study_of(dcgan_small=[8.0], ddpm_small=[20.0])
    assert main([str(tmp_path / "runs"), "--out", str(tmp_path / "out")]) == 0
    out = capsys.readouterr().out
    table, found, paths = out.partition("On digits, after 2 min")
    assert " ".join((found + paths.partition("\n\n")[0]).split()) == text
    assert "dcgan_small" in table
    assert table.count("→") == 0
    lines = [line.strip() for line in paths.partition("\n\n")[2].splitlines()]
    assert lines
    assert all(line.startswith("→ ") for line in lines)
    assert lines[-1].endswith("report/index.html")
    show_runs(sorted((tmp_path / "runs").glob("*/*/*/*")))
    assert found in capsys.readouterr().out
