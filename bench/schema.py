"""The columns of eval.csv: who made a row, what it measured, and which rows may share a table."""

import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

IDENTITY = ("dataset", "model", "variant", "seed", "sampler", "weights")
"""What a row is about. variant names the run's other overrides; weights is "ema" or "raw"."""

POINT = ("checkpoint", "checkpoints", "step", "images", "train_seconds", "train_flops")
"""Where along its budget the model stood: point `checkpoint` of `checkpoints`, from 1."""

QUALITY = (
    "fid",
    "kid",
    "kid_std",
    "is",
    "is_std",
    "precision",
    "recall",
    "density",
    "coverage",
    "duplicates",
)
"""Metrics computed once per extractor: the column is <metric>_<extractor>, such as fid_domain."""

MEMORISATION = ("fid_infinity", "authpct", "nn_ratio", "mifid")
"""FID without its sample-size bias, and signs of copying; per extractor, at the last checkpoint."""

INTERVAL_METRICS = ("fid", "kid", "is", "precision", "recall", "density", "coverage")
"""Metrics with a 95 % bootstrap interval over samples, at the last checkpoint: the columns are
<metric>_low_<extractor> and <metric>_high_<extractor>."""

MODES = ("modes", "class_kl", "class_tv", "class_agreement", "high_quality", "reverse_kl")
"""Which classes, or modes of a mixture, the samples hit, and how often a sample is of the class
that was asked for; empty for unlabelled data."""

PERFECT = ("modes_perfect", "high_quality_perfect", "reverse_kl_perfect", "classifier_error")
"""What a perfect sampler of the data would score, computed and not measured, where it is known; and
how often the classifier that counts modes errs."""

HELD_OUT = (
    "bits_per_dim",
    "bits_prior",
    "bits_kl",
    "bits_reconstruction",
    "accuracy",
    "accuracy_supervised",
)
"""What the model says about held-out data, at the last checkpoint: a bound on its negative
log-likelihood and its parts; how often it tells the class, and how often the same network does that
was trained on the labels alone. Empty for a model that only draws."""

WATCH = ("warning",)
"""Signs of collapse and, at the last evaluation point, of copying, in words; empty where there are
none."""

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
    "class_labels",
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
has no budget) agrees with anything.

class_labels: how the classes were distributed that a class-conditional model was asked for, "data"
for their frequencies in the data and "uniform" for equal ones, which also names those of balanced
data; empty for samplers that take no classes."""

ADDED = ("class_labels",)
"""Columns that earlier versions did not write: an eval.csv without them can be read."""

PROVENANCE = ("overrides", "recipe", "torch_version", "bench_version", "commit", "evaluated_at")
"""Recorded for the reader, allowed to differ within a table. overrides are what variant names;
recipe hashes the model's configuration and must agree between the seeds of one entry."""

BLIND = "blind_"
"""The columns blind_<extractor> say, as text (`bench.evaluation.blind_spots`), which known bad
samples the metrics of an extractor do not tell from real data; empty where that was not checked,
and missing from what was written before there was a check."""


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
    "density": Column("density", "higher"),
    "coverage": Column("coverage", "higher"),
    "duplicates": Column("duplicates", "neither"),
    "fid_infinity": Column("FID∞", "lower"),
    "authpct": Column("AuthPct", "neither", "%"),
    "nn_ratio": Column("NN ratio", "neither"),
    "mifid": Column("MiFID", "neither"),
    "modes": Column("modes", "higher"),
    "high_quality": Column("high quality", "neither", "%"),
    "reverse_kl": Column("reverse KL", "lower", "nats"),
    "class_kl": Column("class KL", "lower", "nats"),
    "class_tv": Column("class TV", "lower"),
    "class_agreement": Column("class agreement", "higher", "%"),
    "bits_per_dim": Column("bits/dim ≤", "lower"),
    "bits_prior": Column("prior", "neither", "bits/dim"),
    "bits_kl": Column("KL", "neither", "bits/dim"),
    "bits_reconstruction": Column("reconstruction", "neither", "bits/dim"),
    "accuracy": Column("test accuracy", "higher", "%"),
    "accuracy_supervised": Column("supervised alone", "neither", "%"),
    "nfe": Column("NFE", "lower"),
    "latency_ms": Column("latency", "lower", "ms"),
    "images_per_second": Column("sampling", "higher", "samples/s"),
    "gflops_per_sample": Column("FLOPs/sample", "lower", "GFLOP"),
    "sampling_memory_mib": Column("sampling memory", "lower", "MiB"),
    "parameters": Column("parameters", "lower"),
    "train_seconds": Column("training", "neither", "s"),
    "images": Column("samples seen", "neither"),
    "train_images_per_second": Column("training speed", "higher", "samples/s"),
    "train_gflops_per_image": Column("training FLOPs/sample", "lower", "GFLOP"),
    "train_memory_mib": Column("training memory", "lower", "MiB"),
}


