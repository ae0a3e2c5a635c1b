"""Rates of the machine, and training, sampling and extraction beside diffusers, as JSON lines.

`scripts/gpu_report` runs each part in a process of its own and reads what it wrote, so a part that
fails or is stopped leaves the rows before. Both sides take turns; a device is waited for before a
clock is read. diffusers is compared where it is installed.

Command: python scripts/gpu/benchmarks.py training --out rows.jsonl [--device cpu --small]
"""

import argparse
import importlib.util
import json
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from bench.config import Budget, TrainerSettings
from bench.cost.measure import synchronize
from bench.cost.network_calls import flop_counter
from bench.data.batches import BatchStream
from bench.data.dataset import Dataset, Split
from bench.evaluation.extractors.classifier import DomainClassifier
from bench.evaluation.extractors.colour import PictureExtractor
from bench.evaluation.extractors.domain import DomainExtractor
from bench.evaluation.extractors.imagenet import installed
from bench.evaluation.extractors.registry import build_extractor
from bench.runtime.device import autocast, choose_device
from bench.runtime.isolation import evaluating
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec
from models.diffusion.gaussian import GaussianDiffusion
from models.diffusion.networks.unet import UNet
from models.diffusion.schedules import linear_betas

if TYPE_CHECKING:
    from diffusers import UNet2DModel  # type: ignore[attr-defined]

Side = Callable[[], Callable[[], object]]
"""Prepares what is measured, and returns the call to time."""

SHAPE = (3, 32, 32)
DROPOUT = 0.1
BF16, FP32 = "bf16", "fp32"
SPEED_UP, SHARE_OF_RATE = 1.3, 0.5
"""Goals of the DDPM step in bf16: times diffusers' speed, and share of the rate of products."""


@dataclass(frozen=True)
class Sizes:
    """How much is computed.

    Attributes:
        channels: of the U-Net at full resolution.
        batches: training batches; the last one has the goals.
        sampled: samples at a time.
        images: images extracted at a time.
        matrix: side of the square matrices.
        copied_mib: size of a copy.
        rounds: measurements of each side.
    """

    channels: int = 128
    batches: tuple[int, ...] = (128, 256)
    sampled: int = 64
    images: int = 64
    matrix: int = 8192
    copied_mib: int = 256
    rounds: int = 7


SMALL = Sizes(32, (2,), 2, 2, 128, 1, 2)
"""Sizes of the self-test on a CPU."""


class Rows:
    """Writes what is measured, one JSON line each."""

    def __init__(self, file: Path, part: str) -> None:
        self.file, self.part = file, part

    def write(self, **row: object) -> None:
        """Add a line of this part."""
        with self.file.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"part": self.part, **row}) + "\n")

    def attempt(self, table: str, name: str, make: Callable[[], object]) -> object | None:
        """What `make` returns; a failure becomes a line of its own, and the others go on."""
        try:
            return make()
        except Exception as error:
            lines = str(error).strip().splitlines() or [""]
            failed = f"{type(error).__name__}: {lines[0][:200]}"
            self.write(table=table, name=name, failed=failed)
            return None


def seconds(call: Callable[[], object], device: torch.device, times: int = 1) -> float:
    """Seconds of one call, averaged over several in a row."""
    synchronize(device)
    start = time.perf_counter()
    for _ in range(times):
        call()
    synchronize(device)
    return (time.perf_counter() - start) / times


def measure(
    rows: Rows,
    table: str,
    sides: dict[str, Side],
    device: torch.device,
    rounds: int,
    **facts: dict[str, object],
) -> dict[str, float]:
    """Time sides in turn and write a row of each: median, range and ratio to the first side.

    Args:
        rows: where to write.
        table: title of their table.
        sides: by name, what prepares a side and returns the call to time.
        device: what to wait for.
        rounds: measurements of each side.
        **facts: further values, by name of the value, then by side.

    Returns:
        Median seconds by side, of those that did not fail.
    """
    calls = {}
    for name, make in sides.items():

        def warm(make: Side = make) -> Callable[[], object]:
            call = make()
            call()  # compiles, chooses kernels, allocates
            call()
            return call

        if (call := rows.attempt(table, name, warm)) is not None:
            calls[name] = call
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    medians = {name: statistics.median(values) for name, values in times.items()}
    first = next(iter(times), None)
    for name, values in times.items():
        ratios = [a / b for a, b in zip(times[first or name], values, strict=True)]
        own = {fact: by_side[name] for fact, by_side in facts.items() if name in by_side}
        rows.write(
            table=table,
            name=name,
            median_ms=1000 * medians[name],
            least_ms=1000 * min(values),
            most_ms=1000 * max(values),
            ratio=statistics.median(ratios),
            beside=first,
            **own,
        )
    return medians


