from copy import deepcopy
from dataclasses import replace
from functools import partial

import pytest
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from torch import Tensor

from models.base import Batch, DataSpec, GenerativeModel, Sampler
from models.diffusion.denoising import OnState
from models.diffusion.edm import EDM
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.meanflow import MeanFlow
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import linear_betas
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import non_saturating
from models.hybrid import Hybrid

SHAPE = (1, 8, 8)


def held_out(index: Tensor) -> Tensor:
    return torch.zeros(len(index), *SHAPE)


DATA = DataSpec(SHAPE, 0, held_out, 10)
NETWORK = partial(UNet, channels=8, channel_mult=[1, 1], num_res_blocks=1, groups=4)
NETWORKS = partial(Generator, width=4), partial(Discriminator, width=4)


def draft(data: DataSpec, *, trained: bool = False) -> GAN:
    model = GAN(data, *NETWORKS, non_saturating(), latent_dim=3)
    model.trained = trained
    return model


def refine(data: DataSpec, *, trained: bool = False, **settings) -> GaussianDiffusion:
    settings = {"samplers": ["ddim-5"], "betas": linear_betas(100, 1e-4, 0.2), **settings}
    model = GaussianDiffusion(data, NETWORK, **settings)
    model.trained = trained
    return model


def make(data: DataSpec = DATA, **settings) -> Hybrid:
    torch.manual_seed(0)
    settings = {"sampler": "ddim-10", "steps": (1, 3, 10), **settings}
    parents = {"draft": draft, "refine": refine, **settings}
    return Hybrid(data, **parents).eval()


def drawn(model: GenerativeModel, name: str, n: int = 4) -> Tensor:
    with torch.inference_mode():
        return model.samplers[name].generate(n, torch.Generator().manual_seed(5), None)


def test_rows_are_the_draft_the_refined_drafts_and_the_sampler_alone():
    assert {name: sampler.nfe for name, sampler in make().samplers.items()} == {
        "draft": 1,
        "hybrid-ddim-10-last-1": 2,
        "hybrid-ddim-10-last-3": 4,
        "hybrid-ddim-10-last-10": 11,
        "ddim-10": 10,
    }


def test_parents_draw_as_they_do_alone():
    model = make()
    assert torch.equal(drawn(model, "draft"), drawn(model.draft, "generator"))
    alone = refine(DATA, samplers=["ddim-10"]).eval()
    alone.load_state_dict(model.refine.state_dict())
    assert torch.equal(drawn(model, "ddim-10"), drawn(alone, "ddim-10"))


def test_a_refined_draft_is_sdedit_of_the_draft():
    model = make()
    generator = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        x = model.draft.samplers["generator"].generate(4, generator, None)
        x = model.refine.refine(x, "ddim-10", 3, generator)
    assert torch.equal(drawn(model, "hybrid-ddim-10-last-3"), x)


def test_the_way_of_a_refined_draft_begins_with_the_draft():
    model = make()
    sampler = model.samplers["hybrid-ddim-10-last-3"]
    with torch.inference_mode():
        first, *noisy, last = sampler.trajectory(4, torch.Generator().manual_seed(5), None)
    assert torch.equal(first, drawn(model, "draft"))
    assert len(noisy) == 3
    assert torch.equal(last, drawn(model, "hybrid-ddim-10-last-3"))


def test_the_more_steps_the_less_is_left_of_the_draft():
    """With a denoiser that knows only x_t: it predicts the image that explains it all."""
    model = make(steps=(1, 2, 5, 10))
    before = drawn(model, "draft")
    distances = [
        (drawn(model, f"hybrid-ddim-10-last-{steps}") - before).square().mean().item()
        for steps in (1, 2, 5, 10)
    ]
    assert distances == sorted(distances)
    assert distances[0] < 0.1 * distances[-1]


def test_fresh_parents_are_trained_side_by_side():
    model = make()
    assert [phase.name for phase in model.phases] == ["discriminator", "generator", "denoiser"]
    modules = [phase.module for phase in model.phases]
    assert modules == [model.draft.discriminator, model.draft.generator, model.refine.network]


def test_losses_are_the_parents_own():
    model = make()
    batch = Batch(torch.rand(4, *SHAPE))
    own = (*model.draft.phases, *model.refine.phases)
    for phase, parents_phase in zip(model.phases, own, strict=True):
        torch.manual_seed(1)
        ours = phase.loss(batch)["loss"]
        torch.manual_seed(1)
        torch.testing.assert_close(ours, parents_phase.loss(batch)["loss"])


def test_trained_parents_are_left_as_they_are():
    trained = {"draft": partial(draft, trained=True), "refine": partial(refine, trained=True)}
    model = make(**trained)
    assert model.phases == ()
    state = deepcopy(model.draft.state_dict())
    model.progress.fill_(0.5)
    assert model.stage == 0
    assert all(torch.equal(state[k], v) for k, v in model.draft.state_dict().items())


def test_progress_reaches_fresh_parents():
    model = make()
    model.progress.fill_(0.25)
    model.phases[0].loss(Batch(torch.rand(2, *SHAPE)))
    assert model.draft.progress == 0.25
    assert model.refine.progress == 0.25


def test_stages_of_either_parent_change_the_stage():
    class Growing(GAN):
        @property
        def stage(self) -> int:
            return int(4 * self.progress)

    model = make(draft=lambda data: Growing(data, *NETWORKS, non_saturating(), latent_dim=3))
    for progress, stage in ((0.0, 0), (0.3, 1), (0.8, 3)):
        model.progress.fill_(progress)
        assert model.stage == stage


