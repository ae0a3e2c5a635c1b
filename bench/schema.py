"""The schema of eval.csv and curves.csv: the names of columns by what they are for, in order.

All of it is read from the registry, `bench.columns`.
"""

from collections.abc import Iterable, Mapping

from bench.columns import COLUMNS, FINITE, SHARE, Column, Group, Range


def _group(group: Group) -> tuple[str, ...]:
    """Names of the columns of a group, in the order of eval.csv."""
    return tuple(column.name for column in COLUMNS if column.group == group)


IDENTITY = _group("identity")
"""What a row is about. variant names the run's other overrides; weights is "ema" or "raw", or those
of `best_of`."""

POINT = _group("point")
"""Position along the budget: evaluation point `checkpoint` of `checkpoints`, from 1."""

SELECTION = _group("selection")
"""How weights were selected among evaluation points (`trainer.keep=best`); empty otherwise."""

QUALITY = _group("quality")
"""Metrics computed once per extractor: the column is <metric>_<extractor>, such as fid_domain."""

MEMORISATION = _group("memorisation")
"""FID without its sample-size bias, and signs of copying; per extractor, at the last checkpoint."""

DIVERSITY = _group("diversity")
"""Effective number of different samples, and FID within classes; per extractor, at the last
checkpoint."""

PER_EXTRACTOR = (*QUALITY, *MEMORISATION, *DIVERSITY)
"""All metrics that are computed once per extractor."""

INTERVAL_METRICS = tuple(column.name for column in COLUMNS if column.interval)
"""Metrics with a 95 % bootstrap interval over samples, at the last checkpoint: the columns are
<metric>_low_<extractor> and <metric>_high_<extractor>."""

MODES = _group("modes")
"""Which classes, or modes of a mixture, the samples hit, and how often a sample is of the class
that was asked for; empty for unlabelled data."""

PERFECT = _group("perfect")
"""What a perfect sampler of the data would score, computed and not measured, where it is known; and
how often the classifier that counts modes errs."""

HELD_OUT = _group("held-out")
"""Scores on held-out data at the last checkpoint: a bound on the negative log-likelihood and its
parts; classification accuracy, and that of the same network trained on the labels alone. Empty for
a model that only generates."""

COST = _group("cost")
"""Costs of sampling and training; measured at the last checkpoint, empty before it."""

PROTOCOL = _group("protocol")
"""Fields on which all rows of one table must agree. An empty value (a model that is not trained
has no budget) agrees with anything."""

TEXTS = (*_group("watch"), *PROTOCOL, *_group("provenance"))
"""Columns of text after the measured ones. Provenance may differ within a table, but for recipe,
which must agree between the seeds of one entry."""

EXACT = tuple(column.name for column in COLUMNS if column.exact)
"""Columns that are a property of the model, and so without a spread over seeds."""

ADDED = tuple(c.name for c in COLUMNS if c.added and not c.per_extractor)
"""Columns that earlier versions did not write: an eval.csv without them can be read."""

ADDED_METRICS = tuple(f"{c.name}_" for c in COLUMNS if c.added and c.per_extractor)
"""The same for columns per extractor: what their names begin with."""

BEFORE = {column.name: column.before for column in COLUMNS if column.before}
"""Text of columns in files that lack them; others are empty there."""

FORMER = {column.formerly: column.name for column in COLUMNS if column.formerly}
"""Today's names of columns, by those in files of earlier versions."""

_OF_TEXT = ("identity", "watch", "protocol", "provenance")
FIELDS: Mapping[str, Column] = {c.name: c for c in COLUMNS if c.group in _OF_TEXT}
"""The columns of text, by name."""

MEASURED: Mapping[str, Column] = {c.name: c for c in COLUMNS if c.group not in _OF_TEXT}
"""The columns of numbers, by name: a metric per extractor without the extractor."""

BLIND = "blind_"
"""The columns blind_<extractor> say, as text (`bench.evaluation.blind_spots`), which known bad
samples the metrics of an extractor do not tell from real data; empty where that was not checked,
and missing from what was written before there was a check."""


PUBLISHED = "FID ({extractor}) to statistics of SHA-256 "
"""How the column reference begins to name published statistics (`bench.evaluation.published`)."""

TIMED = ("train_seconds", "train_images_per_second")
"""Columns that cannot be compared where training did not get its cores, whatever the budget."""


CURVE_COLUMNS = ("curve", "x", "mean", "standard_error", "samples")
"""Columns of curves.csv."""


def shown_in(table: str) -> list[Column]:
    """The columns that a table shows, in order."""
    found = [column for column in COLUMNS if table in column.tables]
    return sorted(found, key=lambda column: column.tables[table])


def column_ranges(extractors: tuple[str, ...]) -> dict[str, Range]:
    """The possible values of every measured column, in the order of `measured_columns`.

    The ends of an interval are moved by the mean of the resamples, and so may lie beyond what the
    metric itself can be; a share by less than 1.
    """
    ranges = {name: column.range for name, column in MEASURED.items()}
    for metric in PER_EXTRACTOR:
        ends = Range(-1, 2) if MEASURED[metric].range == SHARE else FINITE
        for name in extractors:
            ranges[f"{metric}_{name}"] = MEASURED[metric].range
            ranges |= {f"{metric}_{side}_{name}": ends for side in ("low", "high")}
    return {name: ranges[name] for name in measured_columns(extractors)}


def quality_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """Name the metric columns for these extractors, in order: fid_domain, kid_domain and so on."""
    bounds = tuple(f"{metric}_{side}" for metric in INTERVAL_METRICS for side in ("low", "high"))
    metrics = (*PER_EXTRACTOR, *bounds)
    return tuple(f"{metric}_{name}" for name in extractors for metric in metrics)


def measured_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of eval.csv that hold numbers, in order."""
    return (*POINT, *SELECTION, *quality_columns(extractors), *MODES, *PERFECT, *HELD_OUT, *COST)


def eval_columns(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of eval.csv, in order; fixed by the extractors alone."""
    blind = (f"{BLIND}{name}" for name in extractors)
    return (*IDENTITY, *measured_columns(extractors), *TEXTS, *blind)


def of_held_out(extractors: tuple[str, ...]) -> tuple[str, ...]:
    """All columns of scores that compare with held-out samples."""
    metrics = [column.name for column in COLUMNS if column.held_out]
    return (*HELD_OUT, *(f"{metric}_{name}" for name in extractors for metric in metrics))


def best_of(points: int, weights: str) -> str:
    """What the column weights says of those with the lowest validation FID of a run.

    Args:
        points: number of evaluation points.
        weights: "ema" or "raw".
    """
    return f"best of {points} ({weights})"


def extractor_names(columns: Iterable[str]) -> tuple[str, ...]:
    """The extractors that the columns of an eval.csv were made with, in order."""
    prefix = "is_std_"  # no other column begins so
    return tuple(column.removeprefix(prefix) for column in columns if column.startswith(prefix))


def is_later(column: str) -> bool:
    """Whether earlier versions did not write a column, whose files can be read without it."""
    return column in ADDED or column.startswith((BLIND, *ADDED_METRICS))
