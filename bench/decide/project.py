"""What the run directories of a project say: the state of every question, and the time spent."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from statistics import mean

from bench.columns import NOMINAL
from bench.command_line import key
from bench.compare.comparison import CLASS_CONDITIONAL, Comparison, compare_runs
from bench.compare.protocols import MACHINE, ProtocolError, differing, split_runs
from bench.compare.questions import Question
from bench.compare.read import Run, read_runs
from bench.compare.topics.outcomes import is_trained
from bench.decide.units import SEED, Tally, Unit, tally
from bench.schema import FIELDS, PROTOCOL

DESIGNED = {
    "train_images": "dataset.train_images",
    "image_shape": "dataset.image_size",
    "budget": "budget",
    "samples": "evaluator.samples",
    "precision": "precision",
    "threads": "threads",
}
"""Protocol fields that an experiment may vary, with the beginning of the overrides that do so."""

SPEED = "budget.images_per_second"
"""The nominal speed of a model."""

HINT = "; for claims also machines=several, which compares runs of one machine with each other only"
"""What a refusal of runs of another machine adds."""

Questions = Callable[[Sequence[Comparison]], Sequence[tuple[Question, str]]]
"""Finds the questions of comparisons, each with the name of the data set if it belongs to one."""


@dataclass(frozen=True)
class Asked:
    """A question, and what has to run for it.

    Attributes:
        question: the question.
        units: places of its units in the project.
    """

    question: Question
    units: tuple[int, ...]

    @property
    def waiting(self) -> bool:
        """Whether more seeds are to settle it."""
        return self.question.state == "open" and not self.question.dropped


@dataclass(frozen=True)
class Project:
    """All runs for the questions of a command, as they are on disk.

    Attributes:
        units: what runs once per seed.
        tallies: how far each of them has come.
        comparisons: those with runs, one for each data set and protocol.
        asked: the questions.
        at_once: number of jobs that run at a time.
        first_seed: the lowest seed that may run here: all seeds of other machines are below it, so
            that a seed is of one machine, and seeds are in the order in which they were made.
    """

    units: tuple[Unit, ...]
    tallies: tuple[Tally, ...]
    comparisons: tuple[Comparison, ...] = ()
    asked: tuple[Asked, ...] = ()
    at_once: int = 1
    first_seed: int = 0

    @property
    def spent(self) -> float:
        """Seconds of the runs that were made sequentially, shared by those that ran at once."""
        return sum(tally.spent for tally in self.tallies) / self.at_once

    @property
    def look(self) -> int:
        """Number of the present look, from 0."""
        return 1 + max((tally.look for tally in self.tallies), default=-1)

    @property
    def waiting(self) -> tuple[Asked, ...]:
        """The questions that more seeds are to settle."""
        return tuple(asked for asked in self.asked if asked.waiting)

    def seconds(self, unit: int) -> float:
        """Seconds of one run: the mean of those from `first_seed` on, else the forecast, else 0."""
        took = self.tallies[unit].took
        here = [seconds for seed, seconds in took.items() if seed >= self.first_seed]
        if here:
            return mean(here)
        return self.units[unit].forecast or (mean(took.values()) if took else 0.0)

    def cost(self, unit: int, seed: int) -> float:
        """Seconds that are left of the run of a seed."""
        return max(0.0, self.seconds(unit) - self.tallies[unit].half_done.get(seed, 0.0))

    @cached_property
    def folders(self) -> tuple[Path, ...]:
        """Folders that hold runs of the project."""
        found = zip(self.units, self.tallies, strict=True)
        return tuple(unit.folder for unit, t in found if t.ended or t.half_done)


def look_at(
    units: Sequence[Unit], questions: Questions, *, at_once: int, several_machines: bool = False
) -> Project:
    """Read all runs and ask the questions.

    Args:
        units: what runs once per seed.
        questions: finds the questions.
        at_once: number of jobs that run at a time.
        several_machines: whether runs may be of several machines.

    Raises:
        ValueError: runs are damaged, or those of one data set were made under several protocols.
    """
    tallies = tuple(tally(unit, several_machines=several_machines) for unit in units)
    project = Project(tuple(units), tallies, at_once=at_once)
    places = _places(units) if several_machines else project.folders
    found = read_runs(places) if places else []
    runs = [run for run in found if run.path.parent in project.folders]
    varied = fields_of(units, several_machines=several_machines)
    comparisons = compare(units, runs, varied)
    asked = tuple(
        Asked(question, _needed(units, question, dataset))
        for question, dataset in questions(comparisons)
    )
    first = _first_seed(units, found) if several_machines else 0
    return Project(project.units, project.tallies, comparisons, asked, at_once, first)


def _places(units: Sequence[Unit]) -> list[Path]:
    """The folders of the units' data sets that hold runs, also of models that are not asked."""
    folders = sorted({unit.folder.parents[1] for unit in units})
    return [folder for folder in folders if any(folder.glob(f"*/*/{SEED}*/status.json"))]


def _first_seed(units: Sequence[Unit], runs: Sequence[Run]) -> int:
    """The seed after the largest one of runs of other machines."""
    here = {field: {u.planned.protocol.get(field, "") for u in units} - {""} for field in MACHINE}

    def elsewhere(run: Run) -> bool:
        if not len(run.last):
            return bool(run.status.device) and run.status.device not in here["device"]
        values = ((run.last.texts(field)[0], known) for field, known in here.items())
        return any(value not in known for value, known in values)

    trained = (run for run in runs if is_trained(run) and run.seed.isdecimal())
    return max((int(run.seed) for run in trained if elsewhere(run)), default=-1) + 1