def machine(rows: Rows, device: torch.device, sizes: Sizes) -> None:
    """Names and versions, then rates of matrix products and copies."""
    for name, value in facts_of(device).items():
        rows.write(fact=name, value=value)
    for precision in (BF16, FP32):
        rate = rows.attempt("rates", precision, lambda p=precision: matmul_rate(device, sizes, p))
        if rate is not None:
            rows.write(rate=f"matrix product, {precision}", value=rate, unit="TFLOP/s")
    host = torch.empty(sizes.copied_mib * 2**20, dtype=torch.uint8)
    if device.type == "cuda":
        host = host.pin_memory()
    there, also = host.to(device), torch.empty_like(host, device=device)
    copies = {
        "copy on the device (read and written)": (lambda: also.copy_(there), 2),
        "copy from pinned host memory": (lambda: there.copy_(host, non_blocking=True), 1),
    }
    for name, (copy, touched) in copies.items():
        copy()
        took = statistics.median(seconds(copy, device, 4) for _ in range(sizes.rounds))
        rows.write(rate=name, value=touched * host.numel() / took / 1e9, unit="GB/s")


def facts_of(device: torch.device) -> dict[str, str]:
    """What identifies a machine and its software."""
    found = {"Python": platform.python_version(), "torch": torch.__version__}
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        found |= {
            "GPU": properties.name,
            "number of GPUs": str(torch.cuda.device_count()),
            "memory of the GPU": f"{properties.total_memory / 2**30:.0f} GiB",
            "compute capability": f"{properties.major}.{properties.minor}",
            "CUDA of torch": str(torch.version.cuda),
            "cuDNN": str(torch.backends.cudnn.version()),
        }
    for package in ("diffusers", "torch_fidelity", "triton"):
        if importlib.util.find_spec(package):
            found[package] = str(getattr(__import__(package), "__version__", "unknown"))
        else:
            found[package] = "not installed"
    return found


def matmul_rate(device: torch.device, sizes: Sizes, precision: str) -> float:
    """TFLOP/s of products of large square matrices, fp32 without TF32."""
    dtype = torch.bfloat16 if precision == BF16 else torch.float32
    n = sizes.matrix
    a, b = (torch.randn(n, n, device=device, dtype=dtype) for _ in range(2))
    call = partial(torch.mm, a, b)
    call()
    took = statistics.median(seconds(call, device, 5) for _ in range(sizes.rounds))
    return 2 * n**3 / took / 1e12


def ours(sizes: Sizes, device: torch.device) -> UNet:
    """The U-Net of `conf/model/ddpm.yaml`."""
    mult = (1, 2, 2, 2) if sizes.channels == 128 else (1, 2)
    network = UNet(
        SHAPE, channels=sizes.channels, channel_mult=mult, attention_levels=(1,), dropout=DROPOUT
    )
    return network.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def theirs(sizes: Sizes, device: torch.device) -> "UNet2DModel":
    """The U-Net of diffusers, configured as google/ddpm-cifar10-32, of equal size."""
    from diffusers import UNet2DModel  # type: ignore[attr-defined]

    levels = 4 if sizes.channels == 128 else 2
    widths = (sizes.channels, *[2 * sizes.channels] * (levels - 1))
    network = UNet2DModel(
        sample_size=SHAPE[-1],
        in_channels=SHAPE[0],
        out_channels=SHAPE[0],
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "AttnDownBlock2D", *["DownBlock2D"] * (levels - 2)),
        up_block_types=(*["UpBlock2D"] * (levels - 2), "AttnUpBlock2D", "UpBlock2D"),
        attention_head_dim=None,  # type: ignore[arg-type]
        norm_eps=1e-6,
        flip_sin_to_cos=False,
        freq_shift=1,
        downsample_padding=0,
        dropout=DROPOUT,
    )
    network.to(device=device)  # type: ignore[call-arg]
    return network


