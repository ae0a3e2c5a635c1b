"""Network calls of a sampler are counted per network, and each network is run alone."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.cost.measure import sampling_cost
from bench.cost.network_calls import NetworkCall, capture_calls, flop_counter
from models.base import GenerativeModel, Sampler

CPU = torch.device("cpu")
LATENT, D = 3, 8


class Denoiser(nn.Module):
    """Predicts from a sample, its time and, by name, its class and a switch."""

    def __init__(self) -> None:
        super().__init__()
        self.network = nn.Linear(LATENT, LATENT, bias=False)
        self.seen: list[dict[str, object]] = []

    def forward(self, x: Tensor, t: Tensor, *, y: Tensor, halve: bool) -> Tensor:
        shapes = {"x": tuple(x.shape), "t": tuple(t.shape), "y": tuple(y.shape)}
        self.seen.append({**shapes, "halve": halve})
        return self.network(x) * (0.5 if halve else 1)


class Latent(GenerativeModel):
    """Five calls of a denoiser in a small space and one of a decoder; an unused critic."""

    def __init__(self) -> None:
        super().__init__((D,))
        self.denoiser = Denoiser()
        self.decoder = nn.Linear(LATENT, D, bias=False)
        self.critic = nn.Linear(D, 1)

    @property
    def samplers(self) -> dict[str, Sampler]:
        return {"latent": Sampler(self.generate, {self.denoiser: 5, self.decoder: 1})}

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
        z = torch.randn(n, LATENT, generator=generator)
        for step in range(5):
            t = torch.full((n,), float(step))
            z.copy_(self.denoiser(z, t, y=t.long(), halve=True))  # in place, as samplers may
        return self.decoder(z).clamp(-1, 1)


def sample_once(model: Latent) -> Callable[[], Tensor]:
    return lambda: model.generate(1, torch.Generator().manual_seed(0), None)


@torch.inference_mode()
def captured(model: Latent, **declared: int) -> list[NetworkCall]:
    networks = dict(model.named_children())
    return capture_calls({networks[name]: n for name, n in declared.items()}, sample_once(model))


def test_every_network_has_its_own_number_of_calls():
    model = Latent()
    calls = captured(model, denoiser=5, decoder=1)
    assert [(call.network, call.times) for call in calls] == [
        (model.denoiser, 5),
        (model.decoder, 1),
    ]
    assert model.samplers["latent"].nfe == 6


@pytest.mark.parametrize(
    ("declared", "sentence"),
    [
        ({"denoiser": 4, "decoder": 1}, "declares 4 calls of its Denoiser, but .* it 5 times"),
        ({"denoiser": 6, "decoder": 1}, "declares 6 calls of its Denoiser, but .* it 5 times"),
        ({"denoiser": 5, "decoder": 2}, "declares 2 calls of its Linear, but .* it 1 times"),
        ({"decoder": 5, "denoiser": 1}, "declares 5 calls of its Linear, but .* it 1 times"),
        ({"denoiser": 5, "critic": 1}, "declares 1 calls of its Linear, but .* it 0 times"),
        ({"critic": 0}, "declares 0 calls of its Linear, but .* it 0 times"),
    ],
    ids=["fewer", "more", "the second", "exchanged", "never called", "none"],
)
def test_a_network_that_is_called_otherwise_than_declared_is_named(declared, sentence):
    model = Latent()
    with pytest.raises(ValueError, match=sentence):
        captured(model, **declared)
    assert not any(module._forward_pre_hooks for module in model.modules())


def test_a_draw_that_fails_leaves_no_hooks():
    model = Latent()

    def fail() -> Tensor:
        model.decoder(torch.zeros(1, LATENT))
        raise KeyError("broken")

    with pytest.raises(KeyError):
        capture_calls({model.decoder: 1}, fail)
    assert not model.decoder._forward_pre_hooks


def test_the_arguments_kept_are_those_of_the_first_call():
    """The sampler overwrites its state in place."""
    model = Latent()
    denoiser, _ = captured(model, denoiser=5, decoder=1)
    start = torch.randn(1, LATENT, generator=torch.Generator().manual_seed(0))
    x, t = denoiser.args
    assert torch.equal(x, start)
    assert torch.equal(t, torch.zeros(1))
    assert denoiser.kwargs["y"].tolist() == [0]
    assert denoiser.kwargs["halve"] is True


@torch.inference_mode()
@pytest.mark.parametrize("batch_size", [1, 2, 7])
def test_a_network_alone_sees_every_batched_argument_repeated(batch_size):
    model = Latent()
    denoiser, _ = captured(model, denoiser=5, decoder=1)
    model.denoiser.seen.clear()
    denoiser.run(batch_size)
    assert model.denoiser.seen == [
        {"x": (batch_size, LATENT), "t": (batch_size,), "y": (batch_size,), "halve": True}
    ]


@torch.inference_mode()
def test_a_scalar_argument_and_two_rows_a_sample_stay_so():
    """Guidance asks for a sample twice in one call; a time may be one number for all."""
    seen = []

    class Guided(nn.Module):
        def forward(self, x: Tensor, t: Tensor) -> Tensor:
            seen.append((tuple(x.shape), tuple(t.shape)))
            return x

    network = Guided()
    (call,) = capture_calls({network: 1}, lambda: network(torch.ones(2, D), torch.tensor(0.5)))
    call.run(3)
    assert seen[-1] == ((6, D), ())


@torch.inference_mode()
def test_one_more_sample_costs_its_own_products_only():
    class Conditioned(nn.Module):
        """A product once per call, whatever the batch, and one per sample."""

        def forward(self, x: Tensor) -> Tensor:
            return x @ (torch.ones(D, D) @ torch.ones(D, D))

    network = Conditioned()
    (call,) = capture_calls({network: 1}, lambda: network(torch.ones(1, D)))
    assert call.gflops_of_one_more() == pytest.approx(2 * D * D / 1e9)


def test_a_sample_costs_the_calls_of_all_networks():
    model = Latent()
    cost = sampling_cost(model, model.samplers["latent"], seconds=0.02, device=CPU)
    assert cost.nfe == 6
    products = 5 * LATENT * LATENT + LATENT * D
    assert cost.gflops_per_sample == pytest.approx(2 * products / 1e9)


def counted(compute: Callable[[], object]) -> int:
    with flop_counter() as counter:
        compute()
    return counter.get_total_flops()


def test_the_power_iteration_of_spectral_normalisation_is_counted():
    """Three products of the matrix and a vector, and one inner product, at every forward pass."""
    rows, columns, n = 5, 3, 4
    plain = nn.Linear(columns, rows, bias=False)
    normalised = spectral_norm(nn.Linear(columns, rows, bias=False))
    x = torch.randn(n, columns)
    assert counted(lambda: plain(x)) == 2 * n * rows * columns
    extra = 3 * 2 * rows * columns + 2 * rows
    assert counted(lambda: normalised(x)) == 2 * n * rows * columns + extra
    normalised.eval()
    once = 2 * rows * columns + 2 * rows  # the norm, without an iteration
    assert counted(lambda: normalised(x)) == 2 * n * rows * columns + once


@pytest.mark.parametrize(("rows", "p"), [(4, 2.0), (40, 2.0), (4, 1.0)])  # torch has two kernels
def test_distances_are_counted_as_inner_products(rows, p):
    a, b = torch.randn(2, rows, 3, requires_grad=True), torch.randn(2, 7, 3)
    assert counted(lambda: torch.cdist(a, b, p=p)) == 2 * 2 * rows * 7 * 3
    distances = torch.cdist(a, b, p=p)
    assert counted(lambda: distances.sum().backward()) >= 2 * 2 * rows * 7 * 3
