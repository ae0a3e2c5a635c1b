"""Figures of what models do to held-out data: the curves that runs leave in curves.csv."""

from collections.abc import Mapping

import pandas as pd

from bench.compare.inside import read_curves
from bench.compare.report.figures import (
    Figure,
    Style,
    View,
    axis,
    gathered,
    lines,
    numbers,
    plain,
    seed_markers,
)
from bench.compare.statistics import Comparison

WORDS = {
    "x0_error": (
        "Error of the predicted clean image",
        "timestep, as a share of all",
        "mean squared error",
        "How well the clean image is seen through the noise: the later the timestep, the more "
        "noise, and the less is left to see.",
    ),
    "edit_distance": (
        "How far an edit goes",
        "strength of the edit",
        "RMS distance to the input",
        "Noise is added to held-out images up to a strength and removed again: the strength sets "
        "how much of the input stays.",
    ),
}
"""Title, axes and sentence of the curves that are known by name."""


def held_out_figures(
    comparison: Comparison, styles: Mapping[tuple[str, str], Style]
) -> list[Figure]:
    """A figure for each kind of curve that some run has.

    Raises:
        ValueError: a run's curves are damaged.
    """
    found: dict[str, dict[tuple[str, str], list[pd.DataFrame]]] = {}
    for run in comparison.runs:
        key = (run.model, run.variant)
        table = read_curves(run.path) if key in styles else None
        if table is not None:
            for name, rows in table.groupby("curve", sort=False):
                found.setdefault(str(name), {}).setdefault(key, []).append(rows)
    return [_figure(name, by_model, styles) for name, by_model in found.items()]


def _figure(
    name: str,
    by_model: Mapping[tuple[str, str], list[pd.DataFrame]],
    styles: Mapping[tuple[str, str], Style],
) -> Figure:
    title, x_title, y_title, reading = WORDS.get(name, (name, "x", plain(name), ""))
    means, seeds, shown = [], [], []
    for key, tables in by_model.items():
        style = styles[key]
        rows = pd.concat(tables)
        mean = rows.groupby("x", as_index=False).agg({"mean": "mean"})
        text = [f"<b>{style.name}</b>"] * len(mean)
        means.append((style, lines(style, numbers(mean["x"]), numbers(mean["mean"]), text)))
        if style.own:
            text = [f"<b>{style.name}</b>, one seed"] * len(rows)
            seeds.append(seed_markers(style, numbers(rows["x"]), numbers(rows["mean"]), text))
        shown += mean["mean"].tolist()
    traces = [*seeds, *gathered(means)]
    for trace in traces:
        trace["hovertemplate"] = "%{text}<br>%{x:.3~g}: %{y:.3~g}<extra></extra>"
    layout = {"xaxis": {"title": {"text": x_title}}, "yaxis": axis(y_title, shown)}
    return Figure(
        title, f"{reading} Lines are means over seeds.".strip(), [View("", traces, layout)]
    )
