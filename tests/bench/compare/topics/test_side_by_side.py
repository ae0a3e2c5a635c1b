"""Samples side by side: which entries are shown, in which order, and what is said of them."""

import pytest
from synthetic_runs import FLOOR, POINTS, PROTOCOL, costs, mode_scores, scores

from bench.compare.comparison import compare_runs
from bench.compare.read import read_runs
from bench.compare.topics.pictures import find_grids
from bench.compare.topics.side_by_side import Exhibit, side_by_side

SIGNS = {"warning": "99% near-duplicates"}


@pytest.fixture
def show(make_run, tmp_path):
    """Write a run with pictures, and compare all runs so far: show(model, seed, rows)."""

    def write(model: str, seed: int, rows: dict, **kept) -> tuple[Exhibit, ...]:
        path = make_run(model, seed, rows, **kept)
        (path / "samples").mkdir(exist_ok=True)
        for sampler in rows:
            (path / "samples" / f"checkpoint=1_{sampler}.png").write_bytes(b"")
        return side_by_side(compare_runs(read_runs([tmp_path / "runs"])))

    return write


def gan(fid: float, **values) -> dict:
    return {"generator": scores(fid) | costs(1, 0.5) | values}


def test_real_samples_come_first_then_the_best_of_each_family_by_rank(show):
    show("dcgan_small", 0, gan(12.0))
    show("wgan_gp_small", 0, gan(15.0))
    show("real", 0, {"held-out": scores(0.9) | {"nfe": 0}}, protocol=FLOOR)
    show("ddpm_small", 0, {"a": scores(9.0) | costs(50, 30.0), "b": scores(8.0) | costs(10, 6.0)})
    shown = show("rectified_flow_small", 0, {"euler-10": scores(10.0)})
    assert [(e.heading, e.name, e.facts) for e in shown] == [
        ("Real held-out samples", "", ("FID 0.900",)),
        ("Diffusion model", "ddpm_small, b", ("FID 8", "6 ms per sample")),
        ("Flow", "rectified_flow_small, euler-10", ("FID 10",)),
        ("GAN", "dcgan_small, generator", ("FID 12", "0.500 ms per sample")),
    ]
    assert {e.fault for e in shown} == {""}
    assert all(e.tiled for e in shown)


def test_what_was_chosen_before_stands_for_its_family_whatever_scored_better(show, tmp_path):
    show("dcgan_small", 0, gan(2.0))
    show("ddpm_small", 0, {"a": scores(3.0)})
    show("v_diffusion_small", 0, {"a": scores(9.0), "b": scores(8.0)})
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    standing = (("v_diffusion_small", "a"), ("rectified_flow_small", "heun-5"))
    names = [exhibit.name for exhibit in side_by_side(comparison, standing)]
    assert names == ["dcgan_small, generator", "v_diffusion_small, a"]


def test_pictures_are_those_of_the_gallery(show, tmp_path):
    for seed in range(3):
        show("ddpm_small", seed, gan(9.0))
        if seed:
            show("dcgan_small", seed, gan(12.0 + seed))
    comparison = compare_runs(read_runs([tmp_path / "runs"]))
    grids = find_grids(comparison, comparison.runs, "digits")
    assert [e.source for e in side_by_side(comparison)] == [grid.source for grid in grids]
    assert all("seed=1" in str(grid.source) for grid in grids)


def test_a_collapsed_model_comes_last_with_a_mark_and_only_without_a_better_one(show):
    show("dcgan_small", 0, gan(2.0, **SIGNS))
    shown = show("ddpm_small", 0, gan(9.0))
    assert [(e.heading, e.fault) for e in shown] == [
        ("Diffusion model", ""),
        ("GAN", "⚠ signs of collapse"),
    ]
    shown = show("wgan_gp_small", 0, gan(30.0))
    assert [(e.name, e.fault) for e in shown[1:]] == [("wgan_gp_small, generator", "")]


def test_samples_that_are_near_no_real_one_are_marked(show):
    (only,) = show("dcgan_small", 0, gan(2.0, precision_domain=0.0, coverage_domain=0.0))
    assert only.fault == "⚠ no sample near real data"


def test_signs_in_few_seeds_are_counted(show):
    for seed in range(2):
        show("dcgan_small", seed, gan(2.0))
    (only,) = show("dcgan_small", 2, gan(2.0, **SIGNS))
    assert only.fault == "⚠ signs of collapse in 1 of 3 seeds"


def test_models_without_a_family_are_up_to_five(show):
    for k in range(6):
        shown = show(f"mine_{k}", 0, gan(20.0 - k))
    assert [(e.heading, e.name) for e in shown] == [
        (f"mine_{k}", "generator") for k in (5, 4, 3, 2, 1)
    ]


def test_models_without_a_family_stand_next_to_families_which_are_all_shown(show):
    for k in range(4):
        show(f"mine_{k}", 0, gan(5.0 + k))
    show("dcgan_small", 0, gan(20.0))
    shown = show("ddpm_small", 0, gan(6.5))
    assert [e.heading for e in shown] == ["mine_0", "mine_1", "Diffusion model", "mine_2", "GAN"]


def test_models_that_waited_for_a_core_come_last_and_are_marked(show):
    timed = {"protocol": PROTOCOL | {"budget": "seconds=120"}}
    show("ddpm_small", 0, gan(2.0, train_waiting_seconds=60.0), **timed)
    shown = show("dcgan_small", 0, gan(12.0), **timed)
    assert [(e.heading, e.fault) for e in shown] == [
        ("GAN", ""),
        ("Diffusion model", "† not compared: training waited for a core"),
    ]


def test_points_are_shown_as_a_whole(show):
    rows = {"generator": mode_scores(8, 0.9, 0.1, 0.3) | costs(1, 0.1)}
    kept = {"protocol": POINTS, "extractors": ("identity",), "dataset": "ring8"}
    (only,) = show("mlp_gan", 0, rows, **kept)
    assert not only.tiled


def test_without_a_picture_of_a_trained_model_there_is_nothing_to_show(make_run, show):
    shown = show("real", 0, {"held-out": scores(0.9) | {"nfe": 0}}, protocol=FLOOR)
    assert shown == ()
    path = make_run("dcgan_small", 0, gan(5.0))
    comparison = compare_runs(read_runs([path]))
    assert side_by_side(comparison) == ()


def test_a_family_whose_best_model_has_no_picture_is_not_left_out(make_run, show):
    make_run("dcgan_small", 0, gan(5.0))
    shown = show("ddpm_small", 0, gan(9.0))
    assert [(e.heading, e.source is None) for e in shown] == [
        ("GAN", True),
        ("Diffusion model", False),
    ]
