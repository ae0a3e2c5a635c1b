"""Images per second of extractors, and their features, against those of another checkout.

    git worktree add ../before 19b336e
    python scripts/benchmarks/extractors.py ../before --threads 1 --clock cpu

Two processes, one with the code of each checkout, take turns, so that a change in the machine's
load meets both. They see the same pictures of CIFAR-10. efficientnet-lite0 and domain have their
own weights; inception, vgg16 and dinov2-vit-s-14 have random ones, which cost as much. Prints the
medians of images per second, the median of the ratios, the largest difference of features relative
to the largest feature, and by how much the FID between two halves of the pictures, one of them with
noise, differs.
"""

import argparse
import os
import statistics as stats
import subprocess
import sys
import tempfile
from pathlib import Path

import clocks
import numpy as np
import torch

from bench.data.sources import load_cifar10
from bench.evaluation.metrics.fid import frechet_distance, statistics

NAMES = ("efficientnet-lite0", "domain", "inception", "vgg16", "dinov2-vit-s-14")
ROOT = Path(__file__).resolve().parents[2]
NOISE = 20.0
"""Standard deviation of the noise on one half of the pictures, in grey levels of 255."""

WORKER = Path(__file__).with_name("extractors_worker.py")


class Worker:
    """A process with the code of one checkout.

    Args:
        checkout: its root.
        threads: CPU threads.
        clock: "wall" or "cpu".
    """

    def __init__(self, checkout: Path, threads: int, clock: str) -> None:
        environment = {**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)}
        self._process = subprocess.Popen(
            [sys.executable, str(WORKER), str(threads), clock],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
            cwd=checkout,
        )

    def __call__(self, *command: object) -> str:
        """Send a command, and wait for its answer."""
        process = self._process
        if process.stdin is None or process.stdout is None:
            raise RuntimeError("the worker has no pipes")
        print(*command, sep="\t", file=process.stdin, flush=True)
        if not (line := process.stdout.readline()):
            raise RuntimeError(f"the worker ended: {command}")
        return line.strip()


def pictures(count: int, path: str | None) -> np.ndarray:
    """Pictures of CIFAR-10, (N, 3, 32, 32) uint8, every other one with noise."""
    generator = np.random.default_rng(0)
    data = load_cifar10(data_root=Path(os.environ.get("BENCH_DATA", "data")), path=path)
    images = data.test.images[np.sort(generator.permutation(len(data.test))[:count])]
    noise = generator.normal(0, NOISE, images[::2].shape)
    images[::2] = (images[::2] + noise).round().clip(0, 255).astype(np.uint8)
    return images


def fid(features: torch.Tensor) -> float:
    """FID between every other image and the rest."""
    return frechet_distance(*statistics(features[::2]), *statistics(features[1::2]))


def measure(name: str, before: Worker, after: Worker, folder: Path, rounds: int, n: int) -> None:
    """Compare one extractor and print its line."""
    workers = {"before": before, "after": after}
    features = {}
    for label, worker in workers.items():
        path = folder / f"{name}-{label}.npy"
        worker("features", name, folder / "pictures.npy", path)
        features[label] = torch.from_numpy(np.load(path))
    times: dict[str, list[float]] = {label: [] for label in workers}
    for turn in range(rounds):
        for label in sorted(workers, reverse=turn % 2 == 0):
            times[label].append(float(workers[label]("time", name, folder / "pictures.npy", n)))
    ratios = [old / new for old, new in zip(times["before"], times["after"], strict=True)]
    old, new = features["before"], features["after"]
    fids = fid(old), fid(new)
    rates = (n / stats.median(times[label]) for label in ("before", "after"))
    print(
        f"{name:19} {' -> '.join(f'{rate:7.1f}' for rate in rates)} images/s  "
        f"{stats.median(ratios):.2f}x ({min(ratios):.2f}..{max(ratios):.2f})  features "
        f"{float((new - old).abs().max() / old.abs().max()):.1e}  FID {fids[1] / fids[0] - 1:+.1e}",
        flush=True,
    )


def main() -> None:
    """Measure the extractors in turn."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before", type=Path, help="the other checkout")
    parser.add_argument("--path", help="folder or zip of CIFAR-10; else as data sets are found")
    parser.add_argument("--names", nargs="+", choices=NAMES, default=NAMES)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--timed", type=int, default=64, help="images of every timed call")
    parser.add_argument("--pictures", type=int, default=256, help="images whose features differ")
    clocks.add_options(parser)
    arguments = parser.parse_args()
    roots = (arguments.before.resolve(), ROOT)
    before, after = (Worker(root, arguments.threads, arguments.clock) for root in roots)
    print(
        f"{arguments.threads} threads, {arguments.rounds} rounds of {arguments.timed} images, "
        f"{arguments.clock} time"
    )
    with tempfile.TemporaryDirectory() as folder:
        np.save(Path(folder) / "pictures.npy", pictures(arguments.pictures, arguments.path))
        for name in arguments.names:
            measure(name, before, after, Path(folder), arguments.rounds, arguments.timed)


if __name__ == "__main__":
    main()
