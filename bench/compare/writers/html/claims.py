"""Verdicts with links to the rows and runs of their findings."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from bench.compare.cells import p_value
from bench.compare.claims.declaration import DOCUMENTS
from bench.compare.claims.questions import by_cost
from bench.compare.claims.selection import Member
from bench.compare.claims.verdicts import VERDICTS, Judgement
from bench.compare.comparison import Comparison
from bench.compare.read import Run
from bench.compare.writers.claims import (
    BADGES,
    LEFT_OUT,
    NEEDS,
    PROMISE,
    UNDECIDABLE,
    by_section,
    counted,
    rule,
)
from bench.compare.writers.html.section import Part


@dataclass(frozen=True)
class Place:
    """A row on the page and the runs behind it.

    Attributes:
        row: its id; empty if it has none.
        runs: the runs, one per seed.
    """

    row: str
    runs: tuple[Run, ...]


Places = Mapping[str, Mapping[str, Place]]
"""Places by title of the part and by the name of the row in findings."""


@dataclass(frozen=True)
class Verdicts:
    """Values of the claims template.

    Attributes:
        declared: on all claims that are declared, by verdict.
        places: the rows that findings name.
        run_ids: ids in the page's list of runs, by run directory.
    """

    declared: Sequence[Judgement]
    places: Places
    run_ids: Mapping[Path, str]
    badges = BADGES
    needs = NEEDS
    left_out = LEFT_OUT
    undecidable = UNDECIDABLE
    p_value = staticmethod(p_value)

    @property
    def sentence(self) -> str:
        """The number of claims by verdict, and of those that these runs say nothing about."""
        return f"{counted(self.declared)} {PROMISE}"

    @cached_property
    def judgements(self) -> list[Judgement]:
        """Those on claims that these runs speak to, which are shown."""
        return [judgement for judgement in self.declared if judgement.addressed]

    @property
    def rule(self) -> str:
        """How verdicts are reached."""
        return rule(self.judgements)

    @cached_property
    def efforts(self) -> dict[str, str]:
        """What would decide the open claims, by name, the cheapest first."""
        return {judgement.claim.name: effort.text for judgement, effort in by_cost(self.declared)}

    @property
    def sections(self) -> dict[str, list[Judgement]]:
        """Verdicts by section, those of the documents first."""
        return dict(sorted(by_section(self.judgements).items(), key=lambda s: s[0] != DOCUMENTS))

    @property
    def counts(self) -> dict[str, int]:
        """The number of claims by verdict."""
        return {v: sum(j.verdict == v for j in self.judgements) for v in VERDICTS}

    def found(self, name: str, titles: Sequence[str]) -> list[tuple[str, Place]]:
        """The places of a row in the parts with these titles, if they have it."""
        places = [(title, place(name, title, self.places)) for title in titles]
        return [(title, at) for title, at in places if at is not None]


def verdicts_of(
    judgements: Sequence[Judgement], parts: Sequence[Part], run_ids: Mapping[Path, str]
) -> Verdicts:
    """The values of the claims template, from the verdicts on all claims that are declared."""
    order = sorted(judgements, key=lambda judgement: VERDICTS.index(judgement.verdict))
    return Verdicts(order, places_of(parts), run_ids)


def places_of(parts: Sequence[Part]) -> dict[str, dict[str, Place]]:
    """The places of all rows, by part."""
    return {part.title: _by_name(part.comparison, part.row_ids) for part in parts}


def place(name: str, title: str, places: Places) -> Place | None:
    """The place of this row; rows of runs without a result have no sampler in their name."""
    rows = places.get(title, {})
    return rows.get(name) or rows.get(f"{name.rpartition(', ')[0]}, ")


def _by_name(comparison: Comparison, ids: Sequence[str]) -> dict[str, Place]:
    """Places of a comparison; of rows with equal names the one with most runs, as in claims."""
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
    """Runs by model, variant and sampler; a run without a result belongs to every sampler."""
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
    """The name of the row in findings."""
    first = next((run for run in runs if run.state == "finished"), runs[0])
    return Member(first, sampler, first.seed, broadcast=False).name
