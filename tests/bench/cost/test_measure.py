import itertools
import time
from functools import partial
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn

from bench import schema
from bench.cost import measure
from bench.cost.measure import SamplingCost, parameters, sampling_cost, settled, step_flops
from bench.cost.network_calls import flop_counter
from models.base import Batch, DataSpec, GenerativeModel, Phase, Sampler
from models.gan.gan import GAN
from models.gan.networks.dcgan import Discriminator, Generator
from models.gan.objectives import non_saturating
from models.stored import RealData

CPU = torch.device("cpu")
D = 16
SPEC = DataSpec((D,), 0, lambda index: torch.zeros(len(index), D), 8)


class Linear(GenerativeModel):
    """Two linear players, of which the first has two updates, and a sampler of three calls."""

    def __init__(self, declared_nfe: int = 3) -> None:
        super().__init__((D,))
        self.a = nn.Linear(D, D)
        self.b = nn.Linear(D, D)
        self.declared_nfe = declared_nfe

    @property
    def phases(self) -> tuple[Phase, ...]:
        return (Phase("a", self.a, self.loss, repeats=2), Phase("b", self.b, self.loss))

    @property
    def samplers(self) -> dict[str, Sampler]:
        return {"linear": Sampler(self.generate, {self.a: self.declared_nfe})}

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        return {"loss": self.b(self.a(batch.x)).sum()}

    def generate(self, n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
        x = torch.randn(n, D, generator=generator)
        for _ in range(3):
            x = self.a(x).clamp(-1, 1)
        return x


def dcgan() -> GAN:
    torch.manual_seed(0)
    data = DataSpec((1, 8, 8), 0, lambda index: torch.zeros(len(index), 1, 8, 8), 8)
    model = GAN(
        data, partial(Generator, width=4), partial(Discriminator, width=4), non_saturating()
    )
    model.generator_loss(Batch(torch.rand(4, 1, 8, 8)))["loss"].backward()  # leaves gradients
    return model


def snapshot(model: nn.Module) -> list[Tensor]:
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    return [t.clone() for t in (*model.state_dict().values(), *gradients, torch.get_rng_state())]


def assert_same(before: list[Tensor], after: list[Tensor]) -> None:
    assert len(before) == len(after)
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))


def test_fields_are_columns_of_the_protocol():
    assert set(SamplingCost.__dataclass_fields__) <= set(schema.COST)


def test_parameters_are_counted():
    assert parameters(Linear()) == 2 * (D * D + D)


def test_step_flops_of_linear_layers_are_in_closed_form():
    """A product of (B, D) with (D, D) costs 2 B D^2; each pass needs those that its phase uses.

    Phase a: forward a and b, gradient through b, gradient of a's weights = 4 products, twice.
    Phase b: forward a and b, gradient of b's weights = 3 products.
    """
    batch = Batch(torch.randn(5, D))
    assert step_flops(Linear(), batch) == (2 * 4 + 3) * 2 * 5 * D * D


def test_a_phase_of_every_kth_step_counts_for_a_kth():
    class Lazy(Linear):
        @property
        def phases(self) -> tuple[Phase, ...]:
            a, b = super().phases
            return a, b, Phase("penalty", self.b, self.loss, every=4, optimizer="b")

    batch = Batch(torch.randn(5, D))
    product = 2 * 5 * D * D
    assert step_flops(Lazy(), batch) == (2 * 4 + 3 + 3 / 4) * product


def test_step_flops_of_real_data_are_zero():
    assert step_flops(RealData(SPEC), Batch(torch.zeros(2, D))) == 0


def test_step_flops_leave_everything_untouched():
    model = dcgan().eval()
    frozen = next(model.discriminator.parameters()).requires_grad_(False)
    batch = Batch(torch.rand(4, 1, 8, 8))
    before = snapshot(model)
    assert step_flops(model, batch) > 0
    assert_same(before, snapshot(model))
    assert not model.training
    assert not frozen.requires_grad


def test_sampling_flops_are_in_closed_form():
    model = Linear()
    cost = sampling_cost(model, model.samplers["linear"], seconds=0.1, device=CPU)
    assert cost.nfe == 3
    assert cost.gflops_per_sample == pytest.approx(3 * 2 * D * D / 1e9)


def test_attention_is_counted():
    """PyTorch's counter alone takes fused attention on CPUs for free."""

    class Attention(nn.Module):
        def forward(self, x: Tensor) -> Tensor:  # (B, L * E)
            q = x.unflatten(1, (1, L, E))  # (B, 1, L, E)
            return nn.functional.scaled_dot_product_attention(q, q, q).flatten(1)

    L, E = 16, 8
    model, network = Linear(), Attention()
    sampler = Sampler(lambda n, generator, y: network(torch.ones(n, L * E)), {network: 1})
    cost = sampling_cost(model, sampler, seconds=0.01, device=CPU)
    assert cost.gflops_per_sample == pytest.approx(2 * (2 * L * L * E) / 1e9)


