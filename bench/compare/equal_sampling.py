"""Models at equal cost of a sample: each by its best sampler within a limit."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from bench.compare.notation import NOTHING, exact, prefixed, spread
from bench.compare.statistics import Comparison, Entry
from bench.compare.tables import Cell, Table

MAX_LIMITS = 4
"""Most columns of a table."""

PRICES: dict[str, Callable[[float], str]] = {
    "latency_ms": lambda ms: f"{exact(ms)} ms",
    "gflops_per_sample": lambda gflops: prefixed(1e9 * gflops, "FLOP"),
}
"""What a sample costs, as columns of eval.csv, and how an amount of it is shown."""


def sampling_table(comparison: Comparison, cost: str) -> Table | None:
    """The best FID of each model within limits of what a sample costs; None where nothing is known.

    Args:
        comparison: the entries.
        cost: latency_ms or gflops_per_sample.
    """
    fid = f"fid_{comparison.extractors[0]}"
    priced: dict[str, list[Entry]] = {}
    for entry in comparison.entries:
        if entry.finished and entry.trained and entry.mean[cost] > 0 and entry.mean[fid] >= 0:
            priced.setdefault(comparison.label(entry), []).append(entry)
    limits = decades([e.mean[cost] for entries in priced.values() for e in entries])
    if not limits:
        return None
    columns = []
    for limit in limits:
        within = [[e for e in entries if e.mean[cost] <= limit] for entries in priced.values()]
        best = [min(es, key=lambda e: e.mean[fid]) if es else None for es in within]
        lowest = min(e.mean[fid] for e in best if e)
        beaten = len({e.mean[fid] for e in best if e}) > 1
        columns.append(
            [_sampled(e, fid, beaten and e is not None and e.mean[fid] == lowest) for e in best]
        )
    headings = tuple(f"≤ {PRICES[cost](limit)} ↓" for limit in limits)
    rows = zip(map(Cell, priced), *columns, strict=True)
    return Table(("model", *headings), tuple(rows), labels=1)


def decades(costs: Sequence[float]) -> list[float]:
    """Powers of ten between the least and the greatest cost, and the one above; a few of them."""
    if not costs:
        return []
    first, last = (math.ceil(math.log10(end)) for end in (min(costs), max(costs)))
    powers = np.linspace(first, last, min(MAX_LIMITS, last - first + 1)).round()
    return [10.0 ** int(power) for power in powers]


def _sampled(entry: Entry | None, fid: str, best: bool) -> Cell:
    """The FID of an entry and which sampler it is of."""
    if entry is None:
        return Cell(NOTHING)
    return Cell(f"{spread(entry.mean[fid], entry.std[fid])}, {entry.sampler}", best)
