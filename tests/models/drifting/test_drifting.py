"""Drifting models: their phases, their features, and a run that converges."""

from functools import partial
from pathlib import Path

import pytest
import torch
import yaml
from torch import Tensor, nn

from bench.cost.measure import step_flops
from bench.cost.training_flops import count_step
from models.base import Batch, DataSpec
from models.drifting.drifting import Drifting, FromNoise
from models.drifting.features import MaskedAutoencoder, random_mask, statistics
from models.drifting.field import Features
from models.gan.networks.dcgan import Generator
from models.gan.networks.mlp import Generator as PointGenerator

CONF = Path(__file__).parents[3] / "conf" / "model"
SHAPE = (1, 8, 8)
ENCODER = partial(MaskedAutoencoder, width=8, blocks=[1, 1], groups=4)
SMALL = {"generator": partial(Generator, width=4), "features": ENCODER, "latent_dim": 5}


def make(shape: tuple[int, ...] = SHAPE, **settings) -> Drifting:
    torch.manual_seed(0)
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 10)
    return Drifting(data, **{**SMALL, **settings})


def points(**settings) -> Drifting:
    generator = partial(PointGenerator, hidden=[64, 64])
    return make((2,), generator=generator, features=None, latent_dim=4, **settings)


def images(n: int, shape: tuple[int, ...] = SHAPE, seed: int = 1) -> Tensor:
    return torch.rand(n, *shape, generator=torch.Generator().manual_seed(seed)) * 2 - 1


@pytest.mark.parametrize(
    ("name", "side", "expected"), [("drifting", 32, 32 * 32), ("drifting_small", 28, 7 * 7)]
)
def test_all_locations_are_compared_at_full_size_and_few_in_the_small_one(name, side, expected):
    """The first group of the finest map: its locations, or else the means over patches of 2 x 2."""
    settings = yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8"))
    given = settings["build"]["features"]
    kept = {key: given[key] for key in ("patch_size", "locations") if key in given}
    encoder = MaskedAutoencoder((1, side, side), width=8, blocks=[1, 1, 1], groups=4, **kept)
    _, finest, *_ = encoder.features(images(1, (1, side, side)))
    assert finest.groups[0] == expected


def test_features_come_first_then_the_generator():
    model = make(split=0.3)
    assert [(phase.name, phase.span) for phase in model.phases] == [
        ("features", (0.0, 0.3)),
        ("generator", (0.3, 1.0)),
    ]
    assert [(phase.name, phase.span) for phase in points().phases] == [("generator", (0.0, 1.0))]
    assert {name: sampler.nfe for name, sampler in model.samplers.items()} == {"generator": 1}


def test_samples_converge_to_two_clusters():
    """Around (-0.5, 0) and (0.5, 0), with a deviation of 0.05, in a few hundred steps."""
    torch.manual_seed(0)
    model = points()
    optimizer = torch.optim.Adam(model.generator.parameters(), lr=5e-3, betas=(0.9, 0.95))
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 400)
    centres = torch.tensor([[-0.5, 0.0], [0.5, 0.0]])
    sizes = []
    for _ in range(400):
        x = centres[torch.randint(2, (128,))] + 0.05 * torch.randn(128, 2)
        logs = model.generator_loss(Batch(x))
        optimizer.zero_grad()
        logs["loss"].backward()
        optimizer.step()
        schedule.step()
        sizes.append(float(logs["drift"]))
    with torch.inference_mode():
        found = model.samplers["generator"].generate(2000, torch.Generator().manual_seed(0), None)
    nearest, which = torch.cdist(found, centres).min(1)  # each (2000,)
    assert (nearest < 0.2).float().mean() > 0.8
    assert 0.4 < which.float().mean() < 0.6
    assert sum(sizes[-20:]) < 0.5 * sum(sizes[:20])


def test_the_generators_loss_leaves_features_and_data_alone():
    model = make()
    model.requires_grad_(False)
    model.generator.requires_grad_(True)
    x = images(4).requires_grad_()
    model.generator_loss(Batch(x))["loss"].backward()
    assert x.grad is None
    assert all(p.grad is not None and p.grad.any() for p in model.generator.parameters())


def test_the_loss_compares_samples_themselves_and_in_every_feature(monkeypatch):
    """One term for the data space, the squares, and each map of the encoder."""
    seen: list[Features] = []
    model = make()
    original = model.compared
    monkeypatch.setattr(model, "compared", lambda x: seen.extend(original(x)) or original(x))
    model.generator_loss(Batch(images(4)))
    widths = [features.values.shape[-1] for features in seen]
    assert widths == 2 * [64, 1, 8, 16]


def test_means_and_deviations_are_those_of_patches():
    h = torch.randn(3, 4, 6, 6, generator=torch.Generator().manual_seed(0))
    found = statistics(h)
    assert found.groups == (36, 9, 9, 4, 4, 1, 1)
    locations, mean2, std2, mean4, std4, mean, std = found.values.split(found.groups, dim=1)
    assert torch.equal(locations, h.flatten(2).transpose(1, 2))
    patch = h[:, :, 2:4, 4:6].flatten(2)  # row 1, column 2 of the 2 x 2 patches
    torch.testing.assert_close(mean2[:, 5], patch.mean(2))
    torch.testing.assert_close(std2[:, 5], patch.std(2, correction=0), rtol=1e-3, atol=1e-3)
    edge = h[:, :, 4:, 4:].flatten(2)  # patches of 4 x 4 that the map's edge cuts
    torch.testing.assert_close(mean4[:, 3], edge.mean(2))
    torch.testing.assert_close(std4[:, 3], edge.std(2, correction=0), rtol=1e-3, atol=1e-3)
    torch.testing.assert_close(mean[:, 0], h.mean((2, 3)))
    torch.testing.assert_close(std[:, 0], h.flatten(2).std(2, correction=0), rtol=1e-3, atol=1e-3)


