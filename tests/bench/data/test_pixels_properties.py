"""Properties of quantisation: range, order, inverse, and values without a pixel value."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.data.pixels import from_uint8, to_uint8

quick = settings(max_examples=60, deadline=None)
floats = st.lists(st.floats(allow_nan=False, width=32), min_size=1, max_size=20)
models_range = st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=20)


def tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


@quick
@given(floats)
def test_values_are_rounded_to_the_scale_of_pixels_and_clamped(values):
    x = tensor(values)
    expected = ((x.clamp(-1, 1) + 1) * 127.5).round()  # torch rounds halves to even
    pixels = to_uint8(x)
    assert pixels.dtype == torch.uint8
    assert pixels.shape == x.shape
    assert torch.equal(pixels.float(), expected)


@quick
@given(models_range)
def test_the_scale_is_that_of_exact_arithmetic(values):
    exact = torch.tensor(values, dtype=torch.float64).add(1).mul(127.5)
    assert ((to_uint8(tensor(values)).double() - exact).abs() <= 0.5 + 1e-4).all()


@quick
@given(floats)
def test_order_is_kept(values):
    pixels = to_uint8(tensor(sorted(values))).long()
    assert (pixels.diff() >= 0).all()


@quick
@given(floats)
def test_quantising_twice_is_quantising_once(values):
    once = to_uint8(tensor(values))
    assert torch.equal(to_uint8(from_uint8(once)), once)


@quick
@given(values=floats, at=st.integers(0, 20), dtype=st.sampled_from([torch.float32, torch.float64]))
def test_nan_among_anything_is_refused(values, at, dtype):
    values.insert(at, float("nan"))
    with pytest.raises(ValueError, match="NaN"):
        to_uint8(torch.tensor(values, dtype=dtype))


@quick
@given(models_range)
def test_the_input_is_left_as_it_was(values):
    x = tensor(values)
    before = x.clone()
    to_uint8(x)
    assert torch.equal(x, before)
