"""CPU time of a training step of each candidate, on one thread in bf16: for docs/recipes.md.

Steps of all candidates are taken in alternation, and medians of ratios to a step of ddpm_small in
another checkout (--former, of commit 19b336e) taken, which a busy machine disturbs less than times.

Command: python scripts/recipes/step_times.py --former ../former --out docs/evidence/recipes
"""

import argparse
import csv
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import torch
import yaml
from hydra import compose, initialize_config_module
from hydra.utils import instantiate

from models.base import Batch, DataSpec

CANDIDATES = Path(__file__).parent / "candidates.yaml"
SHAPE = (1, 28, 28)
COLUMNS = ("candidate", "code", "batch_size", "cpu_ms", "of_former_ddpm_small")
FORMER = ("ddpm_small", "dcgan_small")


def make_step(model: str, overrides: str) -> tuple[Callable[[], None], int]:
    """A training step of a model on noise, as the trainer takes it, and its batch size."""
    config = compose("config", [f"model={model}", *overrides.split()]).model
    spec = DataSpec(SHAPE, 10, lambda indices: torch.zeros(len(indices), *SHAPE), 10)
    torch.manual_seed(0)
    network = instantiate(config.build, _convert_="all")(spec)
    network.to(memory_format=torch.channels_last).train()
    recipe = instantiate(config.training, _convert_="all")
    phases = network.phases
    parameters = {phase.name: list(phase.module.parameters()) for phase in phases}
    optimizers = {name: recipe.optimizers[name](of) for name, of in parameters.items()}
    average = [p.detach().clone() for p in network.parameters()] if recipe.ema_decay else []
    x = torch.rand(recipe.batch_size, *SHAPE) * 2 - 1
    batch = Batch(x.contiguous(memory_format=torch.channels_last))

    def step() -> None:
        for phase in phases:
            network.requires_grad_(False)
            phase.module.requires_grad_(True)
            for _ in range(phase.repeats):
                optimizers[phase.name].zero_grad(set_to_none=True)
                with torch.autocast("cpu", torch.bfloat16):
                    loss = phase.loss(batch)["loss"]
                loss.backward()
                if recipe.clip_norm is not None:
                    torch.nn.utils.clip_grad_norm_(parameters[phase.name], recipe.clip_norm)
                optimizers[phase.name].step()
        if average:
            weights = [p.detach() for p in network.parameters()]
            torch._foreach_lerp_(average, weights, 0.01)  # pyright: ignore

    return step, recipe.batch_size


def serve(models: list[list[str]]) -> None:
    """Take the step that is asked for on each line of the input, and answer with its CPU time."""
    torch.set_num_threads(1)
    with initialize_config_module("conf", version_base="1.3"):
        steps = [make_step(model, overrides) for model, overrides in models]
    for step, batch_size in steps:
        step()
        print(batch_size, flush=True)
    for line in sys.stdin:
        before = time.process_time()
        steps[int(line)][0]()
        print(time.process_time() - before, flush=True)


class Server:
    """This script in a process of its own, with the code of a checkout."""

    def __init__(self, root: Path, models: list[list[str]]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, __file__, "--serve", *(part for model in models for part in model)],
            cwd=root,
            env={**os.environ, "PYTHONPATH": str(root), "OMP_NUM_THREADS": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.batch_sizes = [int(self.read()) for _ in models]

    def read(self) -> str:
        """The next line of its output."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            sys.exit("a process that takes steps ended early: its message is above")
        return line

    def seconds(self, model: int) -> float:
        """CPU time of a step."""
        assert self.process.stdin is not None
        self.process.stdin.write(f"{model}\n")
        self.process.stdin.flush()
        return float(self.read())


def main() -> None:
    """Time all candidates and write the table."""
    if sys.argv[1:2] == ["--serve"]:
        words = sys.argv[2:]
        return serve([words[k : k + 2] for k in range(0, len(words), 2)])
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--former", type=Path, required=True, help="checkout of 19b336e")
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/recipes"))
    parser.add_argument("--repeats", type=int, default=10)
    arguments = parser.parse_args()
    families = yaml.safe_load(CANDIDATES.read_text())
    listed = [entry for family in families.values() for entry in family]
    present = {entry["name"]: [entry["model"], entry.get("overrides", "")] for entry in listed}
    present |= {name: [name, ""] for name in FORMER}
    former = Server(arguments.former.resolve(), [[name, ""] for name in FORMER])
    now = Server(Path(__file__).parents[2], list(present.values()))
    runs = [(former, k, name, "former") for k, name in enumerate(FORMER)]
    runs += [(now, k, name, "present") for k, name in enumerate(present)]
    times: dict[tuple[str, str], list[float]] = {}
    for _ in range(arguments.repeats):
        for server, k, name, code in runs:
            times.setdefault((name, code), []).append(server.seconds(k))
    reference = times[FORMER[0], "former"]
    with (arguments.out / "step_times.csv").open("w", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for server, k, name, code in runs:
            seconds = times[name, code]
            ratio = statistics.median(a / b for a, b in zip(seconds, reference, strict=True))
            milliseconds = 1e3 * statistics.median(seconds)
            row = (name, code, server.batch_sizes[k], f"{milliseconds:.1f}", f"{ratio:.3f}")
            writer.writerow(row)
            print(*row)
    for server in (former, now):
        server.process.kill()


if __name__ == "__main__":
    main()
