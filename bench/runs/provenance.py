"""The protocol and provenance columns of a run's rows."""

import importlib.metadata
import platform
import subprocess
from pathlib import Path
from typing import Any

import torch

import bench
from bench.columns import ALL_IMAGES
from bench.data.dataset import Dataset
from bench.evaluation.blind_spots import to_text as blind_text
from bench.evaluation.evaluator import Evaluator
from bench.evaluation.held_out import MOST_SAMPLES
from bench.evaluation.metrics.inception_score import IS_SPLITS
from bench.evaluation.metrics.kernel import KID_SUBSET_SIZE, KID_SUBSETS
from bench.evaluation.metrics.neighbours import DENSITY_NEIGHBOURHOOD, NEIGHBOURHOOD
from bench.evaluation.metrics.resampling import METRIC_SEED, METRICS_VERSION
from bench.evaluation.options import EvaluatorOptions
from bench.evaluation.published import to_text
from bench.evaluation.reference import Reference
from bench.schema import BLIND
from bench.training.trainer import Trainer


def provenance(evaluator: Evaluator, trainer: Trainer) -> dict[str, Any]:
    """The columns of the groups protocol, provenance and perfect, and the blind spots.

    They are equal in all rows of a run. For models that are not trained, budget, precision and
    machine are missing, which matches anything.
    """
    dataset, extractors = evaluator.reference.dataset, evaluator.reference.extractors
    columns: dict[str, Any] = {
        **evaluator.reference.perfect(evaluator.options.samples),
        **protocol_before(dataset, evaluator.options, trainer),
        "reference": f"train{to_text(evaluator.reference.published)}",
        "reference_size": reference_size(evaluator.reference),
        "extractors": " ".join(f"{e.name}:{e.hash}" for e in extractors),
        "preprocessing": " ".join(f"{e.name}:{e.preprocessing}" for e in extractors),
        "torch_version": str(torch.__version__),
        "bench_version": bench.__version__,
        "commit": commit(),
    }
    for extractor in extractors:
        spots = evaluator.reference.blind_spots(extractor)
        columns[f"{BLIND}{extractor.name}"] = "" if spots is None else blind_text(spots)
    return columns


def protocol_before(
    dataset: Dataset, options: EvaluatorOptions, trainer: Trainer
) -> dict[str, Any]:
    """The columns of the group protocol that are known before a run: all but those of extractors.

    For models that are not trained, budget, precision and machine are missing.
    """
    columns = {
        "data_hash": dataset.hash,
        "image_shape": "x".join(map(str, dataset.shape)),
        "train_images": ALL_IMAGES if dataset.few is None else len(dataset.few),
        "samples": options.samples,
        "held_out_samples": min(len(dataset.test), MOST_SAMPLES),
        "metric_backend": backend(options.resamples),
    }
    if trainer.phases:
        columns |= {
            "budget": str(trainer.budget),
            "precision": trainer.settings.precision,
            "device": device_name(trainer.device),
            "threads": torch.get_num_threads(),
            "processes": trainer.world.size,
        }
    return columns


def reference_size(reference: Reference) -> str:
    """Number of training images compared with, and of each extractor that sees only a part."""
    n = len(reference.dataset.train)
    parts = {e.name: reference.size(e) for e in reference.extractors}
    return " ".join([str(n), *(f"{name}:{size}" for name, size in parts.items() if size < n)])


def backend(resamples: int) -> str:
    """Definitions and settings of the metrics, as text."""
    return (
        f"bench metrics {METRICS_VERSION}; as torch-fidelity "
        f"{importlib.metadata.version('torch-fidelity')}: FID, KID ({KID_SUBSETS} subsets of "
        f"min({KID_SUBSET_SIZE}; n/2)), IS ({IS_SPLITS} splits), precision and recall "
        f"(k={NEIGHBOURHOOD}); as prdc: density and coverage (k={DENSITY_NEIGHBOURHOOD}); seed "
        f"{METRIC_SEED}; {resamples} resamples"
    )


def device_name(device: torch.device) -> str:
    """Name of the device, such as that of the GPU or CPU model."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return f"{device.type}: {names[0] if names else platform.processor() or platform.machine()}"


CODE = ("bench", "models", "conf", "pyproject.toml")
"""What a run consists of; documents and results may change without making it another one."""


def commit() -> str:
    """The commit of this checkout, with -dirty if its code is another one; empty without git."""
    root = Path(bench.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return ""
    try:
        described = _git(root, "rev-parse", "--short=12", "HEAD")
        changed = _git(root, "status", "--porcelain", "--", *CODE)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return f"{described}-dirty" if changed else described


def _git(root: Path, *words: str) -> str:
    """What git says of a checkout."""
    done = subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, check=True)
    return done.stdout.strip()
