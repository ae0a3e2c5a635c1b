"""A comparison as a data frame in full precision, and tables as CSV."""

import math
from collections.abc import Sequence

import pandas as pd

from bench.compare.cells import Table
from bench.compare.comparison import KEY, Comparison, Entry, statistics_columns
from bench.compare.topics.blindness import blind_text
from bench.compare.topics.outcomes import Outcome, outcomes
from bench.evaluation.collapse import shows_collapse
from bench.runtime.atomic_files import csv_text, inert
from bench.schema import BLIND, PROTOCOL


def to_frame(comparison: Comparison) -> pd.DataFrame:
    """The comparison as a data frame, one row per entry; selected checkpoints come last.

    It has <column>_mean and <column>_std of all columns; for FID also median, minimum, maximum and
    the 95 % bootstrap interval of the mean; the numbers of runs of the model that ended and that
    failed, and of seeds with signs of collapse; protocol, overrides and commits.
    """
    columns = statistics_columns(comparison.extractors)
    ended = {(outcome.model, outcome.variant): outcome for outcome in outcomes(comparison)}
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
            **_over_seeds(entry, comparison.extractors),
            **_outcome_columns(entry, ended.get(entry.key)),
            **_point_columns(entry),
            **{field: entry.protocol.get(field, "") for field in PROTOCOL},
            **{f"{BLIND}{e}": blind_text(comparison, e) for e in comparison.extractors},
            "overrides": entry.overrides,
            "commits": " ".join(entry.commits),
        }
        for entry in (*comparison.entries, *comparison.best)
    ]
    return pd.DataFrame(rows)


def joined(comparisons: Sequence[Comparison]) -> pd.DataFrame:
    """All rows of several comparisons, without duplicates."""
    frames = [to_frame(comparison) for comparison in comparisons]
    return pd.concat(frames, ignore_index=True).drop_duplicates(ignore_index=True)


def frame_csv(frame: pd.DataFrame) -> str:
    """A data frame as CSV; text that spreadsheets would evaluate gets a leading apostrophe."""
    texts = {
        str(name): [inert(value) if isinstance(value, str) else value for value in column]
        for name, column in frame.select_dtypes(exclude=["number", "bool"]).items()
    }
    safe = frame.assign(**texts).rename(columns=inert)
    return safe.to_csv(index=False, float_format="%.8g")


def table_csv(table: Table) -> str:
    """The texts of a table as CSV; those that spreadsheets would evaluate get an apostrophe."""
    headings = tuple(map(inert, table.headings))
    return csv_text(headings, ([inert(cell.text) for cell in row] for row in table.rows))


def _over_seeds(entry: Entry, extractors: Sequence[str]) -> dict[str, float]:
    """Median, extremes and interval of the mean of each extractor's FID."""
    found = {}
    for column in (f"fid_{extractor}" for extractor in extractors):
        s = entry.summary(column)
        found |= {f"{column}_median": s.median, f"{column}_min": s.minimum}
        found |= {f"{column}_max": s.maximum}
        found |= {f"{column}_mean_low": s.low, f"{column}_mean_high": s.high}
    return found


def _outcome_columns(entry: Entry, outcome: Outcome | None) -> dict[str, object]:
    """Counts of how the model's runs ended; NaN for models that are not trained."""
    collapsed = sum(map(shows_collapse, entry.warnings.values()))
    return {
        "runs_ended": outcome.runs if outcome else math.nan,
        "runs_failed": outcome.failed if outcome else math.nan,
        "seeds_collapsed": collapsed if entry.finished else math.nan,
    }


def _point_columns(entry: Entry) -> dict[str, str]:
    """Evaluation points of the best FIDs and warnings, as text."""
    before = {seed: " ".join(map(str, points)) for seed, points in entry.warned_at.items()}
    return {
        "best_at": " ".join(map(str, entry.best_at)),
        "warnings": "; ".join(f"seed {seed}: {words}" for seed, words in entry.warnings.items()),
        "warned_at": "; ".join(f"seed {seed}: {points}" for seed, points in before.items()),
    }
