"""Training steps of MeanFlow and of a rectified flow, side by side, in alternation.

Both train the network of MeanFlow's configuration with its optimizer, batch and precision: losses,
backward passes, updates. FLOPs are counted in each. Prints medians, and medians of the ratios of
neighbouring steps, which a busy machine disturbs less (target: at most 2.2).

Command: python scripts/benchmarks/meanflow_step.py --models meanflow_small --repeats 20 --bf16
    --threads 1 --clock cpu
"""

import argparse
import statistics
from collections.abc import Callable

import hydra
import torch
from clocks import add_options, seconds_of, start
from hydra.utils import instantiate
from omegaconf import DictConfig

import bench.runtime.winograd  # noqa: F401  registers an operator that the counter knows
from bench.cost.network_calls import flop_counter
from models.base import Batch, DataSpec
from models.diffusion.rectified_flow import RectifiedFlow

SHAPES = {"meanflow": (3, 32, 32), "meanflow_small": (1, 28, 28)}


def composed(name: str, overrides: list[str]) -> DictConfig:
    """A model's part of the configuration."""
    with hydra.initialize_config_module("conf", version_base="1.3"):
        return hydra.compose("config", [f"model={name}", *overrides]).model


def training_step(
    flow: RectifiedFlow, batch: Batch, make_optimizer: Callable, bf16: bool
) -> Callable[[], None]:
    """A whole step on fixed data, prepared as the trainer prepares it."""
    flow.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    optimizer = make_optimizer(flow.network.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = flow.denoiser_loss(batch)["loss"]
        loss.backward()
        optimizer.step()

    return step


def steps_of(
    name: str, overrides: list[str], batch_size: int | None, bf16: bool
) -> dict[str, Callable[[], None]]:
    """The plain flow's step and MeanFlow's, on networks of one configuration."""
    config, shape = composed(name, overrides), SHAPES[name]
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 1)
    recipe = instantiate(config.training, _convert_="all")
    network = instantiate(config.build.network, _convert_="all")
    flows = {
        "flow": RectifiedFlow(data, network, samplers=["euler-1"]),
        "meanflow": instantiate(config.build, _convert_="all")(data),
    }
    x = torch.rand(batch_size or recipe.batch_size, *shape) * 2 - 1
    batch = Batch(x.contiguous(memory_format=torch.channels_last))
    make = recipe.optimizers["denoiser"]
    return {side: training_step(flow, batch, make, bf16) for side, flow in flows.items()}


def main() -> None:
    """Time both steps of each configuration in alternation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=["meanflow_small"])
    parser.add_argument("--batch", type=int, help="samples per step; the recipe's by default")
    parser.add_argument("--overrides", nargs="*", default=[], help="of the configuration")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    add_options(parser)
    arguments = parser.parse_args()
    clock = start(arguments)
    print(f"{arguments.threads} threads, {arguments.clock} time, {arguments.repeats} pairs")
    for name in arguments.models:
        torch.manual_seed(0)
        steps = steps_of(name, arguments.overrides, arguments.batch, arguments.bf16)
        flops, seconds = {}, {side: [] for side in steps}
        for side, step in steps.items():
            step()
            with flop_counter() as counter:
                step()
            flops[side] = counter.get_total_flops()
        for repeat in range(arguments.repeats):
            for side in list(steps)[:: 1 if repeat % 2 else -1]:
                seconds[side].append(seconds_of(steps[side], clock))
        for side, times in seconds.items():
            ratios = [a / b for a, b in zip(times, seconds["flow"], strict=True)]
            print(
                f"{name:16} {side:9} {statistics.median(times) * 1e3:8.1f} ms  "
                f"{flops[side] / 1e9:7.2f} GFLOP ({flops[side] / flops['flow']:.2f}x)  "
                f"{statistics.median(ratios):.2f}x the time of flow "
                f"({min(ratios):.2f}..{max(ratios):.2f})",
                flush=True,
            )


if __name__ == "__main__":
    main()
