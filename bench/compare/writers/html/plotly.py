"""What a figure of the page is: views of data that plotly.js draws, and its axes and traces."""

import html
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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


def numbers(values: Iterable[float]) -> list[float | None]:
    """Values as JSON has them."""
    return [number(float(value)) for value in values]


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


def markers(style: Style, x: Sequence[Any], y: Sequence[Any], text: Sequence[str]) -> Trace:
    """Means of a model: large markers with a legend entry."""
    return {
        "type": "scatter",
        "mode": "markers",
        "name": style.name,
        "legendgroup": style.name,
        "x": x,
        "y": y,
        "text": text,
        "hovertemplate": "%{text}<br>%{x:.4~g}, FID %{y:.4~g}<extra></extra>",
        "marker": {
            "color": style.color,
            "symbol": style.symbol,
            "size": 11 if style.own else 6,
            "line": {"color": "@surface", "width": 1},
        },
    }


def seed_markers(style: Style, x: Sequence[Any], y: Sequence[Any], text: Sequence[str]) -> Trace:
    """Single seeds of a model: small, pale markers that come and go with its means."""
    shown = markers(style, x, y, text)
    shown["marker"] = {"color": style.color, "symbol": style.symbol, "size": 5, "opacity": 0.45}
    return shown | {"showlegend": False}


def lines(style: Style, x: Sequence[Any], y: Sequence[Any], text: Sequence[str]) -> Trace:
    """Means of a model, joined."""
    shown: Trace = markers(style, x, y, text) | {"mode": "lines+markers"}
    shown["line"] = {"color": style.color, "width": 2.5 if style.own else 1}
    shown["marker"]["size"] = 8 if style.own else 3
    return shown


def gathered(traces: Sequence[tuple[Style, Trace]]) -> list[Trace]:
    """Traces of models with their own colour, before them all others as one trace."""
    own = [trace for style, trace in traces if style.own]
    rest = [trace for style, trace in traces if not style.own]
    if not rest:
        return own
    together = rest[0] | {"name": f"{len(rest)} more", "legendgroup": OTHER, "opacity": 0.6}
    for key in ("x", "y", "text"):
        together[key] = [value for trace in rest for value in (*trace[key], None)]
    return [together, *own]
