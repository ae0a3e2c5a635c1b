"""Figures along training and along sampling: learning curves, and FID against network calls."""

import math
import re
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from bench.compare.comparison import Comparison, Entry
from bench.compare.read import read_curves
from bench.compare.topics.curves import Axis, LearningCurves, learning_curves
from bench.compare.topics.equal_training import best_samplers
from bench.compare.topics.pareto import Candidate, sampling_front, training_front
from bench.compare.writers.html.plotly import (
    INK,
    Figure,
    Style,
    Trace,
    View,
    axis,
    gathered,
    lines,
    markers,
    number,
    numbers,
    plain,
    seed_markers,
    styles,
)

AXES: dict[Axis, tuple[str, float, str, str]] = {
    "images": ("images", 1.0, "samples seen", "~s"),
    "train_seconds": ("seconds", 1.0, "seconds of training", "~g"),
    "train_flops": ("FLOPs", 1e12, "TFLOP of training", "~g"),
}
"""Label of the view, size of the unit, title and format of the ticks, by axis."""

STEPS = re.compile(r"-\d+(?=-|$)")
"""The number of steps in a sampler's name, as in ddim-50-eta0.5."""


DASHES = ("solid", "dash", "dot", "dashdot")
"""Lines of a model's sampling methods."""


def learning_figure(
    comparison: Comparison,
    curves: Sequence[LearningCurves],
    styles: Mapping[tuple[str, str], Style],
) -> Figure | None:
    """FID along training, each model by its best sampler; None where no run has two points."""
    followed = [of for of in best_samplers(curves) if of.points > 1]
    views = [view for name in AXES if (view := _along(comparison, followed, styles, name))]
    reading = (
        "How fast each model falls, drawn by the sampler that is best at the end: lines are means "
        "over seeds, small markers are seeds. A line that still falls at its end would gain from a "
        "larger budget; one that rises has begun to forget or to collapse."
    )
    return Figure("Learning curves", reading, views) if views else None


def _along(
    comparison: Comparison,
    curves: Sequence[LearningCurves],
    styles: Mapping[tuple[str, str], Style],
    name: Axis,
) -> View | None:
    label, size, title, ticks = AXES[name]
    means, seeds, shown_x, shown_y = [], [], [], []
    for of in curves:
        style = styles[of.entry.model, of.entry.variant]
        x, y = of.stacked(name) / size, of.stacked(of.fid)  # (S, P) each
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        if not np.isfinite(mean_x * mean_y).any():
            continue
        text = f"<b>{style.name}</b>, {plain(of.entry.sampler)}"
        means.append((style, lines(style, numbers(mean_x), numbers(mean_y), [text] * of.points)))
        if style.own:
            texts = [
                f"{text}, seed {plain(seed)}" for seed in of.entry.seeds for _ in range(of.points)
            ]
            seeds.append(seed_markers(style, numbers(x.ravel()), numbers(y.ravel()), texts))
        shown_x += mean_x.tolist()
        shown_y += mean_y.tolist()
    if not means:
        return None
    layout = {
        "xaxis": axis(title, shown_x, ticks=ticks),
        "yaxis": axis(f"FID ({plain(comparison.extractors[0])})", shown_y),
    }
    return View(label, [*seeds, *gathered(means)], layout)


