"""Train candidates of a recipe and record how good they are after how many steps: docs/recipes.md.

Candidates are lines of candidates.yaml. They are trained on 30,000 images of the training part of
Fashion-MNIST and compared with these, with seeds from 100 on, which no published run uses. Equal
numbers of steps are compared, since the machine may be shared; the CPU time of a step is measured
apart, in alternation (step_times.py). Every finished candidate is appended to --out at once, and
skipped if it is there already.

Command: python scripts/recipes/search.py diffusion --data-root data --out docs/evidence/recipes
"""

import argparse
import csv
import gzip
import io
import time
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
import yaml
from hydra import compose, initialize_config_module
from omegaconf import OmegaConf
from PIL import Image

from bench.build import (
    build_dataset,
    build_evaluator,
    build_options,
    build_trainer,
    cache_root,
    plain,
)
from bench.config import Settings, read_settings
from bench.data.dataset import Dataset
from bench.evaluation.evaluator import Evaluator
from bench.runtime.distributed import World
from bench.training.callbacks import SilentObserver
from bench.training.ema import EMA
from bench.training.loss_log import TrainingFailedError
from bench.training.trainer import Trainer
from models.base import GenerativeModel

CANDIDATES = Path(__file__).parent / "candidates.yaml"
TRAINED, HELD_OUT = 30_000, 1_000
SEED = 100
SAMPLES = 1_000
COLUMNS = (
    *("family", "candidate", "model", "overrides", "seed", "batch_size", "parameters"),
    *("step", "cpu_seconds", "sampler", "weights", "fid_domain", "recall_domain", "class_kl"),
)


@dataclass(frozen=True)
class Candidate:
    """One recipe to try.

    Attributes:
        name: what distinguishes it.
        model: the YAML that it starts from.
        steps: of training.
        overrides: of the configuration, as on the command line.
        points: evaluations along the steps.
        averages: further decays of averaged weights that are scored, without training again.
        seed: of the run.
    """

    name: str
    model: str
    steps: int
    overrides: str = ""
    points: int = 1
    averages: tuple[float, ...] = ()
    seed: int = SEED


def write_part(raw: Path, path: Path) -> None:
    """Write the first images of the training part as a zip of folders, train and test.

    Args:
        raw: folder of the published files, unpacked or as .gz.
        path: of the zip.
    """

    def read(name: str, header: int) -> np.ndarray:
        plain_file = raw / name
        packed = plain_file.with_name(f"{name}.gz")
        exists = plain_file.exists()
        data = plain_file.read_bytes() if exists else gzip.decompress(packed.read_bytes())
        return np.frombuffer(data, np.uint8, offset=header)

    images = read("train-images-idx3-ubyte", 16).reshape(-1, 28, 28)
    labels = read("train-labels-idx1-ubyte", 8)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for i in range(TRAINED + HELD_OUT):
            data = io.BytesIO()
            Image.fromarray(images[i]).save(data, "PNG", compress_level=1)
            part = "train" if i < TRAINED else "test"
            archive.writestr(f"{part}/{labels[i]}/{i:05d}.png", data.getvalue())


def settings_of(candidate: Candidate, part: Path) -> Settings:
    """The settings of the candidate's run."""
    overrides = [
        *(f"model={candidate.model}", "dataset=fashion_mnist", f"dataset.path={part}"),
        *(f"seed={candidate.seed}", "precision=bf16", "threads=1"),
        *(f"evaluator.samples={SAMPLES}", "evaluator.resamples=0", "evaluator.cost_seconds=0"),
        *candidate.overrides.split(),
    ]
    model = compose("config", overrides).model
    images = candidate.steps * model.training.batch_size * model.build.get("critic_repeats", 1)
    budget = [f"budget.images={images}", f"budget.checkpoints={candidate.points}"]
    config = compose("config", [*overrides, *budget])
    OmegaConf.resolve(config)
    return read_settings(plain(config))


