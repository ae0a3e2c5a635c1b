"""The drifting field: its symmetries, its direction, and the loss whose gradient it is."""

import math
import weakref

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from models.drifting import field
from models.drifting.field import Features, drift, drifting_loss

TEMPERATURES = (0.02, 0.05, 0.2)


def normal(n: int, d: int = 3, seed: int = 0, mean: float = 0.0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return mean + torch.randn(n, d, generator=generator, dtype=torch.float64)


def test_exchanging_data_and_samples_reverses_the_drift():
    x, p, q = normal(20), normal(15, seed=1, mean=0.5), normal(30, seed=2)
    for temperature in (0.05, 0.5, 5.0):
        there, back = (drift(x, a, b, temperature=temperature) for a, b in ((p, q), (q, p)))
        torch.testing.assert_close(there, -back, rtol=1e-12, atol=1e-14)
        assert there.norm() > 0.1


def test_the_drift_is_zero_where_both_sides_are_the_same_samples():
    x, p = normal(20), normal(15, seed=1)
    assert drift(x, p, p, temperature=0.5).abs().max() < 1e-14


def test_the_drift_is_zero_in_expectation_where_the_distributions_are_equal():
    """Over fresh sets of positives and negatives, with the places kept."""
    x = normal(4, 2)
    found = torch.stack(
        [
            drift(x, normal(16, 2, 2 * k + 1), normal(16, 2, 2 * k + 2), temperature=0.5)
            for k in range(2000)
        ]
    )
    deviation = found.std(0) / math.sqrt(len(found))
    assert ((found.mean(0) / deviation).abs() < 4).all()
    shifted = torch.stack(
        [
            drift(x, normal(16, 2, 2 * k + 1, 0.3), normal(16, 2, 2 * k + 2), temperature=0.5)
            for k in range(2000)
        ]
    )
    assert (shifted.mean(0) > 4 * deviation).all()


def test_the_drift_is_the_sum_over_pairs_with_the_kernel_written_out():
    """Eq. 17, by loops: the kernel is normalised over all y, and over all x."""
    x, p, q, temperature = normal(5), normal(4, seed=1), normal(3, seed=2), 0.7
    k = torch.exp(-(x[:, None] - torch.cat([p, q])).norm(dim=-1) / temperature)  # (5, 7)
    k = k / (k.sum(1, keepdim=True) * k.sum(0, keepdim=True)).sqrt()
    expected = torch.zeros_like(x)
    for n in range(5):
        for i in range(4):
            for j in range(3):
                expected[n] += k[n, i] * k[n, 4 + j] * (p[i] - q[j])
    torch.testing.assert_close(drift(x, p, q, temperature=temperature), expected)


def test_a_sample_does_not_repel_itself():
    """Its only negatives are the others: y⁺ - y⁻ is long, though the sample is near the data."""
    x = torch.tensor([[0.0, 0.0], [-100.0, 0.0], [0.0, -100.0]], dtype=torch.float64)
    p = torch.tensor([[1.0, 1.0]], dtype=torch.float64)
    k = torch.exp(-(x[:, None] - torch.cat([p, x])).norm(dim=-1) / 10.0)  # (3, 4)
    k[:, 1:].fill_diagonal_(0.0)
    k = k / (k.sum(1, keepdim=True) * k.sum(0, keepdim=True)).sqrt()
    expected = torch.stack([k[0, 0] * k[0, 1 + j] * (p[0] - x[j]) for j in (1, 2)]).sum(0)
    torch.testing.assert_close(drift(x, p, temperature=10.0)[0], expected)
    assert not torch.allclose(drift(x, p, x, temperature=10.0)[0], expected)


def test_shifting_everything_changes_nothing_and_scaling_scales():
    x, p = normal(20), normal(15, seed=1)
    there = drift(x, p, temperature=0.5)
    torch.testing.assert_close(drift(x + 7, p + 7, temperature=0.5), there)
    torch.testing.assert_close(drift(3 * x, 3 * p, temperature=1.5), 3 * there)


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_samples_go_towards_the_data_and_away_from_each_other(temperature):
    x, p = normal(200, 2), normal(200, 2, seed=1, mean=1.0)
    assert (drift(x, p, temperature=temperature).mean(0) > 0.01).all()
    narrow, wide = 0.3 * normal(200, 2), normal(200, 2, seed=1)
    outwards = (drift(narrow, wide, temperature=temperature) * narrow).sum(-1)
    assert outwards.mean() > 0
    inwards = (drift(3 * wide, normal(200, 2, seed=3), temperature=temperature) * wide).sum(-1)
    assert inwards.mean() < 0


def test_samples_that_follow_the_drift_become_the_data():
    x, p = 0.1 * normal(200, 2), 0.3 * normal(200, 2, seed=1, mean=1.0)
    for _ in range(300):
        x = x + 0.5 * drift(x, p, temperature=0.3)
    torch.testing.assert_close(x.mean(0), p.mean(0), rtol=0, atol=0.03)
    torch.testing.assert_close(x.std(0), p.std(0), rtol=0.15, atol=0)


def grouped(x: Tensor, groups: tuple[int, ...]) -> Features:
    return Features(x.unflatten(1, (sum(groups), -1)), groups)


def test_the_gradient_of_the_loss_is_the_normalised_drift():
    """With one temperature: -2 / (N C S) times V / (root mean square of V), by the definitions."""
    x, p = normal(12, 4).requires_grad_(), normal(9, 4, seed=1, mean=0.2)
    temperature = 0.2
    loss, _ = drifting_loss(grouped(x, (1,)), grouped(p, (1,)), [temperature])
    (gradient,) = torch.autograd.grad(loss, x)
    with torch.no_grad():
        off = torch.cdist(x, x)[~torch.eye(12, dtype=torch.bool)]
        scale = torch.cat([off, torch.cdist(x, p).flatten()]).mean() / 2  # C = 4
        v = drift(x / scale, p / scale, temperature=2 * temperature)
        expected = -2 * v / v.square().mean().sqrt() / (12 * 4 * scale)
    torch.testing.assert_close(gradient, expected, rtol=1e-3, atol=1e-6)  # computed in float32


def test_nothing_but_the_samples_gets_a_gradient():
    x, p = normal(6).requires_grad_(), normal(6, seed=1).requires_grad_()
    drifting_loss(grouped(x, (1,)), grouped(p, (1,)), TEMPERATURES)[0].backward()
    assert x.grad is not None
    assert p.grad is None


def test_the_loss_does_not_depend_on_the_scale_and_place_of_features():
    """Each group has its own scale: only the first vectors are scaled and shifted here."""
    x, p = normal(12, 12).float(), normal(9, 12, seed=1, mean=0.2).float()
    groups = (2, 1)
    loss, size = drifting_loss(grouped(x, groups), grouped(p, groups), TEMPERATURES)
    changed = [torch.cat([50 * v[:, :8] + 30, v[:, 8:]], 1) for v in (x, p)]
    again, size_again = drifting_loss(*(grouped(v, groups) for v in changed), TEMPERATURES)
    torch.testing.assert_close(again, loss, rtol=1e-4, atol=0)
    torch.testing.assert_close(size_again, size, rtol=1e-3, atol=0)


def test_the_loss_is_that_of_independent_vectors_up_to_the_scales_they_share():
    x, p = normal(12, 3), normal(9, 3, seed=1, mean=0.2)
    alone, _ = drifting_loss(grouped(x, (1,)), grouped(p, (1,)), TEMPERATURES)
    twice, _ = drifting_loss(
        grouped(torch.cat([x, x], 1), (2,)), grouped(torch.cat([p, p], 1), (2,)), TEMPERATURES
    )
    torch.testing.assert_close(twice, 2 * alone)


def test_the_size_of_the_drift_falls_as_the_distributions_approach_each_other():
    p = normal(200, 2, seed=1)
    sizes = []
    for mean in (3.0, 1.0, 0.0):
        x = grouped(normal(200, 2, mean=mean), (1,))
        sizes.append(float(drifting_loss(x, grouped(p, (1,)), TEMPERATURES)[1]))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] > 3 * sizes[-1]


