"""StyleGAN2: style mixing, path lengths from the Jacobian, and its phases."""

from functools import partial

import pytest
import torch
from torch import Tensor
from torch.nn.functional import softplus

from bench.cost.network_calls import capture_calls
from bench.runtime.isolation import evaluating
from models.base import Batch, DataSpec
from models.gan.networks import stylegan2
from models.gan.networks.stylegan2 import Discriminator, Generator
from models.gan.objectives import non_saturating
from models.gan.regularisers import R1
from models.gan.stylegan2 import PathLength, StyleGAN2

SHAPE = (1, 8, 8)


def make(**options) -> StyleGAN2:
    torch.manual_seed(0)
    return StyleGAN2(
        DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 10),
        partial(Generator, width=4, max_width=8, mapping_layers=2, style_dim=5),
        partial(Discriminator, width=4, max_width=8),
        non_saturating(),
        **{"latent_dim": 6} | options,
    )


def test_lazy_penalties_are_phases_of_their_own_by_the_optimizers_of_the_players():
    phases = make(regularisers=[R1(interval=16)], path_length=PathLength(interval=4)).phases
    assert [(p.name, p.every, p.updated_by) for p in phases] == [
        ("discriminator", 1, "discriminator"),
        ("r1", 16, "discriminator"),
        ("generator", 1, "generator"),
        ("path_length", 4, "generator"),
    ]
    assert [p.name for p in make().phases] == ["discriminator", "generator"]


def test_the_cost_of_a_sample_is_counted():
    """Twice per multiply-add, in inference mode as in evaluation; the layers by their sizes."""
    model = make().eval()
    (sampler,) = model.samplers.values()
    generator = torch.Generator().manual_seed(0)
    with evaluating(model):
        (call,) = capture_calls(sampler.calls, lambda: sampler.generate(1, generator, None))
        counted = 1e9 * call.gflops_of_one_more()
    convolutions = 9 * (8 * 8 * 16 + 8 * 4 * 16 + 4 * 4 * 64)
    low_pass = 4 * (8 * 9 * 9 + 8 * 8 * 9)  # of rows and columns, from 9x9 to 8x8
    images = 8 * 16 + 4 * 64
    styles = 6 * 5 + 5 * 5 + 5 * (8 + 8 + 4 + 8 + 4)
    demodulation = 8 * 8 + 8 * 4 + 4 * 4
    assert counted == pytest.approx(2 * (convolutions + low_pass + images + styles + demodulation))


# Style mixing


def test_mixed_styles_come_from_two_latents_with_one_change_between_layers():
    model = make(mixing=1.0)
    torch.manual_seed(0)
    z = torch.randn(400, 6)
    styles = model.styles(z)
    own = (styles == model.network.mapped(z)[:, None]).all(dim=2)  # (B, L)
    assert own[:, 0].all()
    assert not own[:, -1].any()
    assert (own.int().diff(dim=1) <= 0).all()
    places = own.sum(dim=1)
    counts = torch.bincount(places, minlength=4)[1:]
    assert counts.sum() == 400
    assert (counts - 400 / 3).abs().max() < 5 * (400 * 2 / 9) ** 0.5
    after = styles[torch.arange(400), -1]
    assert torch.equal(styles[torch.arange(400), places], after)  # one other latent per sample


def test_the_share_of_mixed_samples_is_as_asked():
    model = make(mixing=0.3)
    torch.manual_seed(0)
    z = torch.randn(2000, 6)
    mixed = (model.styles(z) != model.network.mapped(z)[:, None]).any(dim=2).any(dim=1)
    assert mixed.double().mean().item() == pytest.approx(0.3, abs=4 * (0.21 / 2000) ** 0.5)


def test_without_mixing_all_layers_have_one_style():
    model = make(mixing=0.0)
    z = torch.randn(5, 6)
    styles = model.styles(z)
    assert torch.equal(styles, model.network.mapped(z)[:, None].expand(-1, 4, -1))


def test_mixing_reaches_images_in_training_and_not_in_sampling():
    z = torch.randn(8, 6)
    mixed, plain = make(mixing=1.0), make(mixing=0.0)
    assert not torch.allclose(mixed.fake(z, None), plain.fake(z, None))
    samples = [
        model.eval().generate(4, torch.Generator().manual_seed(1)) for model in (mixed, plain)
    ]
    assert torch.equal(*samples)