def test_fine_maps_enter_by_patches_alone_and_single_pixels_without_deviations():
    h = torch.randn(3, 4, 6, 6)
    assert statistics(h, locations=35).groups == statistics(h).groups[1:]
    assert statistics(h[:, :, :1, :1]).groups == (1, 1)


def test_hidden_patches_are_two_by_two_and_half_of_all():
    patches = torch.zeros(500, 3, 7, 8)
    torch.manual_seed(0)
    mask = random_mask(patches)
    assert mask.shape == (500, 1, 7, 8)
    assert mask.mean().item() == pytest.approx(0.5, abs=0.02)
    assert torch.equal(mask[:, :, 0:6:2], mask[:, :, 1:7:2])
    assert torch.equal(mask[..., 0::2], mask[..., 1::2])


@pytest.mark.parametrize(("shape", "patch_size"), [((1, 8, 8), 1), ((3, 13, 11), 2)])
def test_the_autoencoder_learns_what_is_hidden(shape, patch_size):
    """Ramps that rise or fall: hidden patches follow from those that are seen."""
    torch.manual_seed(0)
    encoder = MaskedAutoencoder(shape, width=8, blocks=[1, 1], groups=4, patch_size=patch_size)
    optimizer = torch.optim.Adam(encoder.parameters(), lr=5e-3)
    losses = []
    for _ in range(60):
        signs = torch.randint(2, (32, 1, 1, 1)) * 2.0 - 1.0
        x = signs * torch.linspace(-1, 1, shape[2]).expand(1, *shape)
        loss = encoder.loss(Batch(x))["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


def test_the_cost_of_a_step_is_that_of_the_whole_batch_pairs_included():
    """Pairs of samples are counted: extrapolating from few samples is exact."""
    model, batch = make(), Batch(images(40))
    for progress in (0.0, 0.5):
        whole = step_flops(model, batch, progress=progress)
        counted = count_step(model, batch, batch_size=40, processes=1, progress=progress)
        assert counted == pytest.approx(whole, rel=1e-12)
    one, more = (step_flops(model, Batch(images(n)), progress=0.5) for n in (20, 40))
    assert more > 2 * one


def test_pairs_are_those_of_each_process():
    model, batch = make(), Batch(images(20))
    of_one = step_flops(model, batch, progress=0.5)
    counted = count_step(model, batch, batch_size=40, processes=2, progress=0.5)
    assert counted == pytest.approx(2 * of_one, rel=1e-12)


def test_distances_and_products_of_pairs_are_counted():
    """N · 2N pairs and C numbers, two FLOPs each: distances twice, and once per temperature."""
    model = points(temperatures=(0.1, 0.2))
    n, d = 32, 2

    def flops(x: Tensor) -> int:
        return step_flops(model, Batch(x))

    networks = step_flops_of_networks(model, n)
    pairs = 2 * n * (2 * n) * d
    assert flops(images(n, (d,))) == networks + 2 * pairs + 2 * pairs


def step_flops_of_networks(model: Drifting, n: int) -> int:
    """Forward and backward of the generator: three products per layer, the first needs two."""
    sizes = [(layer.in_features, layer.out_features) for layer in linear_layers(model.generator)]
    return sum(2 * n * a * b * (2 if k == 0 else 3) for k, (a, b) in enumerate(sizes))


def linear_layers(network: nn.Module) -> list[nn.Linear]:
    return [module for module in network.modules() if isinstance(module, nn.Linear)]


def test_a_network_of_images_is_a_generator_of_noise():
    class Halving(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            assert t.tolist() == [0.0] * len(x)
            return x / 2

    model = make(generator=partial(FromNoise, network=lambda shape: Halving()), latent_dim=None)
    z = torch.randn(3, 64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(model.generator(z), (z / 2).view(3, *SHAPE))
    with pytest.raises(ValueError, match="latent_dim must be 64, the values of one sample"):
        make(generator=partial(FromNoise, network=lambda shape: Halving()), latent_dim=5)


def test_a_feature_network_that_is_an_extractor_says_so():
    class Judge(MaskedAutoencoder):
        extractors = ("inception",)

    assert tuple(make().trains_on) == ()
    judged = make(features=partial(Judge, width=8, blocks=[1], groups=4))
    assert tuple(judged.trains_on) == ("inception",)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"latent_dim": 0}, "latent_dim must be at least 1, got 0"),
        ({"temperatures": []}, r"temperatures must be positive numbers, got \[\]"),
        ({"temperatures": [0.1, 0.0]}, "temperatures must be positive numbers"),
        ({"split": 0.0}, r"split must be in \(0, 1\), got 0.0"),
        ({"shape": (2,)}, r"data_shape .*got \(2,\)"),
        ({"features": partial(MaskedAutoencoder, width=6, groups=4)}, "groups must divide width=6"),
        ({"features": partial(MaskedAutoencoder, blocks=[])}, "blocks must be at least 1"),
        ({"features": partial(MaskedAutoencoder, patch_size=4)}, "sides >= 16 for patch_size=4"),
    ],
)
def test_bad_arguments_are_refused(settings, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(**settings)
