"""Winograd's convolution against torch's, and where it is used."""

import pytest
import torch
import torch.nn.functional as F
from torch.utils.flop_counter import FlopCounterMode

from models.diffusion.networks import winograd
from models.diffusion.networks.winograd import Conv3x3, convolve, pays

WIDE = winograd.FEWEST_CHANNELS


@pytest.mark.parametrize(
    ("batch", "size"), [(1, (32, 32)), (3, (31, 33)), (70, (8, 8)), (2, (4, 5)), (300, (1, 1))]
)
def test_it_is_the_convolution(batch, size):
    torch.manual_seed(0)
    x = torch.randn(batch, 5, *size).contiguous(memory_format=torch.channels_last)
    weight, bias = torch.randn(7, 5, 3, 3), torch.randn(7)
    expected = F.conv2d(x.double(), weight.double(), bias.double(), padding=1)
    y = convolve(x, weight, bias)
    assert y.shape == expected.shape
    assert (y - expected).norm() < 5e-6 * expected.norm()
    torch.library.opcheck(torch.ops.models.winograd, (x, weight, bias))


@pytest.mark.parametrize("memory_format", [torch.contiguous_format, torch.channels_last])
def test_the_layer_gives_the_same_with_and_without_gradients(memory_format, monkeypatch):
    torch.manual_seed(0)
    layer = Conv3x3(WIDE, WIDE)
    x = torch.randn(10, WIDE, 9, 12).contiguous(memory_format=memory_format)
    trained = layer(x)
    calls = []
    monkeypatch.setattr(winograd, "convolve", lambda *given: calls.append(1) or convolve(*given))
    with torch.no_grad():
        evaluated = layer(x)
    assert calls
    assert (evaluated - trained).norm() < 5e-6 * trained.norm()


def test_it_is_left_alone_where_it_does_not_pay():
    x = torch.zeros(16, WIDE, 8, 8)
    with torch.no_grad():
        assert pays(x, WIDE, WIDE)
        assert not pays(x, WIDE, WIDE - 1)
        assert not pays(x[:15], WIDE)
        assert not pays(x.double(), WIDE)
        with torch.autocast("cpu", torch.bfloat16):
            assert not pays(x, WIDE)
    assert not pays(x, WIDE)


def test_its_flops_are_the_convolutions():
    layer, x = Conv3x3(WIDE, WIDE + 4), torch.randn(10, WIDE, 9, 12)
    counts = []
    for training in (True, False):
        with torch.set_grad_enabled(training), FlopCounterMode(display=False) as counter:
            layer(x)
        counts.append(counter.get_total_flops())
    assert counts == [2 * 10 * 9 * 12 * 9 * WIDE * (WIDE + 4)] * 2
