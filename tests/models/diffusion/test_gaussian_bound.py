import pytest
import torch
from known_diffusion import SHORT, ExactGaussian, recorded, seeded, spec, unet
from torch import nn

from models.base import Batch
from models.diffusion.bound import terms
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.noise_path import Prediction


def test_the_bound_in_the_loss_is_its_term_at_the_same_timestep():
    model = recorded(
        (1, 2, 1), betas=SHORT, predicts="x_0", variance="fixed_small", bound_weight=0.01
    )
    x_0 = torch.rand(256, 1, 2, 1) * 2 - 1
    values = model.denoiser_loss(Batch(x_0))
    ((x_t, t, _),) = model.network.calls
    predicted = torch.full_like(x_0, 0.25)
    expected = terms(model.process, x_0, x_t, t.long(), Prediction(predicted), "fixed_small").mean()
    assert values["bound"].item() == pytest.approx(expected.item(), rel=1e-5)
    assert values["error"].item() == pytest.approx((x_0 - 0.25).square().mean().item(), rel=1e-5)
    total = values["error"] + 0.01 * 20 * values["bound"]
    assert values["loss"].item() == pytest.approx(total.item(), rel=1e-5)


def gradients(bound_weight, variance):
    """Gradients of the loss in the mean's and the variance's channels."""
    model = recorded((1, 2, 1), betas=SHORT, variance=variance, bound_weight=bound_weight)
    torch.manual_seed(0)
    model.denoiser_loss(Batch(torch.rand(64, 1, 2, 1) * 2 - 1))["loss"].backward()
    raw = model.network.raw
    return model.network.value.grad, None if raw is None else raw.grad


def test_the_bound_trains_a_learned_variance_and_nothing_else():
    """Nichol & Dhariwal 2021, Sec. 3.1: the mean is stopped in L_vlb."""
    (mean, raw), (mean_doubled, raw_doubled) = (
        gradients(0.01, "learned"),
        gradients(0.02, "learned"),
    )
    assert raw.abs().min() > 0
    torch.testing.assert_close(raw_doubled, 2 * raw)
    torch.testing.assert_close(mean_doubled, mean)
    torch.testing.assert_close(mean, gradients(0.0, "fixed_small")[0])


def test_the_bound_trains_the_mean_where_the_variance_is_fixed():
    assert not torch.allclose(gradients(0.01, "fixed_small")[0], gradients(0.0, "fixed_small")[0])


@pytest.mark.parametrize(("raw", "fraction"), [(-1.0, 0.0), (0.0, 0.5), (1.0, 1.0)])
def test_the_variances_channels_are_a_place_between_its_limits(raw, fraction):
    """As in guided-diffusion: (v + 1) / 2 with v in about [-1, 1]."""
    model = recorded(shape=(3, 4, 4), variance="learned", bound_weight=0.001)
    with torch.no_grad():
        model.network.raw.fill_(raw)
    prediction = model.denoiser()(torch.zeros(2, 3, 4, 4), torch.tensor([5.0, 7.0]))
    assert prediction.fraction.shape == (2, 3, 4, 4)
    assert (prediction.fraction == fraction).all()
    assert prediction.x_0.shape == (2, 3, 4, 4)


def test_learning_the_variance_finds_the_best_one():
    """With the best mean, the best variance is the posterior's plus what the mean errs by."""

    class Exact(ExactGaussian):
        def __init__(self, data_shape, out_channels):
            super().__init__(data_shape, SHORT, "eps", mean=0.0)
            self.raw = nn.Parameter(torch.zeros(20))

        def forward(self, x_t, t):
            raw = self.raw[t.long()][:, None, None, None].expand_as(x_t)
            return torch.cat([super().forward(x_t, t), raw], dim=1)

    torch.manual_seed(0)
    model = GaussianDiffusion(
        spec(1, 8, 8),
        Exact,
        betas=SHORT,
        samplers=["ddpm-20"],
        variance="learned",
        bound_weight=0.05,
    )
    adam = torch.optim.Adam(model.parameters(), lr=0.02)
    for _ in range(400):
        adam.zero_grad()
        model.denoiser_loss(Batch(0.2 * torch.randn(128, 1, 8, 8)))["loss"].backward()
        adam.step()
    process, t = model.process, torch.arange(1, 20)
    found = process.log_variance(t, 1, (model.network.raw.detach()[t] + 1) / 2)
    alpha, sigma = process.levels(t, 1)
    erring = 0.04 * sigma**2 / (0.04 * alpha**2 + sigma**2)
    best = process.log_variance(t, 1, 0.0).exp() + process.weight_x_0[t] ** 2 * erring
    torch.testing.assert_close(found, best.log(), rtol=0, atol=0.05)


def test_bits_per_dimension_of_images_and_of_nothing_else():
    model = unet("ddim-10")
    levels = torch.randint(256, (5, 3, 8, 8), generator=seeded()) / 127.5 - 1
    model.eval()
    with torch.inference_mode():
        scores = model.held_out_scores(Batch(levels), seeded())
    names = {"bits_per_dim", "bits_prior", "bits_kl", "bits_reconstruction"}
    assert set(scores) == names
    assert all(value.shape == (5,) and value.isfinite().all() for value in scores.values())
    assert (scores["bits_per_dim"] > 5).all()  # of noise there are 8
    assert recorded().held_out_scores(Batch(torch.zeros(5, 2)), seeded()) == {}


def test_the_bound_of_labelled_images_is_the_one_given_their_labels():
    model = recorded(shape=(1, 4, 4), betas=SHORT, num_classes=3)
    y = torch.tensor([2, 0, 1])
    model.held_out_scores(Batch(torch.zeros(3, 1, 4, 4), y), seeded())
    assert all(told.tolist() == [2, 0, 1] for _, _, told in model.network.calls)
