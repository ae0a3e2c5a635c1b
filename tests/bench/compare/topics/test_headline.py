"""The headline for newcomers: families, sizes, prices and how sure it is, from known numbers."""

from pathlib import Path

import pytest
import yaml
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.compare.cli import main, show_runs
from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.headline import families, headline
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
        "On digits, after 120 s of training, the best GAN is ahead of the best diffusion model: "
        "FID (domain) 8 (dcgan_small) against 20 (ddpm_small), a factor of 2.50. FID is a distance "
        "from real images: lower is better, and held-out real images have 1. One sample takes "
        "0.200 ms with this GAN and 60 ms with this diffusion model, 300 times as long. With 1 "
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
    assert "after 120 s of training, the best GAN is ahead: FID (domain) 8 (dcgan_small)." in text
    assert "No diffusion model has samples that resemble real ones yet" in text
    assert "500" not in text


def test_a_collapsed_family_is_not_ranked(study_of):
    text = study_of({"dcgan_small": {"warning": "2 modes"}}, dcgan_small=[3.0], ddpm_small=[8.0])
    assert "the best diffusion model is ahead: FID (domain) 8 (ddpm_small)." in text
    assert "No GAN can be compared with it: their samples collapsed or are copies." in text


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
    table, found, paths = out.partition("On digits, after 120 s")
    assert " ".join((found + paths.partition("\n\n")[0]).split()) == text
    assert "dcgan_small" in table
    assert table.count("→") == 0
    lines = [line.strip() for line in paths.partition("\n\n")[2].splitlines()]
    assert lines
    assert all(line.startswith("→ ") for line in lines)
    assert lines[-1].endswith("report/index.html")
    show_runs(sorted((tmp_path / "runs").glob("*/*/*/*")))
    assert found in capsys.readouterr().out
