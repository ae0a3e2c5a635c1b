"""The figures of a comparison: costs against FID, learning curves, seeds, held-out curves."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import pandas as pd

from bench.compare.comparison import Comparison, Entry
from bench.compare.read import read_curves
from bench.compare.topics.curves import Axis, LearningCurves, learning_curves
from bench.compare.topics.equal_training import best_samplers
from bench.compare.topics.pareto import Candidate, sampling_front, training_front
from bench.compare.writers.html.plotly import (
    INK,
    Dot,
    Figure,
    Series,
    Style,
    Trace,
    View,
    axis,
    mean_trace,
    number,
    plain,
    seed_trace,
    styles,
    traces,
)
from bench.compare.writers.html.settling import settling_figure

Styles = Mapping[tuple[str, str], Style]
"""Styles by model and variant."""


def figures(comparison: Comparison) -> list[Figure]:
    """All figures, in the order of the page."""
    looks = styles(comparison)
    if not looks or not comparison.extractors:
        return []
    curves = learning_curves(comparison)
    found = [
        learning_figure(comparison, curves, looks),
        sampling_figure(comparison, looks),
        training_figure(comparison, looks),
        calls_figure(comparison, looks),
        seeds_figure(comparison, looks),
        settling_figure(comparison),
    ]
    return [figure for figure in found if figure] + held_out_figures(comparison, looks)


SAMPLING = {
    "ms per sample": ("latency_ms", 1.0, "ms per sample, one at a time"),
    "FLOPs per sample": ("gflops_per_sample", 1.0, "GFLOP per sample"),
}
"""Costs of a sample by label of the view: column, size of the unit, title of the axis."""

TRAINING = {
    "seconds": ("train_seconds", 1.0, "seconds of training"),
    "FLOPs": ("train_flops", 1e12, "TFLOP of training"),
}
"""Costs of training by label of the view: column, size of the unit, title of the axis."""

NAMED = 5
"""Maximum number of entries of a front that are named below the figure."""


def sampling_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID against the cost of a sample; None if no cost is known."""
    views = _views(comparison, styles, SAMPLING, lambda column: sampling_front(comparison, column))
    reading = (
        "Lower and further left is better. Large markers are means over seeds, small ones single "
        "seeds. Entries on the line are non-dominated."
    )
    return Figure("Cost of a sample", reading, views) if views else None


