"""The plan before anything runs: questions, models, times, and what the limit can settle."""

from collections.abc import Sequence
from functools import cache
from math import comb, inf

import numpy as np

from bench.compare.sequential import LEVEL, evidence
from bench.decide.answer import counted
from bench.decide.loop import Limits
from bench.decide.project import Project, families
from bench.decide.units import Unit
from bench.runtime.outlook import Outlook
from bench.runtime.printing import duration

POWER = 0.8
"""Share of cases in which a difference that the plan names is settled."""

SIMULATED = 400
"""Number of simulated sequences of seeds."""

EFFECTS = tuple(round(0.3 * 1.08**k, 2) for k in range(50))
"""Differences that are tried, in standard deviations of the paired differences; up to 13."""


@cache
def smallest_difference(seeds: int, questions: int) -> float:
    """The smallest difference that is settled in `POWER` of cases of normal noise.

    Args:
        seeds: number of seeds, each of which is looked at.
        questions: number of questions that Holm's correction counts at its strictest step.

    Returns:
        In standard deviations of the paired differences; infinite if none of `EFFECTS` is.
    """
    noise = np.random.default_rng(0).normal(size=(SIMULATED, seeds))
    for effect in EFFECTS:
        reached = (evidence(noise + effect) >= questions / LEVEL).any(axis=1)
        if reached.mean() >= POWER:
            return effect
    return inf


def count_pairs(units: Sequence[Unit]) -> dict[str, int]:
    """The number of pairs of models by what the models share; families without a pair left out."""
    pairs = {name: comb(len(found), 2) for name, found in families(units).items()}
    return {name: count for name, count in pairs.items() if count}


def block_seconds(units: Sequence[Unit], at_once: int) -> float | None:
    """Seconds of a block, every trained model with one seed; None if that is not known."""
    seeded = tuple(unit.planned for unit in units if unit.seeded)
    return Outlook(seeded, at_once).seconds()


def plan_text(
    project: Project, limits: Limits, margin: float, pairs: dict[str, int], claims: int
) -> str:
    """The plan, for readers.

    Args:
        project: all runs so far.
        limits: when to stop.
        margin: of practical equality.
        pairs: see `count_pairs`; empty if claims are asked.
        claims: number of claims that the runs are to decide; 0 if models are compared.
    """
    lines = [
        f"{counted(count, 'question')} on {name}: which of two models has the lower FID?"
        for name, count in pairs.items()
    ]
    if claims:
        lines = [f"{claims} claims of conf/claims, each with several tests"]
    block = block_seconds(project.units, project.at_once)
    outlook = Outlook(tuple(unit.planned for unit in project.units), project.at_once)
    lines += ["One block, every model with one seed:", *_indented(outlook.text())]
    if block is None:
        lines.append("Jobs on other machines are not timed: the first block shows what they take.")
        return "\n".join(lines)
    left = max(0.0, limits.seconds - project.spent)
    have = _common_seeds(project)
    more = max(0, min(limits.seeds - have, int(left / block) if block else limits.seeds))
    spent = f", of which {duration(project.spent)} are spent," if project.spent else ""
    lines.append(
        f"The limit of {duration(limits.seconds)}{spent} allows {_seeds(more, bool(have))} of "
        f"every model{_dropping(have + more, limits.seeds)}."
    )
    most = max(pairs.values(), default=claims)
    lines.append(_power_sentence(have + more, limits.seeds, most))
    lines.append(
        f"Two models whose FIDs differ by less than a factor of {margin:g} count as practically "
        "equal."
    )
    lines.append(
        f"Predicted: at most {duration(more * block)} for {counted(more, 'seed')} of "
        "every model, less if all is settled before."
    )
    return "\n".join(lines)


def _seeds(number: int, more: bool) -> str:
    """A number of seeds, in words."""
    return counted(number, "more seed" if more else "seed")


def _dropping(seeds: int, most: int) -> str:
    """What dropped models leave time for; empty if every model can have all its seeds."""
    if seeds >= most:
        return ""
    return f"; models that are shown to be worse drop out, which leaves time for up to {most}"


def _common_seeds(project: Project) -> int:
    """The number of seeds that every trained model has run."""
    tallies = zip(project.units, project.tallies, strict=True)
    return min((len(tally.ended) for unit, tally in tallies if unit.seeded), default=0)


def _power_sentence(seeds: int, most: int, questions: int) -> str:
    """Which differences the limit can settle."""
    numbers = sorted({n for n in (seeds, most) if n >= 2})
    found = {n: smallest_difference(n, questions) for n in numbers}
    said = [
        f"{'with ' if n == min(found) else ''}{n} seeds, {size:.1f} standard deviations"
        for n, size in found.items()
        if size < inf
    ]
    if not said:
        return (
            f"With {counted(seeds, 'seed')} no difference can be settled: give more hours, or a "
            "larger seeds=."
        )
    return (
        f"Smallest difference that is settled in {POWER:.0%} of cases, in units of the spread of "
        f"paired differences over seeds: {'; with '.join(said)}."
    )


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]
