"""The part of a watched report on runs as they are now: a table, losses, scores, samples."""

import math
import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import lru_cache
from pathlib import Path

import numpy as np

from bench.compare.cells import NOTHING, Cell, Table, exact, natural
from bench.compare.comparison import WARNING
from bench.compare.live import Curve, LiveRun
from bench.compare.topics.page import Notes
from bench.compare.topics.pictures import Grid
from bench.compare.variants import described
from bench.compare.writers.html.pictures import Picture, embedded
from bench.compare.writers.html.plotly import (
    OTHER,
    SYMBOLS,
    Dot,
    Figure,
    Series,
    Style,
    Trace,
    View,
    axis,
    number,
    plain,
    traces,
)
from bench.compare.writers.html.section import identifier
from bench.runtime.printing import duration

PLACE = "<!-- what is in progress -->"
"""Where this part belongs in a page that is watched."""

MOST_CARDS = 24
"""Maximum number of runs that are shown with losses and samples."""

MOST_POINTS = 200
"""Maximum number of points of a line; of longer logs they are means of neighbours."""

LOSS = "/loss"
"""Suffix of the keys of losses."""

SIGNS = "collapse/"
"""Prefix of the keys of signs of collapse, which are warnings and no curves."""

ORDER = ("running", "starting", "stopped", "failed", "finished")
"""The states, in the order of the table."""

WIDTH, HEIGHT = 420, 340
"""Widest picture beside a figure, and the height of that figure, in pixels."""


@dataclass(frozen=True)
class Card:
    """One unfinished run.

    Attributes:
        id: HTML id, equal in every version of the page.
        title: which run it is.
        facts: short sentences on what it is doing.
        warning: signs of collapse; empty if there are none.
        resume: the command that resumes it if it was stopped; empty otherwise.
        losses: figure of its losses; None before the first ones.
        grid: its newest picture of samples; None before the first one.
    """

    id: str
    title: str
    facts: Sequence[str]
    warning: str
    resume: str
    losses: Figure | None
    grid: Grid | None


def live_part(runs: Sequence[LiveRun], *, written: float, every: float, note: str) -> str:
    """The part as HTML.

    Args:
        runs: all runs.
        written: the time of writing, in seconds since 1970.
        every: seconds between two versions of the page.
        note: why there are no tables, or not those of all ended runs; empty otherwise.
    """
    from bench.compare.writers.html.templates import render  # slow to import

    names = labels(runs)
    open_runs = sorted(
        (run for run in runs if not run.ended), key=lambda run: natural(names[run.path])
    )
    cards = _cards(open_runs[:MOST_CARDS], names)
    grids = [card.grid for card in cards if card.grid is not None]
    album = {grid.source: picture for grid in grids if (picture := _picture(grid.source))}
    return render(
        "live.html.jinja",
        written=round(written, 1),
        clock=_clock(written),
        every=every,
        counts=counts(runs),
        ended=any(run.ended for run in runs),
        note=note,
        table=_table(runs, names),
        notes=_notes(runs, names),
        figures=_score_figures(open_runs, names),
        cards=cards,
        left_out=[names[run.path] for run in open_runs[MOST_CARDS:]],
        album=album,
        width=WIDTH,
    )


def counts(runs: Sequence[LiveRun]) -> str:
    """How many runs there are of each state, such as "2 running, 5 finished"."""
    count = Counter(run.state for run in runs)
    return ", ".join(f"{count[state]} {state}" for state in ORDER if count[state]) or "no run yet"


def labels(runs: Sequence[LiveRun]) -> dict[Path, str]:
    """A name for every run: model, variant and data set if there are several, and seed.

    Variants are named by the overrides of their command line where that is possible.
    """
    known = {(run.model, run.variant) for run in runs}
    count = Counter(model for model, _ in known)
    words = {(run.model, run.variant): _overrides(run.command) for run in runs}
    by_words = described(words)
    several = len({run.dataset for run in runs}) > 1
    found = {}
    for run in runs:
        name = run.model
        if count[run.model] > 1 and run.variant != "default":
            name = by_words.get((run.model, run.variant), f"{run.model} ({run.variant})")
        where = f" on {run.dataset}" if several else ""
        seed = f"seed\N{NO-BREAK SPACE}{run.seed}"
        found[run.path] = f"{name}{where}, {seed}" if run.seed else str(run.path)
    return found