def calls_figure(comparison: Comparison, styles: Mapping[tuple[str, str], Style]) -> Figure | None:
    """FID against the network calls of a sample; None where all samplers make as many."""
    fid = f"fid_{comparison.extractors[0]}"
    shown = [
        entry
        for entry in comparison.entries
        if entry.finished and entry.trained and entry.mean["nfe"] > 0
        if math.isfinite(entry.mean[fid])
    ]
    if len({entry.mean["nfe"] for entry in shown}) < 2:
        return None
    families: dict[tuple[str, str, str], list[Entry]] = {}
    for entry in sorted(shown, key=lambda entry: entry.mean["nfe"]):
        method = STEPS.sub("", entry.sampler, count=1)
        families.setdefault((entry.model, entry.variant, method), []).append(entry)
    means, seeds, methods = [], [], {}
    for (model, variant, method), entries in families.items():
        style, known = styles[model, variant], methods.setdefault((model, variant), [])
        known.append(method)
        means.append((style, _calls(style, entries, DASHES[(len(known) - 1) % len(DASHES)], fid)))
        if style.own:
            seeds.append(_calls_of_seeds(style, entries, fid))
    layout = {
        "xaxis": axis("network calls per sample (NFE)", (e.mean["nfe"] for e in shown)),
        "yaxis": axis(f"FID ({plain(comparison.extractors[0])})", (e.mean[fid] for e in shown)),
    }
    reading = (
        "What a further network call buys: each line is one model and sampling method, taken with "
        "more and more steps; small markers are seeds. Where a line is flat, more steps are wasted."
    )
    view = View("NFE", [*seeds, *_one_legend_each(gathered(means))], layout)
    return Figure("Network calls against FID", reading, [view])


def _calls(style: Style, entries: Sequence[Entry], dash: str, fid: str) -> Trace:
    text = [f"<b>{style.name}</b>, {plain(entry.sampler)}" for entry in entries]
    x, y = (numbers(entry.mean[column] for entry in entries) for column in ("nfe", fid))
    trace = lines(style, x, y, text)
    trace["line"]["dash"] = dash
    return trace


def _calls_of_seeds(style: Style, entries: Sequence[Entry], fid: str) -> Trace:
    x, y, text = [], [], []
    for entry in entries:
        for seed, value in entry.values(fid).items():
            x.append(entry.mean["nfe"])
            y.append(value)
            text.append(f"<b>{style.name}</b>, {plain(f'{entry.sampler}, seed {seed}')}")
    return seed_markers(style, numbers(x), numbers(y), text)


def _one_legend_each(traces: Sequence[Trace]) -> list[Trace]:
    """The traces, of which only the first of every model stands in the legend."""
    seen: set[str] = set()
    found = []
    for trace in traces:
        found.append(trace | {"showlegend": trace["legendgroup"] not in seen})
        seen.add(trace["legendgroup"])
    return found


SAMPLING = {
    "ms per sample": ("latency_ms", 1.0, "ms per sample, one at a time"),
    "FLOPs per sample": ("gflops_per_sample", 1.0, "GFLOP per sample"),
}
"""What a sample costs, by label of the view: column, size of the unit, title of the axis."""

TRAINING = {
    "seconds": ("train_seconds", 1.0, "seconds of training"),
    "FLOPs": ("train_flops", 1e12, "TFLOP of training"),
}
"""What training costs."""

NAMED = 5
"""So many entries of a front are named below the figure."""

Styles = Mapping[tuple[str, str], Style]
"""How the models of a comparison look."""