def far_modes(n: int, seed: int, *, offset: float = 100.0) -> Tensor:
    """Samples of two modes of standard deviation 1 at ±offset, (n, 3) float32."""
    side = torch.arange(n)[:, None] % 2 * 2.0 - 1.0
    return (normal(n, seed=seed) + offset * side).float()


@pytest.mark.parametrize("temperature", [1.0, 20.0])
def test_mixed_precision_does_not_change_drifts_inside_modes_that_are_far_apart(temperature):
    """The drift is a small difference of two large sums, which bf16 would round each."""
    x, p = far_modes(64, 0), far_modes(64, 1)
    exact = drift(x.double(), p.double(), temperature=temperature)
    plain = drift(x, p, temperature=temperature)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = drift(x, p, temperature=temperature)
    assert mixed.dtype == torch.float32
    assert torch.equal(mixed, plain)
    assert (mixed - exact).norm() < 0.01 * exact.norm()


def test_mixed_precision_does_not_change_the_loss_of_features_in_modes_that_are_far_apart():
    x, p = far_modes(64, 0).requires_grad_(), far_modes(64, 1)
    plain = drifting_loss(grouped(x, (1,)), grouped(p, (1,)), TEMPERATURES)
    with torch.autocast("cpu", torch.bfloat16):
        mixed = drifting_loss(grouped(x, (1,)), grouped(p, (1,)), TEMPERATURES)
    assert torch.equal(mixed[1], plain[1])
    gradients = [torch.autograd.grad(loss, x)[0] for loss, _ in (plain, mixed)]
    assert torch.equal(*gradients)


