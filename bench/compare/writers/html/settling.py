"""The figure of how questions were settled: the evidence of each one after every seed."""

import math
from collections.abc import Sequence

from bench.compare.cells import exact
from bench.compare.comparison import Comparison
from bench.compare.topics.settled import Contest, contests, is_sequential
from bench.compare.topics.settling import SETTLED_HEADING, leading, thresholds
from bench.compare.writers.html.plotly import (
    INK,
    OTHER,
    SYMBOLS,
    Figure,
    Trace,
    View,
    number,
    plain,
)

LOWEST, HIGHEST = 0.01, 1e6
"""Ends of the axis of evidence."""

NAMED = 6
"""Largest number of questions that a legend names."""

READING = (
    "One line a question. Solid lines are evidence that two FIDs differ, dashed ones that they are "
    "equal; pale ones were dropped. A question is settled where its line reaches the threshold, "
    "which falls as others are settled. Evidence may be looked at after every seed. It is shown "
    "from 0.01 to a million; point at a line for its name."
)


def settling_figure(comparison: Comparison) -> Figure | None:
    """Evidence by number of seeds; None for fixed seeds, or without a common seed.

    Args:
        comparison: without runs that cannot be compared.
    """
    if not is_sequential(comparison):
        return None
    found = [contest for contest in contests(comparison) if contest.question.seeds]
    if not found:
        return None
    named = len(found) <= NAMED
    data = [_line(comparison, contest, k, named) for k, contest in enumerate(found)]
    seeds = max(contest.question.seeds for contest in found)
    data += _thresholds(comparison, seeds)
    layout = {
        "xaxis": {"title": {"text": "seeds of both models"}, "rangemode": "tozero"},
        "yaxis": {
            "title": {"text": "evidence"},
            "type": "log",
            "dtick": 1,
            "tickformat": "~g",
            "range": _range([value for trace in data for value in trace["y"]]),
        },
    }
    height = 440 + (24 * len(found) if named else 0)
    return Figure(SETTLED_HEADING, READING, [View("", data, layout)], height, wide=True)


def _line(comparison: Comparison, contest: Contest, k: int, named: bool) -> Trace:
    """The evidence of a question after every seed, from 1 before the first one."""
    question = contest.question
    equal = leading(contest)[1]
    path = question.equal_path if equal else question.path
    name = plain(f"{comparison.label(contest.a)} or {comparison.label(contest.b)}")
    kind = "of equality" if equal else "of a difference"
    state = "dropped" if question.dropped else question.state
    color, symbol = (f"@{k}", SYMBOLS[k]) if k < len(SYMBOLS) else (OTHER, "circle")
    text = [f"<b>{name}</b>, {state}<br>before the first seed: 1"]
    text += [
        f"<b>{name}</b>, {state}<br>{n} seed{'s' * (n != 1)}: {exact(value)} {kind}"
        for n, value in enumerate(path, start=1)
    ]
    return {
        "type": "scatter",
        "mode": "lines+markers",
        "name": name,
        "showlegend": named,
        "x": list(range(len(path) + 1)),
        "y": [number(min(max(value, LOWEST), HIGHEST)) for value in (1.0, *path)],
        "text": text,
        "hovertemplate": "%{text}<extra></extra>",
        "opacity": 0.45 if question.dropped else 1.0,
        "line": {"color": color, "width": 2, "dash": "dash" if equal else "solid"},
        "marker": {"color": color, "symbol": symbol, "size": 6},
    }


DASHES = {"threshold of a difference": "solid", "threshold of equality": "dash"}
"""Line styles of thresholds, those of the evidence; the first one is dotted."""


def _thresholds(comparison: Comparison, seeds: int) -> list[Trace]:
    """A horizontal line for each threshold."""
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": f"{name}: {exact(value)}",
            "showlegend": True,
            "x": [0, seeds],
            "y": [number(value)] * 2,
            "text": [f"{name}: {exact(value)}"] * 2,
            "hovertemplate": "%{text}<extra></extra>",
            "line": {"color": INK, "width": 1, "dash": DASHES.get(name, "dot")},
        }
        for name, value in thresholds(comparison).items()
    ]


def _range(values: Sequence[float | None]) -> list[float]:
    """The ends of the logarithmic axis, with room for markers."""
    known = [value for value in values if value is not None]
    return [math.log10(min(known)) - 0.15, math.log10(max(known)) + 0.25]
