"""A comparison as a table for machines."""

import math
from collections.abc import Sequence

import pandas as pd

from bench.compare.statistics import KEY, Comparison, Entry, statistics_columns
from bench.protocol import PROTOCOL


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """The comparison as a table for machines: <column>_mean and <column>_std in full precision."""
    columns = statistics_columns(comparison.extractors)
    rows = [
        {
            "dataset": comparison.dataset,
            **{name: getattr(entry, name) for name in KEY},
            "status": entry.status,
            "reason": entry.reason,
            "trained": entry.trained,
            "n": len(entry.seeds) if entry.finished else 0,
            "seeds": " ".join(entry.seeds),
            **{f"{c}_mean": entry.mean.get(c, math.nan) for c in columns},
            **{f"{c}_std": entry.std.get(c, math.nan) for c in columns},
            **_course_columns(entry),
            **{field: entry.protocol.get(field, "") for field in PROTOCOL},
            "overrides": entry.overrides,
            "commits": " ".join(entry.commits),
        }
        for entry in comparison.entries
    ]
    return pd.DataFrame(rows)


def joined(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """All rows of several comparisons; one that stands in several of them is kept once."""
    frames = [to_frame(comparison) for comparison in comparisons]
    return pd.concat(frames, ignore_index=True).drop_duplicates(ignore_index=True)


def _course_columns(entry: Entry) -> dict[str, str]:
    """Where along the run the best FIDs were, and what the collapse watch said, as text."""
    course = entry.course
    if course is None:
        return {"best_at": "", "warnings": "", "warned_at": ""}
    return {
        "best_at": " ".join(map(str, course.best_at)),
        "warnings": "; ".join(f"seed {seed}: {words}" for seed, words in course.warnings.items()),
        "warned_at": "; ".join(f"seed {seed}: {at}" for seed, at in course.warned_at.items()),
    }