def _overrides(command: str) -> str:
    """The settings of a command line, separated by spaces."""
    return " ".join(word for word in command.split() if "=" in word)


def _table(runs: Sequence[LiveRun], names: Mapping[Path, str]) -> Table:
    """All runs, those that are in progress first."""
    headings = (
        "run",
        "state",
        "last change",
        "of the budget",
        "samples seen",
        "training (s)",
        "training left",
        "FID ↓",
        "lowest FID ↓",
        "at point",
    )
    ordered = sorted(runs, key=lambda run: (ORDER.index(run.state), natural(names[run.path])))
    rows = tuple(_row(run, names[run.path]) for run in ordered)
    return Table(headings, rows, labels=2)


def _row(run: LiveRun, name: str) -> tuple[Cell, ...]:
    fids = [score.fid for score in run.scores if math.isfinite(score.fid)]
    last = run.scores[-1] if run.scores else None
    left = seconds_left(run)
    return (
        Cell(name),
        Cell(f"{run.state} {WARNING}" if run.warning and not run.ended else run.state),
        Cell(_clock(run.changed), key=round(run.changed)),
        _number(run.share, f"{run.share:.0%}"),
        _number(run.images or math.nan, f"{run.images:,.0f}"),
        _number(run.seconds or math.nan, f"{run.seconds:,.0f}"),
        _number(left, _left_text(left)),
        _number(fids[-1] if fids else math.nan, exact(fids[-1]) if fids else ""),
        _number(min(fids, default=math.nan), exact(min(fids)) if fids else ""),
        Cell(f"{last.point} of {run.points}", key=last.point) if last else Cell(NOTHING),
    )


def _left_text(left: float) -> str:
    """Seconds of training that are left, in words; a trained run that is active is scored."""
    if not math.isfinite(left):
        return ""
    return f"about {duration(left)}" if left > 0 else "scoring"


def _notes(runs: Sequence[LiveRun], names: Mapping[Path, str]) -> Notes:
    """Why runs failed or cannot be read, and signs of collapse of unfinished ones."""
    texts = [
        f"{names[run.path]}: {text}"
        for run in runs
        for text in (run.reason, "" if run.ended else run.warning)
        if text
    ]
    more = len(texts) - MOST_CARDS
    return Notes((*texts[:MOST_CARDS], *([f"And {more} more."] if more > 0 else [])))


def _number(value: float, text: str) -> Cell:
    return Cell(text, key=value) if math.isfinite(value) else Cell(NOTHING)


def seconds_left(run: LiveRun) -> float:
    """Seconds of training that an active run has left at its pace so far; NaN if unknown."""
    if not run.active or not run.share > 0:
        return math.nan
    seconds = run.all_seconds if run.nominal else run.seconds
    return seconds * (1 - run.share) / run.share