def training_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID at every evaluation point against the cost of training; None if no cost is known."""
    views = _views(comparison, styles, TRAINING, lambda column: training_front(comparison, column))
    reading = (
        "Lower and further left is better. Every marker is the mean over seeds of a sampler at one "
        "evaluation point. The line is the lowest FID within a training budget."
    )
    return Figure("Cost of training", reading, views) if views else None


def _views(
    comparison: Comparison,
    styles: Styles,
    costs: Mapping[str, tuple[str, float, str]],
    candidates_of: Callable[[str], Sequence[Candidate]],
) -> list[View]:
    """One view per measured cost, with a sentence on its front."""
    views = []
    for label, (column, size, title) in costs.items():
        series: dict[tuple[str, str], Series] = {}
        shown: list[tuple[Dot, Candidate]] = []
        for candidate in candidates_of(column):
            key = (candidate.entry.model, candidate.entry.variant)
            mean, seeds = _candidate_dots(candidate, styles[key], size)
            if math.isfinite(mean.y) and 0 < mean.x < math.inf:
                of = series.setdefault(key, Series(styles[key]))
                of.means.append(mean)
                of.seeds.extend(seeds)
                shown.append((mean, candidate))
        if not shown:
            continue
        on = sorted((each for each in shown if each[1].on_front), key=lambda each: each[0].x)
        plotted = traces(list(series.values()), between=[_front_line([dot for dot, _ in on])])
        layout = {
            "xaxis": axis(title, [dot.x for dot, _ in shown]),
            "yaxis": _fid_axis(comparison, [dot.y for dot, _ in shown]),
        }
        reading = _front_sentence(comparison, [candidate for _, candidate in on])
        views.append(View(label, plotted, layout, reading))
    return views


def _candidate_dots(candidate: Candidate, style: Style, size: float) -> tuple[Dot, list[Dot]]:
    """The mean of a candidate, and its seeds if it is at the last evaluation point."""
    text = _text(style, candidate.entry.sampler)
    last = candidate.point == candidate.points
    if not last:
        text += f", point {candidate.point} of {candidate.points}"
    mean = Dot(float(candidate.costs.mean()) / size, float(candidate.fids.mean()), text)
    pairs = zip(candidate.costs / size, candidate.fids, strict=True)
    return mean, [Dot(cost, fid, f"{text}, one seed") for cost, fid in pairs if last]


def _front_line(on: Sequence[Dot]) -> Trace:
    """The front as a step line: the lowest FID within a cost."""
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [number(dot.x) for dot in on],
        "y": [number(dot.y) for dot in on],
        "hoverinfo": "skip",
        "line": {"color": INK, "width": 1, "dash": "dot", "shape": "hv"},
    }


def _front_sentence(comparison: Comparison, on: Sequence[Candidate]) -> str:
    """A sentence with the entries on the front."""
    names = list(dict.fromkeys(f"{comparison.label(c.entry)} ({c.entry.sampler})" for c in on))
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"On the line, the cheapest first: {', '.join(names[:NAMED])}{more}."


AXES: dict[Axis, tuple[str, float, str, str]] = {
    "images": ("images", 1.0, "samples seen", "~s"),
    "train_seconds": ("seconds", 1.0, "seconds of training", "~g"),
    "train_flops": ("FLOPs", 1e12, "TFLOP of training", "~g"),
}
"""Label of the view, size of the unit, title of the axis and format of the ticks, by axis."""


def learning_figure(
    comparison: Comparison, curves: Sequence[LearningCurves], styles: Styles
) -> Figure | None:
    """FID during training, for the best sampler of each model that was scored along the run.

    None if no run has two points.
    """
    followed = best_samplers([of for of in curves if of.points > 1])
    views = [view for name in AXES if (view := _along(comparison, followed, styles, name))]
    reading = (
        "FID during training, for the sampler of each model that is best at the end, among those "
        "that were scored along the run. Lines are "
        "means over seeds, small markers single seeds. A line that still falls at the end suggests "
        "a larger budget; a rising one can be a sign of collapse."
    )
    return Figure("Learning curves", reading, views) if views else None


def _along(
    comparison: Comparison, curves: Sequence[LearningCurves], styles: Styles, name: Axis
) -> View | None:
    """The curves on one axis; None if it was not measured."""
    label, size, title, ticks = AXES[name]
    series = []
    for of in curves:
        style = styles[of.entry.model, of.entry.variant]
        x, y = of.stacked(name) / size, of.stacked(of.fid)  # (S, P) each
        text = _text(style, of.entry.sampler)
        means = [Dot(*xy, text) for xy in zip(x.mean(axis=0), y.mean(axis=0), strict=True)]
        seeds = [
            Dot(*xy, f"{text}, seed {plain(seed)}")
            for seed, seed_x, seed_y in zip(of.entry.seeds, x, y, strict=True)
            for xy in zip(seed_x, seed_y, strict=True)
        ]
        if any(math.isfinite(dot.x * dot.y) for dot in means):
            series.append(Series(style, means, seeds))
    if not series:
        return None
    shown = [dot for each in series for dot in each.means]
    layout = {
        "xaxis": axis(title, [dot.x for dot in shown], ticks=ticks),
        "yaxis": _fid_axis(comparison, [dot.y for dot in shown]),
    }
    return View(label, traces(series, joined=True), layout)


STEPS = re.compile(r"-\d+(?=-|$)")
"""The number of steps in a sampler's name, as in ddim-50-eta0.5."""

DASHES = ("solid", "dash", "dot", "dashdot")
"""Line styles of a model's sampling methods."""


