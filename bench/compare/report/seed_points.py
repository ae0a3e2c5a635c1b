"""Figure of seeds: every seed's FID as a point, beside the mean and its interval."""

from collections.abc import Mapping

from bench.compare.report.figures import (
    Figure,
    Style,
    Trace,
    View,
    axis,
    markers,
    number,
    numbers,
    plain,
    seed_markers,
)
from bench.compare.statistics import Comparison, Entry

MAX_ROWS = 24
"""So many entries are shown, the lowest FIDs first."""

ROW_HEIGHT = 30
"""Pixels of an entry."""


def seeds_figure(comparison: Comparison, styles: Mapping[tuple[str, str], Style]) -> Figure | None:
    """FID of every seed, a row for each entry; None where no entry has two seeds."""
    fid = f"fid_{comparison.extractors[0]}"
    found = [e for e in comparison.entries if e.finished and e.trained and e.values(fid)]
    if not any(len(entry.values(fid)) > 1 for entry in found):
        return None
    shown = found[:MAX_ROWS]
    rows = [plain(f"{comparison.label(entry)}, {entry.sampler}") for entry in shown]
    traces = []
    for row, entry in zip(rows, shown, strict=True):
        traces += _row(row, entry, styles[entry.model, entry.variant], fid)
    values = [value for entry in shown for value in entry.values(fid).values()]
    layout = {
        "xaxis": axis(f"FID ({plain(comparison.extractors[0])})", values),
        "yaxis": {
            "type": "category",
            "categoryarray": rows[::-1],
            "categoryorder": "array",
            "dtick": 1,
        },
        "showlegend": False,
    }
    left = f" The {len(found) - len(shown)} entries of higher FID are left out." * (
        len(found) > len(shown)
    )
    reading = (
        "Every small marker is one seed, the large one their mean; the bar is the 95 % bootstrap "
        f"interval of the mean, from three seeds on. Overlapping clouds are no verdict.{left}"
    )
    height = 110 + ROW_HEIGHT * len(rows)
    return Figure("Seeds", reading, [View("FID", traces, layout)], height, wide=True)


def _row(row: str, entry: Entry, style: Style, fid: str) -> list[Trace]:
    """The seeds of an entry and their mean."""
    values, summary = entry.values(fid), entry.summary(fid)
    text = [f"{row}, seed {plain(seed)}" for seed in values]
    seeds = seed_markers(style, numbers(values.values()), [row] * len(values), text)
    mean = markers(style, [number(summary.mean)], [row], [f"<b>{row}</b>, mean"])
    for trace in (seeds, mean):
        trace["hovertemplate"] = "%{text}<br>FID %{x:.4~g}<extra></extra>"
    ends = numbers((summary.high - summary.mean, summary.mean - summary.low))
    if None not in ends:
        mean["error_x"] = {
            "type": "data",
            "symmetric": False,
            "array": ends[:1],
            "arrayminus": ends[1:],
            "color": style.color,
            "thickness": 2,
            "width": 4,
        }
    return [mean, seeds]