def compare(
    units: Sequence[Unit], runs: Sequence[Run], varied: Sequence[str]
) -> tuple[Comparison, ...]:
    """The comparisons of all runs, one for each data set and each protocol of the experiment.

    Args:
        units: what runs once per seed.
        runs: the runs.
        varied: fields by which they may differ.

    Raises:
        ValueError: runs differ in their protocol and the experiment does not vary that.
    """
    found = []
    for dataset in sorted({run.dataset for run in runs}):
        here = [run for run in runs if run.dataset == dataset]
        try:
            groups = split_runs(here, varied)
            found += [compare_runs(group, values) for values, group in groups]
        except ProtocolError as error:
            raise ValueError(_refusal(dataset, here, varied) or str(error)) from error
    return tuple(found)


def check_protocols(
    units: Sequence[Unit], varied: Collection[str], runs: Iterable[Run] = ()
) -> None:
    """Refuse runs that could not share a table with the others of their data set, before they run.

    Args:
        units: what is to run.
        varied: fields that the experiment varies, see `varied_fields`.
        runs: those on record.

    Raises:
        ValueError: they could not, or their seconds are counted in two ways.
    """
    _check_clocks(units)
    for field in PROTOCOL:
        seen: dict[str, dict[str, str]] = {}
        for run in runs:
            for value in filter(None, run.last.texts(field)):
                seen.setdefault(run.dataset, {}).setdefault(value, str(run.path))
        for unit in units:
            if value := unit.planned.protocol.get(field):
                label = " ".join(w for w in unit.planned.overrides if key(w) != "seed")
                seen.setdefault(unit.dataset, {}).setdefault(value, label)
        for dataset, found in seen.items():
            if len(found) > 1 and field not in varied:
                (a, first), (b, second) = list(found.items())[:2]
                title = FIELDS[field].title or field
                raise ValueError(
                    f"runs on {dataset} would differ in {title} ({a!r} in {first}, {b!r} in "
                    f"{second}) and cannot answer one question: give all of them the same "
                    "settings, or one command for each, with a results_root of its own"
                    f"{HINT if field in MACHINE else ''}"
                )


def _check_clocks(units: Sequence[Unit]) -> None:
    """Refuse equal budgets of which one is nominal: somebody forgot the speed of a model."""
    for unit in units:
        budget = unit.planned.protocol.get("budget", "")
        for other in units:
            if other.dataset == unit.dataset and (
                other.planned.protocol.get("budget") == f"{budget},{NOMINAL}"
            ):
                raise ValueError(
                    f"{unit.planned.model} would count {budget} by the clock and "
                    f"{other.planned.model} by a nominal speed: give {SPEED} to all models or none"
                )


def fields_of(units: Sequence[Unit], *, several_machines: bool) -> list[str]:
    """The protocol fields by which runs may differ."""
    more = MACHINE if several_machines else ()
    return list(dict.fromkeys((*varied_fields(units), *more)))


def varied_fields(units: Sequence[Unit]) -> list[str]:
    """The protocol fields by which the experiment's own runs may differ.

    A real-data baseline usually has no budget of its own, so that nothing given is no difference;
    what it is given counts.
    """
    found = []
    for field, prefix in DESIGNED.items():
        words = {given(unit, prefix) for unit in units if unit.seeded}
        words |= {given(unit, prefix) for unit in units if not unit.seeded} - {()}
        if len(words) > 1:
            found.append(field)
    return found


def given(unit: Unit, prefix: str) -> tuple[str, ...]:
    """The overrides of a unit at and below a key.

    A nominal speed is one of each model: only that there is one is told.
    """
    words = unit.planned.overrides
    found = (word for word in words if f"{key(word)}.".startswith(f"{prefix}."))
    return tuple(NOMINAL if key(word) == SPEED else word for word in found)


def families(units: Sequence[Unit]) -> dict[str, list[Unit]]:
    """The trained models that are compared with each other, by data set and varied protocol.

    Class-conditional models are compared among themselves, as far as it is known which they are.
    """
    varied = [DESIGNED[field] for field in varied_fields(units)]
    trained = [unit for unit in units if unit.seeded]
    mixed = len({unit.planned.class_conditional for unit in trained}) > 1

    def shared(unit: Unit) -> str:
        words = [word for prefix in varied for word in given(unit, prefix)]
        kind = [CLASS_CONDITIONAL] if mixed and unit.planned.class_conditional else []
        return ", ".join([unit.dataset, *words, *kind])

    trained.sort(key=shared)
    return {name: list(found) for name, found in groupby(trained, shared)}


def _refusal(dataset: str, runs: Sequence[Run], varied: Sequence[str]) -> str:
    """The sentence on runs of another protocol; empty if they differ in nothing else."""
    for field in differing(runs):
        if field not in varied:
            seen: dict[str, Path] = {}
            for run in runs:
                for value in run.last.texts(field):
                    if value:
                        seen.setdefault(value, run.path)
            (a, first), (b, second) = list(seen.items())[:2]
            return (
                f"runs on {dataset} differ in {field} ({a!r} in {first}, {b!r} in {second}) and "
                "cannot answer one question: give the settings and the machine of the earlier "
                f"ones, or another results_root{HINT if field in MACHINE else ''}"
            )
    return ""


def _needed(units: Sequence[Unit], question: Question, dataset: str) -> tuple[int, ...]:
    """The places of the units that a question needs."""
    needs = set(question.needs)
    return tuple(
        k
        for k, unit in enumerate(units)
        if unit.dataset == (dataset or unit.dataset)
        and needs & {unit.grid, unit.key, (unit.dataset, *unit.key)}
    )