def calls_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID against network calls per sample; None if all samplers have the same number."""
    fid = f"fid_{comparison.extractors[0]}"
    shown = [
        entry
        for entry in comparison.entries
        if entry.finished and entry.trained and entry.mean["nfe"] > 0
        if math.isfinite(entry.mean[fid])
    ]
    if len({entry.mean["nfe"] for entry in shown}) < 2:
        return None
    methods: dict[tuple[str, str], dict[str, Series]] = {}
    for entry in sorted(shown, key=lambda entry: entry.mean["nfe"]):
        style = styles[entry.model, entry.variant]
        known = methods.setdefault((entry.model, entry.variant), {})
        dash = DASHES[len(known) % len(DASHES)]
        method = STEPS.sub("", entry.sampler, count=1)
        of = known.setdefault(method, Series(style, dash=dash))
        nfe, text = entry.mean["nfe"], _text(style, entry.sampler)
        of.means.append(Dot(nfe, entry.mean[fid], text))
        of.seeds.extend(
            Dot(nfe, value, f"{text}, seed {plain(seed)}")
            for seed, value in entry.values(fid).items()
        )
    layout = {
        "xaxis": axis("network calls per sample (NFE)", [e.mean["nfe"] for e in shown]),
        "yaxis": _fid_axis(comparison, [e.mean[fid] for e in shown]),
    }
    reading = (
        "Each line is one model and sampling method with an increasing number of steps; small "
        "markers are single seeds. Where a line is flat, more steps do not improve FID."
    )
    series = [each for known in methods.values() for each in known.values()]
    view = View("NFE", traces(series, joined=True), layout)
    return Figure("FID against network calls", reading, [view])


MAX_ROWS = 24
"""Maximum number of entries shown, those with the lowest FIDs."""

ROW_HEIGHT = 30
"""Height of the row of an entry, in pixels."""


def seeds_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID of every seed, one row per entry; None if no entry has two seeds."""
    fid = f"fid_{comparison.extractors[0]}"
    found = [e for e in comparison.entries if e.finished and e.trained and e.values(fid)]
    if not any(len(entry.values(fid)) > 1 for entry in found):
        return None
    shown = found[:MAX_ROWS]
    rows = [plain(f"{comparison.label(entry)}, {entry.sampler}") for entry in shown]
    plotted = []
    for row, entry in zip(rows, shown, strict=True):
        plotted += _row(row, entry, styles[entry.model, entry.variant], fid)
    layout = {
        "xaxis": _fid_axis(comparison, [v for e in shown for v in e.values(fid).values()]),
        "yaxis": {
            "type": "category",
            "categoryarray": rows[::-1],
            "categoryorder": "array",
            "dtick": 1,
        },
        "showlegend": False,
    }
    left = f" The {len(found) - len(shown)} entries with higher FID are left out." * (
        len(found) > len(shown)
    )
    reading = (
        "Small markers are single seeds, large ones their means; the bar is the 95 % bootstrap "
        f"interval of the mean, for at least three seeds. Overlap is not a statistical test.{left}"
    )
    height = 110 + ROW_HEIGHT * len(rows)
    return Figure("Seeds", reading, [View("FID", plotted, layout)], height, wide=True)


def _row(row: str, entry: Entry, style: Style, fid: str) -> list[Trace]:
    """The mean of an entry with its interval, and its seeds."""
    summary = entry.summary(fid)
    seeds = [
        Dot(value, row, f"{row}, seed {plain(seed)}") for seed, value in entry.values(fid).items()
    ]
    series = Series(style, [Dot(summary.mean, row, f"<b>{row}</b>, mean")], seeds)
    mean = mean_trace(series)
    ends = [number(summary.high - summary.mean), number(summary.mean - summary.low)]
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
    return _hovering([mean, seed_trace(series)], "%{text}<br>FID %{x:.4~g}")


WORDS = {
    "x0_error": (
        "Error of the predicted clean image",
        "timestep, as a share of all",
        "mean squared error",
        "Error of the clean image predicted from noisy held-out images. Later timesteps have more "
        "noise.",
    ),
    "edit_distance": (
        "Distance of an edit from its input",
        "strength of the edit",
        "RMS distance to the input",
        "Noise is added to held-out images and removed again (SDEdit). The strength is the share "
        "of the sampling steps that are repeated.",
    ),
}
"""Title, axis titles and sentence of the curves by name."""


def held_out_figures(comparison: Comparison, styles: Styles) -> list[Figure]:
    """One figure per kind of curve.

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
    return [_curve_figure(name, by_model, styles) for name, by_model in found.items()]


def _curve_figure(
    name: str, by_model: Mapping[tuple[str, str], list[pd.DataFrame]], styles: Styles
) -> Figure:
    title, x_title, y_title, reading = WORDS.get(name, (name, "x", plain(name), ""))
    series = []
    for key, tables in by_model.items():
        rows = pd.concat(tables)
        mean = rows.groupby("x", as_index=False).agg({"mean": "mean"})
        text = f"<b>{styles[key].name}</b>"
        means = [Dot(*xy, text) for xy in zip(mean["x"], mean["mean"], strict=True)]
        seeds = [Dot(*xy, f"{text}, one seed") for xy in zip(rows["x"], rows["mean"], strict=True)]
        series.append(Series(styles[key], means, seeds))
    plotted = _hovering(traces(series, joined=True), "%{text}<br>%{x:.3~g}: %{y:.3~g}")
    shown = [dot.y for each in series for dot in each.means]
    layout = {"xaxis": {"title": {"text": x_title}}, "yaxis": axis(y_title, shown)}
    reading = f"{reading} Lines are means over seeds.".strip()
    return Figure(title, reading, [View("", plotted, layout)])


def _fid_axis(comparison: Comparison, values: Sequence[float]) -> dict[str, object]:
    """An axis of the ranking FID."""
    return axis(f"FID ({plain(comparison.extractors[0])})", values)


def _text(style: Style, sampler: str) -> str:
    """Hover text with a model and a sampler."""
    return f"<b>{style.name}</b>, {plain(sampler)}"


def _hovering(plotted: list[Trace], template: str) -> list[Trace]:
    """Traces with another hover text."""
    return [trace | {"hovertemplate": f"{template}<extra></extra>"} for trace in plotted]
