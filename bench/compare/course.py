"""What a run looked like before its last evaluation point: its best score, and its warnings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from bench.compare.notation import natural

BEST_FID = "best_fid"
"""Column added to a run's last rows: the lowest FID of the sampler at any evaluation point."""

BEST_CHECKPOINT = "best_checkpoint"
"""Column added to a run's last rows: the evaluation point of the lowest FID."""

WARNED_AT = "warned_at"
"""Column added to a run's last rows: earlier evaluation points with a warning, as in "1 3"."""


@dataclass(frozen=True)
class Course:
    """How the finished seeds of an entry came to their last evaluation point.

    Attributes:
        warnings: what the collapse watch says at the last point, by seed; only seeds with warnings.
        warned_at: earlier evaluation points with warnings, by seed; only seeds that have some.
        best_at: evaluation points of each seed's lowest FID, ascending.
        points: evaluation points of a run.
    """

    warnings: dict[str, str]
    warned_at: dict[str, str]
    best_at: tuple[int, ...]
    points: int


def last_point(table: pd.DataFrame, extractors: Sequence[str]) -> pd.DataFrame:
    """Reduce a run to its last evaluation point.

    Args:
        table: all rows of a run, at least one.
        extractors: feature extractors; the first one's FID is followed along the run.

    Returns:
        The rows of the last point with the columns BEST_FID, BEST_CHECKPOINT and WARNED_AT added.
    """
    last = max(table["checkpoint"])
    by_sampler: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    for sampler, weights, *point in zip(
        *(table[c] for c in ("sampler", "weights", f"fid_{extractors[0]}", "checkpoint")),
        table["warning"],
        strict=True,
    ):
        by_sampler.setdefault((sampler, weights), []).append(tuple(point))
    rows = table.loc[table["checkpoint"] == last].reset_index(drop=True)
    points = [by_sampler[key] for key in zip(rows["sampler"], rows["weights"], strict=True)]
    best = [
        min(((fid, at) for fid, at, _ in of if not math.isnan(fid)), default=(math.nan, math.nan))
        for of in points
    ]
    warned = [sorted(int(at) for _, at, warning in of if warning and at < last) for of in points]
    added = {
        BEST_FID: [fid for fid, _ in best],
        BEST_CHECKPOINT: [at for _, at in best],
        WARNED_AT: [" ".join(map(str, checkpoints)) for checkpoints in warned],
    }
    return rows.assign(**added)


def course(group: pd.DataFrame) -> Course:
    """The course of the runs whose last rows these are, one row per seed."""
    group = group.sort_values("seed", key=lambda seeds: seeds.map(natural))
    warnings, warned_at = (
        {seed: words for seed, words in zip(group["seed"], group[column], strict=True) if words}
        for column in ("warning", WARNED_AT)
    )
    best_at = tuple(sorted(int(at) for at in group[BEST_CHECKPOINT] if not math.isnan(at)))
    return Course(warnings, warned_at, best_at, int(max(group["checkpoints"])))
