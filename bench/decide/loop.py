"""The loop of blocks: look at all runs, choose what runs next, until nothing is left to settle."""

import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal

from bench.compare.racing import next_question
from bench.decide.project import Asked, Project

Reason = Literal["settled", "time", "seeds", "failing", "stuck", "interrupted"]
"""Why the loop ended: nothing is open; none of the next runs fits into the limit; every open
question has its largest number of seeds, or some of them need a model that always fails; runs could
not be made; the clock ran out in the middle of a block."""

FIRST = 2
"""Number of seeds up to which all models run together."""


@dataclass(frozen=True)
class Limits:
    """When to stop.

    Attributes:
        seconds: of all sequential runs of the project.
        seeds: largest number of seeds of a model.
    """

    seconds: float
    seeds: int


@dataclass(frozen=True)
class Job:
    """One run of a block: the place of its unit in the project, and its seed."""

    unit: int
    seed: int


Ran = Literal["ended", "out of time", "died"]
"""How the process of a block ended: by itself, because it was stopped, or by dying."""

RunBlock = Callable[[Project, Sequence[Job], float], Ran]
"""Runs the jobs of a block, for at most the given seconds."""


@dataclass(frozen=True)
class End:
    """How the loop ended.

    Attributes:
        reason: why.
        project: all runs at the end.
        stuck: places of units whose runs could not be made.
    """

    reason: Reason
    project: Project
    stuck: frozenset[int] = frozenset()


def decide(
    look: Callable[[], Project],
    run_block: RunBlock,
    limits: Limits,
    say: Callable[[Project, Sequence[Job]], None],
) -> End:
    """Run blocks until nothing is left to do.

    Every block either ends a run or excludes a unit from further blocks, so that the loop ends.

    Args:
        look: reads the run directories.
        run_block: runs a block.
        limits: when to stop.
        say: is told of every look, and of the block that follows.
    """
    stuck: set[int] = set()
    project = look()
    while not isinstance(block := choose(project, limits, stuck), str):
        say(project, block)
        ran = run_block(project, block, limits.seconds - project.spent)
        project = look()
        if ran == "out of time":
            return End("interrupted", project, frozenset(stuck))
        left = [job for job in block if job.seed not in project.tallies[job.unit].ended]
        stuck |= {job.unit for job in (left[:1] if ran == "died" else left)}
    return End(block, project, frozenset(stuck))


def choose(
    project: Project, limits: Limits, stuck: Collection[int] = ()
) -> tuple[Job, ...] | Reason:
    """The jobs of the next block, or why there is none.

    Models run together, seed by seed, until each question has `FIRST` seeds: none of them gets
    ahead of the others before anything is known of all. If these jobs do not fit into the time that
    is left together, models without a result come alone, because every other model waits for theirs
    to be compared with; or as many of them as fit, lower seeds first and then cheaper runs.

    Otherwise come the units of the verdict that costs least, of the next one, and so on, as long as
    they fit, until there is a job for every place; and more as long as the block gets no longer,
    where a place would be empty beside a longer run. A verdict is that of one question, or of a
    claim that rests on several, see `verdicts`. If none fits as a whole, as many single runs as fit
    are made: they count once there is time for the other model's runs of these seeds. Hence the
    reason is "time" only if none of the runs that come next fits.

    Args:
        project: all runs so far.
        limits: when to stop.
        stuck: places of units whose runs cannot be made.
    """
    able = [k not in stuck and not t.always_fails for k, t in enumerate(project.tallies)]
    first = _unmeasured(project, limits, able)
    waiting = [asked for asked in project.waiting if all(able[k] for k in asked.units)]
    possible = [(asked, own) for asked in waiting if (own := _jobs(project, asked, limits))]
    if not first and not possible:
        return _nothing_to_run(project, limits, stuck)
    early = [own for asked, own in possible if asked.question.seeds < FIRST]
    together = list(dict.fromkeys([*first, *(job for own in early for job in own)]))
    left = limits.seconds - project.spent
    for whole in (together, first):
        if whole and estimate(project, whole) <= left:
            return tuple(whole)
    every, places = [job for _, own in possible for job in own], max(project.at_once, 1)
    block = (
        _fitting(project, _one_by_one(project, first), left)
        or _longest_first(project, _fitting(project, _by_cost(project, possible), left, places))
        or _fitting(project, _one_by_one(project, every), left)
    )
    return tuple(block) if block else "time"


def _fitting(
    project: Project, groups: Sequence[Sequence[Job]], left: float, most: float = math.inf
) -> list[Job]:
    """The jobs of the groups that fit into the time that is left together with earlier ones.

    Args:
        project: all runs so far.
        groups: jobs that run together or not at all.
        left: seconds that are left.
        most: number of jobs from which on a group is added only if the block gets no longer by it.
    """
    block: list[Job] = []
    for group in groups:
        with_it = [*block, *(job for job in group if job not in block)]
        longest = left if len(block) < most else min(left, estimate(project, block))
        if estimate(project, with_it) <= longest:
            block = with_it
    return block


def _longest_first(project: Project, jobs: Sequence[Job]) -> list[Job]:
    """Jobs in the order in which they keep all places busy until the end."""
    return sorted(jobs, key=lambda job: -project.cost(job.unit, job.seed))


