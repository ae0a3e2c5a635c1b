"""Latency of one sample, as of an earlier commit and as of now, side by side, in alternation.

Each side is a process that builds the model of a checkout, with equal seeds, and generates single
samples in eval mode as the evaluation does; what it prepares once per model is not counted, as in
the column `latency_ms`. Prints a Markdown table of medians, and of the median of the ratios of
neighbouring measurements, which a busy machine disturbs less.

Command: git worktree add /tmp/before 19b336e && python scripts/benchmarks/latency.py /tmp/before
    --clock cpu
"""

import argparse
import statistics
from pathlib import Path

from sides import alternate

AFTER = Path(__file__).resolve().parents[2]

SIDE = """
import sys, time
checkout, name, sampler, side, precision, threads, clock = sys.argv[1:]
sys.path.insert(0, checkout)
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from bench.runtime.device import keep_freed_memory
from bench.runtime.isolation import evaluating
from models.base import DataSpec

SHAPE, CLASSES = (1, int(side), int(side)), 10
now = {"cpu": time.process_time, "wall": time.perf_counter}[clock]
torch.set_num_threads(int(threads))
keep_freed_memory()
torch.manual_seed(0)
with initialize_config_module("conf", version_base="1.3"):
    config = compose("config", [f"model={name}"]).model
data = DataSpec(SHAPE, CLASSES, lambda index: torch.zeros(len(index), *SHAPE), CLASSES)
model = instantiate(config.build, _convert_="all")(data)
model = model.to(memory_format=torch.channels_last)
made = model.sampler(sampler) if sampler else next(iter(model.samplers.values()))
generate = getattr(made, "generate", None) or made.draw  # its name before
generator = torch.Generator().manual_seed(0)
bf16 = torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16")
with evaluating(model), bf16:
    for _ in range(3):
        generate(1, generator, None)
    print(flush=True)
    for line in sys.stdin:
        started = now()
        for _ in range(int(line)):
            generate(1, generator, None)
        print((now() - started) / int(line), flush=True)
"""

MODELS = ("ddpm_small:ddim-10", "edm_small", "dit_small:ddim-10", "dcgan_small", "vae_small")


def compare(
    before: Path, model: str, side: int, precision: str, options: argparse.Namespace
) -> str:
    """Measure one model at one size and precision; a line of the table."""
    name, _, sampler = model.partition(":")
    arguments = [name, sampler, str(side), precision, str(options.threads), options.clock]
    sides = alternate(before, AFTER, SIDE, arguments, options.repeats, options.samples)
    ratios = [b / a for a, b in zip(*(each.seconds for each in sides), strict=True)]
    old, new = (1e3 * statistics.median(each.seconds) for each in sides)
    return (
        f"| {name} | {sampler or 'its first'} | {side}×{side} | {precision} | {old:.2f} | "
        f"{new:.2f} | {statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f}) |"
    )


def main() -> None:
    """Compare the models in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--models", nargs="+", default=MODELS, help="NAME or NAME:SAMPLER")
    parser.add_argument("--sides", nargs="+", type=int, default=[28, 8], help="of the images")
    parser.add_argument(
        "--precision", nargs="+", choices=["bf16", "fp32"], default=["bf16", "fp32"]
    )
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--samples", type=int, default=5, help="per measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    print(f"{options.threads} threads, {options.clock} time, {options.repeats} rounds\n")
    print("| model | sampler | images | precision | before (ms) | after (ms) | ratio |")
    print("|---|---|---|---|---|---|---|")
    for model in options.models:
        for side in options.sides:
            for precision in options.precision:
                line = compare(options.before.resolve(), model, side, precision, options)
                print(line, flush=True)


if __name__ == "__main__":
    main()
