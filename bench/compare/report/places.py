"""Where the rows that findings name stand on the page, and the runs behind them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from bench.compare.claims.selection import Member
from bench.compare.read import Run
from bench.compare.report.sections import Part
from bench.compare.statistics import Comparison


@dataclass(frozen=True)
class Place:
    """Where a row stands, and what it was made from.

    Attributes:
        row: its id; empty where it has none.
        runs: the runs behind it, one for each seed.
    """

    row: str
    runs: tuple[Run, ...]


Places = Mapping[str, Mapping[str, Place]]
"""Rows by the title of their part and by the name that findings have for them."""


def places_of(parts: Sequence[Part]) -> dict[str, dict[str, Place]]:
    """The rows of all parts, by the parts' titles."""
    return {part.title: _by_name(part.comparison, part.row_ids) for part in parts}


def place(name: str, title: str, places: Places) -> Place | None:
    """The row of this name; of runs without result no sampler is known."""
    rows = places.get(title, {})
    return rows.get(name) or rows.get(f"{name.rpartition(', ')[0]}, ")


def _by_name(comparison: Comparison, ids: Sequence[str]) -> dict[str, Place]:
    """The rows of a comparison; of several of one name that of most runs, as claims take it."""
    anchors: dict[tuple[str, str, str], str] = {}
    for entry, anchor in zip(comparison.entries, ids, strict=True):
        anchors.setdefault((entry.model, entry.variant, entry.sampler), anchor)
    found: dict[str, tuple[tuple[int, str], Place]] = {}
    for (model, variant, sampler), runs in _members(comparison).items():
        name = _name(runs, sampler)
        rank = (len(runs), variant)
        if name not in found or rank > found[name][0]:
            row = anchors.get((model, variant, sampler)) or anchors.get((model, variant, ""), "")
            found[name] = rank, Place(row, tuple(runs))
    return {name: at for name, (_, at) in found.items()}


def _members(comparison: Comparison) -> dict[tuple[str, str, str], list[Run]]:
    """Runs by model, variant and sampler; one without result counts with every sampler."""
    by_variant: dict[tuple[str, str], list[Run]] = {}
    for run in comparison.runs:
        by_variant.setdefault((run.model, run.variant), []).append(run)
    found = {}
    for (model, variant), runs in by_variant.items():
        names = {run.path: run.last.texts("sampler") if len(run.last) else () for run in runs}
        for sampler in dict.fromkeys(name for of in names.values() for name in of) or [""]:
            found[model, variant, sampler] = [
                run for run in runs if not names[run.path] or sampler in names[run.path]
            ]
    return found


def _name(runs: Sequence[Run], sampler: str) -> str:
    """What a finding calls the row."""
    first = next((run for run in runs if run.state == "finished"), runs[0])
    return Member(first, sampler, first.seed, broadcast=False).name