def _one_by_one(project: Project, jobs: Sequence[Job]) -> list[list[Job]]:
    """Groups of one job each: lower seeds first, and then cheaper runs."""
    ordered = sorted(jobs, key=lambda job: (job.seed, project.cost(job.unit, job.seed)))
    return [[job] for job in ordered]


def _nothing_to_run(project: Project, limits: Limits, stuck: Collection[int]) -> Reason:
    """Why there is no run to make, whatever the time that is left."""
    if not project.waiting:
        unknown = any(
            project.units[k].seeded and not (tally.finished or tally.always_fails)
            for k, tally in enumerate(project.tallies)
            if k in stuck
        )
        return "stuck" if unknown or (stuck and not project.asked) else "settled"
    lacking = [asked for asked in project.waiting if _jobs(project, asked, limits)]
    if any(k in stuck for asked in lacking for k in asked.units):
        return "stuck"
    needed = {k for asked in project.waiting for k in asked.units}
    return "failing" if any(project.tallies[k].always_fails for k in needed) else "seeds"


def estimate(project: Project, jobs: Sequence[Job]) -> float:
    """Seconds that jobs take together."""
    each = [project.cost(job.unit, job.seed) for job in jobs]
    return max(sum(each) / project.at_once, max(each, default=0.0))


def _unmeasured(project: Project, limits: Limits, able: Sequence[bool]) -> list[Job]:
    """Jobs of units without any result; of all units before the first sequential run."""
    found = []
    for k, (unit, tally) in enumerate(zip(project.units, project.tallies, strict=True)):
        if not able[k] or (tally.finished and not (unit.seeded and project.look == 0)):
            continue
        seeds = _seeds(project, limits) if unit.seeded else range(1)
        found += [Job(k, seed) for seed in seeds if seed not in tally.ended][:1]
    return found


def _jobs(project: Project, asked: Asked, limits: Limits) -> list[Job]:
    """The jobs that give a question its next seed; empty if a model has all its seeds."""
    for seed in _seeds(project, limits):
        jobs = [
            Job(k, seed)
            for k in asked.units
            if project.units[k].seeded and seed not in project.tallies[k].ended
        ]
        if jobs:
            full = (len(project.tallies[job.unit].ended) >= limits.seeds for job in jobs)
            return [] if any(full) else jobs
    return []


def _seeds(project: Project, limits: Limits) -> range:
    """The seeds that may run here."""
    return range(project.first_seed, project.first_seed + limits.seeds)


def _by_cost(project: Project, possible: Sequence[tuple[Asked, list[Job]]]) -> list[list[Job]]:
    """The jobs of verdicts, in the order of what these cost."""
    jobs = {asked.question.name: own for asked, own in possible}
    left, ordered = verdicts(project, [asked for asked, _ in possible]), []
    while left:
        together = [
            list(dict.fromkeys(job for asked in way.parts for job in jobs[asked.question.name]))
            for way in left
        ]
        k = next_question(
            [way.seeds for way in left],
            [0] * len(left),
            [estimate(project, own) for own in together],
        )
        ordered.append(together[k])
        left.pop(k)
    return ordered


@dataclass(frozen=True)
class Way:
    """What decides a verdict: a question that does so alone, or one of each of its parts.

    Attributes:
        parts: the questions.
        seeds: estimated number of further seeds; infinite if out of reach.
        seconds: of one more seed of each of them.
    """

    parts: tuple[Asked, ...]
    seeds: float
    seconds: float

    @property
    def cost(self) -> tuple[float, float]:
        """Its order among others."""
        return self.seeds * self.seconds if self.seconds else self.seeds, self.seconds


def verdicts(project: Project, able: Sequence[Asked]) -> list[Way]:
    """How each open verdict is decided at the least cost.

    Of a part with several questions the one that is estimated to cost least is taken. Parts of
    which no question can have another seed leave the others out of reach.

    Args:
        project: all runs so far.
        able: open questions that can have another seed.
    """

    def way(parts: Sequence[Asked], *, complete: bool = True) -> Way:
        seconds = sum(seconds_of_a_seed(project, asked) for asked in parts)
        return Way(tuple(parts), max(map(further_seeds, parts)) if complete else math.inf, seconds)

    names = {asked.question.name for asked in able}
    by_verdict: dict[str, dict[str, list[Asked]]] = {}
    for asked in project.waiting:
        question = asked.question
        parts = by_verdict.setdefault(question.verdict or question.name, {})
        of_part = parts.setdefault(question.part, [])
        of_part += [asked] if question.name in names else []
    found = []
    for parts in by_verdict.values():
        each = [min(of, key=lambda asked: way([asked]).cost) for of in parts.values() if of]
        alone = [way([asked]) for of in parts.values() for asked in of if asked.question.alone]
        whole = [way(each, complete=all(parts.values()))] if each else []
        found += [min([*alone, *whole], key=lambda way: way.cost)] if each else []
    return found


def further_seeds(asked: Asked) -> float:
    """Estimated number of further seeds of an open question, 1 if unknown; may be infinite."""
    question = asked.question
    return 1.0 if math.isnan(question.needed) else max(1.0, question.needed - question.seeds)


def seconds_of_a_seed(project: Project, asked: Asked) -> float:
    """Estimated seconds of one more seed of a question."""
    each = [project.seconds(k) for k in asked.units if project.units[k].seeded]
    return max(sum(each) / project.at_once, max(each, default=0.0))