@dataclass
class Scores(SilentObserver):
    """Scores all averages of the weights at every evaluation point.

    Attributes:
        trainer: of the candidate.
        evaluator: of the part of the data.
        averages: averaged copies of the model by their decay.
        rows: what was found, by column.
        cpu_seconds: processor time of training.
    """

    trainer: Trainer
    evaluator: Evaluator
    averages: dict[float, EMA]
    rows: list[dict[str, Any]] = field(default_factory=list)
    cpu_seconds: float = 0.0
    _since: float = field(default_factory=time.process_time)

    def on_step(self) -> None:
        """Follow with the averages."""
        for average in self.averages.values():
            average.update(self.trainer.spent.step)

    def on_point(self) -> None:
        """Score every version of the weights by every sampler."""
        self.cpu_seconds += time.process_time() - self._since
        for weights, model in self._versions():
            for evaluation in self.evaluator.evaluate(model, last=False):
                scores = ("fid_domain", "recall_domain", "class_kl")
                row = {
                    "step": self.trainer.spent.step,
                    "cpu_seconds": f"{self.cpu_seconds:.1f}",
                    "sampler": evaluation.sampler,
                    "weights": weights,
                    **{score: f"{evaluation.values[score]:.4g}" for score in scores},
                }
                self.rows.append(row)
                print("   ", *(f"{key}={value}" for key, value in row.items()), flush=True)
        self._since = time.process_time()

    def _versions(self) -> Iterator[tuple[str, GenerativeModel]]:
        yield "raw", self.trainer.model
        if self.trainer.ema is not None:
            yield f"ema {self.trainer.recipe.ema_decay}", self.trainer.ema.model
        for decay, average in self.averages.items():
            yield f"ema {decay}", average.model


def train(
    family: str, candidate: Candidate, settings: Settings, dataset: Dataset, evaluator: Evaluator
) -> list[dict[str, Any]]:
    """Train and score a candidate; its rows."""
    with TemporaryDirectory() as folder:
        trainer = build_trainer(
            settings, dataset, torch.device("cpu"), World(), Path(folder) / "checkpoints"
        )
        averages = {decay: EMA(trainer.model, decay) for decay in candidate.averages}
        scores = Scores(trainer, evaluator, averages)
        try:
            trainer.fit(scores)
        except TrainingFailedError as error:
            scores.rows.append({"step": error.step, "weights": "failed"})
    identity = {
        "family": family,
        "candidate": candidate.name,
        "model": candidate.model,
        "overrides": candidate.overrides,
        "seed": candidate.seed,
        "batch_size": trainer.recipe.batch_size,
        "parameters": sum(p.numel() for p in trainer.model.parameters()),
    }
    return [identity | row for row in scores.rows]


def main() -> None:
    """Train the candidates of a family that are not recorded yet."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("family", choices=("gan", "diffusion"))
    parser.add_argument("--data-root", type=Path, default=Path("data"))
    parser.add_argument("--out", type=Path, default=Path("docs/evidence/recipes"))
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    arguments.out.mkdir(parents=True, exist_ok=True)
    table = arguments.out / f"{arguments.family}.csv"
    if not table.exists():
        table.write_text(",".join(COLUMNS) + "\n")
    recorded = {row["candidate"] for row in csv.DictReader(table.open())}
    listed = yaml.safe_load(CANDIDATES.read_text())[arguments.family]
    candidates = [Candidate(**entry) for entry in listed]
    evaluator = dataset = None
    with TemporaryDirectory() as folder, initialize_config_module("conf", version_base="1.3"):
        part = Path(folder) / "fashion_mnist.zip"
        write_part(arguments.data_root / "FashionMNIST" / "raw", part)
        for candidate in candidates:
            if candidate.name in recorded:
                continue
            print(candidate.name, candidate.overrides, flush=True)
            settings = settings_of(candidate, part)
            if dataset is None or evaluator is None:
                dataset = build_dataset(settings, World())
                options = build_options(settings.evaluator, dataset)
                cache = cache_root(settings)
                evaluator = build_evaluator(options, dataset, torch.device("cpu"), cache)
            rows = train(arguments.family, candidate, settings, dataset, evaluator)
            with table.open("a", newline="") as file:
                csv.DictWriter(file, COLUMNS, restval="").writerows(rows)


if __name__ == "__main__":
    main()
