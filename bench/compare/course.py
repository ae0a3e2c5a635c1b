"""What a run looked like before its last evaluation point: its best score, and its warnings."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.eval_table import EvalTable
from bench.watch import shows_collapse, shows_copying

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

    @property
    def signs(self) -> tuple[str, ...]:
        """What the warnings at the last point are about: "collapse", "copying" or both."""
        found = self.warnings.values()
        kinds = {"collapse": shows_collapse, "copying": shows_copying}
        return tuple(kind for kind, shows in kinds.items() if any(map(shows, found)))


def last_point(table: EvalTable) -> EvalTable:
    """Reduce the rows of a run to those of its last evaluation point; none if there are none."""
    if not len(table):
        return table
    checkpoints = table.numbers("checkpoint")
    return table.where(checkpoints == checkpoints.max())


def along(table: EvalTable, last: EvalTable) -> dict[str, list[float] | list[str]]:
    """Say of every row of a run's last evaluation point what came before it.

    Args:
        table: all rows of a run; the FID of the first extractor is followed.
        last: its rows at the last evaluation point, R of them.

    Returns:
        The columns BEST_FID, BEST_CHECKPOINT and WARNED_AT, R values each; nothing for no rows.
    """
    if not len(table):
        return {}
    fids = table.numbers(f"fid_{table.layout.extractors[0]}").tolist()
    checkpoints = table.numbers("checkpoint").tolist()
    points: dict[tuple[str, str], list[tuple[float, float, str]]] = {}
    warnings = table.texts("warning")
    for key, fid, at, words in zip(_keys(table), fids, checkpoints, warnings, strict=True):
        points.setdefault(key, []).append((fid, at, words))
    end = max(checkpoints)
    best, warned = [], []
    for key in _keys(last):
        known = [(fid, at) for fid, at, _ in points[key] if not math.isnan(fid)]
        best.append(min(known, default=(math.nan, math.nan)))
        warned.append(sorted(int(at) for _, at, words in points[key] if words and at < end))
    return {
        BEST_FID: [fid for fid, _ in best],
        BEST_CHECKPOINT: [at for _, at in best],
        WARNED_AT: [" ".join(map(str, checkpoints)) for checkpoints in warned],
    }


def _keys(table: EvalTable) -> list[tuple[str, str]]:
    return list(zip(table.texts("sampler"), table.texts("weights"), strict=True))


def course(
    seeds: Sequence[str],
    warnings: Sequence[str],
    warned_at: Sequence[str],
    best_at: Sequence[float],
    points: int,
) -> Course:
    """The course of some runs that are alike.

    Args:
        seeds: one for each run, in order.
        warnings: what the collapse watch says at the last point, by run.
        warned_at: earlier points with warnings, by run.
        best_at: the point of the lowest FID, by run; NaN where there is none.
        points: evaluation points of a run.
    """
    return Course(
        warnings={seed: words for seed, words in zip(seeds, warnings, strict=True) if words},
        warned_at={seed: at for seed, at in zip(seeds, warned_at, strict=True) if at},
        best_at=tuple(sorted(int(at) for at in best_at if not math.isnan(at))),
        points=points,
    )