@dataclass(frozen=True)
class Range:
    """The values that a measured column can have, both ends included; none is infinite."""

    low: float = -sys.float_info.max
    high: float = sys.float_info.max

    def __str__(self) -> str:
        if self == FINITE:
            return "finite"
        if self.high == FINITE.high:
            return f"finite and at least {self.low:g}"
        return f"between {self.low:g} and {self.high:g}"


FINITE = Range()
SHARE = Range(0, 1)
NOT_NEGATIVE = Range(0)
DIVERGENCE = Range(-1e-6)
"""Not negative but for rounding."""

RANGES: Mapping[str, Range] = {
    **dict.fromkeys(("checkpoint", "checkpoints"), Range(1)),
    **dict.fromkeys(("step", "images", "train_seconds", "train_flops"), NOT_NEGATIVE),
    **dict.fromkeys(("fid", "mifid"), Range(-0.01)),  # a matrix square root rounds
    **dict.fromkeys(("kid_std", "is_std", "density", "nn_ratio"), NOT_NEGATIVE),
    **dict.fromkeys(("precision", "recall", "coverage", "duplicates"), SHARE),
    "is": Range(1 - 1e-6),
    "authpct": Range(0, 100),
    **dict.fromkeys(("modes", "modes_perfect"), NOT_NEGATIVE),
    **dict.fromkeys(("class_kl", "reverse_kl", "reverse_kl_perfect"), DIVERGENCE),
    "class_tv": Range(-1e-6, 1 + 1e-6),
    **dict.fromkeys(("class_agreement", "high_quality", "high_quality_perfect"), SHARE),
    **dict.fromkeys(("classifier_error", "accuracy", "accuracy_supervised"), SHARE),
    **dict.fromkeys(COST, NOT_NEGATIVE),
}
"""What values are possible, by metric or column. What is not here, such as KID and FID∞, which are
estimates without bias and so may be negative, has to be finite."""

INTERVAL_RANGES: Mapping[str, Range] = dict.fromkeys(
    ("precision", "recall", "coverage"), Range(-1, 2)
)
"""What the ends of a metric's interval can be: they are moved by the mean of the resamples, and so
may lie beyond what the metric itself can be; a share by less than 1."""


def column_ranges(extractors: tuple[str, ...]) -> dict[str, Range]:
    """The possible values of every measured column, in the order of `measured_columns`."""
    by_extractor = {
        f"{metric}_{name}": RANGES.get(metric, FINITE)
        for name in extractors
        for metric in (*QUALITY, *MEMORISATION)
    } | {
        f"{metric}_{side}_{name}": INTERVAL_RANGES.get(metric, FINITE)
        for name in extractors
        for metric in INTERVAL_METRICS
        for side in ("low", "high")
    }
    columns = measured_columns(extractors)
    return {c: by_extractor.get(c, RANGES.get(c, FINITE)) for c in columns}


def quality_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """Name the metric columns for these extractors, in order: fid_domain, kid_domain and so on."""
    bounds = tuple(f"{metric}_{side}" for metric in INTERVAL_METRICS for side in ("low", "high"))
    metrics = (*QUALITY, *MEMORISATION, *bounds)
    return tuple(f"{metric}_{name}" for name in extractors for metric in metrics)


def measured_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of eval.csv that hold numbers, in order."""
    return (*POINT, *quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST)


def eval_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of eval.csv, in order; fixed by the extractors alone."""
    blind = (f"{BLIND}{name}" for name in extractors)
    return (*IDENTITY, *measured_columns(extractors), *WATCH, *PROTOCOL, *PROVENANCE, *blind)


def extractor_names(columns: Iterable[str]) -> tuple[str, ...]:
    """The extractors that the columns of an eval.csv were made with, in order."""
    prefix = "is_std_"  # no other column begins so
    return tuple(column.removeprefix(prefix) for column in columns if column.startswith(prefix))


def is_later(column: str) -> bool:
    """Whether earlier versions did not write a column, whose files can be read without it."""
    return column in ADDED or column.startswith(BLIND)


def class_labels_of_before(class_agreement: str) -> str:
    """What the column class_labels would hold in a row of before it was recorded.

    Classes were uniform then. That a sampler took classes shows in its class agreement, which a
    classifier of the data's classes measures; without one nothing can be told, and an empty value
    agrees with any.

    Args:
        class_agreement: the column of that name, as written.
    """
    return "uniform" if class_agreement else ""
