"""Figures along training and along sampling: learning curves, and FID against network calls."""

import math
import re
from collections.abc import Mapping, Sequence

import numpy as np

from bench.compare.curves import Axis, LearningCurves
from bench.compare.equal_training import best_samplers
from bench.compare.report.figures import (
    Figure,
    Style,
    Trace,
    View,
    axis,
    gathered,
    lines,
    numbers,
    plain,
    seed_markers,
)
from bench.compare.statistics import Comparison, Entry

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
        x = np.stack([getattr(c, name)[: of.points] for c in of.seeds.values()]) / size  # (S, P)
        y = np.stack([c.metric[: of.points] for c in of.seeds.values()])  # (S, P)
        mean_x, mean_y = x.mean(axis=0), y.mean(axis=0)
        if not np.isfinite(mean_x * mean_y).any():
            continue
        text = f"<b>{style.name}</b>, {plain(of.entry.sampler)}"
        means.append((style, lines(style, numbers(mean_x), numbers(mean_y), [text] * of.points)))
        if style.own:
            texts = [f"{text}, seed {plain(seed)}" for seed in of.seeds for _ in range(of.points)]
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
