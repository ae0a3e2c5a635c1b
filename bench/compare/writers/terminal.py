"""A comparison as a table on the terminal, with the columns that fit."""

from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from bench.compare.cells import NOTHING, exact
from bench.compare.comparison import DISTURBED, WARNING, Comparison, Entry
from bench.compare.read import MOST_WAITING
from bench.compare.topics.blindness import blind_sentences, error_sentences
from bench.compare.topics.columns import ARROWS, Measure, measure, measures, with_values
from bench.compare.topics.headline import headline
from bench.compare.topics.modes import perfect_scores
from bench.compare.topics.page import notes
from bench.compare.topics.quality import NO_RESULT, best_by_column, counts_modes
from bench.runtime.printing import printable
from bench.schema import shown_in

FILE_WIDTH = 120
"""Width of the table if the output is not a terminal."""

OPTIONAL = (
    "density",
    "coverage",
    "train_seconds",
    "modes",
    "recall",
    "precision",
    "kid",
)
"""Columns left out, in this order, until the table fits the terminal."""

OPTIONAL_BESIDE_MODES = (
    "density",
    "coverage",
    "train_seconds",
    "recall",
    "precision",
    "is",
    "kid",
    "latency_ms",
    "nfe",
)
"""The same for data sets with mode coverage, whose columns are always shown."""


MARKS = {
    WARNING: f"{WARNING} signs of collapse or copying: see the report.",
    DISTURBED: f"{DISTURBED} training waited for a core for more than {MOST_WAITING:.0%} of its "
    "seconds: see the report.",
}
"""What marks of models mean, in a table without notes."""


class PipedConsole(Console):
    """A console that raises an error on a broken pipe; rich's own ends the program."""

    def on_broken_pipe(self) -> None:
        """Report the broken pipe.

        Raises:
            BrokenPipeError: always.
        """
        raise BrokenPipeError


def make_console() -> Console:
    """A console; `FILE_WIDTH` wide if the output is not a terminal."""
    console = PipedConsole()
    return console if console.is_terminal else PipedConsole(width=FILE_WIDTH)


def show(console: Console, comparison: Comparison) -> None:
    """Print one table and its notes."""
    console.print(fitting_table(console, comparison))
    for sentence in (*_blind(comparison), *notes(comparison)):
        console.print(Text(f"  {printable(sentence)}", style="yellow"))


def show_briefly(console: Console, comparison: Comparison) -> None:
    """Print one table, or a line for each entry where no table fits, and what its marks mean."""
    table = fitting_table(console, comparison)
    unlimited = console.options.update(width=10_000)
    if console.measure(table, options=unlimited).maximum <= console.width:
        console.print(table)
    else:
        console.print(Text(printable(comparison.title), style="bold"))
        for entry in comparison.entries:
            scores = shown_measures(comparison, ())[:1] if entry.finished else []
            values = [f"{m.heading} {short_value(entry, m)}" for m in scores] or [entry.status]
            named = (comparison.marked(entry), *((entry.sampler,) if entry.sampler else ()))
            console.print(Text(printable(" · ".join((*named, *values)))))
    shown = " ".join(map(comparison.marked, comparison.entries)).split()
    for sentence in (*_blind(comparison), *(said for mark, said in MARKS.items() if mark in shown)):
        console.print(Text(f"  {printable(sentence)}", style="yellow"))


def _blind(comparison: Comparison) -> list[str]:
    """What the extractor that ranks the models does not see."""
    return [
        sentence
        for extractor in comparison.extractors[:1]
        for sentence in (
            *error_sentences(comparison, extractor),
            *blind_sentences(comparison, extractor, shown_in("quality")),
        )
    ]


def show_headline(console: Console, comparison: Comparison) -> None:
    """Print which family is ahead, in sentences; nothing if nothing was scored."""
    if sentences := headline(comparison):
        console.print(Text(f"\n{printable(' '.join(sentences))}\n", style="bold"))


def show_files(console: Console, files: Sequence[Path]) -> None:
    """Print the paths of the files."""
    for file in files:
        console.print(Text(printable(f"  → {file}")), soft_wrap=True)


def fitting_table(console: Console, comparison: Comparison) -> RichTable:
    """The widest table that fits, or the narrowest one."""
    unlimited = console.options.update(width=10_000)
    optional = OPTIONAL_BESIDE_MODES if counts_modes(comparison) else OPTIONAL
    for count in range(len(optional)):
        table = rich_table(comparison, optional[:count])
        if console.measure(table, options=unlimited).maximum <= console.width:
            return table
    return rich_table(comparison, optional)


def rich_table(comparison: Comparison, hidden: Sequence[str] = ()) -> RichTable:
    """The table for the terminal: FID with its spread, other columns as means.

    Args:
        comparison: the comparison.
        hidden: columns to leave out.
    """
    measures = shown_measures(comparison, hidden)
    title = Text(printable(comparison.title), style="bold")
    table = RichTable(title=title, title_justify="left", box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0))
    table.add_column("model", no_wrap=True)
    table.add_column("sampler", no_wrap=True)
    table.add_column("seeds", justify="right", no_wrap=True)
    for m in measures:
        heading = Text(printable(short_heading(m), kept="\n"))
        table.add_column(heading, justify="right", no_wrap=True)
    best = best_by_column(comparison, measures)
    for k, entry in enumerate(comparison.entries):
        names = (comparison.marked(entry), entry.sampler or NOTHING)
        cells = [Text(printable(name)) for name in names]
        if entry.finished:
            cells.append(Text(str(len(entry.seeds))))
            for m in measures:
                style = "bold green" if k in best[m.name] else ""
                cells.append(Text(short_value(entry, m), style=style))
        else:
            cells += [Text(NOTHING), Text(entry.status, style="bold red")]
            cells += [Text(NOTHING)] * (len(measures) - 1)
        table.add_row(*cells, style="" if entry.trained else "dim")
    perfect = perfect_scores(comparison)
    if perfect and counts_modes(comparison):
        values = [perfect.get(m.name, NOTHING) for m in measures]
        table.add_row("perfect sampler", "computed", NOTHING, *values, style="dim")
    return table


def shown_measures(comparison: Comparison, hidden: Sequence[str]) -> list[Measure]:
    """The measures with values, without hidden ones."""
    quality = measures("quality", next(iter(comparison.extractors), None))
    scores = [m for m in quality if m.column.per_extractor]
    counted = measures("modes") if counts_modes(comparison) else [measure("modes")]
    bought = [m for m in quality if m.column.group not in ("quality", "modes")]
    shown = [m for m in (*scores, *counted, *bought) if m.column.name not in hidden]
    return with_values(comparison, shown) or [NO_RESULT]


def short_heading(m: Measure) -> str:
    """A short heading; only that of FID names the extractor."""
    if m.name.startswith("fid_"):
        return m.heading.replace(" (", "\n(")
    return m.column.short or f"{m.column.label}{ARROWS[m.column.better]}"


def short_value(entry: Entry, m: Measure) -> str:
    """FID with its spread, other values without."""
    text = m.text(entry, m)
    if m.name.startswith("fid_") or text == NOTHING:
        return text
    return exact(entry.mean[m.name] * m.column.factor)
