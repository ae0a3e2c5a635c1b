"""Synthetic runs that span a map: families whose learning curves cross at known budgets."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from synthetic_runs import FLOOR, PROTOCOL, costs, scores, write_run

from bench.compare.cli import gather
from bench.compare.map.contenders import Group
from bench.compare.map.grid import Map, make_map
from bench.compare.protocols import AXES
from bench.runs.directory import Status

FAMILIES = {
    "gan_r1_ema_small": "GAN",
    "v_diffusion_small": "diffusion model",
    "rectified_flow_small": "flow",
}
IMAGES = 1000  # seen in a second of training
BUDGETS = (15.0, 30.0, 60.0, 120.0)
SAMPLERS = {
    "gan_r1_ema_small": {"generator": (1, 0.3, 1.0)},
    "dcgan_small": {"generator": (1, 0.25, 1.0)},
    "drifting_small": {"generator": (1, 0.4, 1.0)},
    "v_diffusion_small": {"dpmpp-10": (10, 40.0, 1.0), "dpmpp-2": (2, 8.0, 3.0)},
    "ddpm_small": {"dpmpp-10": (10, 40.0, 1.0)},
    "rectified_flow_small": {"heun-5": (9, 30.0, 1.0)},
}
"""By model its samplers: network evaluations, latency in ms, and FID relative to the first one."""

Law = Callable[[float], float]
"""FID by seconds of training."""


def power(at_a_minute: float, slope: float) -> Law:
    """FID that falls like budget^-slope."""
    return lambda seconds: at_a_minute * (seconds / 60) ** -slope


def write_map(
    folder: Path,
    laws: Mapping[str, Law],
    *,
    dataset: str = "fashion_mnist_16",
    shape: str = "1x16x16",
    images: str = "all",
    seeds: Sequence[int] = (0, 1, 2, 3, 4),
    noise: float = 0.02,
    budgets: Sequence[float] = BUDGETS,
    limit: str = "seconds={}",
    sequential: str = "e-process margin=1.1 look=3",
    more: Mapping[str, Mapping[str, object]] | None = None,
) -> Path:
    """Write the runs of one row of a map, and its real-data baseline; return the folder of runs.

    Args:
        folder: of all runs.
        laws: FID by seconds of every model.
        dataset: name of the data set.
        shape: shape of a sample.
        images: number of training images, as the protocol names it.
        seeds: of every model.
        noise: standard deviation of log FID over seeds, equal at all points of a run.
        budgets: seconds at the evaluation points.
        limit: the budget of the runs as the protocol names it, with a place for its amount.
        sequential: how status.json says the runs were made; empty for fixed seeds.
        more: further values of all rows of a model.
    """
    protocol = PROTOCOL | {
        "budget": limit.format(f"{budgets[-1] * (IMAGES if 'images' in limit else 1):g}"),
        "train_images": images,
        "image_shape": shape,
    }
    variant = images if limit == "seconds={}" else f"{images} {limit.replace('{}', '')}"
    made = partial(write_run, folder, dataset=dataset, variant=variant)
    for number, (model, law) in enumerate(laws.items()):
        for seed in seeds:
            shift = np.exp(noise * np.random.default_rng((number, seed)).normal())
            for k, seconds in enumerate(budgets, start=1):
                spent = {"train_seconds": 1.004 * seconds, "images": IMAGES * seconds}
                rows = {
                    name: scores(law(seconds) * shift * factor)
                    | costs(nfe, latency)
                    | spent
                    | (more or {}).get(model, {})
                    for name, (nfe, latency, factor) in SAMPLERS[model].items()
                }
                status = Status(
                    "finished",
                    step=100,
                    command=f"python -m bench model={model} dataset={dataset} seed={seed}",
                    sequential=sequential,
                    seconds=seconds,
                )
                made(
                    model,
                    seed,
                    rows,
                    protocol=protocol,
                    status=status,
                    checkpoint=k,
                    checkpoints=len(budgets),
                )
    floor = scores(0.085) | {"nfe": 0, "images": 0, "train_seconds": 0.0}
    untrained = {name: "" for name, value in FLOOR.items() if value == ""}
    made("real", 0, {"held-out": floor}, protocol=protocol | untrained)
    return folder / "runs"


def mapped(runs: Path, group: Group = "flagships") -> Map:
    """The map of a folder of runs, as `bench.compare --map` makes it."""
    pages, _ = gather([runs], mixed=AXES, name=None)
    return make_map([s.comparison for sections in pages.values() for s in sections], group)
