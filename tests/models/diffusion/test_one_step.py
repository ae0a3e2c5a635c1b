"""Consistency distillation: exact on Gaussians; a teacher trained here, or before."""

from collections.abc import Callable
from functools import partial

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from torch import Tensor, nn

from models.base import Batch, DataSpec, GenerativeModel
from models.diffusion.edm import EDM, TIME_SCALE, coefficients
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.unet import UNet
from models.diffusion.one_step import OneStep
from models.diffusion.rectified_flow import RectifiedFlow
from models.diffusion.schedules import cosine_betas
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import non_saturating

SHAPE = (1, 8, 8)
DATA = DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10)
NETWORK = partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4, dropout=0.0)
STD = 0.2


class Known(nn.Module):
    """F of EDM for a denoiser D(x; sigma) = factor(sigma) x, from the noise's code."""

    def __init__(self, data_shape: tuple[int, ...], of_student: bool = False) -> None:
        super().__init__()
        self.of_student = of_student
        self.scale = nn.Parameter(torch.ones((), dtype=torch.float64))

    def factor(self, sigma: Tensor) -> Tensor:
        if not self.of_student:  # the optimal denoiser of data N(0, s²)
            return STD**2 / (STD**2 + sigma**2)
        whole = ((STD**2 + 0.002**2) / (STD**2 + sigma**2)).sqrt()  # f, along the flow
        return 1 + (whole - 1) / (1 - 0.002 / sigma).clamp_min(1e-9)

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        sigma = (code.double() / TIME_SCALE).exp()
        c_skip, c_out, c_in = (c.view(-1, 1, 1, 1) for c in coefficients(sigma, 0.5))
        factor = self.factor(sigma.view(-1, 1, 1, 1))
        return self.scale * (x / c_in) * (factor - c_skip) / c_out


def edm(
    data: DataSpec, network: Callable[..., nn.Module] = NETWORK, *, trained: bool = False
) -> EDM:
    model = EDM(data, network, samplers=["dpmpp-10"])
    model.trained = trained
    return model


def vp(data: DataSpec) -> GaussianDiffusion:
    return GaussianDiffusion(
        data, NETWORK, betas=cosine_betas(100), predicts="v", samplers=["ddim-10"]
    )


def make(teacher=edm, **settings) -> OneStep:
    torch.manual_seed(0)
    return OneStep(DATA, teacher, **settings)


def exact(**settings) -> OneStep:
    """The optimal teacher, and the exact student."""
    model = make(partial(edm, network=Known, trained=True), **settings)
    assert isinstance(model.student.network, Known)
    model.student.network.of_student = True
    return model


def moved(model: GenerativeModel) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape))


@pytest.mark.parametrize("teacher", [edm, vp])
def test_without_noise_nothing_changes(teacher):
    model = make(teacher)
    moved(model)
    x = torch.randn(3, *SHAPE)
    low = model.levels[0]
    assert torch.equal(model.predict(x, torch.full((3,), low)), x)
    assert not torch.equal(model.predict(x, torch.full((3,), 2 * low)), x)


def test_noise_levels_are_the_teachers():
    assert make(edm).levels[:2] == pytest.approx((0.002, 80.0))
    model = make(vp)
    assert isinstance(model.teacher, GaussianDiffusion)
    alpha_bar = model.teacher.process.alpha_bar
    least = float(((1 - alpha_bar[0]) / alpha_bar[0]).sqrt())
    assert model.levels[:2] == pytest.approx((least, 80.0))


def test_the_teachers_step_stays_on_the_flow():
    """Along it x grows as sqrt(s² + sigma²)."""
    model = exact()
    torch.manual_seed(1)
    lower, upper = model.neighbours(torch.tensor(200.0, dtype=torch.float64), 500)
    x_0, noise = STD * torch.randn(500, *SHAPE), torch.randn(500, *SHAPE)
    found = model.closer(x_0, noise, upper, lower)
    x = x_0 + upper.view(-1, 1, 1, 1) * noise
    shrunk = ((STD**2 + lower**2) / (STD**2 + upper**2)).sqrt().view(-1, 1, 1, 1)
    torch.testing.assert_close(found, (x * shrunk).float(), rtol=1e-3, atol=1e-4)


