"""Synthetic runs on disk."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from synthetic_runs import FLOOR, PROTOCOL, costs, scores

from bench.protocol import eval_columns
from bench.records import RunDirectory, Status

MakeRun = Callable[..., Path]


@pytest.fixture
def make_run(tmp_path) -> MakeRun:
    """Write a run: make_run(model, seed, rows={sampler: values}, status=…, protocol=…)."""

    def make(
        model: str,
        seed: int,
        rows: dict[str, dict[str, Any]],
        *,
        root: str = "runs",
        dataset: str = "digits",
        variant: str = "default",
        status: Status | None = None,
        protocol: dict[str, Any] = PROTOCOL,
        checkpoint: int = 1,
        extractors: tuple[str, ...] = ("domain",),
    ) -> Path:
        path = tmp_path / root / dataset / model / variant / f"seed={seed}"
        command = f"python -m bench model={model} dataset={dataset} seed={seed}"
        with RunDirectory(path) as run:
            identity = {"dataset": dataset, "model": model, "variant": variant, "seed": seed}
            point = {"checkpoint": checkpoint, "checkpoints": checkpoint}
            common = {**identity, **point, "weights": "ema", "commit": "abc1234", **protocol}
            written = [{**common, "sampler": name, **values} for name, values in rows.items()]
            if written:
                run.append_eval(written, eval_columns(extractors))
            run.write_status(status or Status("finished", step=100, command=command))
        return path

    return make


@pytest.fixture
def study(make_run) -> Path:
    """Three seeds of a GAN and a DDPM, a failed and an unfinished run, and the floor."""
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
