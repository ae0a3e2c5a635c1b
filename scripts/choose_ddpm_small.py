"""Choose ddpm_small's network and recipe: candidates trained for equal CPU time, then compared.

Each candidate trains on Fashion-MNIST on one thread until it has used --seconds of CPU time (so
that a busy machine does not change the ranking). Its averaged weights are scored by the denoising
loss on held-out images and by the Fréchet distance of DDIM samples to held-out images in the
features of a small classifier. Prints one row of a Markdown table per candidate.

Command: python scripts/choose_ddpm_small.py --raw data/FashionMNIST/raw --seconds 100
"""

import argparse
import copy
import gzip
import time
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Batch, DataSpec
from models.diffusion.ddpm import DDPM
from models.diffusion.unet import UNet


@dataclass(frozen=True)
class Candidate:
    """A network and the recipe that trains it.

    Attributes:
        channels: width of the first level.
        channel_mult: width of each level in multiples of channels.
        num_res_blocks: residual blocks per level.
        batch_size: images per step.
        lr: Adam's learning rate after 100 steps of linear warm-up.
        patch_size: side of the patches that the first level sees as one position.
    """

    channels: int
    channel_mult: tuple[int, ...]
    num_res_blocks: int = 1
    batch_size: int = 32
    lr: float = 1e-3
    patch_size: int = 1


CANDIDATES = {
    "32-64-64": Candidate(32, (1, 2, 2)),
    "24-48-96": Candidate(24, (1, 2, 4)),
    "16-32-64": Candidate(16, (1, 2, 4)),
    "16-32-64, lr 2e-3": Candidate(16, (1, 2, 4), lr=2e-3),
    "16-32-64, batch 16": Candidate(16, (1, 2, 4), batch_size=16),
    "8-32-64": Candidate(8, (1, 4, 8)),
    "32-64, patches of 2": Candidate(32, (1, 2), patch_size=2),
    "32-64, patches of 2, lr 2e-3": Candidate(32, (1, 2), patch_size=2, lr=2e-3),
    "32-64-128, patches of 2": Candidate(32, (1, 2, 4), patch_size=2),
    "48-96, patches of 2": Candidate(48, (1, 2), patch_size=2),
}


