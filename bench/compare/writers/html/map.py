"""The map as a part of the report: coloured tables, and what a script looks up for sliders."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from bench.compare.cells import Cell as Text
from bench.compare.cells import Table, exact
from bench.compare.map.contenders import TOLERANCE
from bench.compare.map.crossings import crossovers
from bench.compare.map.grid import PRICES, Map, Panel, Row
from bench.compare.map.sentences import crossover_sentences, sentence
from bench.compare.writers.html.map_cells import Look, family_class, look
from bench.compare.writers.html.map_lookup import Sentences, lookup

GROUPS = {"flagships": "one model of each family", "plain": "plain DCGAN and DDPM"}
"""Names of the groups of models that stand for families."""


@dataclass(frozen=True)
class Square:
    """One cell as shown.

    Attributes:
        look: its colour, name and lead.
        label: all of these in words.
        place: numbers of its panel, row and column.
        said: places of its sentences.
    """

    look: Look
    label: str
    place: str
    said: str


@dataclass(frozen=True)
class Block:
    """One panel.

    Attributes:
        title: its heading.
        columns: its budgets in words.
        grids: for each price the titles and cells of its rows.
    """

    title: str
    columns: Sequence[str]
    grids: Sequence[Sequence[tuple[str, Sequence[Square]]]]


@dataclass(frozen=True)
class View:
    """The map of one group of models.

    Attributes:
        name: name of the group.
        families: CSS classes of the families with a result, by name.
        blocks: the panels.
        crossings: where learning curves cross; without rows if nothing can be said.
        caveats: sentences on panels whose FID rests on a classifier that errs often.
        skipped: sentences on runs that are not on the map, or have no rival.
    """

    name: str
    families: Mapping[str, str]
    blocks: Sequence[Block]
    crossings: Table
    caveats: Sequence[str]
    skipped: Sequence[str]


@dataclass(frozen=True)
class Atlas:
    """All that the section shows.

    Attributes:
        views: one for each group of models.
        prices: the prices of a sample that can be chosen, in words.
        data: what the script looks up.
        commands: command lines that make a cell again.
    """

    views: Sequence[View]
    prices: Sequence[str]
    data: Mapping[str, Any]
    commands: Sequence[str]


def atlas(maps: Sequence[Map], commands: Sequence[str]) -> Atlas | None:
    """The section of some maps; None without one.

    Args:
        maps: of the same runs, one for each group of models.
        commands: command lines that make a cell again.
    """
    if not maps:
        return None
    said = Sentences()
    views = [_view(made, said) for made in maps]
    groups = [lookup(made, said) for made in maps]
    prices = ["any price" if math.isinf(price) else f"≤ {exact(price)} ms" for price in PRICES]
    return Atlas(views, prices, {"said": said.kept, "groups": groups}, commands)


def _view(made: Map, said: Sentences) -> View:
    return View(
        GROUPS[made.group],
        {family: family_class(family) for family in made.families},
        [_block(made, i, said) for i in range(len(made.panels))],
        _crossings(made),
        made.caveats,
        made.skipped,
    )


def _block(made: Map, i: int, said: Sentences) -> Block:
    panel = made.panels[i]
    grids = [
        [
            (row.title, [_square(made, (i, j, k), price, said) for k in range(len(panel.columns))])
            for j, row in enumerate(panel.rows)
        ]
        for price in PRICES
    ]
    return Block(panel.title, [panel.budget(column) for column in panel.columns], grids)


def _square(made: Map, place: tuple[int, int, int], price: float, said: Sentences) -> Square:
    """A cell as shown."""
    i, j, k = place
    panel, row, cell = made.panels[i], made.panels[i].rows[j], made.cells(price)[place]
    shown = look(cell)
    label, text = shown.label, sentence(panel, row, k, price, cell)
    if cell.state == "empty":
        label = _why_empty(panel, row, panel.columns[k])
        text = f"{text} {label[0].upper()}{label[1:]}."
    return Square(shown, label, f"{i} {j} {k}", " ".join(map(str, said.add(text))))


def _why_empty(panel: Panel, row: Row, budget: float) -> str:
    """Why a cell has no result."""
    if budget > row.limit * (1 + TOLERANCE):
        runs = "these runs" if row.more else f"runs with {row.title}"
        return f"{runs} end at {panel.budget(row.limit)}"
    return "no model within this price was scored at this budget"


def _crossings(made: Map) -> Table:
    """Where learning curves cross, by row of the map."""
    rows = [
        (Text(panel.title), Text(row.title), Text(f"{words[0].upper()}{words[1:]}"))
        for panel in made.panels
        for row in panel.rows
        for words in crossover_sentences(crossovers(made, panel, row), panel)
    ]
    return Table(
        ("size", "trained on", "who overtakes whom [95 % interval]"), tuple(rows), labels=3
    )
