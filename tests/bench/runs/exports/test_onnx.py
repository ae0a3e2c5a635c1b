"""ONNX files of network calls: onnxruntime computes what torch does, and files say what that is."""

import json
import re
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from exportable import loaded
from known_diffusion import BETAS, NETWORK, SHORT, spec
from small_models import built
from torch import nn

from bench.runs.exports import onnx as exports
from models.base import DataSpec, GenerativeModel
from models.diffusion.edm import EDM
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.mlp import DenoiserMLP
from models.diffusion.rectified_flow import RectifiedFlow
from models.diffusion.samplers import sample_ddim
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import non_saturating
from models.stored import RealData

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")

FLAT = partial(NETWORK, channels=8, channel_mult=(1,))
"""A U-Net of one level, of few operators."""

SIZES = (1, 2, 7)
"""Numbers of samples; 2 is what is traced."""

PAGE = Path(__file__).resolve().parents[4] / "docs" / "export.md"


def written(model: GenerativeModel, root: Path, part: str | None = None, given=None) -> Path:
    out = root / "model.onnx"
    exports.check(out, replace=False)
    exports.write(given or loaded(model), root / "run", out, part)
    return out


def assert_equal(model: GenerativeModel, file: Path, part: str) -> None:
    """Compare onnxruntime's outputs with torch's, for several numbers of samples."""
    call = model.network_calls[part]
    session = onnxruntime.InferenceSession(file)
    assert [given.name for given in session.get_inputs()] == [each.name for each in call.inputs]
    assert [given.name for given in session.get_outputs()] == list(call.outputs)
    for size in SIZES:
        generator = torch.Generator().manual_seed(100 + size)
        given = [each.examples(size, generator) for each in call.inputs]
        with torch.no_grad():
            ours = call.compute(*given)
        feed = {each.name: x.numpy() for each, x in zip(call.inputs, given, strict=True)}
        for found, expected in zip(session.run(None, feed), ours, strict=True):
            assert expected.abs().mean() > 1e-3
            torch.testing.assert_close(torch.from_numpy(found), expected, rtol=1e-4, atol=1e-4)


def gan(shape=(1, 8, 8)) -> GAN:
    generator = partial(Generator, width=8)
    discriminator = partial(Discriminator, width=8)
    return GAN(spec(*shape), generator, discriminator, non_saturating(), latent_dim=5)


def points() -> GaussianDiffusion:
    network = partial(DenoiserMLP, width=16, layers=1)
    return GaussianDiffusion(spec(2), network, betas=BETAS, samplers=["ddim-50"])


def signals() -> GaussianDiffusion:
    return GaussianDiffusion(spec(2, 24), NETWORK, betas=SHORT, samplers=["ddpm-20"])


def learned() -> GaussianDiffusion:
    options = {"variance": "learned", "bound_weight": 0.001}
    return GaussianDiffusion(spec(1, 9, 9), FLAT, betas=SHORT, samplers=["ddpm-20"], **options)


def conditional(kind: type = EDM, sampler: str = "heun-4"):
    return kind(spec(1, 8, 8, num_classes=3), FLAT, samplers=[sampler], conditional=True)


@pytest.mark.parametrize(
    ("make", "part", "inputs"),
    [
        (gan, "generator", ["z"]),
        (points, "denoiser", ["x_t", "t"]),
        (signals, "denoiser", ["x_t", "t"]),
        (learned, "denoiser", ["x_t", "t"]),
        (conditional, "denoiser", ["x_t", "sigma", "y"]),
        (lambda: conditional(RectifiedFlow, "euler-4"), "velocity", ["x_t", "t", "y"]),
    ],
    ids=["gan", "points", "signals", "learned-variance", "conditional-edm", "conditional-flow"],
)
def test_onnxruntime_computes_what_torch_does(make, part, inputs, tmp_path):
    torch.manual_seed(0)
    model = make()
    assert [each.name for each in model.network_calls[part].inputs] == inputs
    assert_equal(model, written(model, tmp_path), part)


CONFIGURED = (
    *("cgan_small", "consistency_small", "dcgan_small", "ddgan_small", "ddpm_mlp", "dit_small"),
    *("drifting_points", "drifting_small", "meanflow_small", "mlp_gan_points", "progan_small"),
    *("r3gan_small", "sgan_small", "simple_unet_small", "sngan_small", "staged_diffusion_small"),
    *("stylegan2_small", "vae_small", "improved_ddpm_small", "cond_ddpm_small"),
)


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGURED)
def test_configured_models_can_be_exported(name, tmp_path):
    model = built(name, torch.device("cpu"))
    (part,) = model.network_calls
    assert_equal(model, written(model, tmp_path), part)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("latent_diffusion_small", ["denoiser", "decoder"]),
        ("hybrid_small", ["draft-generator", "refine-denoiser"]),
        ("one_step_small", ["consistency"]),
    ],
)
def test_parts_of_composed_models_can_be_exported(name, parts, tmp_path):
    model = built(name, torch.device("cpu"))
    assert list(model.network_calls) == parts
    for part in parts:
        (tmp_path / part).mkdir()
        assert_equal(model, written(model, tmp_path / part, part), part)


