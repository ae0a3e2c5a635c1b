"""Commands that make runs of the map again, and where their FID is expected to lie."""

import shlex
from dataclasses import dataclass
from itertools import count

from bench.compare.comparison import Comparison, Entry, comparable
from bench.compare.map.contenders import Contender
from bench.compare.map.grid import ANY, Map
from bench.compare.map.verdicts import Score

NEW_SEED = 100
"""The smallest seed of a run that is made again, which no run of its model has."""


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
    """One command for each family and row of the map, with its score at its largest budget."""
    cells = made.cells(ANY)
    found = []
    for i, panel in enumerate(made.panels):
        for j, row in enumerate(panel.rows):
            last: dict[str, tuple[int, Score]] = {}
            for k in range(len(panel.columns)):
                last |= {score.contender.family: (k, score) for score in cells[i, j, k].scores}
            for k, score in sorted(last.values(), key=lambda each: (-each[0], each[1].fid)):
                place = f"{panel.title}, {row.title}, {panel.budget(panel.columns[k])}"
                place = " ".join(place.split())  # one line, whatever files say
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
    runs = [run for run in comparison.runs if (run.model, run.variant) == entry.key]
    new = next(seed for seed in count(NEW_SEED) if str(seed) not in {run.seed for run in runs})
    for run in runs:
        if run.state == "finished":
            try:
                words = shlex.split(run.status.command)
            except ValueError:
                return ""
            seed = f"seed={run.seed}"
            if seed in words:
                words[words.index(seed)] = f"seed={new}"
                return shlex.join(words)
    return ""


def _entry(comparison: Comparison, contender: Contender) -> Entry | None:
    """The entry of a family's model and sampler; None if several models stand for it."""
    for entry in comparison.entries:
        named = comparison.label(entry), entry.sampler
        if entry.finished and named == (contender.label, contender.sampler):
            return entry
    return None
