"""What Winograd's convolutions save in sampling: every network of a model with and without them.

Times calls of the networks that one of the model's samplers calls, at the given batch size on
3x32x32, in alternation, and adds them up as often as one sampling calls each. Prints medians and
medians of the ratios of neighbouring measurements, which a busy machine disturbs less.

Command: python scripts/benchmarks/winograd.py --models sngan progan ddpm --threads 1 --clock cpu
"""

import argparse
import statistics
from contextlib import nullcontext
from functools import partial

import torch
from clocks import Clock, add_options, seconds_of, start
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from bench.cost.network_calls import NetworkCall, capture_calls
from bench.runtime.device import keep_freed_memory
from bench.runtime.isolation import eval_mode
from bench.runtime.winograd import qualifies, winograd
from models.base import DataSpec, GenerativeModel

SHAPE, CLASSES = (3, 32, 32), 10


def build(name: str) -> GenerativeModel:
    """A model with the weights that it starts from, at the end of its budget, as `bench` has it."""
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", [f"model={name}"]).model
    data = DataSpec(SHAPE, CLASSES, lambda index: torch.zeros(len(index), *SHAPE), CLASSES)
    model = instantiate(config.build, _convert_="all")(data)
    model.progress.fill_(1.0)
    return model.to(memory_format=torch.channels_last)


def seconds(calls: list[NetworkCall], batch_size: int, clock: Clock) -> float:
    """Seconds of the calls of one sampling, from one call of every network."""
    return sum(call.times * seconds_of(partial(call.run, batch_size), clock) for call in calls)


def measure(name: str, batch_size: int, repeats: int, clock: Clock) -> None:
    """Time a model and print its line."""
    model = build(name)
    sampler = min(model.samplers.values(), key=lambda sampler: sampler.nfe or 0)
    times: dict[bool, list[float]] = {False: [], True: []}
    with eval_mode(model), torch.inference_mode():
        generator = torch.Generator().manual_seed(0)
        calls = capture_calls(sampler.calls or {}, lambda: sampler.generate(1, generator, None))
        for repeat in range(-1, repeats):  # the first round warms up
            for fast in (False, True) if repeat % 2 else (True, False):
                with winograd(model) if fast else nullcontext():
                    taken = seconds(calls, batch_size, clock)
                times[fast] += [taken] if repeat >= 0 else []
    ratios = [plain / fast for plain, fast in zip(times[False], times[True], strict=True)]
    layers = sum(qualifies(layer) for call in calls for layer in call.network.modules())
    plain, fast = (1e3 * statistics.median(times[key]) for key in (False, True))
    print(
        f"{name:18} {layers:3} layers {plain:9.1f} ms -> {fast:9.1f} ms  "
        f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    """Measure the models in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["sngan", "progan", "ddpm"])
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=5)
    add_options(parser)
    options = parser.parse_args()
    clock = start(options)
    keep_freed_memory()
    print(f"batch {options.batch}, {options.threads} threads, {options.clock} time")
    for name in options.models:
        measure(name, options.batch, options.repeats, clock)


if __name__ == "__main__":
    main()
