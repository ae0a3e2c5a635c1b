# pyright: reportArgumentType=false

import copy
import gc
import weakref

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm
from torch.utils.flop_counter import FlopCounterMode

from models.diffusion.networks.unet import UNet, Upsample
from models.layers import prepared_products, small_batches
from models.layers.convolutions import ConvTranspose2d
from models.layers.forms import Form
from models.layers.norms import RELU, SILU, BatchNorm2d, GroupNorm, leaky_relu
from models.layers.prepared import compile_forms, prepared

TYPES = (torch.float32, torch.bfloat16)

LAYERS = {
    "one channel in": (lambda: nn.Conv2d(1, 32, 3, padding=1), (2, 1, 28, 28)),
    "one channel out": (lambda: nn.Conv2d(64, 1, 3, padding=1), (1, 64, 9, 7)),
    "strided": (lambda: nn.Conv2d(32, 96, 3, stride=2), (1, 32, 15, 15)),
    "one pixel": (lambda: nn.Conv2d(200, 130, 1), (1, 200, 5, 4)),
    "everything": (
        lambda: nn.Conv2d(32, 64, 5, (2, 1), (3, 1), (1, 2), groups=4),
        (3, 32, 17, 13),
    ),
    "same": (lambda: nn.Conv2d(6, 5, 4, padding="same", bias=False), (1, 6, 4, 5)),
    "spectral": (lambda: spectral_norm(nn.Conv2d(16, 16, 3, padding=1)), (1, 16, 6, 6)),
    "wide": (lambda: nn.Conv2d(96, 96, 3, padding=1), (3, 96, 14, 14)),
    "transposed": (lambda: nn.ConvTranspose2d(64, 48, 4, 2, 1), (1, 64, 7, 7)),
    "odd": (lambda: ConvTranspose2d(64, 16, 4, 2, 1, output_padding=1), (2, 64, 5, 6)),
    "groups": (lambda: nn.ConvTranspose2d(8, 16, 3, 3, 0, groups=2), (1, 8, 5, 6)),
    "holes": (lambda: nn.ConvTranspose2d(8, 16, 2, 3, 0, output_padding=1), (1, 8, 5, 6)),
    "wide transposed": (lambda: ConvTranspose2d(64, 64, 4, 2, 1), (4, 64, 14, 14)),
    "vector": (lambda: nn.Linear(100, 333), (1, 100)),
    "tokens": (lambda: nn.Linear(64, 192, bias=False), (2, 49, 64)),
    "no batch": (lambda: nn.Linear(300, 10), (300,)),
    "group norm": (lambda: GroupNorm(8, 32, 1e-6, SILU), (2, 32, 9, 9)),
    "group norm of one": (lambda: GroupNorm(8, 64, activation=leaky_relu(0.2)), (1, 64, 1, 1)),
    "group norm of 24": (lambda: GroupNorm(8, 24, activation=SILU), (1, 24, 5, 5)),
}


@pytest.fixture(params=LAYERS)
def layer_and_input(request):
    torch.manual_seed(0)
    build, shape = LAYERS[request.param]
    layer = build().eval()
    for parameter in layer.parameters():
        nn.init.normal_(parameter, 0.1, 0.3)
    for name, buffer in layer.named_buffers():
        if name.startswith("running"):
            nn.init.uniform_(buffer, 0.5, 1.5)
    return layer, torch.randn(shape) + 0.3


