"""Training steps of our U-Net and diffusers' `UNet2DModel`, side by side, in alternation.

Both compute the same function (3x32x32, widths 64-128-128, two blocks, attention at 16x16). FLOP/s
of both divide the FLOPs that FlopCounterMode counts in diffusers' step, so that work saved counts
as speed and the ratio of FLOP/s is the ratio of step times. Prints medians, and medians of the
ratios of neighbouring steps, which a busy machine disturbs less.

Command: python scripts/benchmarks/denoiser_step.py --batch 64 --repeats 10
"""

import argparse
import statistics
from collections.abc import Callable

import torch
import torch.nn.functional as F
from clocks import add_options, seconds_of, start
from diffusers import UNet2DModel  # type: ignore[attr-defined]
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from models.diffusion.networks.unet import UNet


def build_theirs() -> UNet2DModel:
    """The network of diffusers, configured as google/ddpm-cifar10-32 but smaller."""
    return UNet2DModel(
        in_channels=3,
        out_channels=3,
        block_out_channels=(64, 128, 128),
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,  # type: ignore[arg-type]
        downsample_padding=0,
        flip_sin_to_cos=False,
        freq_shift=1,
        norm_eps=1e-6,
    )


def build_ours() -> UNet:
    """Our network of the same function."""
    return UNet(
        (3, 32, 32), channels=64, channel_mult=(1, 2, 2), attention_levels=(1,), dropout=0.0
    )


def training_step(
    network: nn.Module, predict: Callable[[Tensor, Tensor], Tensor], batch: int, bf16: bool
) -> Callable[[], None]:
    """A whole training step on fixed data: forward, backward, fused Adam."""
    optimizer = torch.optim.Adam(network.parameters(), lr=2e-4, fused=True)
    x_t, eps = torch.randn(batch, 3, 32, 32), torch.randn(batch, 3, 32, 32)
    t = torch.randint(1000, (batch,))

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            prediction = predict(x_t, t)
        F.mse_loss(prediction.float(), eps).backward()
        optimizer.step()

    return step


def main() -> None:
    """Time the three steps in alternation and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=10)
    add_options(parser)
    arguments = parser.parse_args()
    clock = start(arguments)

    torch.manual_seed(0)
    theirs, ours, ours_bf16 = build_theirs(), build_ours(), build_ours()
    steps = {
        "theirs fp32": training_step(
            theirs, lambda x, t: theirs(x, t).sample, arguments.batch, bf16=False
        ),
        "ours fp32": training_step(ours, ours, arguments.batch, bf16=False),
        "ours bf16": training_step(ours_bf16, ours_bf16, arguments.batch, bf16=True),
    }
    with FlopCounterMode(display=False) as counter:
        steps["theirs fp32"]()
    flops = counter.get_total_flops()
    for step in steps.values():
        step()
    times: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(arguments.repeats):
        for name, step in steps.items():
            times[name].append(seconds_of(step, clock))

    print(f"batch {arguments.batch}, {arguments.threads} threads, {arguments.clock} time")
    for name, seconds in times.items():
        median = statistics.median(seconds)
        ratios = [a / b for a, b in zip(times["theirs fp32"], seconds, strict=True)]
        print(
            f"{name:12} {median * 1e3:8.0f} ms  {flops / median / 1e9:6.0f} GFLOP/s  "
            f"{statistics.median(ratios):.2f}x theirs fp32"
        )


if __name__ == "__main__":
    main()
