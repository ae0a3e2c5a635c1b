"""Figures of the page: views of data that plotly.js draws, with their axes and traces."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.compare.comparison import Comparison

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "x")
"""Markers of the models with a colour of their own: colour is never the only sign."""

OTHER = "@other"
"""The colour of models without one of their own. "@0" and so on are those of the page's theme."""

INK = "@ink"
"""The colour of text."""

LOG_SPAN = 8.0
"""Positive values that differ by this factor or more stand on a logarithmic axis."""

DENSE_DECADES = 2.2
"""Logarithmic axes of up to so many decades have ticks at 1, 2 and 5."""

Trace = dict[str, Any]
"""A trace of plotly.js."""


@dataclass(frozen=True)
class Style:
    """How a model looks in every figure of a comparison.

    Attributes:
        name: its label.
        color: of its traces.
        symbol: its marker.
        own: whether no other model has this colour.
    """

    name: str
    color: str
    symbol: str
    own: bool


class Dot(NamedTuple):
    """A point of a figure.

    Attributes:
        x: on the horizontal axis.
        y: on the vertical axis; a name where that has categories.
        text: shown beside the pointer.
    """

    x: float
    y: Any
    text: str


@dataclass(frozen=True)
class Series:
    """What a figure shows of a model.

    Attributes:
        style: of the model.
        means: over seeds, in order.
        seeds: single seeds.
        dash: of the line that joins the means.
    """

    style: Style
    means: list[Dot] = field(default_factory=list)
    seeds: list[Dot] = field(default_factory=list)
    dash: str = "solid"


@dataclass(frozen=True)
class View:
    """One way to look at a figure.

    Attributes:
        label: what the view shows, for the switch between views.
        data: its traces.
        layout: titles and kinds of its axes, as plotly.js has them.
        reading: a sentence on this view alone.
    """

    label: str
    data: Sequence[Trace]
    layout: Mapping[str, Any]
    reading: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure with a sentence on what to read from it.

    Attributes:
        title: what it shows.
        reading: how to read it.
        views: at least one; the first is shown.
        height: in pixels.
        wide: whether it takes the whole width of the page.
    """

    title: str
    reading: str
    views: Sequence[View]
    height: int = 440
    wide: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """What figures.js draws."""
        views = [{"data": list(v.data), "layout": dict(v.layout)} for v in self.views]
        return {"height": self.height, "views": views}


def styles(comparison: Comparison) -> dict[tuple[str, str], Style]:
    """The style of every trained model and variant that has a result, in the order of their FIDs.

    The first ones have colours of their own, the others share one.
    """
    found: dict[tuple[str, str], Style] = {}
    for entry in comparison.entries:
        key = (entry.model, entry.variant)
        if entry.finished and entry.trained and key not in found:
            k, label = len(found), plain(comparison.label(entry))
            own = k < len(SYMBOLS)
            color, symbol = (f"@{k}", SYMBOLS[k]) if own else (OTHER, "circle")
            found[key] = Style(label, color, symbol, own)
    return found


def plain(text: str) -> str:
    """Text that plotly.js shows as it is: it takes some tags and entities as markup."""
    return html.escape(text, quote=False)


def number(value: float) -> float | None:
    """A value as JSON has it, to five digits; None where it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def axis(title: str, values: Iterable[float], *, ticks: str = "~g") -> dict[str, Any]:
    """An axis: logarithmic for positive values that differ by `LOG_SPAN`.

    Args:
        title: with the unit.
        values: what it shows.
        ticks: format of the tick labels, as d3 has it.
    """
    known = [value for value in values if math.isfinite(value)]
    logs = bool(known) and min(known) > 0 and max(known) / min(known) >= LOG_SPAN
    made: dict[str, Any] = {"title": {"text": title}, "tickformat": ticks}
    if logs:
        decades = math.log10(max(known) / min(known))
        made |= {"type": "log", "dtick": "D2" if decades < DENSE_DECADES else 1}
    elif known and min(known) >= 0:
        made["rangemode"] = "tozero"
    return made


def traces(
    series: Sequence[Series], *, joined: bool = False, between: Sequence[Trace] = ()
) -> list[Trace]:
    """Seeds below, means above; models without a colour of their own as one trace, without seeds.

    Args:
        series: in the order of the legend, which names each model once.
        joined: whether lines join the means.
        between: further traces above the seeds and below the means.
    """
    own = [each for each in series if each.style.own]
    means = [mean_trace(each, joined=joined) for each in own]
    rest = [mean_trace(each, joined=joined) for each in series if not each.style.own]
    if rest:
        together = rest[0] | {"name": f"{len(rest)} more", "legendgroup": OTHER, "opacity": 0.6}
        for key in ("x", "y", "text"):
            together[key] = [value for trace in rest for value in (*trace[key], None)]
        means.insert(0, together)
    groups = [trace["legendgroup"] for trace in means]
    for k, trace in enumerate(means):
        trace["showlegend"] = groups.index(groups[k]) == k
    return [*map(seed_trace, own), *between, *means]


def mean_trace(series: Series, *, joined: bool = False) -> Trace:
    """The means of a model: large markers with a legend entry, or smaller ones on a line."""
    style = series.style
    trace = _markers(style, series.means)
    trace["marker"] |= {"size": 11 if style.own else 6, "line": {"color": "@surface", "width": 1}}
    if joined:
        trace["mode"] = "lines+markers"
        trace["marker"]["size"] = 8 if style.own else 3
        width = 2.5 if style.own else 1
        trace["line"] = {"color": style.color, "width": width, "dash": series.dash}
    return trace


def seed_trace(series: Series) -> Trace:
    """Single seeds of a model: small, pale markers that come and go with its means."""
    trace = _markers(series.style, series.seeds)
    trace["marker"] |= {"size": 5, "opacity": 0.45}
    return trace | {"showlegend": False}


def _markers(style: Style, dots: Sequence[Dot]) -> Trace:
    return {
        "type": "scatter",
        "mode": "markers",
        "name": style.name,
        "legendgroup": style.name,
        "x": [number(dot.x) for dot in dots],
        "y": [dot.y if isinstance(dot.y, str) else number(dot.y) for dot in dots],
        "text": [dot.text for dot in dots],
        "hovertemplate": "%{text}<br>%{x:.4~g}, FID %{y:.4~g}<extra></extra>",
        "marker": {"color": style.color, "symbol": style.symbol},
    }