def loss_of(steps: int) -> float:
    model = exact(discretisation=(steps, steps))
    torch.manual_seed(2)
    return float(model.consistency_loss(Batch(STD * torch.randn(1000, *SHAPE)))["loss"].detach())


def test_the_exact_student_has_no_loss_in_the_limit_of_small_steps():
    """A step of Heun's method is wrong by h³, which is far less than the step of the data's."""
    losses = [loss_of(steps) for steps in (18, 72, 288)]
    assert losses[0] > 20 * losses[1] > 200 * losses[2]


def test_the_exact_student_gives_samples_of_the_data():
    model = exact().eval()
    with torch.inference_mode():
        x = model.samplers["consistency-1"].generate(2000, torch.Generator().manual_seed(0), None)
    assert x.std().item() == pytest.approx(STD, rel=0.01)
    assert model.samplers["consistency-1"].nfe == 1


def test_the_student_follows_the_teacher_until_its_part_begins():
    model = make(split=0.25)
    assert [(phase.name, phase.span) for phase in model.phases] == [
        ("denoiser", (0.0, 0.25)),
        ("student", (0.25, 1.0)),
    ]
    moved(model.teacher)
    x, sigma = torch.randn(2, *SHAPE), torch.ones(2)
    before = model.predict(x, sigma)
    follow = model.phases[0].after_update
    assert follow is not None
    follow()
    theirs = model.teacher.predict(x, sigma).x_0
    torch.testing.assert_close(model.predict(x, sigma), x + (1 - 0.002) * (theirs - x))
    assert not torch.allclose(before, model.predict(x, sigma))
    model.progress.fill_(0.125)
    assert model.stage == 0
    assert model.teacher.progress == 0.5


def test_a_teacher_that_was_trained_before_is_left_as_it_is():
    model = make(partial(edm, trained=True))
    assert [(phase.name, phase.span) for phase in model.phases] == [
        ("denoiser", (0.0, 0.0)),
        ("student", (0.0, 1.0)),
    ]
    assert [phase.name for phase in model.phases if phase.active(0.0)] == ["student"]
    model.consistency_loss(Batch(torch.rand(4, *SHAPE)))["loss"].backward()
    assert all(parameter.grad is None for parameter in model.teacher.parameters())
    assert any(parameter.grad is not None for parameter in model.student.parameters())


def test_the_teacher_teaches_without_dropout():
    model = make(partial(edm, network=partial(NETWORK, dropout=0.9))).train()
    moved(model)
    x_0, noise = torch.rand(4, *SHAPE), torch.randn(4, *SHAPE)
    with torch.no_grad():
        first, second = (
            model.closer(x_0, noise, torch.full((4,), 2.0), torch.full((4,), 1.0)) for _ in range(2)
        )
    assert torch.equal(first, second)
    assert model.teacher.network.training


def gan(data: DataSpec) -> GAN:
    return GAN(data, partial(Generator, width=4), partial(Discriminator, width=4), non_saturating())


def flow(data: DataSpec) -> RectifiedFlow:
    return RectifiedFlow(data, NETWORK, samplers=["heun-5"])


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"teacher": gan}, "one_step distils a diffusion model of the data, got GAN"),
        ({"teacher": flow}, "noise levels of unscaled samples, .* got RectifiedFlow"),
        ({"split": 1.0}, r"split must be in \(0, 1\), got 1.0"),
        ({"discretisation": (18, 20)}, "the first times a power of two"),
    ],
)
def test_bad_arguments_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**settings)


@pytest.mark.parametrize(
    ("name", "parent"), [("one_step", "edm"), ("one_step_small", "v_diffusion_small")]
)
def test_its_configurations_are_made_of_the_teachers_own(name, parent):
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("config", [f"model={name}"])
        teacher = compose("config", [f"model={parent}"])
    assert cfg.model.teacher == teacher.model
    recipe = instantiate(cfg.model.training)
    assert set(recipe.optimizers) == {"denoiser", "student"}
