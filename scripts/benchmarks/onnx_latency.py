"""One call of a denoiser at batch 1: torch's eager mode and onnxruntime, in alternation.

Eager is the network as the evaluation calls it, in fp32, with its prepared layers. The ONNX file is
what `bench.export --format onnx` writes. Both run in one process with random weights. Prints, for
every shape, medians and the ratio of the medians.

Command: OMP_NUM_THREADS=1 python scripts/benchmarks/onnx_latency.py --threads 1 --clock cpu
"""

import argparse
import statistics

import torch
from clocks import add_options, seconds_of, start
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from bench.runs.exports.onnx import session_of, translated
from bench.runtime.isolation import evaluating
from models.base import DataSpec, GenerativeModel

SHAPES = ((1, 8, 8), (1, 28, 28), (3, 32, 32))


def built(name: str, shape: tuple[int, ...]) -> GenerativeModel:
    """The configured model of samples of this shape."""
    with initialize_config_module("conf", version_base="1.3"):
        config = compose("config", [f"model={name}"]).model
    data = DataSpec(shape, 10, lambda index: torch.zeros(len(index), *shape), 10)
    torch.manual_seed(0)
    model = instantiate(config.build, _convert_="all")(data)
    return model.to(memory_format=torch.channels_last)


def main() -> None:
    """Time both and print a line for each shape."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="ddpm_small", help="a model with one network call")
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--calls", type=int, default=10, help="in one measurement")
    add_options(parser)
    options = parser.parse_args()
    clock = start(options)
    for shape in SHAPES:
        model = built(options.model, shape)
        (call,) = model.network_calls.values()
        session = session_of(translated(model, call, {}))
        given = [each.examples(1, torch.Generator().manual_seed(0)) for each in call.inputs]
        feed = {each.name: x.numpy() for each, x in zip(call.inputs, given, strict=True)}

        def eager(call=call, given=given) -> None:
            for _ in range(options.calls):
                call.compute(*given)

        def onnx(session=session, feed=feed) -> None:
            for _ in range(options.calls):
                session.run(None, feed)

        taken: dict[str, list[float]] = {"eager": [], "onnxruntime": []}
        with evaluating(model):
            for repeat in range(-2, options.repeats):  # the first rounds warm up
                for name, run in zip(taken, (eager, onnx), strict=True):
                    seconds = seconds_of(run, clock)
                    if repeat >= 0:
                        taken[name].append(1e3 * seconds / options.calls)
        ours, theirs = map(statistics.median, taken.values())
        size = "x".join(map(str, shape))
        print(
            f"{options.model} {size:8} eager {ours:6.2f} ms, onnxruntime {theirs:6.2f} ms, ratio "
            f"{theirs / ours:.2f} ({options.clock}, {options.threads} thread(s))"
        )


if __name__ == "__main__":
    main()
