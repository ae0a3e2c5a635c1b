import pytest
import torch
from known_diffusion import Recorder, recorded, seeded, spec, unet

from models.base import Batch
from models.diffusion.edm import EDM
from models.diffusion.networks.mlp import DenoiserMLP
from models.diffusion.parameterisations import PARAMETERISATIONS, to_x_0
from models.diffusion.rectified_flow import RectifiedFlow


def edm(num_classes=4, samplers=("ddim-5",), **options):
    """EDM with a network that remembers what it was given."""
    data = spec(2, num_classes=num_classes)
    return EDM(data, Recorder, samplers=samplers, conditional=num_classes > 0)


def flow(num_classes=4, samplers=("ddim-5",), **options):
    """Rectified flow with a network that remembers what it was given."""
    data = spec(2, num_classes=num_classes)
    return RectifiedFlow(data, Recorder, samplers=samplers, conditional=num_classes > 0)


ALL = pytest.mark.parametrize("make", [recorded, edm, flow], ids=["gaussian", "edm", "flow"])


@ALL
def test_a_tenth_of_the_labels_is_hidden(make):
    """Ho & Salimans 2022: class K stands for none."""
    model = make(num_classes=4)
    torch.manual_seed(0)
    y = torch.arange(20_000) % 4
    model.denoiser_loss(Batch(torch.zeros(20_000, 2), y))
    seen = model.network.calls[0][2]
    hidden = seen == 4
    assert hidden.float().mean().item() == pytest.approx(0.1, abs=0.01)
    assert torch.equal(seen[~hidden], y[~hidden])


@ALL
def test_without_labels_the_network_is_given_the_null_class(make):
    model = make(num_classes=4)
    model.denoiser_loss(Batch(torch.zeros(8, 2)))
    model.denoiser()(torch.zeros(8, 2), torch.ones(8))
    assert all(torch.equal(y, torch.full((8,), 4)) for _, _, y in model.network.calls)


