"""Commands that make runs of the map again, and where their FID is expected to lie."""

import shlex
from dataclasses import dataclass

from bench.compare.comparison import Comparison, Entry, comparable
from bench.compare.map.contenders import Contender
from bench.compare.map.grid import ANY, Map
from bench.compare.map.verdicts import Score

NEW_SEED = 100
"""The seed of a run that is made again: no run of the map has it."""


@dataclass(frozen=True)
class Again:
    """One run that anybody can make.

    Attributes:
        place: panel, row and largest budget, in words.
        score: the family's score there.
        command: makes one more seed.
    """

    place: str
    score: Score
    command: str


def runs_again(made: Map) -> tuple[Again, ...]:
    """One command for each family and row of the map, scored at the largest budget of the row."""
    cells = made.cells(ANY)
    found = []
    for i, panel in enumerate(made.panels):
        for j, row in enumerate(panel.rows):
            last = [k for k in range(len(panel.columns)) if cells[i, j, k].scores]
            if not last:
                continue
            place = f"{panel.title}, {row.title}, {panel.budget(panel.columns[last[-1]])}"
            place = " ".join(place.split())  # one line, whatever files say
            for score in cells[i, j, last[-1]].scores:
                if command := _command(row.comparison, score.contender):
                    found.append(Again(place, score, command))
    return tuple(found)


def _command(comparison: Comparison, contender: Contender) -> str:
    """The command of one more seed of a family's model; empty if it is not one model's, or unknown.

    It is the recorded command of one of its runs with another seed.
    """
    entry = _entry(comparable(comparison), contender)
    if entry is None:
        return ""
    for run in comparison.runs:
        if (run.model, run.variant) == entry.key and run.state == "finished":
            try:
                words = shlex.split(run.status.command)
            except ValueError:
                return ""
            seed = f"seed={run.seed}"
            if seed in words:
                words[words.index(seed)] = f"seed={NEW_SEED}"
                return shlex.join(words)
    return ""


def _entry(comparison: Comparison, contender: Contender) -> Entry | None:
    """The entry of a family's model and sampler; None if several models stand for it."""
    for entry in comparison.entries:
        named = comparison.label(entry), entry.sampler
        if entry.finished and named == (contender.label, contender.sampler):
            return entry
    return None
