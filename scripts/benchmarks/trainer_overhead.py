"""Time of `Trainer.fit` against a bare PyTorch loop that does the same steps, GAN and DDPM.

Both sides train a copy of the same model on the same batches with the same optimizers, in turn, in
one process. What the trainer adds is counted: budget, freezing, EMA bookkeeping, loss records.

Command: python scripts/benchmarks/trainer_overhead.py [--steps 60] [--repeats 7]
"""

import argparse
import copy
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import hydra
import numpy as np
import torch
from hydra.utils import instantiate

from bench.config import Budget
from bench.data.batches import BatchStream
from bench.data.dataset import Split
from bench.training.callbacks import SilentObserver
from bench.training.recipe import Recipe
from bench.training.trainer import Trainer
from models.base import DataSpec, GenerativeModel

SHAPE = (1, 28, 28)


def main() -> None:
    """Print, for each model, median step times of both sides and the median of their ratios."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", nargs="+", default=["mlp_gan", "dcgan_small", "ddpm_small"])
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--repeats", type=int, default=7)
    args = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, {args.steps} steps, {args.repeats} pairs")
    print(f"{'model':<14}{'bare ms/step':>14}{'fit ms/step':>14}{'fit / bare':>12}")
    for name in args.models:
        bare, fit = measure(name, args.steps, args.repeats)
        ratio = statistics.median(b / a for a, b in zip(bare, fit, strict=True))
        medians = [1000 * statistics.median(side) for side in (bare, fit)]
        print(f"{name:<14}{medians[0]:>14.2f}{medians[1]:>14.2f}{ratio:>12.3f}", flush=True)


def measure(name: str, steps: int, repeats: int) -> tuple[list[float], list[float]]:
    """Seconds per step of both sides, measured in alternating pairs after one warm-up pair."""
    with hydra.initialize_config_module("conf", version_base="1.3"):
        cfg = hydra.compose("config", [f"model={name}"])
    images = np.random.default_rng(0).integers(0, 256, (4096, *SHAPE), dtype=np.uint8)
    spec = DataSpec(SHAPE, 0, lambda i: torch.zeros(len(i), *SHAPE), 1)
    model = instantiate(cfg.model.build, _convert_="all")(spec)
    recipe = instantiate(cfg.model.training, _convert_="all")
    batches = BatchStream(Split(images), recipe.batch_size, seed=0, flip=False)
    bare, fit = [], []
    for repeat in range(repeats + 1):
        sides: list[tuple[list[float], Callable[[], float]]] = [
            (bare, lambda: bare_seconds(copy.deepcopy(model), recipe, batches, steps)),
            (fit, lambda: fit_seconds(copy.deepcopy(model), recipe, batches, steps)),
        ]
        for times, run in sides if repeat % 2 else reversed(sides):
            seconds = run()
            if repeat:
                times.append(seconds / steps)
    return bare, fit


def fit_seconds(model: GenerativeModel, recipe: Recipe, batches: BatchStream, steps: int) -> float:
    """Wall-clock seconds of `Trainer.fit` for that many steps.

    Counting FLOPs and writing the one checkpoint, which take the same time whatever the number of
    steps, are left out.
    """
    with tempfile.TemporaryDirectory() as folder:
        budget = Budget(images=steps * recipe.batch_size)
        trainer = Trainer(prepare(model), recipe, budget, batches, Path(folder))
        trainer._flops_of_step = lambda progress: 1.0
        trainer._save = lambda observer: None
        start = time.perf_counter()
        trainer.fit(SilentObserver())
        return time.perf_counter() - start


def bare_seconds(model: GenerativeModel, recipe: Recipe, batches: BatchStream, steps: int) -> float:
    """Seconds of the loop that one would write by hand for this one model."""
    phases = prepare(model).phases
    parameters = [list(phase.module.parameters()) for phase in phases]
    optimizers = [
        recipe.optimizers[phase.name](own) for phase, own in zip(phases, parameters, strict=True)
    ]
    shadow = copy.deepcopy(model) if recipe.ema_decay is not None else None
    everything = list(model.parameters())
    weights: list[torch.Tensor] = list(everything)
    averages: list[torch.Tensor] = list(shadow.parameters()) if shadow is not None else []
    start = time.perf_counter()
    for step in range(steps):
        batch = batches(step)
        for phase, own, optimizer in zip(phases, parameters, optimizers, strict=True):
            if len(phases) > 1:
                for parameter in everything:
                    parameter.requires_grad_(False)
                for parameter in own:
                    parameter.requires_grad_(True)
            optimizer.zero_grad(set_to_none=True)
            phase.loss(batch)["loss"].backward()
            if recipe.clip_norm is not None:
                torch.nn.utils.clip_grad_norm_(own, recipe.clip_norm)
            optimizer.step()
        if shadow is not None and recipe.ema_decay is not None:
            with torch.no_grad():
                torch._foreach_lerp_(averages, weights, 1 - recipe.ema_decay)  # pyright: ignore
    return time.perf_counter() - start


def prepare(model: GenerativeModel) -> GenerativeModel:
    """Train mode, channels last, as both sides have it."""
    return model.train().to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]


if __name__ == "__main__":
    main()
