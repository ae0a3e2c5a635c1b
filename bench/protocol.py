"""The columns of eval.csv: who made a row, what it measured, and which rows may share a table."""

from dataclasses import dataclass
from typing import Literal

IDENTITY = ("dataset", "model", "variant", "seed", "sampler", "weights")
"""What a row is about. variant names the run's other overrides; weights is "ema" or "raw"."""

POINT = ("checkpoint", "checkpoints", "step", "images", "train_seconds", "train_flops")
"""Where along its budget the model stood: point `checkpoint` of `checkpoints`, from 1."""

QUALITY = ("fid", "kid", "kid_std", "is", "is_std", "precision", "recall")
"""Metrics computed once per extractor: the column is <metric>_<extractor>, such as fid_domain."""

CLASSES = ("modes", "class_kl", "class_tv")
"""Class histogram of the samples under the domain classifier; empty without labels."""

COST = (
    "nfe",
    "latency_ms",
    "latency_iqr_ms",
    "images_per_second",
    "images_per_second_iqr",
    "best_batch_size",
    "gflops_per_sample",
    "sampling_memory_mib",
    "parameters",
    "train_images_per_second",
    "train_gflops_per_image",
    "train_memory_mib",
)
"""What drawing and training cost; measured at the last checkpoint, empty before it."""

PROTOCOL = (
    "data_hash",
    "image_shape",
    "reference",
    "reference_size",
    "samples",
    "extractors",
    "preprocessing",
    "metric_backend",
    "budget",
    "precision",
    "device",
    "threads",
    "processes",
)
"""Fields on which all rows of one table must agree. An empty value (a model that is not trained
has no budget) agrees with anything."""

PROVENANCE = ("overrides", "recipe", "torch_version", "bench_version", "commit", "evaluated_at")
"""Recorded for the reader, allowed to differ within a table. overrides are what variant names;
recipe hashes the model's configuration and must agree between the seeds of one entry."""


@dataclass(frozen=True)
class Column:
    """How a measured column is shown: its title, unit and which direction is better."""

    title: str
    better: Literal["lower", "higher", "neither"]
    unit: str = ""


COLUMNS = {
    "fid": Column("FID", "lower"),
    "kid": Column("KID ×10³", "lower"),
    "is": Column("IS", "higher"),
    "precision": Column("precision", "higher"),
    "recall": Column("recall", "higher"),
    "modes": Column("modes", "higher"),
    "class_kl": Column("class KL", "lower", "nats"),
    "class_tv": Column("class TV", "lower"),
    "nfe": Column("NFE", "lower"),
    "latency_ms": Column("latency", "lower", "ms"),
    "images_per_second": Column("sampling", "higher", "images/s"),
    "gflops_per_sample": Column("FLOPs/sample", "lower", "GFLOP"),
    "sampling_memory_mib": Column("sampling memory", "lower", "MiB"),
    "parameters": Column("parameters", "lower"),
    "train_seconds": Column("training", "neither", "s"),
    "images": Column("images seen", "neither"),
    "train_images_per_second": Column("training speed", "higher", "images/s"),
    "train_gflops_per_image": Column("training FLOPs/image", "lower", "GFLOP"),
    "train_memory_mib": Column("training memory", "lower", "MiB"),
}


def quality_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """Name the metric columns for these extractors, in order: fid_domain, kid_domain and so on."""
    return tuple(f"{metric}_{name}" for name in extractors for metric in QUALITY)


def eval_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of eval.csv, in order; fixed by the extractors alone."""
    return IDENTITY + POINT + quality_columns(extractors) + CLASSES + COST + PROTOCOL + PROVENANCE