def test_a_generators_call_is_what_its_sampler_computes():
    model = gan().eval()
    x = model.samplers["generator"].generate(3, torch.Generator().manual_seed(1), None)
    z = torch.randn(3, 5, generator=torch.Generator().manual_seed(1))
    assert torch.equal(model.network_calls["generator"].compute(z)[0], x)


def test_the_file_says_what_it_is_and_nothing_of_this_machine(tmp_path):
    file = written(points(), tmp_path)
    model = onnx.load(file)
    said = {each.key: each.value for each in model.metadata_props}
    assert said["Run"] == "digits/a_model/default/seed=0"
    assert said["Weights"] == "ema"
    assert said["Step"] == "7"
    assert said["Call"] == "denoiser"
    assert said["Data"] == "2, float32 in [-1, 1]"
    assert said["Input t"] == "timesteps in [0, 999]"
    assert "x_0 + sigma * eps" in said["Input x_t"]
    assert said["Output eps"] == "predicted noise eps"
    alpha_bar = (1 - BETAS).cumprod(0)
    assert json.loads(said["Constant alpha_bar"]) == pytest.approx(alpha_bar.tolist(), rel=1e-12)
    assert "synthetic" in said["Samples"]
    for value in (*model.graph.input, *model.graph.output):
        assert value.type.tensor_type.shape.dim[0].dim_param == "batch"
    content = file.read_bytes()
    assert b".py" not in content
    assert str(Path.cwd()).encode() not in content


def test_signals_say_their_units(tmp_path):
    given = loaded(points(), low=(0.0, -2.0), high=(1.0, 2.0))
    model = onnx.load(written(given.module, tmp_path, given=given))
    said = {each.key: each.value for each in model.metadata_props}
    assert said["Units"] == "-1 stands for [0.0, -2.0] and 1 for [1.0, 2.0] of the channels"


def test_the_program_of_the_page_samples_by_ddim(tmp_path, monkeypatch):
    """That of docs/export.md, with numpy and onnxruntime alone."""
    torch.manual_seed(0)
    network = partial(NETWORK, channels=8)
    model = GaussianDiffusion(spec(1, 8, 8), network, betas=BETAS, samplers=["ddim-50"])
    written(model, tmp_path).rename(tmp_path / "denoiser.onnx")
    (program,) = re.findall(r"```python\n(import json.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    assert "torch" not in program
    assert len([line for line in program.splitlines() if line.strip()]) <= 18
    monkeypatch.chdir(tmp_path)
    names: dict = {}
    exec(program, names)
    count = len(names["images"])
    noise = np.random.default_rng(0).standard_normal((count, 1, 8, 8), np.float32)
    with torch.no_grad():
        x = sample_ddim(
            model.denoiser(), torch.from_numpy(noise), model.path("ddim-50"), torch.Generator()
        )
    ours = ((x + 1) * 127.5).round().byte().numpy()
    assert names["images"].dtype == np.uint8
    apart = np.abs(names["images"].astype(int) - ours)
    assert apart.max() <= 1
    assert ours.std() > 10


def test_a_model_of_several_networks_needs_a_part(tmp_path):
    class Two(RealData):
        @property
        def network_calls(self):
            return {"first": points().network_calls["denoiser"], "second": None}

    with pytest.raises(ValueError, match="has several networks: give --part first or second"):
        written(Two(spec(2)), tmp_path)
    with pytest.raises(ValueError, match=r"--part must be one of \['first', 'second'\], got 'z'"):
        written(Two(spec(2)), tmp_path, "z")


def test_a_model_that_names_no_call_is_refused(tmp_path):
    said = "since RealData names no network call: choose --format samples"
    with pytest.raises(ValueError, match=said):
        written(RealData(spec(1, 8, 8)), tmp_path)


class Unknown(nn.Module):
    """A network that ONNX has no operators for."""

    def __init__(self, latent_dim: int, data_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.layer = nn.Linear(latent_dim, 64)

    def forward(self, z):
        return torch.special.airy_ai(self.layer(z)).unflatten(1, (1, 8, 8))


def test_a_network_that_cannot_be_translated_is_refused_and_leaves_nothing(tmp_path):
    data: DataSpec = spec(1, 8, 8)
    model = GAN(data, Unknown, partial(Discriminator, width=8), non_saturating(), latent_dim=5)
    with pytest.raises(ValueError, match=r"torch cannot translate its generator \(.*\): choose"):
        written(model, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_file_that_computes_something_else_is_refused(tmp_path, monkeypatch):
    translated = exports.translated

    def off(model, call, texts):
        content = translated(model, call, texts)
        with torch.no_grad():
            next(model.generator.parameters()).add_(1.0)
        return content

    monkeypatch.setattr(exports, "translated", off)
    with pytest.raises(ValueError, match=r"onnxruntime's results of its generator differ .* by"):
        written(gan(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_force_replaces_an_export_and_nothing_else(tmp_path):
    file = written(points(), tmp_path)
    with pytest.raises(FileExistsError, match="give --force to replace it"):
        exports.check(file, replace=False)
    exports.check(file, replace=True)
    model = onnx.load(file)
    del model.metadata_props[:]
    onnx.save(model, file)
    for content in (file.read_bytes(), b"mine"):
        file.write_bytes(content)
        with pytest.raises(FileExistsError, match="is not an exported ONNX file"):
            exports.check(file, replace=True)
