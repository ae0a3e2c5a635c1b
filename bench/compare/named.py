"""Every table of a page under a name of its own, for files that hold tables only."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.blocks import Section
from bench.compare.tables import Table
from bench.files import csv_text, inert


@dataclass(frozen=True)
class NamedTable:
    """A table with what tells it from the others of its page.

    Attributes:
        table: headings and cells.
        caption: what it shows.
        label: of letters, digits and hyphens; no other table of the page has it.
    """

    table: Table
    caption: str
    label: str


def named_tables(title: str, sections: Sequence[Section]) -> list[NamedTable]:
    """The tables of a page, in order.

    Args:
        title: name of the page.
        sections: what stands on it.
    """
    found: dict[str, NamedTable] = {}
    for section in sections:
        about = section.heading or title
        for topic in section.topics:
            for table in (block for block in topic.blocks if isinstance(block, Table)):
                label = _free(f"{title}-{topic.heading}", found)
                found[label] = NamedTable(table, f"{topic.heading}, {about}", label)
    return list(found.values())


def table_csv(table: Table) -> str:
    """A table as CSV, its cells as readers see them, and no formula among them."""
    headings = tuple(map(inert, table.headings))
    return csv_text(headings, ([inert(cell.text) for cell in row] for row in table.rows))


def _free(text: str, taken: dict[str, NamedTable]) -> str:
    """A label that no other table of the page has."""
    base = re.sub(r"[^A-Za-z0-9]+", "-", text).strip("-").lower()
    label, k = base, 1
    while label in taken:
        k += 1
        label = f"{base}-{k}"
    return label
