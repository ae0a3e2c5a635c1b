"""DDIM from our U-Net and from diffusers' pipeline with its U-Net, side by side, in alternation.

Both networks compute the same function at the paper's CIFAR-10 setting (35.7 M parameters) unless
told otherwise. Each side is a process of its own, since in ours the allocator keeps freed memory,
as in `bench`; "theirs, memory kept" is diffusers' in such a process. Every step costs the same,
so a few steps determine the time of 50. Prints medians, and medians of the ratios of neighbouring
measurements, which a busy machine disturbs less.

Command: python scripts/benchmarks/sampling.py --steps 2 --repeats 5 --threads 2
"""

import argparse
import multiprocessing
import statistics
import time
from collections.abc import Callable
from functools import partial
from multiprocessing.connection import Connection

import torch
from diffusers import DDIMPipeline, DDIMScheduler, UNet2DModel  # type: ignore[attr-defined]

from bench.runtime.device import keep_freed_memory
from bench.runtime.isolation import evaluating
from models.base import DataSpec
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import linear_betas

SIDES = ("theirs", "theirs, memory kept", "ours fp32", "ours bf16")

SHAPE = (3, 32, 32)


def theirs(options: argparse.Namespace, generator: torch.Generator) -> Callable[[], object]:
    """Sampling with the pipeline of diffusers, its network configured as google/ddpm-cifar10-32."""
    levels = len(options.channel_mult)
    network = UNet2DModel(
        sample_size=SHAPE[-1],
        in_channels=SHAPE[0],
        out_channels=SHAPE[0],
        block_out_channels=tuple(options.channels * mult for mult in options.channel_mult),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * (levels - 2)),
        up_block_types=(*["UpBlock2D"] * (levels - 2), "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
        norm_eps=1e-6,
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
    )
    pipeline = DDIMPipeline(network.eval(), DDIMScheduler())
    pipeline.set_progress_bar_config(disable=True)
    return partial(
        pipeline,
        batch_size=options.batch,
        generator=generator,
        num_inference_steps=options.steps,
        output_type="np",
    )


def ours(options: argparse.Namespace, generator: torch.Generator) -> Callable[[], object]:
    """Sampling from our model of equal size."""

    def network(shape: tuple[int, ...]) -> UNet:
        return UNet(shape, channels=options.channels, channel_mult=options.channel_mult)

    name = f"ddim-{options.steps}"
    data = DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 1)
    model = GaussianDiffusion(data, network, betas=linear_betas(1000, 1e-4, 0.02), samplers=[name])

    def sample() -> object:
        with evaluating(model):
            return model.samplers[name].generate(options.batch, generator, None)

    return sample


def work(side: str, options: argparse.Namespace, connection: Connection) -> None:
    """Sample a batch on request and answer with the seconds that it took."""
    torch.set_num_threads(options.threads)
    if side != "theirs":
        keep_freed_memory()
    sample = (theirs if side.startswith("theirs") else ours)(options, torch.Generator())
    bf16 = torch.autocast("cpu", torch.bfloat16, enabled=side == "ours bf16")
    with torch.no_grad(), bf16:
        while connection.recv():
            start = time.perf_counter()
            sample()
            connection.send(time.perf_counter() - start)


def main() -> None:
    """Time the sides in alternation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--steps", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--channel-mult", type=int, nargs="+", default=[1, 2, 2, 2])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    options = parser.parse_args()
    context = multiprocessing.get_context("spawn")
    sides: dict[str, Connection] = {}
    for side in SIDES:
        sides[side], other_end = context.Pipe()
        context.Process(target=work, args=(side, options, other_end)).start()
    seconds: dict[str, list[float]] = {side: [] for side in SIDES}
    for repeat in range(-1, options.repeats):  # the first round warms up
        for side in SIDES if repeat % 2 else reversed(SIDES):
            sides[side].send(True)
            taken = sides[side].recv()
            if repeat >= 0:
                seconds[side].append(taken / options.steps)
    for side in SIDES:
        sides[side].send(False)
    print(f"batch {options.batch}, {options.threads} threads, {options.repeats} rounds")
    for side, times in seconds.items():
        ratios = [a / b for a, b in zip(seconds["theirs"], times, strict=True)]
        print(
            f"{side:20} {statistics.median(times) * 1e3:8.0f} ms a step  "
            f"{statistics.median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f}) theirs"
        )


if __name__ == "__main__":
    main()