def training_step(
    network: nn.Module, batch: int, device: torch.device, *, compiled: bool = False
) -> Callable[[], None]:
    """A step in bf16 on fixed data: forward, backward, clipping, fused Adam."""
    network.train()
    parameters = list(network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=2e-4, fused=True)
    x, eps = (torch.randn(batch, *SHAPE, device=device) for _ in range(2))
    if not next(p for p in parameters if p.ndim == 4).is_contiguous():
        x = x.contiguous(memory_format=torch.channels_last)
    t = torch.randint(1000, (batch,), device=device)

    def loss() -> Tensor:
        with autocast(device, BF16):
            output = network(x, t)
        return F.mse_loss(getattr(output, "sample", output).float(), eps)

    forward = torch.compile(loss) if compiled else loss

    def step() -> None:
        optimizer.zero_grad(set_to_none=True)
        forward().backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()

    return step


def trainer_step(
    batch: int, device: torch.device, sizes: Sizes, *, compiled: bool = False
) -> Callable[[], None]:
    """A whole step of the bench's trainer: data, loss, clipping, Adam, averaged weights."""
    model = diffusion(sizes, device, "ddim-50")
    recipe = Recipe(
        batch_size=batch,
        optimizers={"denoiser": partial(torch.optim.Adam, lr=2e-4, fused=True)},
        ema_decay=0.9999,
        clip_norm=1.0,
    )
    images = np.random.default_rng(0).integers(0, 256, (4 * batch, *SHAPE), dtype=np.uint8)
    batches = BatchStream(Split(images), batch, seed=0, flip=True)
    settings = TrainerSettings(precision=BF16, compile=compiled)
    nowhere = Path(tempfile.gettempdir()) / "no checkpoints"  # steps alone write none
    return Trainer(model, recipe, Budget(images=10**12), batches, nowhere, settings).step


def diffusion(sizes: Sizes, device: torch.device, sampler: str) -> GaussianDiffusion:
    """DDPM with our U-Net and one sampler."""
    data = DataSpec(SHAPE, 0, lambda index: torch.zeros(len(index), *SHAPE), 1)
    betas = linear_betas(1000, 1e-4, 0.02)
    model = GaussianDiffusion(
        data, lambda shape: ours(sizes, device), betas=betas, samplers=[sampler]
    )
    return model.to(device)


def step_flops_of_one(sizes: Sizes) -> float:
    """FLOPs of a training step per image, counted on a CPU."""
    network = ours(sizes, torch.device("cpu"))
    x, t = torch.randn(1, *SHAPE), torch.zeros(1)
    with flop_counter() as counter:
        network(x, t).sum().backward()
    return float(counter.get_total_flops())


def training(rows: Rows, device: torch.device, sizes: Sizes) -> None:
    """DDPM steps in bf16 at the size of CIFAR-10: eager ones first, compiled ones last."""
    report = partial(
        report_steps,
        rows,
        device=device,
        sizes=sizes,
        rate=matmul_rate(device, sizes, BF16),
        flops=step_flops_of_one(sizes),
    )
    goal = sizes.batches[-1]
    diffusers = importlib.util.find_spec("diffusers") is not None
    for batch in reversed(sizes.batches):
        sides: dict[str, Side] = {}
        if diffusers:
            sides["diffusers"] = lambda b=batch: training_step(theirs(sizes, device), b, device)
        sides["ours"] = lambda b=batch: training_step(ours(sizes, device), b, device)
        sides["ours, whole step of the trainer"] = lambda b=batch: trainer_step(b, device, sizes)
        if batch == goal and device.type == "cuda":
            sides["ours, contiguous"] = lambda: training_step(
                ours(sizes, device).to(memory_format=torch.contiguous_format),  # type: ignore
                goal,
                device,
            )
        report(f"DDPM step, bf16, batch {batch}", sides)
    if device.type != "cuda":
        return
    torch.backends.cudnn.benchmark = True  # not the bench's setting: trials add to peak memory
    sides = {"ours": lambda: training_step(ours(sizes, device), goal, device)}
    report(f"DDPM step, bf16, batch {goal}, cudnn.benchmark", sides)
    torch.backends.cudnn.benchmark = False
    title = f"DDPM step, bf16, batch {goal}, torch.compile"
    sides = {"ours, trainer.compile": lambda: trainer_step(goal, device, sizes, compiled=True)}
    report(title, sides)
    if diffusers:
        network = partial(theirs, sizes, device)
        sides = {"diffusers": lambda: training_step(network(), goal, device, compiled=True)}
        report(title, sides)


