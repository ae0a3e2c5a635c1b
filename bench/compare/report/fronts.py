"""Figures of quality against cost: who is beaten by no one, per sample and in training."""

import math
from collections.abc import Callable, Mapping, Sequence

from bench.compare.curves import LearningCurves
from bench.compare.pareto import Candidate, sampling_front, training_front
from bench.compare.report.figures import (
    INK,
    Figure,
    Style,
    Trace,
    View,
    axis,
    gathered,
    markers,
    number,
    numbers,
    plain,
    seed_markers,
)
from bench.compare.statistics import Comparison

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


def training_figure(
    comparison: Comparison, curves: Sequence[LearningCurves], styles: Styles
) -> Figure | None:
    """FID at every evaluation point against what training had cost; None without points."""
    views = _views(comparison, styles, TRAINING, lambda column: training_front(curves, column))
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
