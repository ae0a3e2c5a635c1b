"""Winograd's convolution against torch's, and which layers of which models it serves."""

import copy

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.nn.utils.parametrizations import spectral_norm

from bench.cost.network_calls import flop_counter
from bench.runtime import winograd as module
from bench.runtime.winograd import convolve, pays, qualifies, winograd

WIDE = module.FEWEST_CHANNELS


def wide(**options: object) -> nn.Conv2d:
    return nn.Conv2d(WIDE, WIDE, 3, **{"padding": 1, **options})


@pytest.fixture
def convolved(monkeypatch) -> list[torch.Tensor]:
    """The weights of every call of `convolve`."""
    weights = []

    def recorded(x, weight, bias):
        weights.append(weight)
        return convolve(x, weight, bias)

    monkeypatch.setattr(module, "convolve", recorded)
    return weights


@pytest.mark.parametrize("has_bias", [True, False])
@pytest.mark.parametrize(
    ("batch", "size"), [(1, (32, 32)), (3, (31, 33)), (70, (8, 8)), (2, (4, 5)), (300, (1, 1))]
)
def test_it_is_the_convolution(batch, size, has_bias):
    torch.manual_seed(0)
    x = torch.randn(batch, 5, *size).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(7, 5, 3, 3), torch.randn(7) * has_bias
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    y = convolve(x, weight, bias if has_bias else None)
    assert y.shape == expected.shape
    assert (y - expected).norm() < 5e-6 * expected.norm()
    torch.library.opcheck(torch.ops.bench.winograd, (x, weight, bias if has_bias else None))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize(
    "layer", [wide(), wide(bias=False), wide(padding="same"), spectral_norm(wide()).eval()]
)
def test_a_layer_of_any_model_is_served_while_nothing_is_trained(layer, memory_format, convolved):
    torch.manual_seed(0)
    model = nn.Sequential(nn.ReLU(), layer)
    x = torch.randn(10, WIDE, 9, 12).contiguous(memory_format=memory_format)
    trained = model(x)
    with winograd(model):
        assert torch.equal(model(x), trained)  # there are gradients
        assert not convolved
        with torch.no_grad(), winograd(model):  # within itself, as costs are within an evaluation
            evaluated = model(x)
        with torch.no_grad():
            assert torch.equal(model(x), evaluated)
    assert len(convolved) == 2
    assert all(torch.equal(weight, layer.weight) for weight in convolved)
    assert (evaluated - trained).norm() < 5e-6 * trained.norm()
    with torch.no_grad():
        assert torch.equal(model(x), trained)


def test_a_copy_made_meanwhile_has_its_own_weights(convolved):
    model, x = wide(), torch.randn(10, WIDE, 9, 12)
    with torch.no_grad(), winograd(model):
        other = copy.deepcopy(model)
        other.weight.zero_()
        other(x)
        model(x)
    assert [bool(weight.any()) for weight in convolved] == [False, True]


@pytest.mark.parametrize(
    "layer",
    [
        nn.Conv2d(WIDE, WIDE - 1, 3, padding=1),
        nn.Conv2d(WIDE, WIDE, 5, padding=1),
        nn.Conv2d(WIDE, WIDE, 1, padding=1),
        nn.ConvTranspose2d(WIDE, WIDE, 3, padding=1),
        wide(stride=2),
        wide(dilation=2),
        wide(padding=0),
        wide(groups=2),
        wide(padding_mode="circular"),
    ],
)
def test_other_layers_do_not_qualify(layer):
    assert qualifies(wide())
    assert not qualifies(layer)


def test_it_is_left_alone_where_it_does_not_pay():
    x = torch.zeros(16, WIDE, 8, 8)
    with torch.no_grad():
        assert pays(x)
        assert not pays(x[:15])
        assert not pays(x.double())
        assert not pays(x.to("meta"))
        assert not pays(x[0])
        with torch.autocast("cpu", torch.bfloat16):
            assert not pays(x)
    assert not pays(x)


def test_its_flops_are_the_convolutions(convolved):
    layer, x = nn.Conv2d(WIDE, WIDE + 4, 3, padding=1), torch.randn(10, WIDE, 9, 12)
    counts = []
    for training in (True, False):
        with torch.set_grad_enabled(training), winograd(layer), flop_counter() as counter:
            layer(x)
        counts.append(counter.get_total_flops())
    assert len(convolved) == 1
    assert counts == [2 * 10 * 9 * 12 * 9 * WIDE * (WIDE + 4)] * 2


def test_a_layer_with_a_convolution_of_its_own_keeps_it():
    class Standardised(nn.Conv2d):
        def _conv_forward(self, input, weight, bias):  # torch's name
            return super()._conv_forward(input, weight - weight.mean(), bias)

    layer = Standardised(WIDE, WIDE, 3, padding=1)
    assert not qualifies(layer)
    x = torch.randn(4, WIDE, 16, 16)
    with torch.inference_mode(), winograd(layer):
        expected = F.conv2d(x, layer.weight - layer.weight.mean(), layer.bias, padding=1)
        assert torch.equal(layer(x), expected)