def report_steps(
    rows: Rows,
    table: str,
    sides: dict[str, Side],
    *,
    device: torch.device,
    sizes: Sizes,
    rate: float,
    flops: float,
) -> None:
    """Measure steps; write images per second, and the goals where this table decides them."""
    batch = int(table.partition("batch ")[2].partition(",")[0])
    medians = measure(rows, table, sides, device, sizes.rounds)
    for name, median in medians.items():
        share = flops * batch / median / 1e12 / rate
        rows.write(share=name, table=table, value=share, images_per_second=batch / median)
    if batch != sizes.batches[-1]:
        return
    own = [name for name in medians if name.startswith("ours") and "contiguous" not in name]
    for name in own:
        share = flops * batch / medians[name] / 1e12 / rate
        what = f"{table}, {name}: share of the rate of matrix products"
        rows.write(goal=what, value=share, at_least=SHARE_OF_RATE)
    if "diffusers" in medians and "ours" in medians:
        what = f"{table}: times as fast as diffusers"
        faster = medians["diffusers"] / medians["ours"]
        rows.write(goal=what, value=faster, at_least=SPEED_UP)


def sampling(rows: Rows, device: torch.device, sizes: Sizes) -> None:
    """DDIM with ten steps, many samples and one, ours in fp32 and bf16 beside diffusers."""
    model = diffusion(sizes, device, "ddim-10")

    def own(n: int, precision: str) -> Callable[[], object]:
        generator = torch.Generator(device).manual_seed(0)

        def sample() -> object:
            with evaluating(model), autocast(device, precision):
                return model.samplers["ddim-10"].generate(n, generator, None)

        return sample

    def pipeline(n: int, precision: str) -> Callable[[], object]:
        from diffusers import DDIMPipeline, DDIMScheduler  # type: ignore[attr-defined]

        made = DDIMPipeline(theirs(sizes, device).eval(), DDIMScheduler())
        made.set_progress_bar_config(disable=True)

        def sample() -> object:  # autocast too: a pipeline in bf16 fails to return arrays
            with autocast(device, precision):
                return made(batch_size=n, num_inference_steps=10, output_type="np")

        return sample

    there = importlib.util.find_spec("diffusers") is not None
    for n in (sizes.sampled, 1):
        for precision in (FP32, BF16):
            sides: dict[str, Side] = {}
            if there:
                sides["diffusers"] = partial(pipeline, n, precision)
            sides["ours"] = partial(own, n, precision)
            count = f"{n} samples" if n > 1 else "one sample"
            measure(rows, f"DDIM-10, {precision}, {count}", sides, device, sizes.rounds)


def extractors(rows: Rows, device: torch.device, sizes: Sizes) -> None:
    """Features of images in batches; Inception beside torch-fidelity's where it is installed."""
    images = torch.randint(0, 256, (sizes.images, *SHAPE), dtype=torch.uint8).to(device)

    def of(network: nn.Module) -> Callable[[], object]:
        network = network.to(device)

        def extract() -> object:
            with torch.inference_mode():
                return network(images)

        return extract

    def lite0() -> Callable[[], object]:
        split = Split(images.cpu().numpy())
        data = Dataset("random", split, split, (), False, "")
        folder = Path(tempfile.gettempdir())
        return of(build_extractor("efficientnet-lite0", data, device=device, cache_dir=folder))

    def measured(table: str, sides: dict[str, Side]) -> None:
        for name, median in measure(rows, table, sides, device, sizes.rounds).items():
            rows.write(share=name, table=table, images_per_second=sizes.images / median)

    classifier = DomainClassifier(SHAPE, 10, width=32).eval()
    measured("domain classifier", {"ours": lambda: of(DomainExtractor(classifier))})
    if installed():
        measured("efficientnet-lite0", {"ours": lite0})
    if importlib.util.find_spec("torch_fidelity"):
        sys.path.insert(0, str(Path(__file__).parents[1] / "benchmarks"))
        from inception import random_inception  # type: ignore[import-not-found]

        def own() -> Callable[[], object]:
            network = random_inception()
            return of(PictureExtractor("inception", network, "resize", channels=3))

        sides = {"torch-fidelity": lambda: of(random_inception()), "ours": own}
        measured("inception", sides)


PARTS = {
    "machine": machine,
    "training": training,
    "sampling": sampling,
    "extractors": extractors,
}


def main() -> None:
    """Run one part."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("part", choices=PARTS)
    parser.add_argument("--out", type=Path, required=True, help="file to add JSON lines to")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu to check the code")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to check the code")
    arguments = parser.parse_args()
    torch.manual_seed(0)
    device = choose_device(arguments.device)
    sizes = SMALL if arguments.small else Sizes()
    PARTS[arguments.part](Rows(arguments.out, arguments.part), device, sizes)


if __name__ == "__main__":
    main()