def sampling_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID against what a sample costs; None where nothing has a cost."""
    views = _views(comparison, styles, SAMPLING, lambda column: sampling_front(comparison, column))
    reading = (
        "Lower and further left is better. Large markers are means over seeds, small ones are "
        "seeds. No entry beats those on the line in both."
    )
    return Figure("What a sample costs", reading, views) if views else None


def training_figure(comparison: Comparison, styles: Styles) -> Figure | None:
    """FID at every evaluation point against what training had cost; None without points."""
    views = _views(comparison, styles, TRAINING, lambda column: training_front(comparison, column))
    reading = (
        "Lower and further left is better. Every marker is the mean over seeds of a sampler at one "
        "evaluation point. The line is the best that so much training bought."
    )
    return Figure("What training costs", reading, views) if views else None


def _views(
    comparison: Comparison,
    styles: Styles,
    costs: Mapping[str, tuple[str, float, str]],
    candidates_of: Callable[[str], list[Candidate]],
) -> list[View]:
    """A view for each cost that was measured, with a sentence on its front."""
    views = []
    for label, (column, size, title) in costs.items():
        candidates = [c for c in candidates_of(column) if _is_shown(c)]
        if not candidates:
            continue
        layout = {
            "xaxis": axis(title, (float(c.costs.mean()) / size for c in candidates)),
            "yaxis": axis(
                f"FID ({plain(comparison.extractors[0])})",
                (float(c.fids.mean()) for c in candidates),
            ),
        }
        traces = _traces(candidates, styles, size)
        views.append(View(label, traces, layout, _named(comparison, candidates)))
    return views


def _is_shown(candidate: Candidate) -> bool:
    """Whether a candidate has a place in the plane."""
    cost, fid = float(candidate.costs.mean()), float(candidate.fids.mean())
    return math.isfinite(fid) and 0 < cost < math.inf


def _traces(candidates: Sequence[Candidate], styles: Styles, size: float) -> list[Trace]:
    by_model: dict[tuple[str, str], list[Candidate]] = {}
    for candidate in candidates:
        by_model.setdefault((candidate.entry.model, candidate.entry.variant), []).append(candidate)
    means, seeds = [], []
    for key, found in by_model.items():
        style = styles[key]
        x = numbers(float(c.costs.mean()) / size for c in found)
        y = numbers(float(c.fids.mean()) for c in found)
        means.append((style, markers(style, x, y, [_hover(style, c) for c in found])))
        if style.own:
            x, y, text = _by_seed(style, found, size)
            seeds.append(seed_markers(style, x, y, text))
    return [*seeds, _line(candidates, size), *gathered(means)]


def _by_seed(
    style: Style, candidates: Sequence[Candidate], size: float
) -> tuple[list[float | None], list[float | None], list[str]]:
    """Costs, FIDs and names of single seeds, at the last evaluation point."""
    last = [c for c in candidates if c.point == c.points]
    pairs = [
        (cost, fid, f"{_hover(style, c)}, one seed")
        for c in last
        for cost, fid in zip(c.costs, c.fids, strict=True)
    ]
    return (
        numbers(x / size for x, _, _ in pairs),
        numbers(y for _, y, _ in pairs),
        [text for _, _, text in pairs],
    )


def _line(candidates: Sequence[Candidate], size: float) -> Trace:
    """The front, as steps: what the best FID is within a cost."""
    on = sorted((c for c in candidates if c.on_front), key=lambda c: float(c.costs.mean()))
    return {
        "type": "scatter",
        "mode": "lines",
        "name": "front",
        "x": [number(float(c.costs.mean()) / size) for c in on],
        "y": [number(float(c.fids.mean())) for c in on],
        "hoverinfo": "skip",
        "line": {"color": INK, "width": 1, "dash": "dot", "shape": "hv"},
    }


def _hover(style: Style, candidate: Candidate) -> str:
    where = (
        f", point {candidate.point} of {candidate.points}"
        if candidate.point < candidate.points
        else ""
    )
    return f"<b>{style.name}</b>, {plain(candidate.entry.sampler)}{where}"


def _named(comparison: Comparison, candidates: Sequence[Candidate]) -> str:
    """Who is on the front, the cheapest first."""
    on = sorted((c for c in candidates if c.on_front), key=lambda c: float(c.costs.mean()))
    entries = dict.fromkeys(f"{comparison.label(c.entry)} ({c.entry.sampler})" for c in on)
    names = list(entries)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return f"On it, the cheapest first: {', '.join(names[:NAMED])}{more}."


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


def figures(comparison: Comparison) -> list[Figure]:
    """All figures, in the order of the page."""
    looks = styles(comparison)
    if not looks or not comparison.extractors:
        return []
    curves = learning_curves(comparison)
    found = [
        sampling_figure(comparison, looks),
        learning_figure(comparison, curves, looks),
        training_figure(comparison, looks),
        calls_figure(comparison, looks),
        seeds_figure(comparison, looks),
    ]
    return [figure for figure in found if figure] + held_out_figures(comparison, looks)
