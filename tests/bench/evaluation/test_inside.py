"""Curves and trajectories of models; computing them changes nothing."""

import math
from functools import partial

import pytest
import torch
from torch import nn

from bench.compare.read import read_curves
from bench.config import Budget, LoggerSettings
from bench.data.batches import BatchStream
from bench.data.sources import load_digits
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.extractors.classifier import DomainClassifier
from bench.evaluation.extractors.domain import DomainExtractor
from bench.evaluation.held_out import SHOWN, look_inside
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.reference import Reference
from bench.runs.directory import RunDirectory
from bench.runs.looks import Call
from bench.runs.provenance import provenance
from bench.runs.wandb_mirror import WandbLogger
from bench.runs.writer import Instruments, Recorder, Scoring
from bench.runtime.atomic_files import csv_text
from bench.runtime.memory import PeakMemory
from bench.runtime.progress import TrainingProgress
from bench.schema import CURVE_COLUMNS
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.diffusion.denoising import STATES, shown_states
from models.diffusion.edm import EDM
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import linear_betas
from models.gan.gan import GAN
from models.gan.networks.mlp import Discriminator, Generator
from models.gan.objectives import non_saturating

UNET = partial(
    UNet,
    channels=8,
    channel_mult=[1, 2],
    num_res_blocks=1,
    attention_levels=[],
    dropout=0,
    groups=4,
)


class Perfect(nn.Module):
    """Predicts no noise at all: x_0 is x_t / alpha."""

    def __init__(self, shape):
        super().__init__()
        self.scale = nn.Parameter(torch.zeros(()))

    def forward(self, x, t):
        return self.scale * x


@pytest.fixture(scope="module")
def digits():
    return load_digits(data_root=None)


def gaussian(data, network=UNET, **options):
    options = {"samplers": ["ddim-5", "ddim-20"], "predicts": "eps", **options}
    return GaussianDiffusion(data, network, betas=linear_betas(100), **options)


def seen(model, dataset, **options):
    options = {"seed": 3, "precision": "fp32", "batch_size": 64, **options}
    return look_inside(model, dataset, **options)


@pytest.mark.parametrize(
    ("build", "strengths"),
    [
        (gaussian, [0.2, 0.4, 1]),
        (lambda data: EDM(data, UNET, samplers=["heun-4"]), [0.25, 0.5, 1]),
    ],
)
def test_diffusion_shows_curves_and_the_way_of_its_samples(digits, build, strengths):
    torch.manual_seed(0)
    model = build(digits.spec())
    found = seen(model, digits)
    curves = {}
    for name, at, mean, error, samples in found.curves:
        curves.setdefault(name, []).append((at, mean))
        assert error > 0
        assert samples == 64
    assert [at for at, _ in curves["edit_distance"]] == strengths
    shares = [at for at, _ in curves["x0_error"]]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    for name, (rows, states) in found.trajectories.items():
        assert rows.shape == (SHOWN * states, 1, 8, 8)
        generator = torch.Generator().manual_seed(3)
        with torch.inference_mode():
            drawn = model.eval().samplers[name].generate(SHOWN, generator, None)
        assert torch.equal(rows.unflatten(0, (SHOWN, states))[:, -1], drawn)


def test_the_error_of_a_known_denoiser_is_the_computed_one(digits):
    model = gaussian(digits.spec(), network=Perfect, clip=False)
    curve = [(at, mean) for name, at, mean, *_ in seen(model, digits).curves if name == "x0_error"]
    alpha_bar = torch.cumprod(1 - linear_betas(100), 0)
    for at, mean in curve:
        power = float(alpha_bar[round(at * 99)])
        assert mean == pytest.approx((1 - power) / power, rel=0.1)  # E |σ eps / α|²


def test_looking_leaves_weights_modes_and_random_state_alone(digits):
    model = gaussian(digits.spec()).train()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    state = torch.get_rng_state()
    first, second = seen(model, digits), seen(model, digits)
    assert first.curves == second.curves
    assert model.training
    assert torch.equal(state, torch.get_rng_state())
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_samples_on_the_way_have_the_classes_of_the_data(digits):
    asked = []

    class Asked(GaussianDiffusion):
        def denoiser(self, y=None, guidance=1.0):
            asked.append(y)
            return super().denoiser(y, guidance)

    network = partial(UNET, num_classes=10)
    model = Asked(
        digits.spec(),
        network,
        betas=linear_betas(100),
        samplers=["ddim-5"],
        conditional=True,
    )
    only_seven = torch.zeros(10, dtype=torch.float64)
    only_seven[7] = 1
    seen(model, digits, frequencies=only_seven)
    assert asked[-1].tolist() == [7] * SHOWN