def test_features_that_are_constant_give_a_finite_loss():
    x = torch.zeros(5, 1, 3, requires_grad=True)
    loss, size = drifting_loss(Features(x), Features(torch.zeros(4, 1, 3)), TEMPERATURES)
    loss.backward()
    assert x.grad is not None
    assert torch.isfinite(x.grad).all()
    assert torch.isfinite(loss)
    assert size == 0


@pytest.mark.parametrize("pairs", [1, 500])
def test_few_vectors_at_a_time_make_no_difference(monkeypatch, pairs):
    """500 pairs are two of five vectors."""
    x, p = normal(12, 10).float(), normal(9, 10, seed=1, mean=0.2).float()
    groups = (4, 1)
    loss, size = drifting_loss(grouped(x, groups), grouped(p, groups), TEMPERATURES)
    monkeypatch.setattr(field, "PAIRS", pairs)
    again, size_again = drifting_loss(grouped(x, groups), grouped(p, groups), TEMPERATURES)
    torch.testing.assert_close(again, loss)
    torch.testing.assert_close(size_again, size)


class PeakBytes(TorchDispatchMode):
    """Most bytes at a time in tensors that were made inside."""

    def __init__(self) -> None:
        super().__init__()
        self.alive: dict[int, int] = {}
        self.peak = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        out = func(*args, **(kwargs or {}))
        for tensor in out if isinstance(out, tuple | list) else (out,):
            storage = tensor.untyped_storage()
            if storage._cdata not in self.alive:
                self.alive[storage._cdata] = storage.nbytes()
                weakref.finalize(storage, self.alive.pop, storage._cdata)
        self.peak = max(self.peak, sum(self.alive.values()))
        return out


def test_memory_is_linear_in_the_batch(monkeypatch):
    """All pairs of 64 vectors at a time would be 32 MiB for 256 samples, 8 for 128."""
    monkeypatch.setattr(field, "PAIRS", 2**17)

    def peak(n: int) -> int:
        x, p = (torch.randn(n, 64, 64) for _ in range(2))
        with PeakBytes() as memory:
            drifting_loss(Features(x, (64,)), Features(p, (64,)), TEMPERATURES)
        return memory.peak

    peaks = [peak(n) for n in (64, 128, 256)]
    assert peaks[1] < 2.1 * peaks[0]
    assert peaks[2] < 2.1 * peaks[1]
