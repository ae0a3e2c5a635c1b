import math

import pytest
import torch
from known_diffusion import NETWORK, exact, recorded, seeded, spec

from models.base import Batch
from models.diffusion.denoising import STRENGTHS
from models.diffusion.edm import EDM


def test_an_edit_goes_further_the_stronger_it_is():
    """Meng et al. 2022, Fig. 3: a trade of faithfulness for realism."""
    model = exact(samplers=["ddim-1000"])
    x = 0.1 + 0.2 * torch.randn(20, 100, generator=seeded(5))
    distances = [
        (model.edit(x, "ddim-100", strength, seeded()) - x).square().mean().sqrt().item()
        for strength in (0.01, 0.1, 0.3, 0.6, 1.0)
    ]
    assert distances == sorted(distances)
    assert (model.edit(x, "ddim-1000", 1e-6, seeded()) - x).abs().mean() < 0.02
    # The strongest leaves nothing of what was given: two independent samples are sqrt(2) std apart.
    assert distances[-1] == pytest.approx(math.sqrt(2) * 0.2, rel=0.1)


def test_an_edit_ends_among_the_data():
    """Samples far from the data are brought to it; a weak edit leaves them where they were."""
    model = exact()
    strangers = torch.full((50, 100), -0.8)
    weak, strong = (model.edit(strangers, "ddim-50", s, seeded()).mean() for s in (0.02, 1.0))
    assert weak < -0.6
    assert strong.item() == pytest.approx(0.1, abs=0.02)


def test_refining_takes_the_last_steps():
    model = recorded(samplers=["ddim-50"])
    x = model.refine(torch.zeros(3, 2), "ddim-20", 4, seeded())
    assert [t[0].item() for _, t, _ in model.network.calls] == [199, 149, 99, 49]
    assert x.abs().max() <= 1
    first = model.network.calls[0][0]
    assert first.std() < 2 * model.path("ddim-20").sigmas[16]


def test_an_edit_of_full_strength_takes_every_step_and_the_weakest_one():
    model = recorded()
    for strength, steps in ((1.0, 10), (0.5, 5), (1e-9, 1)):
        model.network.calls.clear()
        model.edit(torch.zeros(1, 2), "dpmpp-10", strength, seeded())
        assert len(model.network.calls) == steps


@pytest.mark.parametrize(
    ("name", "steps"),
    [
        ("ddim-1", [1]),
        ("ddim-2", [1, 2]),
        ("ddim-3", [1, 2, 3]),
        ("heun-5", [1, 2, 5]),
        ("dpmpp-10", [1, 5, 10]),
        ("ddim-50", [5, 25, 50]),
    ],
)
def test_distances_are_recorded_at_the_shares_of_steps_that_edits_take_each_once(name, steps):
    model = recorded(samplers=[name])
    curve = model.held_out_curves(Batch(torch.zeros(2, 2)), seeded())["edit_distance"]
    most = steps[-1]
    assert [share for share, _ in curve] == [taken / most for taken in steps]
    if most >= 10:
        assert tuple(share for share, _ in curve) == STRENGTHS
    generator = seeded()
    for _ in model.noise_levels():
        torch.randn(2, 2, generator=generator)
    for taken, (_, distances) in zip(steps, curve, strict=True):
        wanted = model.refine(torch.zeros(2, 2), name, taken, generator)
        assert torch.equal(distances, wanted.square().mean(1).sqrt())


@pytest.mark.parametrize("strength", [0.0, -0.1, 1.1, float("nan")])
def test_strength_is_checked(strength):
    with pytest.raises(ValueError, match="strength"):
        recorded().edit(torch.zeros(1, 2), "ddim-5", strength, seeded())


def test_edm_edits_too():
    model = EDM(spec(3, 8, 8), NETWORK, samplers=["heun-6"]).eval()
    x = torch.rand(2, 3, 8, 8) * 2 - 1
    wanted = model.refine(x, "heun-6", 3, seeded())
    assert torch.equal(model.edit(x, "heun-6", 0.5, seeded()), wanted)


def test_a_sample_of_unknown_class_is_refined_without_one():
    model = recorded(num_classes=3)
    model.refine(torch.zeros(4, 2), "ddim-5", 1, seeded())
    ((_, _, y),) = model.network.calls
    assert y.tolist() == [3, 3, 3, 3]