@pytest.mark.parametrize("predicts", PARAMETERISATIONS)
@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_extrapolates_the_noise(predicts, guidance):
    """Ho & Salimans 2022, Eq. 6, in eps whatever the network predicts; its w is ours less one."""
    model = recorded(num_classes=4, predicts=predicts, clip=False)
    x_t = torch.randn(4, 2, generator=seeded())
    t, y = torch.tensor([10.0, 200.0, 500.0, 900.0]), torch.arange(4)
    found = model.denoiser(y, guidance)(x_t, t).x_0
    assert len(model.network.calls) == 2
    alpha, sigma = model.process.levels(t, 2)
    given, none = (model.denoiser(labels)(x_t, t).x_0 for labels in (y, torch.full((4,), 4)))
    eps, eps_none = ((x_t - alpha * x_0) / sigma for x_0 in (given, none))
    w = guidance - 1
    expected = to_x_0("eps", (1 + w) * eps - w * eps_none, x_t, alpha, sigma)
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_extrapolates_the_denoiser_of_edm(guidance):
    """D_w = D_none + w (D_y - D_none), as in Karras et al. 2024 (arXiv 2406.02507), Eq. 3."""
    model = edm()
    x, y = torch.randn(4, 2, generator=seeded()), torch.arange(4)
    sigma = torch.tensor([0.01, 0.5, 3.0, 70.0])
    found = model.denoiser(y, guidance)(x, sigma).x_0
    assert [seen.tolist() for _, _, seen in model.network.calls] == [[0, 1, 2, 3], [4, 4, 4, 4]]
    given, none = (model.denoiser(labels)(x, sigma).x_0 for labels in (y, torch.full((4,), 4)))
    assert not torch.allclose(given, none)
    torch.testing.assert_close(found, none + guidance * (given - none), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("guidance", [0.0, 0.5, 3.0])
def test_guidance_extrapolates_the_velocity_of_a_flow(guidance):
    """v_w = v_none + w (v_y - v_none), and so the prediction x - t v."""
    model = flow()
    x, y = torch.randn(4, 2, generator=seeded()), torch.arange(4)
    t = torch.tensor([0.01, 0.3, 0.9, 1.0])
    found = model.denoiser(y, guidance)(x, t).x_0
    given, none = (model.velocity(x, t, labels) for labels in (y, torch.full((4,), 4)))
    assert not torch.allclose(given, none)
    expected = x - t[:, None] * (none + guidance * (given - none))
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


@ALL
def test_guidance_of_one_is_one_call_with_the_class(make):
    model = make(num_classes=4)
    y = torch.arange(3)
    model.denoiser(y, 1.0)(torch.zeros(3, 2), torch.ones(3))
    ((_, _, seen),) = model.network.calls
    assert torch.equal(seen, y)


def test_the_guided_prediction_is_what_is_clipped():
    model = recorded(num_classes=4, predicts="x_0")
    with torch.no_grad():
        model.network.effects.copy_(torch.tensor([2.0, 0.0, 0.0, 0.0, 1.0]))
    found = model.denoiser(torch.tensor([0]), 0.5)(torch.zeros(1, 2), torch.zeros(1)).x_0
    assert (found == 1.0).all()  # 1.25 + (2.25 - 1.25) / 2, clipped; clipped parts give 1 too
    found = model.denoiser(torch.tensor([0]), -0.5)(torch.zeros(1, 2), torch.zeros(1)).x_0
    torch.testing.assert_close(found, torch.full((1, 2), 0.75))  # clipped parts would give 1


@pytest.mark.parametrize(
    ("name", "calls"), [("ddim-5", 5), ("ddim-5-cfg3", 10), ("heun-3-cfg2", 10)]
)
@ALL
def test_guided_samplers_count_both_calls(make, name, calls):
    model = make(samplers=[name], num_classes=4)
    assert model.samplers[name].calls == {model.network: calls}
    model.samplers[name].generate(2, seeded(), None)
    assert len(model.network.calls) == calls


@ALL
def test_classes_are_those_asked_for_or_uniform_ones_of_the_generator(make):
    model = make(samplers=["ddim-1"], num_classes=4)
    draw = model.samplers["ddim-1"].generate
    asked = torch.tensor([3, 3, 0])
    draw(3, seeded(), asked)
    for seed in (0, 0, 1):
        draw(4000, seeded(seed), None)
    own, first, again, other = (y for _, _, y in model.network.calls)
    assert torch.equal(own, asked)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    counts = first.bincount(minlength=5).float()
    assert counts[4] == 0
    assert ((counts[:4] - 1000).square() / 1000).sum() < 16.3  # 3 degrees, p = 0.001


def test_a_conditional_edm_needs_a_network_that_takes_classes():
    with pytest.raises(ValueError, match=r"does not take num_classes, .*choose UNet or DiT"):
        EDM(spec(2, num_classes=4), DenoiserMLP, samplers=["heun-3"], conditional=True)


def test_a_learned_variance_is_not_guided():
    """It is that of the class asked for; guidance extrapolates the mean alone."""
    model = recorded((3, 4, 4), num_classes=4, variance="learned", bound_weight=0.001)
    with torch.no_grad():
        model.network.raw.fill_(0.5)
    x, t, y = torch.zeros(2, 3, 4, 4), torch.tensor([5.0, 7.0]), torch.tensor([0, 3])
    guided, usual = (model.denoiser(y, guidance)(x, t) for guidance in (3.0, 1.0))
    assert torch.equal(guided.fraction, usual.fraction)
    assert (usual.fraction == 0.75).all()
    assert not torch.equal(guided.x_0, usual.x_0)


def test_labels_of_an_unconditional_model_are_ignored():
    model = unet("dpmpp-5")
    model.eval()
    draw = model.samplers["dpmpp-5"].generate
    assert torch.equal(draw(2, seeded(), torch.tensor([0, 1])), draw(2, seeded(), None))
