"""Cost of training and sampling: time, FLOPs, network evaluations, parameters, peak memory."""

import math
import statistics
import time
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from bench.cost.network_calls import NetworkCall, capture_calls, flop_counter
from bench.runtime.isolation import evaluating, untouched_random_state
from bench.runtime.memory import PeakMemory
from models.base import Batch, GenerativeModel, Sampler

MAX_REPETITIONS = 100
MEMORY_BATCH = 64
BATCH_SIZES = (1, 8, 32, 128, 512, 2048)
"""Candidates for the best batch size, tried in this order."""


@dataclass(frozen=True)
class SamplingCost:
    """Cost of a sampler; None if there is nothing to measure.

    Attributes:
        nfe: network evaluations per sample; None if unknown.
        latency_ms: median milliseconds per sample at batch size 1.
        latency_iqr_ms: its interquartile range.
        images_per_second: median throughput at the best batch size.
        images_per_second_iqr: its interquartile range; None unless several batches were timed.
        best_batch_size: the batch size, of `BATCH_SIZES`, at which throughput stops growing.
        gflops_per_sample: 10^9 floating point operations, two per multiply-add.
        sampling_memory_mib: peak memory of one network call on 64 samples, beyond the weights (see
            `PeakMemory`); a fixed number of samples, comparable between models.
    """

    nfe: int | None
    latency_ms: float | None = None
    latency_iqr_ms: float | None = None
    images_per_second: float | None = None
    images_per_second_iqr: float | None = None
    best_batch_size: int | None = None
    gflops_per_sample: float | None = None
    sampling_memory_mib: float | None = None


def parameters(model: nn.Module) -> int:
    """Number of parameters of all networks of the model, trained or frozen."""
    return sum(parameter.numel() for parameter in model.parameters())


def step_flops(model: GenerativeModel, batch: Batch, *, progress: float = 0.0) -> int:
    """Floating point operations of one training step: forward and backward of the active phases.

    Works on a copy, so weights, buffers, gradients and the global random state are unchanged.
    Optimizer updates are not counted. The model must not be compiled: the counter cannot look
    inside compiled code.

    Args:
        model: the model to train, on the device of the batch.
        batch: real data of the size of a training batch.
        progress: the share of the budget at which the step is taken, in [0, 1).

    Returns:
        FLOPs of the whole batch, two per multiply-add; 0 for a model without phases.
    """
    copy = deepcopy(model).train()
    copy.progress.fill_(progress)
    with untouched_random_state(copy.progress.device), flop_counter() as counter:
        for phase in (phase for phase in copy.phases if phase.active(progress)):
            copy.requires_grad_(False)
            phase.module.requires_grad_(True)
            for _ in range(phase.repeats):
                phase.loss(batch)["loss"].backward()
    return counter.get_total_flops()


def sampling_cost(
    model: GenerativeModel,
    sampler: Sampler,
    *,
    seconds: float = 10.0,
    device: torch.device,
) -> SamplingCost:
    """Measure one sampler in eval mode, with warm-up and synchronisation.

    Latency takes half of the time budget: 3 to 100 runs with one sample. The best batch size is
    found by timing single network calls, growing the batch while throughput still gains 5 % and
    memory suffices; whole batches of that size take the other half. If one of them would exceed the
    budget, throughput is that of the declared network calls alone. The minimum numbers of
    repetitions may exceed the budget.

    The mode, weights and buffers of the model and the global random state are unchanged.

    Args:
        model: the model that the sampler belongs to, on `device`.
        sampler: one of model.samplers.
        seconds: time budget of the measurement.
        device: the model's device.

    Returns:
        The cost; only nfe is known for a sampler without a network, such as real data.

    Raises:
        ValueError: the sampler does not call a network as often as sampler.calls declares.
    """
    if not sampler.calls:
        return SamplingCost(nfe=sampler.nfe)
    generator = Generator(device=device).manual_seed(0)

    def generate(n: int) -> Tensor:
        return sampler.generate(n, generator, None)

    with evaluating(model):
        calls = capture_calls(sampler.calls, lambda: generate(1))
        gflops = sum(call.times * call.gflops_of_one_more() for call in calls)
        latency = _repeat(lambda: generate(1), device, seconds / 2, at_least=3)
        batch_size, calls_seconds = _best_batch_size(calls, seconds, device)
        batches = [calls_seconds]
        if calls_seconds <= seconds:
            batches = _repeat(lambda: generate(batch_size), device, seconds / 2, at_least=1)
        memory = PeakMemory(device)
        for call in calls:
            call.run(MEMORY_BATCH)
        memory_mib = memory.mib()
    latency_ms = [1000 * t for t in latency]
    images_per_second = [batch_size / t for t in batches]
    return SamplingCost(
        nfe=sampler.nfe,
        latency_ms=statistics.median(latency_ms),
        latency_iqr_ms=_interquartile_range(latency_ms),
        images_per_second=statistics.median(images_per_second),
        images_per_second_iqr=_interquartile_range(images_per_second),
        best_batch_size=batch_size,
        gflops_per_sample=gflops,
        sampling_memory_mib=memory_mib,
    )


def _best_batch_size(
    calls: Sequence[NetworkCall], seconds: float, device: torch.device
) -> tuple[int, float]:
    """The largest of `BATCH_SIZES` reached while throughput grows by more than 5 % each time.

    Returns:
        The batch size, and the seconds of all network calls for one batch, from medians.
    """
    best, best_rate, best_seconds = 1, 0.0, math.inf
    share = seconds / 20 / len(calls)
    for batch_size in BATCH_SIZES:
        least, median = 0.0, 0.0
        try:
            warm_up = sum(_seconds(partial(call.run, batch_size), device) for call in calls)
            if batch_size > 1 and 4 * warm_up > seconds:
                break
            for call in calls:
                times = _repeat(partial(call.run, batch_size), device, share, at_least=3)
                least += call.times * min(times)
                median += call.times * statistics.median(times)
        except torch.OutOfMemoryError:
            break
        rate = batch_size / least  # of the fastest calls: this only selects a size
        if rate <= 1.05 * best_rate:
            break
        best, best_rate, best_seconds = batch_size, rate, median
    return best, best_seconds


def synchronize(device: torch.device) -> None:
    """Wait until the device has finished its work; call it before reading a clock."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


def _repeat(
    call: Callable[[], object],
    device: torch.device,
    seconds: float,
    *,
    at_least: int,
) -> list[float]:
    """Time a call repeatedly until the time is used up; returns the seconds of each repetition."""
    times: list[float] = []
    while len(times) < at_least or (len(times) < MAX_REPETITIONS and sum(times) < seconds):
        times.append(_seconds(call, device))
    return times


def _seconds(call: Callable[[], object], device: torch.device) -> float:
    synchronize(device)
    start = time.perf_counter()
    call()
    synchronize(device)
    return time.perf_counter() - start


def _interquartile_range(values: list[float]) -> float | None:
    """Distance of the quartiles (linear interpolation); None of a single value."""
    if len(values) < 2:
        return None
    lower, _, upper = statistics.quantiles(values, n=4, method="inclusive")
    return upper - lower
