"""Seconds from the start of `python -m bench` to the first training step and to the first score.

    python scripts/benchmarks/first_result.py cifar10 --path cifar10.zip
    python scripts/benchmarks/first_result.py folder --path photographs --checkout ../before

Every run starts with an empty cache and results folder, as on a new machine. Prints, for both
moments, wall-clock seconds and CPU seconds of the process, which a busy machine disturbs less:
divided by the threads, these are about the seconds of an idle machine. Own pictures are made by
--photographs N from a zip or folder of small ones, enlarged to JPEGs of 500x375.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
SIZE = (500, 375)
GRAIN = 6.0
"""Standard deviation of the noise on enlarged pictures, which are too smooth to compress alike."""

RUN = """
import importlib, json, pathlib, sys, time
import bench

def writer():
    moved = (pathlib.Path(bench.__file__).parent / "runs").is_dir()
    return importlib.import_module("bench.runs.writer" if moved else "bench.recorder")

def told(name, function):
    def call(*args, **kwargs):
        result = function(*args, **kwargs)
        if name not in seen:
            seen[name] = (time.time() - STARTED, time.process_time())
            print(json.dumps({name: seen[name]}), flush=True)
        return result
    return call

STARTED = float(sys.argv.pop(1))
seen = {}
recorder = writer().Recorder
recorder.on_step = told("first step", recorder.on_step)
recorder.on_point = told("first score", recorder.on_point)
importlib.import_module("bench.cli").main()
"""


def enlarge(source: Path, count: int, folder: Path) -> None:
    """Write JPEGs of 500x375, in four folders, from small pictures of CIFAR-10."""
    sys.path.insert(0, str(ROOT))
    from bench.data.sources import load_cifar10

    images = load_cifar10(data_root=source.parent, path=str(source)).train.images
    generator = np.random.default_rng(0)
    for k in range(count):
        place = folder / f"class{k % 4}"
        place.mkdir(parents=True, exist_ok=True)
        side = max(SIZE)
        picture = Image.fromarray(images[k].transpose(1, 2, 0)).resize((side, side))
        top = (side - SIZE[1]) // 2
        pixels = np.asarray(picture.crop((0, top, side, top + SIZE[1])), np.float64)
        pixels += generator.normal(0, GRAIN, pixels.shape)
        Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(place / f"{k}.jpg", quality=88)


def measure(checkout: Path, overrides: list[str], threads: int) -> dict[str, tuple[float, float]]:
    """Wall and CPU seconds to each moment, of one run with nothing cached."""
    with tempfile.TemporaryDirectory() as folder:
        roots = [f"results_root={folder}/results", f"cache_root={folder}/cache"]
        command = [sys.executable, "-c", RUN, str(time.time())]
        done = subprocess.run(
            [*command, f"threads={threads}", *roots, *overrides],
            env={**os.environ, "PYTHONPATH": str(checkout), "OMP_NUM_THREADS": str(threads)},
            cwd=folder,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        )
    found: dict[str, tuple[float, float]] = {}
    for line in done.stdout.splitlines():
        if line.startswith('{"first'):
            found |= {name: (wall, cpu) for name, (wall, cpu) in json.loads(line).items()}
    return found


def main() -> None:
    """Measure one checkout on one data set."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("dataset", choices=["cifar10", "folder"])
    parser.add_argument("--path", type=Path, required=True, help="folder or zip of the pictures")
    parser.add_argument("--photographs", type=int, help="make as many of the pictures at --path")
    parser.add_argument("--checkout", type=Path, default=ROOT, help="whose code to run")
    parser.add_argument("--model", default="ddpm_small")
    parser.add_argument("--seconds", type=float, default=10.0, help="of training")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("overrides", nargs="*", help="more settings of the run")
    arguments = parser.parse_intermixed_args()
    path = arguments.path.resolve()
    with tempfile.TemporaryDirectory() as folder:
        if arguments.photographs:
            enlarge(path, arguments.photographs, Path(folder) / "photographs")
            path = Path(folder) / "photographs"
        overrides = [
            f"model={arguments.model}",
            f"dataset={arguments.dataset}",
            f"dataset.path={path}",
            f"budget.seconds={arguments.seconds}",
            *(["dataset.name=photographs"] if arguments.dataset == "folder" else []),
            *arguments.overrides,
        ]
        moments = measure(arguments.checkout.resolve(), overrides, arguments.threads)
    for moment, (wall, cpu) in moments.items():
        print(f"{moment:12} {wall:7.1f} s of wall clock, {cpu:7.1f} s of CPU time")


if __name__ == "__main__":
    main()