def _clock(seconds: float) -> str:
    """A time in words, such as "2026-11-30 01:20:05 UTC"."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _cards(runs: Sequence[LiveRun], names: Mapping[Path, str]) -> list[Card]:
    """The runs one by one, with ids of their own."""
    cards = [_card(run, names[run.path]) for run in runs]
    count = Counter(card.id for card in cards)
    return [
        replace(card, id=f"{card.id}--{k}") if count[card.id] > 1 else card
        for k, card in enumerate(cards, start=1)
    ]


def _card(run: LiveRun, name: str) -> Card:
    facts = [run.state]
    if math.isfinite(run.share):
        facts.append(f"{run.share:.0%} of the budget")
    if run.active and run.share >= 1:
        facts.append("training has ended, scoring goes on")
    if run.step:
        facts.append(f"step {run.step:,}")
    if run.scores:
        last = run.scores[-1]
        facts.append(
            f"FID ({run.extractor}) {exact(last.fid)} at point {last.point} of {run.points}"
        )
    if run.reason:
        facts.append(run.reason)
    grid = None
    if run.picture is not None:
        grid = Grid(f"Samples at evaluation point {run.picture_point}", run.picture, "")
    code = identifier("now", run.dataset, run.model, run.variant, run.seed)
    resume = run.command if run.state == "stopped" else ""
    return Card(code, name, facts, run.warning, resume, loss_figure(run), grid)


def loss_figure(run: LiveRun) -> Figure | None:
    """The logged values of a run: losses, and the others; None if nothing was logged."""
    shown = {key: curve for key, curve in run.curves.items() if not key.startswith(SIGNS)}
    groups = {
        "losses": {key: curve for key, curve in shown.items() if key.endswith(LOSS)},
        "other logged values": {k: curve for k, curve in shown.items() if not k.endswith(LOSS)},
    }
    views = [_loss_view(label, curves) for label, curves in groups.items() if curves]
    if not views:
        return None
    thinned_out = any(len(curve.values) > MOST_POINTS for curve in shown.values())
    reading = f"A point is the mean of neighbouring rows of the log, {MOST_POINTS} in all."
    return Figure("Losses", reading if thinned_out else "", views, HEIGHT)


def _loss_view(label: str, curves: Mapping[str, Curve]) -> View:
    lines = {key: thinned(curve, MOST_POINTS) for key, curve in sorted(curves.items())}
    data = [_line(key, *xy, k) for k, (key, xy) in enumerate(lines.items())]
    values = [value for _, y in lines.values() for value in y.tolist()]
    layout = {
        "xaxis": {"title": {"text": "samples seen"}, "tickformat": "~s", "rangemode": "tozero"},
        "yaxis": axis("loss" if label == "losses" else "value", values),
    }
    return View(label, data, layout)


def thinned(curve: Curve, most: int) -> tuple[np.ndarray, np.ndarray]:
    """A curve of at most `most` points, means of neighbouring ones.

    Returns:
        Samples seen and values, float64, (P,) each.
    """
    x, y = np.array(curve.images), np.array(curve.values)
    if len(x) <= most:
        return x, y
    starts = np.linspace(0, len(x), most, endpoint=False).astype(int)
    sizes = np.diff([*starts, len(x)])
    return np.add.reduceat(x, starts) / sizes, np.add.reduceat(y, starts) / sizes


def _line(key: str, x: np.ndarray, y: np.ndarray, k: int) -> Trace:
    return {
        "type": "scatter",
        "mode": "lines" if len(x) > 1 else "markers",
        "name": plain(key),
        "showlegend": True,
        "x": list(map(number, x.tolist())),
        "y": list(map(number, y.tolist())),
        "hovertemplate": f"{plain(key)}<br>%{{x:.4~s}} samples: %{{y:.4~g}}<extra></extra>",
        "line": {"color": f"@{k}" if k < len(SYMBOLS) else OTHER, "width": 1.5},
    }


def _score_figures(runs: Sequence[LiveRun], names: Mapping[Path, str]) -> list[Figure]:
    """FID so far, one figure for each data set and extractor, whose FIDs alone can be compared."""
    groups: dict[tuple[str, str], list[LiveRun]] = {}
    for run in runs:
        if any(math.isfinite(score.fid) for score in run.scores):
            groups.setdefault((run.dataset, run.extractor), []).append(run)
    return [
        _score_figure(dataset, extractor, members, names)
        for (dataset, extractor), members in sorted(groups.items())
    ]


def _score_figure(
    dataset: str, extractor: str, runs: Sequence[LiveRun], names: Mapping[Path, str]
) -> Figure:
    views = []
    for label, title in (("images", "samples seen"), ("seconds", "seconds of training")):
        series = []
        for k, run in enumerate(runs):
            own = k < len(SYMBOLS)
            color, symbol = (f"@{k}", SYMBOLS[k]) if own else (OTHER, "circle")
            name = plain(names[run.path])
            dots = [Dot(getattr(score, label), score.fid, f"<b>{name}</b>") for score in run.scores]
            series.append(Series(Style(name, color, symbol, own), dots))
        dots = [dot for each in series for dot in each.means]
        layout = {
            "xaxis": axis(title, [dot.x for dot in dots], ticks="~s"),
            "yaxis": axis(f"FID ({plain(extractor)})", [dot.y for dot in dots]),
        }
        views.append(View(label, traces(series, joined=True), layout))
    reading = (
        "FID of unfinished runs at their evaluation points so far. Runs are at different shares of "
        "their budgets: this is no ranking. A line that rises can be a sign of collapse."
    )
    return Figure(f"FID so far, {dataset}", reading, views, wide=True)


def _picture(file: Path) -> Picture | None:
    """An embedded picture, compressed again only if its file has changed."""
    try:
        found = os.stat(file)
    except OSError:
        return None
    return _compressed(file, found.st_mtime_ns, found.st_size)


@lru_cache(maxsize=4 * MOST_CARDS)
def _compressed(file: Path, time: int, size: int) -> Picture | None:
    del time, size  # of the version of the file
    return embedded(file)
