"""Normalisation with an activation: the kernels against torch's operators in float64."""

import copy
import hashlib
import os
import signal
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.layers import compiled, kernels, loops, norms
from models.layers.norms import NONE, RELU, SILU, Activation, BatchNorm2d, GroupNorm, leaky_relu

EXACT = {torch.float32: 5e-6, torch.bfloat16: 3.5e-3}
"""Relative errors (root mean square) of float32 arithmetic, and of rounding to bfloat16."""

SIZES = [  # (B, C_x, C_skip, groups, H, W)
    (3, 32, 0, 8, 28, 28),
    (2, 10, 6, 4, 7, 5),  # a group has channels of both
    (2, 5, 0, 5, 3, 3),
    (4, 6, 0, 1, 9, 2),
    (1, 3, 1, 2, 1, 1),
    (2, 64, 32, 8, 9, 9),  # 32 channels at a time, several tiles
    (2, 40, 24, 16, 9, 11),  # 16 at a time, some twice
    (1, 48, 7, 5, 3, 3),
]


def layer(groups: int, channels: int, activation: Activation) -> GroupNorm:
    made = GroupNorm(groups, channels, activation=activation)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.normal_()
    return made


def expected(made: GroupNorm, inputs: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """The layer by torch's operators, in the type of its inputs."""
    joined = torch.cat([inputs["x"], inputs["skip"]], dim=1) if "skip" in inputs else inputs["x"]
    h = joined + inputs["shift"][:, :, None, None] if "shift" in inputs else joined
    h = F.group_norm(h, made.num_groups, inputs["weight"], inputs["bias"], made.eps)
    return made.activation(h), joined


def difference(a: Tensor, b: Tensor) -> float:
    a, b = a.detach().double(), b.detach()
    return float((a - b).norm() / max(float(b.norm()), b.numel() ** 0.5))


@pytest.fixture
def used(monkeypatch) -> list[int]:
    """Samples of every run of a kernel."""
    samples = []

    def recorded(run, count, numbers):
        samples.append(count)
        kernels_in_parts(run, count, numbers)

    kernels_in_parts = kernels.in_parts
    monkeypatch.setattr(norms, "in_parts", recorded)
    return samples


@pytest.mark.parametrize("activation", [SILU, RELU, NONE, leaky_relu(0.2)])
@pytest.mark.parametrize("shifted", [False, True])
@pytest.mark.parametrize("sizes", SIZES)
@pytest.mark.parametrize("dtype", EXACT)
def test_values_and_gradients_are_those_of_the_operators(dtype, sizes, shifted, activation, used):
    torch.manual_seed(0)
    batch, wide, further, groups, height, width = sizes
    made = layer(groups, wide + further, activation)
    inputs = {"x": (3 + torch.randn(batch, wide, height, width)).to(dtype)}
    if further:
        inputs["skip"] = torch.randn(batch, further, height, width).to(dtype)
    if shifted:
        inputs["shift"] = torch.randn(batch, wide + further)
    given = {name: value.requires_grad_() for name, value in inputs.items()}
    out, joined = made.joining(**given)
    assert out.dtype == joined.dtype == dtype
    assert used == [batch]
    parameters = {"weight": made.weight, "bias": made.bias}
    exact = {k: v.detach().double().requires_grad_() for k, v in {**given, **parameters}.items()}
    outs = expected(made, exact)
    grads = [torch.randn_like(out), torch.randn_like(joined)]
    found = torch.autograd.grad((out, joined), [*given.values(), *parameters.values()], grads)
    wanted = torch.autograd.grad(outs, list(exact.values()), [grad.double() for grad in grads])
    assert used == [batch, batch]
    for a, b in zip((out, joined, *found), (*outs, *wanted), strict=True):
        assert difference(a, b) < EXACT[dtype]


def test_images_in_any_memory_format_and_gradients_too(used):
    made = layer(2, 4, SILU)
    base = torch.randn(2, 8, 6, 5)
    x = base[:, ::2].requires_grad_()  # neither contiguous nor channels last
    out = made(x)
    plain = F.silu(F.group_norm(x, 2, made.weight, made.bias))
    assert torch.allclose(out, plain, atol=1e-5)
    grad = torch.randn(2, 4, 5, 6).transpose(2, 3)
    found, wanted = (torch.autograd.grad(y, x, grad)[0] for y in (out, plain))
    assert torch.allclose(found, wanted, atol=1e-5)
    assert used


def test_a_large_mean_does_not_drown_the_spread():
    made, x = layer(2, 8, NONE), 1e4 + torch.randn(2, 8, 16, 16)
    wanted = F.group_norm(x.double(), 2, made.weight.double(), made.bias.double())
    assert difference(made(x), wanted) < 1e-3


def test_what_is_not_a_number_stays_visible():
    made, x = layer(2, 4, SILU), torch.randn(2, 4, 3, 3, dtype=torch.bfloat16)
    x[0, 0, 0, 0] = torch.nan
    out = made(x)
    assert out[0, :2].isnan().all()
    assert not out[1].isnan().any()


def test_gradients_of_either_output_alone():
    made, x = layer(2, 4, SILU), torch.randn(2, 4, 3, 3, requires_grad=True)
    out, joined = made.joining(x)
    assert torch.equal(torch.autograd.grad(joined.sum(), x)[0], torch.ones_like(x))
    out, joined = made.joining(x[:, :1], x[:, 1:])
    assert torch.equal(torch.autograd.grad(joined.sum(), x)[0], torch.ones_like(x))
    plain = F.silu(F.group_norm(x, 2, made.weight, made.bias))
    out = made.joining(x)[0]
    found, wanted = (torch.autograd.grad(y.square().sum(), x)[0] for y in (out, plain))
    assert torch.allclose(found, wanted, atol=1e-5)


def test_second_derivatives_are_those_of_the_operators(used):
    """Gradient penalties differentiate gradients."""
    made = layer(2, 4, leaky_relu(0.2))

    def penalty(norm, x: Tensor) -> Tensor:
        (grad,) = torch.autograd.grad((norm(x) ** 3).sum(), x, create_graph=True)
        return grad.square().sum()

    x = torch.randn(2, 4, 5, 3, requires_grad=True)  # not channels last
    plain = copy.deepcopy(made)
    plain.forward = lambda input: F.leaky_relu(
        F.group_norm(input, 2, plain.weight, plain.bias), 0.2
    )
    found = torch.autograd.grad(penalty(made, x), [x, *made.parameters()])
    wanted = torch.autograd.grad(penalty(plain, x), [x, *plain.parameters()])
    for a, b in zip(found, wanted, strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)
    assert used


def test_forward_mode_and_function_transforms_take_the_operators(used):
    made, x, direction = layer(2, 4, SILU), torch.randn(2, 4, 3, 3), torch.randn(2, 4, 3, 3)
    _, tangent = torch.func.jvp(made, (x,), (direction,))
    with torch.autograd.forward_ad.dual_level():
        dual = torch.autograd.forward_ad.make_dual(x, direction)
        tangents = torch.autograd.forward_ad.unpack_dual(made(dual)).tangent
    step = 1e-2
    wanted = (made(x + step * direction) - made(x - step * direction)) / (2 * step)
    assert used == [2, 2]  # of the differences
    assert torch.allclose(tangent, wanted, atol=1e-2)
    assert torch.allclose(tangents, tangent, atol=1e-5)


@pytest.mark.parametrize("dtype", EXACT)
def test_without_numba_the_operators_compute_it(dtype, monkeypatch, used):
    made, x = layer(2, 4, SILU), torch.randn(2, 4, 3, 3).to(dtype)
    skip, shift = torch.randn(2, 2, 3, 3).to(dtype), torch.randn(2, 6)
    made = layer(2, 6, SILU)
    fast = made.joining(x, skip, shift)
    monkeypatch.setattr(kernels, "available", lambda: False)
    plain = made.joining(x, skip, shift)
    assert used == [2]
    for a, b in zip(fast, plain, strict=True):
        assert a.dtype == b.dtype
        assert torch.allclose(a.float(), b.float(), rtol=1e-2, atol=1e-5)


def test_any_number_of_threads_gives_equal_results(monkeypatch):
    monkeypatch.setattr(kernels, "LEAST_WORK", 1)
    made, x = layer(2, 4, SILU), torch.randn(7, 4, 5, 5, requires_grad=True)
    results, before = [], torch.get_num_threads()
    try:
        for threads in (1, 2, 3, 16):
            torch.set_num_threads(threads)
            out = made(x)
            results.append((out, *torch.autograd.grad(out.sum(), [x, made.weight, made.bias])))
    finally:
        torch.set_num_threads(before)
    assert all(
        torch.equal(a, b) for result in results for a, b in zip(results[0], result, strict=True)
    )


def test_no_samples_and_other_types_take_the_operators(used):
    made = layer(2, 4, SILU)
    assert made(torch.zeros(0, 4, 3, 3)).shape == (0, 4, 3, 3)
    assert made.double()(torch.zeros(2, 4, 3, 3).double()).dtype == torch.float64
    assert used == []


@pytest.mark.parametrize("activation", [RELU, NONE, leaky_relu(0.2)])
@pytest.mark.parametrize(
    "sizes", [(4, 16, 7, 7), (3, 5, 3, 2), (1, 1, 1, 2), (2, 40, 14, 14), (3, 64, 14, 14)]
)
@pytest.mark.parametrize("dtype", EXACT)
def test_batch_norm_is_that_of_the_operators(dtype, sizes, activation, used):
    torch.manual_seed(0)
    made = BatchNorm2d(sizes[1], activation=activation)
    with torch.no_grad():
        made.weight.normal_()
        made.bias.normal_()
    plain = nn.BatchNorm2d(sizes[1]).double()
    plain.load_state_dict(made.state_dict())
    for _ in range(2):
        x = (3 + torch.randn(sizes)).to(dtype).requires_grad_()
        exact = x.detach().double().requires_grad_()
        out, wanted = made(x), activation(plain(exact))
        grad = torch.randn_like(out)
        found = torch.autograd.grad(out, [x, *made.parameters()], grad)
        others = torch.autograd.grad(wanted, [exact, *plain.parameters()], grad.double())
        assert out.dtype == dtype
        for a, b in zip((out, *found), (wanted, *others), strict=True):
            assert difference(a, b) < EXACT[dtype]
    assert len(used) == 8  # two passes each way, twice
    for name, value in plain.named_buffers():
        assert torch.allclose(made.get_buffer(name).double(), value.double(), rtol=1e-5, atol=1e-6)
    made.eval(), plain.eval()
    with torch.no_grad():
        assert difference(made(x), activation(plain(exact))) < EXACT[dtype]
    passes = 8 + (x.numel() >= norms.LEAST_WORK)  # few numbers: torch's operator takes less time
    assert len(used) == passes
    found, wanted = (  # with gradients, torch's operators
        torch.autograd.grad(norm(y).square().sum(), y)[0]
        for norm, y in ((made, x), (lambda y: activation(plain(y)), exact))
    )
    assert len(used) == passes
    assert difference(found, wanted) < 4 * EXACT[dtype]


def test_batch_norm_without_weights_refuses_single_pixels_and_is_differentiated_twice():
    made, x = BatchNorm2d(4, affine=False), torch.randn(3, 4, 5, 5, requires_grad=True)
    plain = F.batch_norm(x, None, None, training=True)
    assert torch.allclose(made(x), plain, atol=1e-5)
    with pytest.raises(ValueError, match="more than 1 value per channel"):
        made(torch.randn(1, 4, 1, 1))
    made = BatchNorm2d(4, activation=leaky_relu(0.2))
    results = []
    for out in (made(x), F.leaky_relu(F.batch_norm(x, None, None, training=True), 0.2)):
        (grad,) = torch.autograd.grad((out**3).sum(), x, create_graph=True)
        results.append(torch.autograd.grad(grad.square().sum(), x)[0])
    assert torch.allclose(*results, rtol=1e-3, atol=1e-3)


def test_batch_norm_is_equal_on_any_number_of_threads(monkeypatch):
    monkeypatch.setattr(kernels, "LEAST_WORK", 1)
    x, before = torch.randn(7, 4, 5, 5, requires_grad=True), torch.get_num_threads()
    results = []
    try:
        for threads in (1, 3, 16):
            torch.set_num_threads(threads)
            made = BatchNorm2d(4, activation=RELU)
            out = made(x)
            grads = torch.autograd.grad(out.square().sum(), [x, *made.parameters()])
            results.append((out, *grads, made.running_var))
    finally:
        torch.set_num_threads(before)
    assert all(
        torch.equal(a, b) for result in results for a, b in zip(results[0], result, strict=True)
    )


def test_kernels_work_in_a_process_that_was_forked(monkeypatch):
    monkeypatch.setattr(kernels, "LEAST_WORK", 1)
    made, x, before = layer(2, 4, SILU), torch.randn(5, 4, 5, 5), torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        expected = made(x)
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            signal.alarm(60)
            os.write(writer, b"1" if torch.equal(made(x), expected) else b"0")
            os._exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(reader, 1) == b"1"
    finally:
        torch.set_num_threads(before)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kernels_are_compiled_before_training_without_touching_memory(precision):
    kernels.prepare(precision)  # passes addresses of nothing: reading one ends the process


def test_what_numba_keeps_is_renewed_with_the_parts_of_its_loops():
    parts = hashlib.sha256(Path(loops.__file__).read_bytes()).hexdigest()[:16]
    assert parts == compiled.LOOPS, "write the new hash into models/layers/compiled.py"


WRONG_SHAPES = {
    "channels": lambda: layer(2, 4, NONE)(torch.randn(2, 6, 3, 3)),
    "pixels of skip": lambda: layer(2, 4, NONE).joining(
        torch.randn(2, 2, 3, 3), torch.randn(2, 2, 2, 3)
    ),
    "batch of skip": lambda: layer(2, 4, NONE).joining(
        torch.randn(2, 2, 3, 3), torch.randn(1, 2, 3, 3)
    ),
    "shift": lambda: layer(2, 4, NONE)(torch.randn(2, 4, 3, 3), torch.randn(3, 4)),
    "channels of batch norm": lambda: BatchNorm2d(4)(torch.randn(2, 6, 3, 3)),
    "channels of batch norm in eval mode": lambda: BatchNorm2d(4).eval()(torch.randn(2, 6, 3, 3)),
}


@pytest.mark.parametrize("case", WRONG_SHAPES)
def test_wrong_shapes_are_refused_and_not_read(case):
    """The kernels read memory by address: a shape that does not fit must not reach them."""
    with torch.no_grad(), pytest.raises(RuntimeError):
        WRONG_SHAPES[case]()


def test_one_shift_for_all_samples_and_weights_that_are_not_contiguous():
    made, x, shift = layer(2, 4, NONE), torch.randn(3, 4, 2, 2), torch.randn(1, 4)
    made.weight.data = torch.arange(8.0)[::2]
    plain = F.group_norm(x + shift[:, :, None, None], 2, made.weight, made.bias)
    assert torch.allclose(made(x, shift), plain, atol=1e-5)
    norm = BatchNorm2d(4)
    norm.weight.data = torch.arange(8.0)[::2]
    plain = F.batch_norm(x, None, None, norm.weight, norm.bias, training=True)
    assert torch.allclose(norm(x), plain, atol=1e-5)
