"""Synthetic runs on disk."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
from synthetic_runs import (
    FLOOR,
    POINTS,
    STACKED,
    costs,
    mode_scores,
    scores,
    stacked_scores,
    write_run,
)

from bench.runs.directory import Status

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path) -> MakeRun:
    """Write a run: make_run(model, seed, rows={sampler: values}, status=…, protocol=…)."""
    return partial(write_run, tmp_path)


@pytest.fixture(scope="session")
def study(tmp_path_factory) -> Path:
    """Three seeds of a GAN and a DDPM, a failed and an unfinished run, the floor; to read only."""
    make_run = partial(write_run, tmp_path_factory.mktemp("study"))
    for seed in range(3):
        for_seed = 1 + seed / 50
        gan = {"generator": scores(23.4 * for_seed, 0.0123 * for_seed) | costs(1, 0.7)}
        make_run("dcgan_small", seed, gan)
        slow = scores(9.87 * for_seed, 0.0034, 9.1 * for_seed) | costs(50, 31.4 * for_seed)
        fast = scores(14.2 * for_seed, 0.0061, 8.9) | costs(10, 6.5)
        make_run("ddpm_small", seed, {"ddim-50": slow, "ddim-10": fast})
    floor = scores(0.912, 0.0001, 9.8, 0.97) | {"nfe": 0, "images": 0, "train_seconds": 0.0}
    make_run("real", 0, {"real": floor}, protocol=FLOOR)
    reason = "the generator loss was not finite at step 120"
    failed = Status("failed", reason, step=120, phase="generator", command="python -m bench …")
    make_run("mlp_gan", 0, {}, status=failed)
    make_run("ddpm", 1, {"ddpm-1000": scores(99.0)}, status=Status("running", step=40))
    root = make_run("mlp_gan", 1, {"generator": scores(41.0, 0.03) | costs(1, 0.05)})
    return root.parents[3]


@pytest.fixture(scope="session")
def modes_study(tmp_path_factory) -> Path:
    """Ring and stacked digits, three points along each run, two seeds collapsed; to read only."""
    make_run = partial(write_run, tmp_path_factory.mktemp("modes"))
    untrained = {name: "" for name, value in FLOOR.items() if value == ""}
    ring = {"dataset": "ring8", "protocol": POINTS, "extractors": ("identity",), "checkpoints": 3}
    for seed in (0, 2, 10):
        for checkpoint in (1, 2, 3):
            gan = mode_scores(6 + seed % 3, 0.972 + seed / 1e3, 0.4 / checkpoint, 0.3 + seed / 50)
            if seed > 0 and checkpoint > 1:
                gan["warning"] = f"only {2 + seed // 5} of 8 modes; recall 0.012 at precision 0.90"
            if seed == 0 and checkpoint == 1:
                gan["warning"] = "41% near-duplicates"
            gan["fid_identity"] *= 1 + (checkpoint - 2) ** 2 / 4
            gan |= costs(1, 0.04)
            make_run("mlp_gan", seed, {"generator": gan}, checkpoint=checkpoint, **ring)
            ddpm = mode_scores(8, 0.941 + seed / 1e4, 0.02 / checkpoint, 0.4 / checkpoint)
            ddpm |= costs(50, 11.0)
            make_run("ddpm_mlp", seed, {"ddim-50": ddpm}, checkpoint=checkpoint, **ring)
    last = ring | {"protocol": POINTS | untrained, "checkpoints": None}
    make_run("real", 0, {"held-out": mode_scores(8, 0.9884, 0.0015, 0.001) | {"nfe": 0}}, **last)
    make_run("samples", 0, {"stored": mode_scores(8, 0.9, 0.1, 0.2)}, variant="0a1b2c", **last)
    for seed in range(3):
        gan = stacked_scores(700 + seed, 0.9 + seed / 100) | costs(1, 0.6)
        row = {"generator": gan}
        make_run("dcgan_small", seed, row, dataset="stacked_mnist", protocol=STACKED)
    return make_run(
        "ddpm_small", 0, {}, dataset="stacked_mnist", status=Status("failed", "out of memory", 7)
    ).parents[3]
