"""Which rows of which runs a selection of a claim means, and their values by seed."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.compare.claims.declaration import Selection
from bench.compare.comparison import Comparison, model_changes, short
from bench.compare.read import Run, read_curves
from bench.compare.topics.outcomes import is_trained
from bench.schema import MEMORISATION, QUALITY


@dataclass(frozen=True)
class Member:
    """One run's row that a selection takes.

    Attributes:
        run: the run.
        sampler: the sampler of the row.
        seed: the run's seed.
        broadcast: whether the run is not trained, so that its values stand beside every seed.
    """

    run: Run
    sampler: str
    seed: str
    broadcast: bool

    @property
    def name(self) -> str:
        """The row, for readers: the model, what was changed of it, the sampler."""
        changes = short(model_overrides(self.run))
        return f"{self.run.model}{f' ({changes})' if changes else ''}, {self.sampler}"


@dataclass(frozen=True)
class Group:
    """The members of a selection in one comparison: one for each seed of one entry."""

    selection: Selection
    members: tuple[Member, ...]
    place: str

    @property
    def trained(self) -> bool:
        """Whether its values differ by seed."""
        return not all(member.broadcast for member in self.members)

    @property
    def name(self) -> str:
        """The entry, for readers."""
        return (self.finished or self.members)[0].name

    @cached_property
    def finished(self) -> tuple[Member, ...]:
        """The members that have a result."""
        return tuple(m for m in self.members if m.run.state == "finished")

    def values(self) -> dict[str, float]:
        """The selected value by seed; seeds without it are left out."""
        return {m.seed: v for m in self.finished if math.isfinite(v := value(m, self.selection))}


def find(selection: Selection, position: int, comparison: Comparison) -> Group | None:
    """The runs of a comparison that a selection means.

    Of several variants that fit (the same model drawn from by other samplers), the one with most
    seeds is taken.

    Args:
        selection: what is wanted.
        position: which of its models.
        comparison: the runs of one data set and protocol.

    Returns:
        The group; None where there is no such run.
    """
    if selection.dataset not in (None, comparison.dataset):
        return None
    if position >= len(selection.models):
        return None
    model = selection.models[position]
    by_variant: dict[str, list[Member]] = {}
    for run in comparison.runs:
        if run.model == model and fits(run, selection.overrides_at(position)):
            sampler = drawn_by(run, selection.sampler)
            if sampler is not None:
                member = Member(run, sampler, run.seed, not is_trained(run))
                by_variant.setdefault(run.variant, []).append(member)
    if not by_variant:
        return None
    best = max(by_variant, key=lambda key: (len(by_variant[key]), key))
    return Group(selection, tuple(by_variant[best]), comparison.title)


def find_in(selection: Selection, position: int, scope: Sequence[Comparison]) -> Group | None:
    """The group of a selection among several comparisons.

    A selection of one model means it at every position.
    """
    at = 0 if len(selection.models) == 1 else position
    found = (find(selection, at, comparison) for comparison in scope)
    return next((group for group in found if group is not None), None)


def fits(run: Run, wanted: Sequence[str]) -> bool:
    """Whether a run was made with exactly these overrides of its model, numbers by value."""
    return sorted(map(_plain, model_overrides(run))) == sorted(map(_plain, wanted))


def _plain(override: str) -> str:
    """An override whose value is written in one way: Hydra makes 5e-05 of 5e-5."""
    key, _, text = override.partition("=")
    try:
        return f"{key}={float(text)!r}"
    except ValueError:
        return override


def model_overrides(run: Run) -> list[str]:
    """The overrides of the model that a run was made with, without those of its samplers."""
    if len(run.last):
        return model_changes(run.last.texts("overrides")[0].split())
    try:
        words = shlex.split(run.status.command)
    except ValueError:  # not ours: a quote that nothing closes
        words = run.status.command.split()
    return model_changes(words)


def drawn_by(run: Run, sampler: str | None) -> str | None:
    """The sampler's name if the run has it, or its first; a run without result has any."""
    names = run.last.texts("sampler")
    if not names:
        return sampler or ""
    if sampler is None:
        return names[0]
    return sampler if sampler in names else None


def value(member: Member, selection: Selection) -> float:
    """The selected value of a member; NaN where it was not measured."""
    if selection.curve is not None:
        return _on_curve(member.run.path, selection.curve, selection.at)
    return float(column(member, selection.column)[-1])


def column(member: Member, name: str) -> np.ndarray:
    """A column along the evaluation points of a member, (P,) float64, the last one last."""
    table = member.run.table
    if not len(table):
        return np.array([math.nan])
    full = f"{name}_{member.run.extractors[0]}" if name in (*QUALITY, *MEMORISATION) else name
    rows = np.array(table.texts("sampler")) == member.sampler
    order = np.argsort(table.numbers("checkpoint")[rows], kind="stable")
    return table.numbers(full)[rows][order]


def _on_curve(path: Path, curve: str, at: float) -> float:
    """The mean of a curve of curves.csv where it is nearest to `at`; NaN where there is none."""
    table = read_curves(path)
    if table is None:
        return math.nan
    rows = table.loc[table["curve"] == curve]
    if rows.empty:
        return math.nan
    nearest = (rows["x"] - at).abs().idxmin()
    return float(rows["mean"].loc[nearest])


def by_seed(groups: Sequence[Group]) -> list[dict[str, float]]:
    """Values of groups by the seeds that all have; what is not trained stands for every seed."""
    found = [group.values() for group in groups]
    seeded = [v for v, g in zip(found, groups, strict=True) if g.trained]
    if not seeded:
        return list(found)
    seeds = [seed for seed in seeded[0] if all(seed in values for values in seeded)]
    return [
        {seed: values[seed] for seed in seeds}
        if group.trained
        else dict.fromkeys(seeds, next(iter(values.values()), math.nan))
        for values, group in zip(found, groups, strict=True)
    ]
