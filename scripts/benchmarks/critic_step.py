"""Critic updates with and without WGAN-GP's penalty, side by side, in alternation.

Both train the critic of the same configuration on the same images: fakes generated, forward,
backward, fused Adam. FLOPs are counted in each by FlopCounterMode, so that a ratio of times above
the ratio of FLOPs is the cost of double differentiation beyond its arithmetic. Prints medians, and
medians of the ratios of neighbouring steps, which a busy machine disturbs less.

Command: python scripts/benchmarks/critic_step.py --models wgan_gp wgan_gp_small --repeats 20
"""

import argparse
import copy
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

import hydra
import torch
from clocks import Clock, add_options, seconds_of, start
from hydra.utils import instantiate
from torch.utils.flop_counter import FlopCounterMode

from models.base import Batch, DataSpec
from models.gan.gan import GAN

SHAPES = {"wgan_gp": (3, 32, 32), "wgan_gp_small": (1, 28, 28)}


@dataclass
class Side:
    """One of the steps that are compared.

    Attributes:
        name: what it is called in the table.
        step: makes one update.
        seconds: times of the updates measured so far.
    """

    name: str
    step: Callable[[], None]
    seconds: list[float] = field(default_factory=list)

    def measure(self, clock: Clock) -> None:
        """Make one update and record its time."""
        self.seconds.append(seconds_of(self.step, clock))

    def flops(self) -> int:
        """Floating-point operations of one update, which is made."""
        with FlopCounterMode(display=False) as counter:
            self.step()
        return counter.get_total_flops()


def critic_update(gan: GAN, batch: Batch, make_optimizer: Callable, bf16: bool) -> Callable:
    """A whole update of the critic, prepared as the trainer prepares it."""
    gan.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]
    gan.generator.requires_grad_(False)
    optimizer = make_optimizer(gan.discriminator.parameters())

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = gan.discriminator_loss(batch)["loss"]
        loss.backward()
        optimizer.step()

    return step


def sides_of(name: str, batch_size: int | None, norm: str | None, bf16: bool) -> list[Side]:
    """The plain update and the penalised one of a configuration."""
    overrides = [f"model={name}"]
    if norm is not None:
        overrides.append(f"model.build.discriminator.norm={norm}")
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", overrides)
    shape = SHAPES[name]
    data = DataSpec(shape, 0, lambda index: torch.zeros(len(index), *shape), 1)
    penalised: GAN = instantiate(cfg.model.build, _convert_="all")(data)
    recipe = instantiate(cfg.model.training, _convert_="all")
    plain = copy.deepcopy(penalised)
    plain.regularisers = ()
    x = torch.rand(batch_size or recipe.batch_size, *shape) * 2 - 1
    batch = Batch(x.contiguous(memory_format=torch.channels_last))
    make_optimizer = recipe.optimizers["discriminator"]
    return [
        Side("plain", critic_update(plain, batch, make_optimizer, bf16)),
        Side("penalised", critic_update(penalised, batch, make_optimizer, bf16)),
    ]


def main() -> None:
    """Time the two updates of each configuration in alternation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", choices=SHAPES, default=list(SHAPES))
    parser.add_argument("--batch", type=int, help="samples per update; the recipe's by default")
    parser.add_argument("--norm", help="of the critic; the configuration's by default")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--bf16", action="store_true", help="under bfloat16 autocast")
    add_options(parser)
    arguments = parser.parse_args()
    clock = start(arguments)
    print(f"{arguments.threads} threads, {arguments.clock} time, {arguments.repeats} pairs")
    for name in arguments.models:
        torch.manual_seed(0)
        sides = sides_of(name, arguments.batch, arguments.norm, arguments.bf16)
        flops = {side.name: side.flops() for side in sides}
        for repeat in range(2 * arguments.repeats):
            sides[(repeat + repeat // 2) % 2].measure(clock)  # a b, b a, a b, …
        plain = sides[0]
        for side in sides:
            median = statistics.median(side.seconds)
            ratios = [b / a for a, b in zip(plain.seconds, side.seconds, strict=True)]
            print(
                f"{name:14} {side.name:10} {median * 1e3:8.1f} ms  {flops[side.name] / 1e9:6.2f} "
                f"GFLOP ({flops[side.name] / flops['plain']:.2f}x)  "
                f"{flops[side.name] / median / 1e9:6.1f} GFLOP/s  "
                f"{statistics.median(ratios):.2f}x the time of plain",
                flush=True,
            )


if __name__ == "__main__":
    main()