def compute(layer: nn.Module, x: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
    bf16 = dtype == torch.bfloat16
    if bf16 and isinstance(layer, GroupNorm):
        x = x.to(dtype)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        return layer(x)


def error(result: torch.Tensor, exact: torch.Tensor) -> float:
    return float((result.double() - exact.double()).abs().max() / exact.abs().max())


def forms(layer: nn.Module) -> list[Form]:
    return [value for m in layer.modules() for value in vars(m).values() if isinstance(value, Form)]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("threads", [1, 2])
def test_a_prepared_layer_computes_what_it_did(layer_and_input, dtype, threads):
    layer, x = layer_and_input
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        plain = compute(layer, x, dtype)
        with prepared(layer):
            result = compute(layer, x, dtype)
            again = compute(layer, x, dtype)
    finally:
        torch.set_num_threads(before)
    assert result.shape == plain.shape
    assert result.dtype == plain.dtype
    assert torch.equal(result, again)
    exact = compute(copy.deepcopy(layer).double(), x.double(), torch.float64)
    allowed = 5e-6 if dtype == torch.float32 else 1.1 * error(plain, exact) + 4e-3
    assert error(result, exact) <= allowed


def test_every_layer_of_these_has_a_form_that_is_used(layer_and_input, monkeypatch):
    layer, x = layer_and_input
    asked = []
    monkeypatch.setattr(Form, "weights", lambda self, dtype: asked.append(dtype))
    with prepared(layer):
        assert len(forms(layer)) == 1
        compute(layer, x, torch.bfloat16)
    assert asked == [torch.bfloat16]


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("size", [(13, 14), (14, 13)])
def test_an_upsampling_meets_the_size_of_its_skip(dtype, size):
    torch.manual_seed(0)
    layer, x = Upsample(16, signals=False).eval(), torch.randn(1, 16, 7, 7)
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    enlarged = F.interpolate(x, scale_factor=2).double()
    exact = copy.deepcopy(layer.conv).double()(enlarged)[:, :, : size[0], : size[1]]
    with torch.inference_mode(), bf16, prepared(layer):
        result = layer(x, torch.Size(size))
    assert result.shape == exact.shape
    assert error(result, exact.detach()) < (5e-6 if dtype == torch.float32 else 2e-2)


@pytest.mark.parametrize("dtype", TYPES)
@pytest.mark.parametrize("samples", [1, 500])
def test_an_upsampling_of_signals_doubles_one_side(dtype, samples):
    torch.manual_seed(0)
    layer, x = Upsample(48, signals=True).eval(), torch.randn(samples, 48, 1, 13)
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=dtype == torch.bfloat16)
    exact = layer.double()(x.double(), torch.Size((1, 25))).detach()
    with torch.inference_mode(), bf16, prepared(layer.float()):
        result = layer(x, torch.Size((1, 25)))
    assert result.shape == exact.shape == (samples, 48, 1, 25)
    assert error(result, exact) < (5e-6 if dtype == torch.float32 else 2e-2)


def step(layer: nn.Conv2d) -> None:
    with torch.no_grad():
        layer.weight.mul_(2.0)


def load(layer: nn.Conv2d) -> None:
    layer.load_state_dict({k: 2 * v for k, v in layer.state_dict().items()})


def replace(layer: nn.Conv2d) -> None:
    layer.weight = nn.Parameter(2 * layer.weight.detach())


def assign(layer: nn.Conv2d) -> None:
    layer.weight.data = 2 * layer.weight.data


@pytest.mark.parametrize("change", [step, load, replace, assign])
@pytest.mark.parametrize("dtype", TYPES)
def test_a_change_of_weights_is_seen_by_the_next_call(change, dtype):
    layer, x = nn.Conv2d(16, 16, 3), torch.randn(1, 16, 5, 5)
    layer = layer.eval()
    with prepared(layer):
        before = compute(layer, x, dtype)
        change(layer)
        after = compute(layer, x, dtype)
    assert not torch.equal(before, after)
    assert torch.allclose(after, compute(layer, x, dtype), atol=1e-2 if dtype != TYPES[0] else 1e-5)


def test_outside_and_with_gradients_layers_are_what_they_were():
    torch.manual_seed(0)
    layers = nn.Sequential(
        nn.Conv2d(3, 16, 3), BatchNorm2d(16, activation=RELU), ConvTranspose2d(16, 16, 4, 2, 1)
    )
    x = torch.randn(2, 3, 6, 6)
    same = copy.deepcopy(layers)
    before = dict(vars(layers[0]))
    with prepared(layers):
        layers(x).sum().backward()
    same(x).sum().backward()
    assert vars(layers[0]).keys() == before.keys()
    assert forms(layers) == []
    for ours, theirs in zip(layers.parameters(), same.parameters(), strict=True):
        assert torch.equal(ours.grad, theirs.grad)
    assert torch.equal(layers[1].running_mean, same[1].running_mean)