def test_sampling_costs_are_measured():
    model = Linear()
    cost = sampling_cost(model, model.samplers["linear"], seconds=0.1, device=CPU)
    assert cost.latency_ms is not None
    assert cost.latency_ms > 0
    assert cost.latency_iqr_ms is not None
    assert cost.latency_iqr_ms >= 0
    assert cost.images_per_second is not None
    assert cost.images_per_second > 0
    assert cost.best_batch_size is not None
    assert cost.best_batch_size > 1  # a linear layer gains from every row


def test_throughput_of_a_slow_sampler_is_that_of_its_network_calls():
    """The best batch size does not depend on how many calls a sample takes."""

    class Slow(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            time.sleep(0.002)  # whatever the batch
            return x

    network, drawn = Slow(), []

    def generate(n: int, generator: torch.Generator, y: Tensor | None) -> Tensor:
        drawn.append(n)
        x = torch.ones(n, D)
        for _ in range(50):
            x = network(x)
        return x

    cost = sampling_cost(Linear(), Sampler(generate, {network: 50}), seconds=0.2, device=CPU)
    assert set(drawn) == {1}
    assert cost.best_batch_size is not None
    assert cost.best_batch_size > 1
    assert cost.images_per_second is not None
    assert cost.latency_ms is not None
    assert cost.images_per_second > 2 * 1000 / cost.latency_ms
    assert cost.images_per_second_iqr is None


@pytest.mark.parametrize(
    ("values", "known"),
    [
        ([1.0] * 5, False),  # five values have no 95 % interval
        ([1.0] * 6, True),  # all six lie on one side in 2 of 64 cases
        ([1.0] * 5 + [1.03], False),
        ([1.0] * 5 + [1.01], True),
        ([0.5] + [1.0] * 8, True),  # the interval of nine begins at the second
        ([0.5, 0.5] + [1.0] * 7, False),
    ],
)
def test_a_median_is_known_once_its_interval_is_narrow(values, known):
    assert settled(values) is known


def test_repetitions_end_once_their_median_is_known(monkeypatch):
    """Of a steady clock six readings suffice; an unsteady one is read until the time is used up."""
    for seconds, repetitions in ((itertools.repeat(0.01), 6), (itertools.cycle([0.01, 0.03]), 50)):
        monkeypatch.setattr(measure, "_seconds", lambda call, device, s=seconds: next(s))
        assert len(measure._repeat(lambda: None, CPU, 0.99, at_least=3)) == repetitions


@pytest.mark.parametrize("one", [1e-4, 0.01, 0.2])
def test_a_measurement_takes_no_more_than_its_time(monkeypatch, one):
    """Of a network whose time grows with the batch, read from a clock that only it moves."""
    clock = [0.0]

    class Network(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            clock[0] += one * len(x)
            return x

    monkeypatch.setattr(measure, "time", SimpleNamespace(perf_counter=lambda: clock[0]))
    network = Network()
    sampler = Sampler(lambda n, generator, y: network(torch.ones(n, D)), {network: 1})
    cost = sampling_cost(Linear(), sampler, seconds=10.0, device=CPU)
    uncounted = one * (1 + 3 + 64)  # finding the calls, counting FLOPs, and the peak memory
    assert clock[0] <= 10.0 + uncounted + 64 * one
    assert cost.images_per_second == pytest.approx(1 / one)


def test_real_data_costs_nothing():
    model = RealData(SPEC)
    assert sampling_cost(model, model.samplers["held-out"], device=CPU) == SamplingCost(nfe=0)


def test_a_wrong_declaration_of_nfe_is_refused():
    model = Linear(declared_nfe=2)
    with pytest.raises(ValueError, match="declares 2 calls of its Linear, but called it 3 times"):
        sampling_cost(model, model.samplers["linear"], device=CPU)


def test_sampling_cost_leaves_everything_untouched():
    model = dcgan().train()
    model.discriminator.eval()
    before = snapshot(model)
    sampling_cost(model, model.samplers["generator"], seconds=0.1, device=CPU)
    assert_same(before, snapshot(model))
    assert model.generator.training
    assert not model.discriminator.training
    assert not model.generator._forward_pre_hooks


@pytest.mark.parametrize(
    "layer",
    [
        torch.nn.Conv2d(8, 12, 3, padding=1),
        torch.nn.Conv2d(8, 12, 3, padding=1, groups=4),
        torch.nn.Conv2d(8, 12, 4, stride=2, padding=1),
        torch.nn.ConvTranspose2d(8, 12, 4, stride=2, padding=1),
    ],
    ids=["plain", "grouped", "strided", "transposed"],
)
def test_a_convolutions_backward_pass_costs_twice_its_forward_pass(layer):
    x = torch.randn(2, 8, 6, 6, requires_grad=True)
    with flop_counter() as counter:
        y = layer(x)
    forward = counter.get_total_flops()
    with flop_counter() as counter:
        y.sum().backward()
    assert forward > 0
    assert counter.get_total_flops() == 2 * forward