class Classifier(nn.Module):
    """A small convolutional classifier whose last hidden layer gives the features."""

    def __init__(self) -> None:
        super().__init__()
        self.features = nn.Sequential(
            *[nn.Conv2d(1, 16, 5, 2, 2), nn.ReLU(), nn.Conv2d(16, 32, 5, 2, 2), nn.ReLU()],
            *[nn.Flatten(), nn.Linear(32 * 7 * 7, 64), nn.ReLU()],
        )
        self.head = nn.Linear(64, 10)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (B, 1, 28, 28), to logits, (B, 10)."""
        return self.head(self.features(x))


def read_idx(path: Path) -> Tensor:
    """Read an idx file of unsigned bytes, plain or compressed: (N, …) uint8."""
    raw = path.read_bytes() if path.exists() else gzip.decompress(Path(f"{path}.gz").read_bytes())
    shape = np.frombuffer(raw, ">i4", raw[3], offset=4).tolist()
    return torch.from_numpy(np.frombuffer(raw, np.uint8, offset=4 + 4 * raw[3]).copy()).view(shape)


def load(raw: Path, part: str) -> tuple[Tensor, Tensor]:
    """Load a split: images, (N, 1, 28, 28) float32 in [-1, 1], and labels, (N,) int64."""
    images = read_idx(raw / f"{part}-images-idx3-ubyte")[:, None].float() / 127.5 - 1
    return images, read_idx(raw / f"{part}-labels-idx1-ubyte").long()


def batches(n: int, batch_size: int) -> Iterator[Tensor]:
    """Endless shuffled batches of indices, (B,) int64."""
    while True:
        yield from torch.randperm(n)[: n // batch_size * batch_size].split(batch_size)


def train_classifier(images: Tensor, labels: Tensor, steps: int = 1500) -> Classifier:
    """Train the classifier whose features define the distance."""
    torch.manual_seed(0)
    classifier = Classifier()
    optimizer = torch.optim.Adam(classifier.parameters(), lr=1e-3)
    for _, index in zip(range(steps), batches(len(images), 64), strict=False):
        optimizer.zero_grad()
        F.cross_entropy(classifier(images[index]), labels[index]).backward()
        optimizer.step()
    return classifier.eval()


def train(candidate: Candidate, images: Tensor, seconds: float) -> tuple[DDPM, int]:
    """Train for a CPU time; returns the model with averaged weights and the images it saw."""
    torch.manual_seed(0)
    network = partial(
        UNet,
        channels=candidate.channels,
        channel_mult=candidate.channel_mult,
        num_res_blocks=candidate.num_res_blocks,
        attention_levels=(),
        dropout=0.0,
        groups=8,
        patch_size=candidate.patch_size,
    )
    spec = DataSpec(tuple(images.shape[1:]), 10, lambda index: images[index], len(images))
    model = DDPM(spec, network, ddim_steps=[20])
    ema = copy.deepcopy(model)
    parameters: list[Tensor] = list(model.network.parameters())
    averages: list[Tensor] = list(ema.network.parameters())
    optimizer = torch.optim.Adam(parameters, lr=candidate.lr, fused=True)
    start, step = time.process_time(), 0
    for index in batches(len(images), candidate.batch_size):
        for group in optimizer.param_groups:
            group["lr"] = candidate.lr * min(1.0, (step + 1) / 100)
        optimizer.zero_grad()
        model.denoiser_loss(Batch(images[index]))["loss"].backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        decay = min(0.999, (1 + step) / (10 + step))
        with torch.no_grad():
            for average, parameter in zip(averages, parameters, strict=True):
                average.lerp_(parameter, 1 - decay)
        if time.process_time() - start > seconds:
            break
    return ema.eval(), step * candidate.batch_size


@torch.no_grad()
def denoising_loss(model: DDPM, images: Tensor) -> float:
    """L_simple on given images with fixed noise."""
    torch.manual_seed(1)
    losses = [model.denoiser_loss(Batch(x))["loss"].item() for x in images.split(250)]
    return sum(losses) / len(losses)


@torch.no_grad()
def frechet_distance(classifier: Classifier, real: Tensor, fake: Tensor) -> float:
    """Fréchet distance of two sets of images in the classifier's features."""
    moments = []
    for images in (real, fake):
        features = classifier.features(images).double()
        moments.append((features.mean(0), features.T.cov()))
    (mu_1, sigma_1), (mu_2, sigma_2) = moments
    eigenvalues = torch.linalg.eigvals(sigma_1 @ sigma_2).real.clamp(min=0)
    trace = sigma_1.trace() + sigma_2.trace() - 2 * eigenvalues.sqrt().sum()
    return float((mu_1 - mu_2).square().sum() + trace)


def main() -> None:
    """Train and score the chosen candidates."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--raw", type=Path, required=True, help="folder of the idx files")
    parser.add_argument("--seconds", type=float, default=100, help="CPU time per candidate")
    parser.add_argument("--samples", type=int, default=500, help="samples for the distance")
    parser.add_argument("--only", nargs="*", default=list(CANDIDATES), choices=CANDIDATES)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    images, labels = load(arguments.raw, "train")
    held_out, _ = load(arguments.raw, "t10k")
    classifier = train_classifier(images, labels)
    print("| candidate | parameters | images seen | held-out loss | Fréchet distance |")
    print("|---|---|---|---|---|", flush=True)
    for name in arguments.only:
        model, seen = train(CANDIDATES[name], images, arguments.seconds)
        count = sum(p.numel() for p in model.network.parameters())
        loss = denoising_loss(model, held_out[:2000])
        generator = torch.Generator().manual_seed(2)
        draw = model.samplers["ddim-20"].draw
        fake = torch.cat([draw(100, generator, None) for _ in range(arguments.samples // 100)])
        distance = frechet_distance(classifier, held_out[:5000], fake)
        row = f"| {name} | {count / 1e6:.2f} M | {seen:,} | {loss:.4f} | {distance:.2f} |"
        print(row, flush=True)


if __name__ == "__main__":
    main()
