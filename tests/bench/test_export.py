"""Exported samples are the scored ones, and other tools compute equal scores."""

import csv
import json
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file
from torch_fidelity import fidelity
from torch_fidelity.feature_extractor_inceptionv3 import FeatureExtractorInceptionV3

from bench import load
from bench.export import main
from bench.run import run
from bench.schema import COST, QUALITY

TINY = (
    "evaluator.samples=100",
    "evaluator.batch_size=48",
    "evaluator.cost_seconds=0",
    "evaluator.resamples=0",
)
GAN = ("model=mlp_gan", "dataset=digits", "budget.images=640", "budget.checkpoints=2")
DDPM = (
    "model=ddpm_small",
    "dataset=digits",
    "budget.images=256",
    "model.build.samplers=[ddim-2,ddim-3]",
    "precision=bf16",
)
CONDITIONAL = (
    "model=cond_ddpm_small",
    "dataset=digits",
    "budget.images=64",
    "model.build.samplers=[ddim-2]",
)
REAL = ("model=real", "dataset=digits")


def evaluated(root: Path, *overrides: str) -> Path:
    """Run the benchmark; returns the run directory."""
    overrides = (*TINY, *overrides, f"results_root={root}")
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", list(overrides))
    result = run(cfg, overrides)
    assert result.status == "finished", result.reason
    return result.directory


@pytest.fixture(scope="module")
def runs(tmp_path_factory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("results")
    jobs = {"gan": GAN, "ddpm": DDPM, "real": REAL, "conditional": CONDITIONAL}
    return {name: evaluated(root, *overrides) for name, overrides in jobs.items()}


def row(directory: Path, sampler: str) -> dict[str, str]:
    """The last row of a sampler."""
    with (directory / "eval.csv").open() as file:
        return [row for row in csv.DictReader(file) if row["sampler"].startswith(sampler)][-1]


def scores(row: dict[str, str], extractor: str = "domain") -> dict[str, float]:
    return {m: float(value) for m in QUALITY if (value := row[f"{m}_{extractor}"])}


def export(directory: Path, out: Path, *arguments: str) -> Path:
    assert main([str(directory), "--out", str(out), "--device", "cpu", *arguments]) == 0
    return out


@pytest.mark.parametrize(
    ("name", "sampler", "file"),
    [
        ("gan", "generator", "samples.npz"),
        ("gan", "generator", "folder"),
        ("ddpm", "ddim-3", "samples.zip"),
        ("real", "held-out", "samples.npy"),
        ("conditional", "ddim-2", "classes.npy"),
    ],
)
def test_exported_samples_score_as_the_run_itself(runs, tmp_path, name, sampler, file):
    out = export(runs[name], tmp_path / file, "--sampler", sampler)
    again = evaluated(tmp_path, "model=samples", f"model.path={out}", "dataset=digits")
    own, theirs = row(runs[name], sampler), row(again, "stored")
    assert scores(theirs) == pytest.approx(scores(own), rel=1e-9)
    assert scores(theirs).keys() >= {"fid", "kid", "is", "precision", "recall"}
    assert theirs["samples"] == own["samples"] == "100"
    assert all(theirs[column] == "" for column in COST if column != "parameters")
    assert theirs["budget"] == theirs["device"] == ""


@pytest.mark.parametrize(("name", "sampler"), [("gan", "generator"), ("ddpm", "ddim-2")])
def test_fewer_and_more_samples_begin_alike(runs, tmp_path, name, sampler):
    drawn = []
    for n in ("30", "100", "130"):
        out = export(runs[name], tmp_path / f"{n}.npy", "--samples", n, "--sampler", sampler)
        drawn.append(np.load(out))
    assert [len(samples) for samples in drawn] == [30, 100, 130]
    assert np.array_equal(drawn[0], drawn[2][:30])
    assert np.array_equal(drawn[1], drawn[2][:100])


def test_classes_are_those_that_were_scored_also_in_runs_that_did_not_say(runs, tmp_path):
    """Before `evaluator.class_labels` was recorded, classes were uniform."""
    assert row(runs["conditional"], "ddim-2")["class_labels"] == "data"
    assert row(runs["ddpm"], "ddim-2")["class_labels"] == ""
    exported = []
    for said in ("class_labels: data\n", "class_labels: uniform\n", ""):
        copy = tmp_path / "digits" / "cond_ddpm_small" / f"copy{len(exported)}" / "seed=0"
        shutil.copytree(runs["conditional"], copy)
        text = (copy / "config.yaml").read_text()
        assert text.count("  class_labels: data\n") == 1
        line = f"  {said}" if said else ""
        (copy / "config.yaml").write_text(text.replace("  class_labels: data\n", line))
        exported.append(np.load(export(copy, tmp_path / f"{len(exported)}.npy")))
    assert not np.array_equal(exported[0], exported[1])
    assert np.array_equal(exported[1], exported[2])


def test_another_seed_draws_other_samples(runs, tmp_path):
    one, two = (
        np.load(export(runs["gan"], tmp_path / f"{seed}.npy", "--seed", seed)) for seed in "01"
    )
    assert not np.array_equal(one, two)
    assert np.array_equal(one, np.load(export(runs["gan"], tmp_path / "default.npy")))


def test_files_say_what_made_them(runs, tmp_path):
    gan = export(runs["gan"], tmp_path / "gan", "--samples", "10", "--rgb")
    with Image.open(gan / "000009.png") as png:
        about = png.info
        assert png.mode == "RGB"
    assert about.pop("Software").startswith("gan-vs-diffusion ")
    assert about == {
        "Synthetic": "true",
        "Run": f"digits/mlp_gan/{runs['gan'].parent.name}/seed=0",
        "Sampler": "generator",
        "Weights": "raw",
        "Step": row(runs["gan"], "generator")["step"],
        "Sampling seed": "0",
        "Sample": "9",
    }
    ddpm = export(runs["ddpm"], tmp_path / "ddpm.npz", "--sampler", "ddim-2", "--samples", "10")
    with np.load(ddpm) as archive:
        assert "Weights: ema" in archive["metadata"]
    real = export(runs["real"], tmp_path / "real.npz", "--samples", "10")
    with np.load(real) as archive:
        assert "Synthetic: false" in archive["metadata"]


def test_the_averaged_weights_are_those_drawn_from(runs, tmp_path):
    copy = tmp_path / "digits" / "ddpm_small" / "copy" / "seed=0"
    shutil.copytree(runs["ddpm"], copy)
    arguments = ("--sampler", "ddim-2", "--samples", "10")
    before = np.load(export(copy, tmp_path / "before.npy", *arguments))
    for path in (copy / "checkpoints").glob("*.pt"):
        state = torch.load(path, weights_only=True)
        state["model"] = {key: torch.zeros_like(value) for key, value in state["model"].items()}
        torch.save(state, path)
    assert np.array_equal(before, np.load(export(copy, tmp_path / "after.npy", *arguments)))


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("gan", ["--batch-size", "-1"], "--batch-size must be at least 1, got -1"),
        ("ddpm", [], "has several samplers: give --sampler ddim-2 or ddim-3"),
        ("real", ["--samples", "701"], "has 700 samples, 701 were asked for"),
    ],
)
def test_bad_arguments_are_named(runs, tmp_path, capsys, name, arguments, sentence):
    refused([str(runs[name]), "--out", str(tmp_path / "out.npz"), *arguments], sentence, capsys)
    assert not list(tmp_path.iterdir())