# Path lengths


def test_path_lengths_are_those_of_the_explicit_jacobian():
    """|J' y| over all layers' styles, for the same random y; root mean square over layers."""
    model = make(path_length=PathLength()).requires_grad_(False)
    styles, noise = torch.randn(3, 4, 5), torch.randn(3, model.network.noise_size)
    torch.manual_seed(2)
    lengths = model.path_lengths(styles, noise)
    torch.manual_seed(2)
    y = torch.randn(3, *SHAPE) / 8
    for k in range(3):

        def image(style: Tensor, k: int = k) -> Tensor:
            return model.network.synthesise(style[None], noise[k : k + 1])[0].flatten()

        jacobian = torch.autograd.functional.jacobian(image, styles[k])  # (64, L, W)
        product = torch.einsum("plw,p->lw", jacobian, y[k].flatten())
        expected = product.square().sum(dim=1).mean().sqrt()
        torch.testing.assert_close(lengths[k], expected, rtol=1e-3, atol=1e-6)


def test_the_penalty_is_the_weighted_squared_distance_to_the_mean_length():
    penalty = PathLength(weight=3.0, interval=5, shrink=2)
    model = make(path_length=penalty, mixing=0.0)
    model.mean_length.fill_(0.3)
    torch.manual_seed(4)
    values = model.path_loss(Batch(torch.zeros(6, *SHAPE)))
    torch.manual_seed(4)
    z = torch.randn(3, 6)  # half of the batch
    lengths = model.path_lengths(model.styles(z), torch.randn(3, model.network.noise_size))
    torch.testing.assert_close(values["loss"], 5 * 3 * (lengths - 0.3).square().mean())
    torch.testing.assert_close(values["length"], lengths.mean().detach())


def test_its_gradient_is_the_derivative_of_the_penalty(monkeypatch):
    """Along a random direction of all weights, in float32, by central differences.

    A smooth activation stands in for LeakyReLU, at whose kinks differences mean nothing.
    """
    monkeypatch.setattr(stylegan2, "activation", softplus)
    model = make(path_length=PathLength(), mixing=0.5)
    batch = Batch(torch.zeros(6, *SHAPE))
    parameters = list(model.generator.parameters())
    start = [p.detach().clone() for p in parameters]
    direction = [torch.randn(p.shape, generator=torch.Generator().manual_seed(1)) for p in start]

    def value(step: float) -> Tensor:
        with torch.no_grad():
            for p, origin, along in zip(parameters, start, direction, strict=True):
                p.copy_(origin + step * along)
        torch.manual_seed(0)
        return model.path_loss(batch)["loss"]

    difference = (value(3e-3) - value(-3e-3)).item() / 6e-3
    value(0.0).backward()
    slopes = [
        (p.grad * d).sum() for p, d in zip(parameters, direction, strict=True) if p.grad is not None
    ]
    assert sum(slopes).item() == pytest.approx(difference, rel=1e-2)


def test_the_mean_length_follows_the_lengths_of_all_processes():
    """The trainer sums over processes before the update: here twice the own batch."""
    model = make(path_length=PathLength(decay=0.25))
    path = model.phases[-1]
    mean = 0.0
    for _ in range(3):
        length = path.loss(Batch(torch.zeros(6, *SHAPE)))["length"].item()
        (lengths,) = path.summed
        lengths *= 2
        assert path.after_update is not None
        path.after_update()
        mean += 0.25 * (length - mean)
        assert model.mean_length.item() == pytest.approx(mean, rel=1e-5)
    assert "mean_length" in model.state_dict()


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"weight": 0.0}, r"weight of path_length must be positive, got 0\.0"),
        ({"interval": 0}, "interval of path_length must be a whole number, at least 1, got 0"),
        ({"shrink": 1.5}, r"shrink of path_length must be a whole number, at least 1, got 1\.5"),
        ({"decay": 0.0}, r"decay of path_length must be in \(0, 1\], got 0\.0"),
    ],
)
def test_path_length_settings_out_of_range_are_refused(options, sentence):
    with pytest.raises(ValueError, match=sentence):
        PathLength(**options)


def test_a_share_of_mixing_out_of_range_is_refused():
    with pytest.raises(ValueError, match=r"mixing must be in \[0, 1\], got 1\.1"):
        make(mixing=1.1)
