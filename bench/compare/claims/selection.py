"""Which rows of which runs a selection of a claim means, and their values by seed."""

import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from bench.columns import ALL_IMAGES
from bench.compare.comparison import Comparison
from bench.compare.read import Run, read_curves
from bench.compare.topics.outcomes import is_trained
from bench.compare.variants import model_changes, short
from bench.schema import INTERVAL_METRICS, PER_EXTRACTOR, TIMED

WITH_EXTRACTOR = frozenset(
    (
        *PER_EXTRACTOR,
        *(f"{m}_{side}" for m in INTERVAL_METRICS for side in ("low", "high")),
    )
)
"""Columns whose names in eval.csv end in that of an extractor."""


@dataclass(frozen=True)
class Selection:
    """Which rows of eval.csv one side of a test takes, and which value of them.

    Attributes:
        models: one name for each size of the role; a test compares models of one size.
        dataset: names of the data set, one for each position, the last one for all that follow;
            none for every data set that has the rows, except where models saw only a part of its
            training images.
        sampler: name of the sampler; None for the first that the run lists.
        overrides: overrides of the model that the run was made with, and no others, separated by
            spaces: one text for each position, the last one for all that follow.
        column: of eval.csv, without the extractor's name.
        curve: of curves.csv, in place of a column.
        at: where along the curve.
    """

    models: tuple[str, ...]
    dataset: tuple[str, ...] = ()
    sampler: str | None = None
    overrides: tuple[str, ...] = ("",)
    column: str = "fid"
    curve: str | None = None
    at: float = 0.0

    def overrides_at(self, position: int) -> list[str]:
        """The overrides of the model at a position."""
        return self.overrides[min(position, len(self.overrides) - 1)].split()

    def dataset_at(self, position: int) -> str | None:
        """The data set at a position; None for every one."""
        return self.dataset[min(position, len(self.dataset) - 1)] if self.dataset else None


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
    """The members of a selection in one comparison: one for each seed of one entry.

    Attributes:
        selection: the selection.
        members: the members.
        place: the comparison's title without the machine.
        title: the comparison's title.
        machine: the comparison's machine, for readers.
    """

    selection: Selection
    members: tuple[Member, ...]
    place: str
    title: str = ""
    machine: str = ""

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
        wanted, found = self.selection, {}
        for member in self.finished:
            if wanted.curve is not None:
                found[member.seed] = _on_curve(member.run.path, wanted.curve, wanted.at)
            else:
                found[member.seed] = float(column(member, wanted.column)[-1])
        return {seed: value for seed, value in found.items() if math.isfinite(value)}


def find(selection: Selection, size: int, scope: Sequence[Comparison]) -> Group | None:
    """The runs that a selection means, of the first comparison that has some.

    Of several variants that fit (the same model with other samplers), the one with most
    seeds is taken.

    Args:
        selection: what is wanted.
        size: position among its models; a selection of one model means it at every position.
        scope: comparisons, each the runs of one data set and protocol.

    Returns:
        The group; None where there is no such run.
    """
    dataset = selection.dataset_at(size)
    size = 0 if len(selection.models) == 1 else size
    if size >= len(selection.models):
        return None
    wanted = sorted(map(_plain, selection.overrides_at(size)))
    for comparison in scope:
        by_variant: dict[str, list[Member]] = {}
        named = dataset == comparison.dataset
        meant = named or (dataset is None and _on_all_images(comparison))
        for run in comparison.runs if meant else ():
            if run.model == selection.models[size]:
                sampler = drawn_by(run, selection.sampler)
                if sampler is not None and sorted(map(_plain, model_overrides(run))) == wanted:
                    member = Member(run, sampler, run.seed, not is_trained(run))
                    by_variant.setdefault(run.variant, []).append(member)
        if by_variant:
            best = max(by_variant, key=lambda key: (len(by_variant[key]), key))
            machine = ", ".join(filter(None, comparison.machine))
            members = tuple(by_variant[best])
            return Group(selection, members, comparison.place, comparison.title, machine)
    return None


def _on_all_images(comparison: Comparison) -> bool:
    finished = (run.last for run in comparison.runs if len(run.last))
    return all(row.texts("train_images")[0] in ("", ALL_IMAGES) for row in finished)


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


def column(member: Member, name: str) -> np.ndarray:
    """A column along the evaluation points of a member, (P,) float64, the last one last."""
    table = member.run.table
    if not len(table):
        return np.array([math.nan])
    full = f"{name}_{member.run.extractors[0]}" if name in WITH_EXTRACTOR else name
    rows = np.array(table.texts("sampler")) == member.sampler
    order = np.argsort(table.numbers("checkpoint")[rows], kind="stable")
    values = table.numbers(full)[rows][order]
    unfair = name in TIMED and member.run.disturbed
    return np.full_like(values, math.nan) if unfair else values


def _on_curve(path: Path, curve: str, at: float) -> float:
    """The mean of a curve of curves.csv where it is nearest to `at`; NaN where there is none."""
    table = read_curves(path)
    rows = None if table is None else table.loc[table["curve"] == curve]
    if rows is None or rows.empty:
        return math.nan
    nearest = (rows["x"] - at).abs().idxmin()
    return float(rows["mean"].loc[nearest])


def training_seconds(groups: Sequence[Group]) -> float:
    """Seconds of training of one more seed of all runs behind these groups.

    NaN if no run tells; runs that are not trained take none.
    """
    seconds: dict[tuple[str, ...], list[float]] = {}
    for member in (m for group in groups for m in group.finished if not m.broadcast):
        run = member.run
        spent = float(run.last.numbers("train_seconds")[0])
        if math.isfinite(spent):
            seconds.setdefault((run.dataset, run.model, run.variant), []).append(spent)
    means = [math.fsum(values) / len(values) for values in seconds.values()]
    return math.fsum(means) if means else math.nan


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
