"""Every loss, gradient, sampler and held-out score of the small models: CPU against the device.

Both sides get equal random numbers (`EqualRandomness`), so that only rounding may differ.
"""

import pytest
import torch
from equal_randomness import EqualRandomness
from small_models import CLASSES, batch_for, built
from torch import Tensor

from bench.runtime.device import to_device
from bench.runtime.isolation import evaluating
from models.base import Batch, GenerativeModel

PROGRESS = (0.0, 0.3, 0.7)
"""Shares of the budget that between them show every phase, and growing networks at two sizes."""

REACHED = 1e-3
"""Largest error of a tensor relative to its norm: over a hundred times what changes on a CPU when
convolutions are computed contiguously instead of channels last."""

BESIDE = 1e-5
"""Largest error of a tensor relative to all tensors of its kind: some are zero but for rounding."""


def assert_close(expected: dict[str, Tensor], found: dict[str, Tensor]) -> None:
    """Compare tensors by name, norm by norm.

    Raises:
        AssertionError: naming the tensors that differ, with their relative errors.
    """
    assert expected.keys() == found.keys()
    total = sum(float(value.double().square().sum()) for value in expected.values()) ** 0.5
    bad = {}
    for name, value in expected.items():
        assert value.shape == found[name].shape, name
        assert torch.isfinite(found[name]).all(), name
        error = float((value.double() - found[name].double()).norm())
        size = float(value.double().norm())
        if error > REACHED * size + BESIDE * total:
            bad[name] = f"{error / max(size, 1e-30):.1e} of {size:.1e}"
    assert bad == {}


def on(device: torch.device, batch: Batch) -> Batch:
    y = None if batch.y is None else to_device(batch.y, device)
    return Batch(to_device(batch.x, device), y)


def steps_of(
    model: GenerativeModel, batch: Batch, progress: float
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Logged values and gradients of every phase active at a share of the budget, on the CPU."""
    values: dict[str, Tensor] = {}
    gradients: dict[str, Tensor] = {}
    model.train().progress.fill_(progress)
    with EqualRandomness(seed=4):
        for phase in (phase for phase in model.phases if phase.active(progress)):
            model.requires_grad_(False)
            phase.module.requires_grad_(True)
            logged = phase.loss(batch)
            logged["loss"].backward()
            values |= {f"{phase.name}/{key}": v.detach().cpu() for key, v in logged.items()}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            gradients[name] = parameter.grad.cpu()
    return values, gradients


@pytest.mark.parametrize("progress", PROGRESS)
def test_losses_and_gradients_agree(name: str, device: torch.device, progress: float) -> None:
    batch = batch_for(name)
    expected = steps_of(built(name, torch.device("cpu")), batch, progress)
    found = steps_of(built(name, device), on(device, batch), progress)
    for one, other in zip(expected, found, strict=True):
        assert one
        assert_close(one, other)


def test_buffers_after_a_step_agree(name: str, device: torch.device) -> None:
    """Running statistics and singular vectors, which losses change."""
    batch = batch_for(name)
    buffers = []
    for place in (torch.device("cpu"), device):
        model = built(name, place)
        steps_of(model, on(place, batch), 0.0)
        buffers.append({key: value.cpu() for key, value in model.named_buffers()})
    assert_close(*buffers)


def samples_of(model: GenerativeModel, sampler: str) -> Tensor:
    """Four samples, on the CPU."""
    device = model.progress.device
    model.progress.fill_(1.0)
    chosen = model.samplers[sampler]
    y = torch.arange(4, device=device) % CLASSES if chosen.classes else None
    generator = torch.Generator(device).manual_seed(0)
    with evaluating(model), EqualRandomness(seed=5):
        return chosen.generate(4, generator, y).cpu()


def test_samples_agree(name: str, device: torch.device) -> None:
    for sampler in built(name, device).samplers:
        expected = samples_of(built(name, torch.device("cpu")), sampler)
        found = samples_of(built(name, device), sampler)
        assert expected.std() > 1e-3
        assert_close({sampler: expected}, {sampler: found})


def held_out_of(model: GenerativeModel, batch: Batch) -> dict[str, Tensor]:
    """Scores and curves on held-out data, by name, on the CPU."""
    generator = torch.Generator(model.progress.device).manual_seed(0)
    with evaluating(model), EqualRandomness(seed=6):
        scores = model.held_out_scores(batch, generator)
        curves = model.held_out_curves(batch, generator)
    points = {f"{name} at {x:g}": y for name, curve in curves.items() for x, y in curve}
    return {name: value.float().cpu() for name, value in (scores | points).items()}


def test_held_out_scores_and_curves_agree(name: str, device: torch.device) -> None:
    batch = batch_for(name)
    expected = held_out_of(built(name, torch.device("cpu")), batch)
    assert_close(expected, held_out_of(built(name, device), on(device, batch)))


def test_a_device_that_computes_something_else_is_found(device: torch.device) -> None:
    """Not one that rounds differently: weights that are a hundredth off."""
    model, batch = built("ddpm_small", device), on(device, batch_for("ddpm_small"))
    expected = steps_of(model, batch, 0.0)[1]
    wrong = built("ddpm_small", device)
    with torch.no_grad():
        next(p for p in wrong.parameters() if p.ndim == 4).mul_(1.01)
    with pytest.raises(AssertionError):
        assert_close(expected, steps_of(wrong, batch, 0.0)[1])


@pytest.mark.gpu
def test_random_numbers_of_a_gpu_are_those_of_the_cpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("torch sees no CUDA device")
    sampled = []
    for place in (torch.device("cpu"), torch.device("cuda")):
        with EqualRandomness(seed=0):
            x = torch.empty(4, 3, 8, 8, device=place, memory_format=torch.channels_last).normal_()
            y = torch.nn.functional.dropout(torch.randn_like(x), 0.5)
            z = torch.randint(10, (7,), device=place, generator=torch.Generator(place))
        sampled.append([t.cpu() for t in (x, y, z)])
    for one, other in zip(*sampled, strict=True):
        assert torch.equal(one, other)
