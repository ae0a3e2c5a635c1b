"""The ranking of trained models by FID, and which of them may be recommended."""

import math

from bench.compare.comparison import Comparison, Entry, analysis

NEAR = ("precision", "coverage")
"""Metrics that are 0 if no sample is near real data."""

MOST_WARNED = 0.5
"""Share of an entry's seeds with signs of collapse or copying from which it is not recommended."""


@analysis
def ranking(comparison: Comparison) -> tuple[Entry, ...]:
    """Trained entries with a FID by mean FID; ineligible ones come last."""
    if not comparison.extractors:
        return ()
    fid = comparison.fid
    found = [e for e in comparison.entries if e.finished and e.trained and e.values(fid)]
    return tuple(sorted(found, key=lambda e: (not is_fit(comparison, e), e.mean[fid])))


def is_fit(comparison: Comparison, entry: Entry) -> bool:
    """Whether an entry is eligible for a recommendation."""
    return not has_collapsed(entry) and not is_far(comparison, entry)


def has_collapsed(entry: Entry) -> bool:
    """Whether too many of its seeds have warnings for a recommendation."""
    return len(entry.warnings) >= max(1, MOST_WARNED * len(entry.seeds))


def is_far(comparison: Comparison, entry: Entry) -> bool:
    """Whether precision and coverage, if measured, are 0 for all seeds."""
    means = [entry.mean.get(f"{m}_{comparison.extractors[0]}", math.nan) for m in NEAR]
    known = [mean for mean in means if not math.isnan(mean)]
    return bool(known) and not any(known)


def mean_fid(comparison: Comparison, entry: Entry) -> float:
    """The mean over seeds of the FID that ranks the entries."""
    return entry.mean[comparison.fid]


def best_rivals(comparison: Comparison, best: Entry) -> dict[str, Entry]:
    """The best entry of every other model, by model."""
    rivals: dict[str, Entry] = {}
    for entry in ranking(comparison):
        rivals.setdefault(entry.model, entry)
    del rivals[best.model]
    return rivals