def test_what_was_prepared_is_dropped_at_the_end():
    layer = nn.Linear(64, 64).eval()
    with prepared(layer):
        compute(layer, torch.randn(1, 64), torch.bfloat16)
        made = weakref.ref(forms(layer)[0].made[torch.bfloat16][1])
        assert made() is not None
    gc.collect()
    assert made() is None


def test_a_copy_has_nothing_prepared_and_follows_its_own_weights():
    layer, x = nn.Conv2d(16, 16, 3).eval(), torch.randn(1, 16, 5, 5)
    with prepared(layer):
        expected = compute(layer, x, torch.float32)
        assert forms(layer)[0].made
        twin = copy.deepcopy(layer)
        assert [form.made for form in forms(twin)] == [{}]
        assert list(twin.state_dict()) == ["weight", "bias"]
        step(twin)
        assert torch.equal(compute(layer, x, torch.float32), expected)
    step(layer)
    results = compute(twin, x, torch.float32), compute(layer, x, torch.float32)
    assert torch.allclose(*results, atol=1e-5)


def test_flops_are_counted_as_without():
    network = UNet((1, 8, 8), channels=32, channel_mult=(1, 2), num_res_blocks=1, groups=8).eval()
    counts = []
    for context in (prepared(network), prepared(nn.Identity())):
        with torch.no_grad(), context, FlopCounterMode(display=False) as counter:
            network(torch.zeros(1, 1, 8, 8), torch.zeros(1))
        counts.append(counter.get_total_flops())
    assert counts[0] == counts[1] > 0


@pytest.mark.parametrize(
    "x",
    [torch.zeros(1, 4, 5, 5, device="meta"), torch.zeros(1, 4, 5, 5).double()],
    ids=["device", "type"],
)
def test_other_devices_and_types_are_computed_by_torch(x, monkeypatch):
    layer = nn.Conv2d(4, 4, 3).to(x.device, x.dtype).eval()
    monkeypatch.setattr(Form, "weights", lambda *_: pytest.fail("prepared"))
    with torch.inference_mode(), prepared(layer):
        assert layer(x).shape == (1, 4, 3, 3)


def test_without_numba_weights_are_cast_once_and_convolved_by_torch(monkeypatch):
    monkeypatch.setattr(prepared_products, "available", lambda: False)
    layer, x = nn.Conv2d(16, 16, 3).eval(), torch.randn(1, 16, 5, 5)
    plain = compute(layer, x, torch.bfloat16)
    with prepared(layer):
        assert torch.equal(compute(layer, x, torch.bfloat16), plain)
        assert forms(layer)[0].made


def test_a_users_layer_keeps_its_own_forward():
    class Doubling(nn.Conv2d):
        def forward(self, input):
            return 2 * super().forward(input)

    layer, x = Doubling(4, 4, 3).eval(), torch.randn(1, 4, 5, 5)
    plain = compute(layer, x, torch.float32)
    with prepared(layer):
        assert torch.equal(compute(layer, x, torch.float32), plain)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_kernels_can_be_compiled_before_the_first_call(precision, monkeypatch):
    layer, x = nn.Conv2d(16, 16, 3).eval(), torch.randn(1, 16, 5, 5)
    compile_forms(layer, precision)
    monkeypatch.setattr(small_batches, "cfunc", lambda *_, **__: pytest.fail("compiled again"))
    with prepared(layer):
        compute(layer, x, TYPES[precision == "bf16"])
        assert forms(layer)[0].made


@pytest.mark.parametrize("kind", [nn.Conv2d, nn.ConvTranspose2d])
def test_bf16_works_where_the_processor_has_no_operators_for_ordered_weights(kind, monkeypatch):
    """As on one without AVX-512, whose oneDNN refuses bf16."""
    asked = []

    def orders_weights(dtype):
        asked.append(dtype)
        return False

    monkeypatch.setattr(prepared_products, "orders_weights", orders_weights)
    layer, x = kind(16, 16, 4, stride=2, padding=1).eval(), torch.randn(64, 16, 16, 16)
    plain = compute(layer, x, torch.bfloat16)
    with prepared(layer):
        found = compute(layer, x, torch.bfloat16)
    assert set(asked) == {torch.bfloat16}
    torch.testing.assert_close(found, plain, rtol=2e-2, atol=2e-2)
