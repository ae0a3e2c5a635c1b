"""Cost of training and sampling: time, FLOPs, network evaluations, parameters, peak memory."""

import math
import statistics
import time
from collections.abc import Callable, Iterable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import partial

import torch
from torch import Generator, Tensor, nn

from bench.cost.network_calls import NetworkCall, capture_calls, flop_counter
from bench.runtime.cores import CoreMeter
from bench.runtime.isolation import evaluating, untouched_random_state
from bench.runtime.memory import PeakMemory
from models.base import Batch, GenerativeModel, Sampler

MAX_REPETITIONS = 100
SETTLED = 0.02
"""A median is known once its 95 % interval lies within this share of it."""
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


def step_flops(model: GenerativeModel, batch: Batch, *, progress: float = 0.0) -> float:
    """Floating point operations of one training step: forward and backward of the active phases.

    A phase that is trained in every k-th step counts for a k-th: the mean over k steps.

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
    total = 0.0
    with untouched_random_state(copy.progress.device):
        for phase in (phase for phase in copy.phases if phase.active(progress)):
            copy.requires_grad_(False)
            phase.module.requires_grad_(True)
            with flop_counter() as counter:
                for _ in range(phase.repeats):
                    phase.loss(batch)["loss"].backward()
            total += counter.get_total_flops() / phase.every
    return total


def sampling_cost(
    model: GenerativeModel,
    sampler: Sampler,
    *,
    seconds: float = 10.0,
    device: torch.device,
) -> SamplingCost:
    """Measure one sampler in eval mode, with warm-up and synchronisation.

    Latency: 3 to 100 runs with one sample, in at most a quarter of the time. The best batch size is
    found by timing single network calls, growing the batch while throughput still gains 5 % and
    neither memory nor another quarter of the time is exceeded. Throughput: whole batches of that
    size, in at most a quarter of the time; if one of them would exceed half of it, throughput is
    that of the declared network calls alone. Repetitions end early once their median is known
    (`SETTLED`). The minimum numbers of repetitions may exceed the time.

    The mode, weights and buffers of the model and the global random state are unchanged.

    Args:
        model: the model that the sampler belongs to, on `device`.
        sampler: one of model.samplers.
        seconds: most seconds of the measurement.
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
        latency = _repeat(lambda: generate(1), device, seconds / 4, at_least=3)
        batch_size, calls_seconds = _best_batch_size(calls, seconds / 4, device)
        batches = [calls_seconds]
        if calls_seconds <= seconds / 2:
            batches = _repeat(lambda: generate(batch_size), device, seconds / 4, at_least=1)
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

    A size is not tried if its calls, a warm-up and three more of each network, are not expected to
    fit into the time left; the expectation is that time grows with the batch as it did last.

    Returns:
        The batch size, and the seconds of all network calls for one batch, from medians.
    """
    best, best_rate, best_seconds = 1, 0.0, math.inf
    share = seconds / 10 / len(calls)
    left, once, growth = seconds, 0.0, 0.0  # once: seconds of one call of each network
    for batch_size in BATCH_SIZES:
        if 4 * once * (batch_size / best) ** growth > left:
            break
        try:
            warm_up = sum(_seconds(partial(call.run, batch_size), device) for call in calls)
            if batch_size > 1 and 3 * warm_up > left:
                break
            times = [
                _repeat(partial(call.run, batch_size), device, share, at_least=3) for call in calls
            ]
        except torch.OutOfMemoryError:
            break
        left -= warm_up + sum(map(sum, times))
        # The fastest calls, since they only select a size.
        rate = batch_size / _of_batch(calls, map(min, times))
        if rate <= 1.05 * best_rate:
            break
        fastest = sum(map(min, times))
        if batch_size > 1:
            growth = max(0.0, math.log(fastest / once) / math.log(batch_size / best))
        best, best_rate, once = batch_size, rate, fastest
        best_seconds = _of_batch(calls, map(statistics.median, times))
    return best, best_seconds


def _of_batch(calls: Sequence[NetworkCall], seconds: Iterable[float]) -> float:
    """Seconds of all network calls for one batch, from those of one call of each network."""
    return sum(call.times * each for call, each in zip(calls, seconds, strict=True))


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
    """Time a call until its median is known or the time is used up.

    Returns:
        Seconds of each repetition.
    """
    times: list[float] = []
    while len(times) < at_least or (
        len(times) < MAX_REPETITIONS and sum(times) < seconds and not settled(times)
    ):
        times.append(_seconds(call, device))
    return times


def settled(values: Sequence[float]) -> bool:
    """Whether the median of independent values is known to `SETTLED`.

    Its interval is that of order statistics, which needs no distribution: k of n values lie below
    the median with binomial probability, so the (l + 1)-th lowest and highest values enclose it in
    95 % of cases for the largest l with P(k ≤ l) ≤ 2.5 %. There is none for fewer than six values.
    """
    n, rank, below = len(values), -1, 1
    while below <= 0.025 * 2**n:
        rank += 1
        below += math.comb(n, rank + 1)
    if rank < 0:
        return False
    ordered, median = sorted(values), statistics.median(values)
    return max(median - ordered[rank], ordered[n - 1 - rank] - median) <= SETTLED * median


class Stopwatch:
    """Seconds of work since it was made, without the time in which a CPU had other work to do.

    Attributes:
        device: whose work is timed.
    """

    def __init__(self, device: torch.device) -> None:
        synchronize(device)
        self.device, self._cores = device, CoreMeter()
        self._cores.start()
        self._start = time.perf_counter()

    def read(self) -> float:
        """The seconds so far; read it once."""
        synchronize(self.device)
        wall = time.perf_counter() - self._start
        self._cores.stop()
        if self.device.type != "cpu" or math.isnan(self._cores.waiting):
            return wall
        # threads that wait at the same time count more than once, but cannot work any faster
        least = self._cores.cpu / torch.get_num_threads()
        return min(wall, max(wall - self._cores.waiting, least))


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
