"""Signals from training to tables' rows, pictures, export, and scores of exported samples."""

import csv
from pathlib import Path

import numpy as np
import pytest
from in_process import bench
from PIL import Image
from tiny_signals import waves

from bench import export

SMALL = (
    "dataset=signals",
    "evaluator.cost_seconds=0.2",
    "evaluator.resamples=0",
    "threads=1",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory) -> Path:
    """A folder with 400 waves, x.npz, of which 40 are held out."""
    folder = tmp_path_factory.mktemp("signals")
    x, y = waves(400)
    np.savez(folder / "x.npz", x=x.astype(np.float32), y=y)
    return folder


def run(place: Path, *overrides: str) -> Path:
    own = (f"dataset.path={place}/x.npz", f"results_root={place}", f"cache_root={place}/cache")
    return bench(*SMALL, *own, *overrides).directory


def row(run: Path) -> dict[str, str]:
    with (run / "eval.csv").open(newline="") as file:
        return list(csv.DictReader(file))[-1]


@pytest.fixture(scope="module")
def gan(place) -> Path:
    return run(place, "model=dcgan_small", "budget.images=640")


def test_a_row_has_every_score_that_images_have(gan):
    found = row(gan)
    metrics = ("fid", "kid", "is", "precision", "recall", "density", "coverage", "duplicates")
    copies = ("authpct", "nn_ratio", "fid_infinity", "fid_trained", "fid_held_out", "nn_trained")
    assert all(found[f"{metric}_domain"] != "" for metric in (*metrics, *copies))
    assert found["image_shape"] == "2x24"
    assert float(found["modes"]) >= 1
    assert 0 <= float(found["classifier_error"]) < 0.1
    assert float(found["gflops_per_sample"]) > 0
    assert found["blind_domain"] != ""
    (picture,) = (gan / "samples").glob("checkpoint=1_generator.png")
    assert Image.open(picture).size[0] > 300


@pytest.mark.parametrize(
    "model",
    [
        *("wgan_gp_small", "ddpm_small", "v_diffusion_small", "mlp_gan"),
        *("rectified_flow_small", "meanflow_small", "consistency_small"),
    ],
)
def test_other_families_train_on_signals(place, model):
    found = row(run(place, f"model={model}", "budget.images=320", "evaluator.cost_seconds=0"))
    assert float(found["fid_domain"]) > 0


def test_exported_signals_are_in_their_own_units_and_score_the_same(place, gan, capsys):
    target = place / "samples.npz"
    assert export.main([str(gan), "--out", str(target)]) == 0
    with np.load(target) as archive:
        x = archive["arr_0"]
    assert (x.dtype, x.shape) == (np.float64, (40, 2, 24))
    assert 1 < np.median(x) < 5  # the data lies in 3 ± 2
    scored = row(run(place, "model=samples", f"model.path={target}"))
    assert float(scored["fid_domain"]) == pytest.approx(float(row(gan)["fid_domain"]), rel=1e-3)
    assert export.main([str(gan), "--out", str(place / "folder")]) == 2
    assert "signals are written as .npz or .npy, not as images" in capsys.readouterr().err


def test_unlabelled_signals_are_scored_by_patches(place):
    with np.load(place / "x.npz") as archive:
        np.savez(place / "unlabelled.npz", x=archive["x"])
    found = row(run(place, "model=real", f"dataset.path={place}/unlabelled.npz", "dataset.name=u"))
    assert float(found["fid_patches"]) > 0
    assert found["modes"] == ""
