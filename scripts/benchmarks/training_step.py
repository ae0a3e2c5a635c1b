"""Training steps of models, as of an earlier commit and as of now, side by side, in alternation.

Each side is a process that builds the model of a checkout, with equal seeds, and makes whole steps:
every phase's losses, backward passes and updates, as the recipe has them. Prints medians, images
per second, and the median of the ratios of neighbouring measurements, which a busy machine disturbs
less.

Command: git worktree add /tmp/before 19b336e && python scripts/benchmarks/training_step.py
    /tmp/before --models ddpm_small dcgan_small --precision bf16 fp32 --clock cpu
"""

import argparse
import statistics
from pathlib import Path

from sides import alternate

AFTER = Path(__file__).resolve().parents[2]

SIDE = """
import sys, time
checkout, name, precision, threads, clock = sys.argv[1:]
sys.path.insert(0, checkout)
import torch
from hydra import compose, initialize_config_module
from hydra.utils import instantiate
from bench.runtime.device import keep_freed_memory
from models.base import Batch, DataSpec

SHAPE, CLASSES = (1, 28, 28), 10
now = {"cpu": time.process_time, "wall": time.perf_counter}[clock]
torch.set_num_threads(int(threads))
keep_freed_memory()
torch.manual_seed(0)
with initialize_config_module("conf", version_base="1.3"):
    config = compose("config", [f"model={name}"]).model
data = DataSpec(SHAPE, CLASSES, lambda index: torch.zeros(len(index), *SHAPE), CLASSES)
model = instantiate(config.build, _convert_="all")(data).train()
model = model.to(memory_format=torch.channels_last)
recipe = instantiate(config.training, _convert_="all")
optimizers = {
    p.name: recipe.optimizers[p.name](p.module.parameters())
    for p in model.phases
    if p.optimizer is None
}
x = (torch.rand(recipe.batch_size, *SHAPE) * 2 - 1).contiguous(memory_format=torch.channels_last)
batch = Batch(x, torch.arange(len(x)) % CLASSES)

steps = 0

def step():
    global steps
    for phase in model.phases:
        if not phase.active(0.0) or steps % phase.every:
            continue
        model.requires_grad_(False)
        phase.module.requires_grad_(True)
        for _ in range(phase.repeats):
            optimizers[phase.updated_by].zero_grad(set_to_none=True)
            with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
                loss = phase.loss(batch)["loss"]
            loss.backward()
            optimizers[phase.updated_by].step()
    steps += 1
    return loss

for _ in range(3):
    step()
images = len(x) * next(phase for phase in model.phases if phase.active(0.0)).repeats
print(images, flush=True)
for line in sys.stdin:
    started = now()
    for _ in range(int(line)):
        step()
    print((now() - started) / int(line), flush=True)
"""


def compare(before: Path, name: str, precision: str, options: argparse.Namespace) -> None:
    """Measure one model at one precision and print its line."""
    arguments = [name, precision, str(options.threads), options.clock]
    sides = alternate(before, AFTER, SIDE, arguments, options.repeats, options.steps)
    ratios = [a / b for a, b in zip(*(side.seconds for side in sides), strict=True)]
    old, new = (statistics.median(side.seconds) for side in sides)
    print(
        f"{name:18} {precision} {1e3 * old:8.1f} -> {1e3 * new:8.1f} ms a step  "
        f"{int(sides[1].said) / new:6.0f} images/s  "
        f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})",
        flush=True,
    )


def main() -> None:
    """Compare the models in turn."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("before", type=Path, help="a checkout of the earlier commit")
    parser.add_argument("--models", nargs="+", default=["ddpm_small", "dcgan_small"])
    parser.add_argument("--precision", nargs="+", choices=["bf16", "fp32"], default=["bf16"])
    parser.add_argument("--repeats", type=int, default=11)
    parser.add_argument("--steps", type=int, default=2, help="per measurement")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--clock", choices=["wall", "cpu"], default="wall")
    options = parser.parse_args()
    print(f"1x28x28, {options.threads} threads, {options.clock} time, {options.repeats} rounds")
    for name in options.models:
        for precision in options.precision:
            compare(options.before.resolve(), name, precision, options)


if __name__ == "__main__":
    main()