def refused(arguments: list[str], sentence: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    said = capsys.readouterr().err
    assert sentence in said
    assert said.startswith("bench.export: ")
    assert len(said.splitlines()) == 1


def test_runs_without_samples_are_refused(runs, tmp_path, capsys):
    out = ["--out", str(tmp_path / "out.npz")]
    refused([str(tmp_path), *out], "is not a run directory, it has no config.yaml", capsys)
    untrained = tmp_path / "untrained"
    untrained.mkdir()
    shutil.copy(runs["gan"] / "config.yaml", untrained)
    refused([str(untrained), *out], "has not finished: give its command again", capsys)
    unfinished = [str(untrained), *out, "--unfinished"]
    refused(unfinished, "has no checkpoint: run its command again", capsys)
    config = (runs["gan"] / "config.yaml").read_text()
    for damaged, sentence in (
        ("model: [", "is damaged"),
        ("", "is not the configuration of a run"),
        (config.replace("data_hash: ", "data_hash: 0"), "describes data of the hash"),
        (config.replace("latent_dim: 100", "latent_dim: 9"), "weights do not fit the model"),
    ):
        copy = tmp_path / "copy"
        shutil.copytree(runs["gan"], copy)
        (copy / "config.yaml").write_text(damaged)
        refused([str(copy), *out], sentence, capsys)
        shutil.rmtree(copy)


def test_existing_files_are_kept_unless_forced(runs, tmp_path, capsys):
    out = tmp_path / "out.npz"
    out.write_text("mine")
    refused([str(runs["gan"]), "--out", str(out)], "exists: choose another --out", capsys)
    no_samples = "out.npz is not an exported file of samples"
    refused([str(runs["gan"]), "--out", str(out), "--force"], no_samples, capsys)
    assert out.read_text() == "mine"
    out.unlink()
    export(runs["gan"], out)
    export(runs["gan"], out, "--force")
    with np.load(out) as archive:
        assert archive["arr_0"].shape == (100, 8, 8, 1)


def test_models_are_exported_with_the_weights_that_were_scored(runs, tmp_path, capsys):
    pytest.importorskip("diffusers")
    onnxruntime = pytest.importorskip("onnxruntime")
    pipeline = export(runs["ddpm"], tmp_path / "pipeline", "--format", "diffusers")
    theirs = load_file(pipeline / "unet/diffusion_pytorch_model.safetensors")
    ours = load(runs["ddpm"], "cpu").module.network
    assert torch.equal(theirs["conv_in.weight"], ours.conv_in.weight)
    assert "| Weights | ema |" in (pipeline / "README.md").read_text()
    file = export(runs["gan"], tmp_path / "generator.onnx", "--format", "onnx")
    assert "generator.onnx: generator of digits/mlp_gan/" in capsys.readouterr().out
    z = torch.randn(5, 100)
    (found,) = onnxruntime.InferenceSession(file).run(["sample"], {"z": z.numpy()})
    expected = load(runs["gan"], "cpu").module.generator(z)
    torch.testing.assert_close(torch.from_numpy(found), expected, rtol=0, atol=1e-4)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["generator.onnx", "pipeline"]


@pytest.mark.parametrize(
    ("form", "missing", "out"),
    [("diffusers", "diffusers", "out"), ("onnx", "onnx, onnxscript, onnxruntime", "out.onnx")],
)
def test_packages_that_are_missing_are_named(
    runs, tmp_path, capsys, monkeypatch, form, missing, out
):
    monkeypatch.setattr("bench.runs.exports.about.find_spec", lambda name: None)
    arguments = [str(runs["gan"]), "--format", form, "--out", str(tmp_path / out)]
    plural = "s" if "," in missing else ""
    said = (
        f"--format {form} needs the optional package{plural} {missing}: pip install -e '.[export]'"
    )
    refused(arguments, said, capsys)
    assert not list(tmp_path.iterdir())


def test_the_command_line_starts_without_torch():
    program = "import sys, bench.export as e; e.parser(); sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0


@pytest.fixture
def inception_weights(tmp_path) -> Path:
    """Random weights in the format of torch-fidelity's published file."""
    with pytest.MonkeyPatch.context() as patch, torch.random.fork_rng():
        torch.manual_seed(0)
        name = "torch_fidelity.feature_extractor_inceptionv3.load_state_dict_from_url"
        patch.setattr(name, lambda *_, **__: {})
        patch.setattr(FeatureExtractorInceptionV3, "load_state_dict", lambda *_: None)
        torch.save(FeatureExtractorInceptionV3("random", ["2048"]).state_dict(), tmp_path / "w.pth")
    return tmp_path / "w.pth"


def paint(folder: Path, n: int, seed: int) -> Path:
    """Write n colourful PNGs of 32x32: blocks of 8x8, so that Inception sees some structure."""
    folder.mkdir(parents=True)
    blocks = np.random.default_rng(seed).integers(0, 256, (n, 4, 4, 3), np.uint8)
    for i, image in enumerate(blocks.repeat(8, axis=1).repeat(8, axis=2)):
        Image.fromarray(image).save(folder / f"{i}.png")
    return folder


def test_torch_fidelitys_command_prints_our_scores(
    tmp_path, inception_weights, monkeypatch, capsys
):
    # Not among its metrics, and fifteen times as slow as FID in the 2048 dimensions of Inception.
    monkeypatch.setattr("bench.evaluation.evaluator.fid_infinity", lambda *_, **__: 0.0)
    train = paint(tmp_path / "data" / "train", 24, seed=0)
    paint(tmp_path / "data" / "test", 10, seed=1)
    samples = paint(tmp_path / "samples", 24, seed=2)
    ours = row(
        evaluated(
            tmp_path,
            "model=samples",
            f"model.path={samples}",
            "dataset=folder",
            f"dataset.path={tmp_path / 'data'}",
            f"cache_root={tmp_path / 'cache'}",
            "evaluator.extractor=inception",
            f"evaluator.weights.inception={inception_weights}",
            "evaluator.samples=24",
        ),
        "stored",
    )
    arguments = f"""
        --input1 {samples} --input2 {train} --fid --kid --isc --prc --kid-subset-size 12
        --feature-extractor inception-v3-compat --feature-extractor-weights-path {inception_weights}
        --feature-layer-prc 2048 --cpu --json --silent --no-cache --save-cpu-ram
    """
    monkeypatch.setattr(sys, "argv", ["fidelity", *arguments.split()])
    capsys.readouterr()
    fidelity.main()
    theirs = json.loads(capsys.readouterr().out)
    names = {
        "fid": "frechet_inception_distance",
        "kid": "kernel_inception_distance_mean",
        "kid_std": "kernel_inception_distance_std",
        "is": "inception_score_mean",
        "is_std": "inception_score_std",
        "precision": "precision",
        "recall": "recall",
    }
    for metric, name in names.items():
        expected = pytest.approx(theirs[name], rel=1e-4, abs=1e-7)
        assert float(ours[f"{metric}_inception"]) == expected, metric
