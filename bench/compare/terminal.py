"""A comparison on the terminal: the columns that fit, and where the rest is."""

from collections.abc import Sequence

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.compare.notation import NOTHING, exact
from bench.compare.statistics import Comparison, Entry
from bench.compare.tables import (
    QUALITY_METRICS,
    Measure,
    best_entries,
    measure,
    notes,
    quality_measure,
    value_text,
)

FILE_WIDTH = 120
"""Width of the table where the output is no terminal."""

AFTER_QUALITY = ("modes", "nfe", "latency_ms", "train_seconds")

SHORT = {"precision": "prec. ↑", "latency": "ms per\nsample ↓", "training": "train s"}
"""Shorter headings than the page has, by title."""

OPTIONAL = ("train_seconds", "modes", "recall", "precision", "kid")
"""Columns left out, in this order, until the table fits the terminal."""


def make_console() -> Console:
    """A console that is wide enough for a table when its output goes to a file."""
    console = Console()
    return console if console.is_terminal else Console(width=FILE_WIDTH)


def show(console: Console, comparison: Comparison, where: Sequence[str]) -> None:
    """Print one data set's table, its notes and the files with the rest."""
    console.print(fitting_table(console, comparison))
    for sentence in notes(comparison):
        console.print(Text(f"  {sentence}", style="yellow"))
    for file in where:
        console.print(Text(f"  → {file}"), soft_wrap=True)


def fitting_table(console: Console, comparison: Comparison) -> RichTable:
    """The widest table that fits, or the narrowest there is."""
    unlimited = console.options.update(width=10_000)
    tables = [rich_table(comparison, OPTIONAL[:count]) for count in range(len(OPTIONAL) + 1)]
    widths = [console.measure(table, options=unlimited).maximum for table in tables]
    fitting = (t for t, width in zip(tables, widths, strict=True) if width <= console.width)
    return next(fitting, tables[-1])


def rich_table(comparison: Comparison, hidden: Sequence[str] = ()) -> RichTable:
    """The first extractor's scores: FID with its spread, the others as means.

    Args:
        comparison: what to show.
        hidden: metrics and costs to leave out.
    """
    measures = [
        quality_measure(metric, extractor, name_extractor=metric == "fid")
        for extractor in comparison.extractors[:1]
        for metric in QUALITY_METRICS
        if metric not in hidden
    ]
    measures += [measure(name) for name in AFTER_QUALITY if name not in hidden]
    title = Text(comparison.dataset, style="bold")
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    table.add_column("sampler", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for m in measures:
        heading = SHORT.get(m.column.title, m.heading.replace(" (", "\n("))
        table.add_column(heading, justify="right", no_wrap=True)
    best = {m.name: best_entries(comparison.entries, m) for m in measures}
    for k, entry in enumerate(comparison.entries):
        cells = [Text(comparison.label(entry)), Text(entry.sampler or NOTHING)]
        if entry.finished:
            cells.append(Text(str(len(entry.seeds))))
            for m in measures:
                style = "bold green" if k in best[m.name] else ""
                cells.append(Text(short_value(entry, m), style=style))
        else:
            cells += [Text(NOTHING), Text(entry.status, style="bold red")]
            cells += [Text(NOTHING)] * (len(measures) - 1)
        table.add_row(*cells, style="" if entry.trained else "dim")
    return table


def short_value(entry: Entry, m: Measure) -> str:
    """The FID with its spread, anything else without."""
    text = value_text(entry, m)
    if m.name.startswith("fid_") or text == NOTHING:
        return text
    return exact(entry.mean[m.name] * m.scale)