def test_a_gan_has_nothing_on_the_way(digits):
    model = GAN(
        digits.spec(),
        latent_dim=4,
        generator=partial(Generator, hidden=[8]),
        discriminator=partial(Discriminator, hidden=[8]),
        objective=non_saturating,
    )
    found = seen(model, digits)
    assert not found.curves
    assert not found.trajectories


def test_many_states_are_thinned_to_first_and_last_and_none_is_wider_than_noise():
    states = [torch.full((2, 1, 1, 1), float(k)) for k in range(50)]
    wide = [80 * torch.randn(8, 1, 8, 8)]
    kept = shown_states(states, torch.ones(2, 1, 1, 1))
    assert len(kept) == STATES
    assert [float(x.flatten()[0]) for x in (kept[0], kept[-2], kept[-1])] == [0.0, 49.0, 1.0]
    assert shown_states(wide, wide[0])[0].std() == pytest.approx(1.0, rel=1e-3)
    assert len(shown_states(states[:1], states[0])) == 2


def test_curves_are_read_as_written_and_damage_is_refused(tmp_path):
    assert read_curves(tmp_path) is None
    rows = [["x0_error", "0.5", "0.25", "nan", "1"]]
    (tmp_path / "curves.csv").write_text(csv_text(CURVE_COLUMNS, rows))
    table = read_curves(tmp_path)
    assert table is not None
    assert (table["x"][0], table["mean"][0]) == (0.5, 0.25)
    assert math.isnan(table["standard_error"][0])


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"curve,x\nx0_error,1\n",
        csv_text(CURVE_COLUMNS, [["a", "high", "1", "1", "1"]]).encode(),
        csv_text(CURVE_COLUMNS, [["a", "1", "1", "1", ""]]).encode(),
        b"\xff\x00\xfe",
    ],
)
def test_damaged_curves_are_refused(tmp_path, content):
    (tmp_path / "curves.csv").write_bytes(content)
    with pytest.raises(ValueError, match=r"curves.csv is not a run's curves \(.*delete"):
        read_curves(tmp_path)


def record(dataset, path):
    """Train a few steps under the recorder, or go on where that was stopped."""
    torch.manual_seed(0)
    recipe = Recipe(8, {"denoiser": torch.optim.Adam})
    batches = BatchStream(dataset.train, 8, seed=0, flip=False)
    budget = Budget(images=16)
    trainer = Trainer(gaussian(dataset.spec()), recipe, budget, batches, path / "c")
    reference = Reference(
        dataset,
        [DomainExtractor(DomainClassifier((1, 8, 8), 10, width=4).eval())],
        device=torch.device("cpu"),
        cache_dir=path.parent,
    )
    evaluator = Evaluator(reference, EvaluatorOptions(60, 30, seed=1))
    wandb = WandbLogger(LoggerSettings(), path, "n", {})
    with RunDirectory(path) as records:
        trainer.resume()
        recorder = Recorder(
            records,
            trainer,
            lambda: Scoring(
                evaluator,
                {"dataset": "digits", "model": "ddpm", "seed": 0} | provenance(evaluator, trainer),
            ),
            Instruments(wandb, TrainingProgress("test"), PeakMemory(trainer.device)),
            Call("python -m bench"),
        )
        trainer.fit(recorder)


def test_no_run_has_its_rows_without_its_curves_and_pictures(digits, tmp_path, monkeypatch):
    """They are written first, and a run that was killed before its rows makes them again."""

    class KilledError(Exception):
        pass

    def kill(*_, **__):
        raise KilledError

    run = tmp_path / "run"
    names = [f"checkpoint=1_{name}_trajectory.png" for name in ("ddim-5", "ddim-20")]
    files = [run / "curves.csv", *(run / "samples" / name for name in names)]
    with monkeypatch.context() as patch:
        patch.setattr(RunDirectory, "append_eval", kill)
        with pytest.raises(KilledError):
            record(digits, run)
    for file in files:
        file.unlink()
    record(digits, run)
    assert all(file.exists() for file in files)
    curves = read_curves(run)
    assert curves is not None
    assert set(curves["curve"]) == {"x0_error", "edit_distance"}
    assert set(curves["samples"]) == {30}