def test_edm_can_refine():
    model = make(
        refine=lambda data: EDM(data, NETWORK, samplers=["heun-5"]), sampler="heun-5", steps=(2,)
    )
    assert model.samplers["hybrid-heun-5-last-2"].nfe == 1 + 3
    x = drawn(model, "hybrid-heun-5-last-2")
    assert x.shape == (4, *SHAPE)
    assert x.abs().max() <= 1


def test_flows_can_refine():
    """By steps of the average velocity; FLOPs are counted in samples that suit both parents."""
    model = make(
        refine=lambda data: MeanFlow(data, NETWORK, samplers=["meanflow-4"]),
        sampler="meanflow-4",
        steps=(2,),
    )
    assert model.samplers["hybrid-meanflow-4-last-2"].nfe == 1 + 2
    x = drawn(model, "hybrid-meanflow-4-last-2")
    assert x.shape == (4, *SHAPE)
    assert x.abs().max() <= 1
    assert model.batch_unit == 4
    assert make().batch_unit == 2


def test_both_parents_draw_the_same_classes():
    classes: list[Tensor] = []

    class Conditional(GAN):
        @property
        def samplers(self) -> dict[str, Sampler]:
            return {"generator": Sampler(self.generate, {self.generator: 1}, classes=3)}

        def generate(self, n: int, generator: torch.Generator, y: Tensor | None = None) -> Tensor:
            assert y is not None
            classes.append(y)
            return super().generate(n, generator, y)

    class Refining(GaussianDiffusion):
        def refine(
            self,
            x: Tensor,
            name: str,
            steps: int,
            generator: torch.Generator,
            y: Tensor | None = None,
            on_state: OnState | None = None,
        ) -> Tensor:
            assert y is not None
            classes.append(y)
            return super().refine(x, name, steps, generator, y, on_state)

    model = make(
        DataSpec(SHAPE, 3, held_out, 10),
        draft=lambda data: Conditional(data, *NETWORKS, non_saturating(), latent_dim=3),
        refine=lambda data: Refining(
            data, NETWORK, samplers=["ddim-10"], betas=linear_betas(100), conditional=True
        ),
    )
    drawn(model, "hybrid-ddim-10-last-3", n=50)
    assert torch.equal(*classes)
    assert set(classes[0].tolist()) == {0, 1, 2}


CONDITIONAL = partial(
    GaussianDiffusion,
    network=NETWORK,
    samplers=["ddim-10"],
    betas=linear_betas(100),
    conditional=True,
)


def test_a_draft_of_unknown_class_is_refined_without_a_class():
    """A class that has nothing to do with the draft would pull it away from what it shows."""
    model = make(DataSpec(SHAPE, 3, held_out, 10), refine=CONDITIONAL)
    name = "hybrid-ddim-10-last-3"
    assert model.samplers[name].classes == 0
    generator = torch.Generator().manual_seed(5)
    with torch.inference_mode():
        x = model.draft.samplers["generator"].generate(4, generator, None)
        x = model.refine.refine(x, "ddim-10", 3, generator, None)
    assert torch.equal(drawn(model, name), x)


def test_guidance_needs_drafts_of_known_classes():
    sentence = "cannot refine by ddim-10-cfg2, which is guided by classes"
    with pytest.raises(ValueError, match=sentence):
        make(DataSpec(SHAPE, 3, held_out, 10), refine=CONDITIONAL, sampler="ddim-10-cfg2")


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"steps": ()}, r"steps must be one or more different numbers, got \[\]"),
        ({"steps": (2, 2)}, r"steps must be one or more different numbers, got \[2, 2\]"),
        ({"steps": (0, 2)}, r"steps must be in \[1, 10\] of ddim-10, got \[0, 2\]"),
        ({"steps": (11,)}, r"steps must be in \[1, 10\] of ddim-10, got \[11\]"),
        ({"sampler": "dim-10"}, "'dim-10' is not <method>-<steps>"),
        ({"draft": partial(draft, trained=True)}, "both parents trained before or neither"),
        ({"refine": partial(refine, trained=True)}, "both parents trained before or neither"),
        ({"draft": refine}, "phases differ in name, got .*denoiser"),
    ],
)
def test_what_does_not_fit_is_refused(settings, message):
    with pytest.raises(ValueError, match=message):
        make(**settings)


@pytest.mark.parametrize("name", ["hybrid", "hybrid_small"])
def test_its_configurations_are_made_of_the_parents_own(name):
    with initialize_config_module("conf", version_base="1.3"):
        cfg = compose("config", [f"model={name}"])
        suffix = name.removeprefix("hybrid")
        parents = [compose("config", [f"model={parent}{suffix}"]) for parent in ("dcgan", "ddpm")]
    assert cfg.model.draft == parents[0].model
    assert cfg.model.refine.build.network == parents[1].model.build.network
    recipe = instantiate(cfg.model.training)
    assert recipe.batch_size == parents[1].model.training.batch_size
    assert set(recipe.optimizers) == {"discriminator", "generator", "denoiser"}


def test_a_gan_cannot_refine():
    with pytest.raises(ValueError, match="refines by a diffusion model, got GAN: exchange"):
        Hybrid(DATA, draft, draft)


def test_what_follows_an_update_of_a_parent_still_does(monkeypatch):
    called = []
    model = Hybrid(DATA, draft, refine, sampler="ddim-5", steps=[2])
    phases = tuple(
        replace(phase, after_update=partial(called.append, phase.name))
        for phase in model.refine.phases
    )
    monkeypatch.setattr(type(model.refine), "phases", phases)
    for phase in model.phases:
        if phase.after_update is not None:
            phase.after_update()
    assert called == ["denoiser"]
