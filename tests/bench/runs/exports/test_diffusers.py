"""Pipelines that diffusers loads by itself, and what it cannot do."""

import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from exportable import directory, loaded
from known_diffusion import BETAS, NETWORK, SHORT, spec
from PIL import Image

from bench.data.pixels import to_uint8
from bench.runs.directory import RunDirectory
from bench.runs.exports import diffusers as exports
from bench.schema import eval_columns
from models.diffusion.edm import EDM
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.diffusers_weights import load_diffusers
from models.diffusion.networks.dit import DiT
from models.diffusion.networks.mlp import DenoiserMLP
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import cosine_betas
from models.stored import RealData

diffusers = pytest.importorskip("diffusers")
pytestmark = pytest.mark.filterwarnings("ignore")

COUNT = 4
"""Images that the programs of a model card sample."""


ATTENTIVE = partial(UNet, channels=16, channel_mult=(1, 1), groups=4)


def gaussian(shape=(1, 8, 8), network=NETWORK, betas=SHORT, **options) -> GaussianDiffusion:
    torch.manual_seed(0)
    data = spec(*shape, num_classes=3 if options.get("conditional") else 0)
    return GaussianDiffusion(data, network, betas=betas, samplers=["ddpm-20"], **options)


def exported(model: GaussianDiffusion, root: Path) -> Path:
    out = root / "pipeline"
    exports.check(out, replace=False)
    exports.write(loaded(model), directory(root, "ddpm-20", "ddim-10"), out, None)
    return out


def programs(folder: Path) -> list[tuple[str, str]]:
    """Each program of a model card, with the name of our sampler before it."""
    text = (folder / "README.md").read_text()
    return re.findall(r"as `(\w+-\d+)`.*?```python\n(.*?)```", text, re.DOTALL)


def images(program: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> np.ndarray:
    """Images that a program samples after seeding torch's generator, (B, H, W, C) uint8."""
    monkeypatch.chdir(folder)
    torch.manual_seed(5)
    names: dict = {}
    exec(program, names)
    assert all(isinstance(image, Image.Image) for image in names["images"])
    pixels = np.stack([np.asarray(image) for image in names["images"]])
    return pixels if pixels.ndim == 4 else pixels[..., None]


@pytest.mark.parametrize(
    ("options", "samplers"),
    [
        ({}, 3),
        ({"shape": (3, 8, 12), "predicts": "x_0", "variance": "fixed_small"}, 3),
        ({"predicts": "v", "clip": False}, 3),
        ({"betas": cosine_betas(40), "predicts": "v"}, 3),
        ({"variance": "learned", "bound_weight": 0.001}, 1),
        ({"network": ATTENTIVE, "predicts": "x_0"}, 3),
    ],
    ids=["eps", "x_0", "v", "cosine", "learned", "attention"],
)
def test_the_programs_of_the_card_sample_what_we_do(options, samplers, tmp_path, monkeypatch):
    """diffusers and nothing of this project, with equal noise: equal up to one level of 255."""
    model = gaussian(**options)
    folder = exported(model, tmp_path)
    found = programs(folder)
    assert len(found) == samplers
    for name, program in found:
        assert "bench" not in program
        theirs = images(program, folder, monkeypatch).astype(int)
        generator = torch.Generator().manual_seed(5)
        ours = to_uint8(model.sampler(name).generate(COUNT, generator, None)).permute(0, 2, 3, 1)
        apart = np.abs(theirs - ours.numpy())
        assert apart.max() <= 1, name
        assert (apart > 0).mean() < 0.02, name
        assert ((ours > 0) & (ours < 255)).float().mean() > 0.05  # others would hide differences


def test_the_network_is_the_same_and_can_be_read_back(tmp_path):
    model = gaussian(shape=(3, 8, 8), betas=BETAS)
    folder = exported(model, tmp_path)
    theirs = diffusers.UNet2DModel.from_pretrained(folder / "unet").eval()
    again = gaussian(shape=(3, 8, 8)).network.eval()
    load_diffusers(again, folder)
    x_t, t = torch.randn(5, 3, 8, 8), torch.tensor([0.0, 1.0, 500.0, 998.0, 999.0])
    with torch.no_grad():
        ours = model.network(x_t, t)
        assert ours.abs().mean() > 0.05
        torch.testing.assert_close(theirs(x_t, t).sample, ours, rtol=0, atol=1e-5)
        torch.testing.assert_close(again(x_t, t), ours, rtol=0, atol=1e-5)


def test_an_augmentations_parameters_are_left_out(tmp_path):
    """They are inputs of training only."""
    model = gaussian(network=partial(NETWORK, augment_dim=9))
    assert model.network.augmentation is not None
    exported(model, tmp_path)


def test_the_card_says_what_it_is_of(tmp_path):
    text = (exported(gaussian(), tmp_path) / "README.md").read_text()
    for words in (
        "library_name: diffusers",
        "# digits/a_model/default/seed=0",
        "Samples are synthetic",
        "| Weights | ema |",
        "| Step | 7 |",
        "| Data set | digits |",
        "| Extractors | domain:0123 |",
        "| Evaluated samples | 100 |",
        "| sampler | FID (domain) |\n| --- | --- |\n| ddpm-20 | 3.25 |\n| ddim-10 | 3.25 |\n",
        "cannot be compared",
        "Do not take fewer steps",
    ):
        assert words in text
    assert text.count("Samples are synthetic") == 1
    assert "\n\n\n" not in text
    assert (tmp_path / "pipeline/unet/diffusion_pytorch_model.safetensors").stat().st_mode & 0o044


def test_scores_on_the_card_are_rounded_and_named_as_in_tables():
    row = {"extractors": "domain:01 inception:02", "kid_domain": "0.4939223626147471"}
    rows = [
        row | {"sampler": "ddim-10", "fid_domain": "20.559379868548177"},
        {"sampler": "ddim-50", "fid_domain": ""},
    ]
    assert exports.score_table(rows).splitlines()[:4] == [
        "| sampler | FID (domain) | KID (domain) ×10³ |",
        "| --- | --- | --- |",
        "| ddim-10 | 20.56 | 493.9 |",
        "| ddim-50 | – | – |",
    ]
    assert exports.score_table([]) == "This run has no scores of these weights.\n"


def test_the_card_has_the_scores_of_the_exported_weights_only(tmp_path):
    run = directory(tmp_path, "ddpm-20")
    selected = {"weights": "best of 3 (ema)", "kept_point": 2, "fid_domain": 1.5}
    with RunDirectory(run) as records:
        rows = [{**records.eval_rows()[0], **selected}]
        records.append_eval(rows, eval_columns(("domain",)))
    exports.write(loaded(gaussian()), run, tmp_path / "pipeline", None)
    table = (tmp_path / "pipeline/README.md").read_text().partition("| sampler |")[2]
    assert table.startswith(" FID (domain) |\n| --- | --- |\n| ddpm-20 | 3.25 |\n\n")
    best = loaded(gaussian())
    best.point = 2
    exports.write(best, run, tmp_path / "best", None)
    card = (tmp_path / "best/README.md").read_text()
    assert "| ddpm-20 | 1.5 |" in card
    assert "| ddpm-20 | 3.25 |" not in card
    assert "| Best evaluation point | 2 |" in card


SIGNALS = partial(UNet, channels=16, channel_mult=(1, 2), num_res_blocks=1, groups=8)
TRANSFORMER = partial(DiT, width=16, depth=1, heads=1)
WIDE = partial(UNet, channels=16, channel_mult=(2, 2), groups=8)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (lambda: gaussian(conditional=True), "it is class-conditional, and DDPMPipeline gives no"),
        (lambda: gaussian((2, 24), SIGNALS), "its samples are signals, and diffusers' UNet2DModel"),
        (lambda: gaussian((2,), DenoiserMLP), "diffusers has no pipeline for its DenoiserMLP"),
        (lambda: gaussian(network=TRANSFORMER), "diffusers has no pipeline for its DiT"),
        (lambda: gaussian((1, 16, 16), partial(NETWORK, patch_size=2)), "U-Net has patch_size=2"),
        (lambda: gaussian((1, 9, 9)), "its images of 9x9 have an odd side at one of the 2 levels"),
        (lambda: gaussian(network=WIDE), "or a first level that is wider than its first"),
        (lambda: EDM(spec(1, 8, 8), NETWORK, samplers=["heun-4"]), "has no pipeline for EDM"),
    ],
    ids=["classes", "signals", "points", "transformer", "patches", "odd", "wide", "edm"],
)
def test_what_has_no_counterpart_is_refused_by_name(model, said, tmp_path):
    with pytest.raises(
        ValueError,
        match=r"run cannot be exported by --format diffusers.* choose --format onnx or samples$",
    ) as e:
        exported(model(), tmp_path)
    assert said in str(e.value)
    assert not (tmp_path / "pipeline").exists()


