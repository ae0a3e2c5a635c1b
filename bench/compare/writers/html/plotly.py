"""Figures for plotly.js: views with traces and axes."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from bench.compare.comparison import Comparison

SYMBOLS = ("circle", "square", "diamond", "triangle-up", "cross", "star", "pentagon", "x")
"""Markers of the models that have their own colour, so that colour is not the only distinction."""

OTHER = "@other"
"""The colour shared by all other models. "@0" and so on are the colours of the page's theme."""

INK = "@ink"
"""The colour of text."""

LOG_SPAN = 8.0
"""Ratio of the largest to the smallest positive value from which an axis is logarithmic."""

DENSE_DECADES = 2.2
"""Number of decades up to which logarithmic axes have ticks at 1, 2 and 5."""

Trace = dict[str, Any]
"""A trace of plotly.js."""


@dataclass(frozen=True)
class Style:
    """Style of a model in all figures of a comparison.

    Attributes:
        name: its label.
        color: colour of its traces.
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
        x: horizontal coordinate.
        y: vertical coordinate; a name if the axis has categories.
        text: hover text.
    """

    x: float
    y: Any
    text: str


@dataclass(frozen=True)
class Series:
    """Points of a model in a figure.

    Attributes:
        style: style of the model.
        means: means over seeds, in order.
        seeds: single seeds.
        dash: style of the line through the means.
    """

    style: Style
    means: list[Dot] = field(default_factory=list)
    seeds: list[Dot] = field(default_factory=list)
    dash: str = "solid"


@dataclass(frozen=True)
class View:
    """One view of a figure, such as one choice of the axis.

    Attributes:
        label: label of its button.
        data: its traces.
        layout: its axes, as in plotly.js.
        reading: a sentence on this view only.
    """

    label: str
    data: Sequence[Trace]
    layout: Mapping[str, Any]
    reading: str = ""


@dataclass(frozen=True)
class Figure:
    """A figure with a caption.

    Attributes:
        title: its title.
        reading: its caption.
        views: at least one; the first is shown.
        height: height in pixels.
        wide: whether it has the full width of the page.
    """

    title: str
    reading: str
    views: Sequence[View]
    height: int = 440
    wide: bool = False

    @property
    def spec(self) -> dict[str, Any]:
        """The figure as JSON values, for figures.js."""
        views = [{"data": list(v.data), "layout": dict(v.layout)} for v in self.views]
        return {"height": self.height, "views": views}


def styles(comparison: Comparison) -> dict[tuple[str, str], Style]:
    """Styles of all trained models and variants with a result, in the order of the entries.

    The first `len(SYMBOLS)` have their own colours, the others share one.
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
    """Text escaped for plotly.js, which interprets some HTML."""
    return html.escape(text, quote=False)


def number(value: float) -> float | None:
    """A value for JSON, rounded to five digits; None if it is not finite."""
    return float(f"{value:.5g}") if math.isfinite(value) else None


def axis(title: str, values: Iterable[float], *, ticks: str = "~g") -> dict[str, Any]:
    """An axis; logarithmic if values are positive and their ratio is at least `LOG_SPAN`.

    Args:
        title: title with unit.
        values: the values shown.
        ticks: d3 format of the tick labels.
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
    """Traces of seeds, then of means; models without their own colour form one trace.

    Args:
        series: the series, in the order of the legend.
        joined: whether the means are joined by lines.
        between: traces between seeds and means.
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
    """Means of a model: large markers, or smaller ones on a line."""
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
    """Single seeds of a model: small, pale markers in the legend group of its means."""
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
