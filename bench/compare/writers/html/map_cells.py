"""How a cell of the map looks: colour, name and lead."""

from collections.abc import Mapping
from dataclasses import dataclass

from bench.compare.cells import NOTHING, exact
from bench.compare.map.contenders import representatives
from bench.compare.map.verdicts import Cell, State

KNOWN: Mapping[State, str] = {
    "settled": "settled",
    "equal": "practically equal",
    "open": "not settled",
}
"""What is known of two families, by state."""


@dataclass(frozen=True)
class Look:
    """How a cell looks.

    Attributes:
        kind: its CSS classes.
        name: the leading family, or words that stand for it.
        lead: by how much it leads; may be empty.
        label: all of this in words.
    """

    kind: str
    name: str
    lead: str
    label: str


def look(cell: Cell) -> Look:
    """How a cell looks."""
    if cell.leader is None:
        empty = cell.state == "empty"
        name, label = (NOTHING, "no result") if empty else ("nobody yet", "nobody yet")
        return Look(cell.state, name, "", label)
    family = cell.leader.contender.family
    kind = f"{cell.state} {family_class(family)}"
    if cell.state == "alone":
        return Look(kind, family, "alone", f"{family} alone")
    if cell.state == "equal":
        name, lead = f"{family} = {cell.able[1].contender.family}", ""
    else:
        name, lead = family, f"×{cell.lead:.2f}" if cell.lead < 10 else f"×{exact(cell.lead)}"
    label = f"{name} {lead}".strip() + f", {KNOWN[cell.state]}"
    if cell.dissent:
        lead = f"{lead} ‡".strip()
        label += "".join(f"; by FID ({by}) the {other} leads" for by, other in cell.dissent)
    return Look(kind, name, lead, label)


def family_class(family: str) -> str:
    """The CSS class of a family's colour: its number in conf/families.yaml."""
    return f"family-{list(representatives('flagships')).index(family)}"