def test_a_model_without_a_network_has_samples_only(tmp_path):
    with pytest.raises(ValueError, match=r"no pipeline for RealData: choose --format samples$"):
        exports.write(loaded(RealData(spec(1, 8, 8))), tmp_path, tmp_path / "out", None)


def test_a_network_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    """As an earlier version of diffusers might."""
    load = diffusers.UNet2DModel.load_state_dict

    def off(self, weights):
        load(self, {**weights, "conv_out.bias": weights["conv_out.bias"] + 0.01})

    monkeypatch.setattr(diffusers.UNet2DModel, "load_state_dict", off)
    with pytest.raises(
        ValueError, match=r"UNet2DModel differs from the network .* by 0\.00\d+, more"
    ):
        exported(gaussian(), tmp_path)
    assert not (tmp_path / "pipeline").exists()


def test_nothing_is_left_of_an_export_that_fails(tmp_path, monkeypatch):
    def fail(self, folder, **_):
        (folder / "unet").mkdir(parents=True)
        raise OSError("disk")

    monkeypatch.setattr(diffusers.DDPMPipeline, "save_pretrained", fail)
    with pytest.raises(OSError, match="disk"):
        exported(gaussian(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_force_replaces_a_pipeline_and_nothing_else(tmp_path):
    folder = exported(gaussian(), tmp_path)
    with pytest.raises(FileExistsError, match="give --force to replace it"):
        exports.check(folder, replace=False)
    exports.check(folder, replace=True)
    exports.write(loaded(gaussian(predicts="v")), tmp_path, folder, None)
    assert "v_prediction" in (folder / "scheduler/scheduler_config.json").read_text()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []
    (folder / "unet/mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match=r"holds unet/mine\.txt, which is not part of an"):
        exports.check(folder, replace=True)
