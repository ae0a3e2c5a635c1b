"""All measurements of a test: on every data set, size of model, protocol and machine."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from itertools import groupby, product

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.measured import Counts, Seeds, Sides
from bench.compare.claims.selection import Group, find
from bench.compare.comparison import Comparison
from bench.compare.protocols import MACHINE
from bench.compare.read import Run
from bench.compare.topics.outcomes import is_trained

Measured = tuple[Seeds | Counts, tuple[Group, ...]]
"""A measurement, and the groups behind it."""

Key = tuple[str, int]
"""Place and size of model of a measurement; no place for all data sets together."""


Protocols = Sequence[Sequence[Sequence[Comparison]]]
"""Comparisons by protocol, and within one by machine, see `by_protocol`."""


def measure(test: Criterion, protocols: Protocols) -> list[Measured]:
    """All measurements of a test, for each protocol.

    There is one per data set and size of model, or one for all of them together if the kind does
    not give one number per seed. A test that names its data sets is measured over all of them.
    Runs of one machine are compared with each other; the seeds of several machines are counted
    together, unless a seed ran on two of them: its runs are not independent.
    """
    found: list[tuple[Key, Measured]] = []
    for machines in protocols:
        each = [_measure_each(test, of_one) for of_one in machines]
        for pool in [[of_one] for of_one in each] if _share_seeds(each) else [each]:
            values: dict[Key, list[Measured]] = {}
            for key, (value, groups) in (item for of_one in pool for item in of_one.items()):
                if key not in values or any(group.trained for group in groups):
                    values.setdefault(key, []).append((value, groups))
            together = [(key, _over_machines(of_key)) for key, of_key in values.items()]
            if test.kind.per != "seed":
                together = [(("", 0), m) for m in _pooled([m for _, m in together])]
            found += together
    several = Counter(key for key, _ in found)
    return [_titled(m) if several[key] > 1 else m for key, m in found]


def by_protocol(comparisons: Sequence[Comparison]) -> Protocols:
    """Comparisons by their protocol, and within one by machine.

    A comparison without a machine, such as that of real data, is among those of every machine.
    Where one device has runs of two precisions, precision was chosen and is a part of the protocol.
    """
    found: list[list[list[Comparison]]] = []
    for _, group in groupby(sorted(comparisons, key=_protocol), key=_protocol):
        of_protocol = list(group)
        machines = list(dict.fromkeys(c.machine for c in of_protocol if any(c.machine)))
        if len(machines) < 2:
            found.append([of_protocol])
            continue
        chosen = len({device for device, _ in machines}) < len(machines)
        for precision in dict.fromkeys(p for _, p in machines) if chosen else [None]:
            here = [machine for machine in machines if precision in (None, machine[1])]
            found.append(_by_machine(of_protocol, here))
    return found


def _protocol(comparison: Comparison) -> str:
    """A key of the protocol fields by which the comparison was split, but for the machine."""
    return repr(sorted((k, v) for k, v in comparison.values.items() if k not in MACHINE))


def _by_machine(
    comparisons: Sequence[Comparison], machines: Sequence[tuple[str, str]]
) -> list[list[Comparison]]:
    """The comparisons of each machine and those without one.

    A run without rows, which is in the comparisons of all machines, is left in that of its own: the
    device that its status names, else the machine on which its seed ran, else the first.
    """
    seeds = {
        each: {
            (c.dataset, run.seed)
            for c in comparisons
            if c.machine == each
            for run in c.runs
            if len(run.last) and is_trained(run)
        }
        for each in machines
    }

    def owner(run: Run) -> tuple[str, str]:
        of_device = [each for each in machines if each[0] == run.status.device]
        of_seed = [each for each in machines if (run.dataset, run.seed) in seeds[each]]
        return [*of_device, *of_seed, *machines][0]

    def of(machine: tuple[str, str], c: Comparison) -> Comparison:
        return replace(c, runs=tuple(r for r in c.runs if len(r.last) or owner(r) == machine))

    return [
        [of(machine, c) for c in comparisons if c.machine == machine or not any(c.machine)]
        for machine in machines
    ]


def _measure_each(test: Criterion, comparisons: Sequence[Comparison]) -> dict[Key, Measured]:
    """The measurements on runs of one protocol and machine."""
    sizes = range(max(len(selection.models) for selection in test.sides))
    split, across = len(test.numerator), all(selection.dataset for selection in test.sides)
    found = {}
    for scope, size in product([comparisons] if across else [[c] for c in comparisons], sizes):
        matched = (find(selection, size, scope) for selection in test.sides)
        groups = tuple(group for group in matched if group is not None)
        if len(groups) == len(test.sides):
            sides = Sides(groups[:split], groups[split:], scope)
            value = test.kind.measure(sides, **test.options)
            if value is not None:
                found["" if across else scope[0].place, size] = value, groups
    return found


def _share_seeds(machines: Sequence[Mapping[Key, Measured]]) -> bool:
    """Whether a seed of a data set was measured on two machines."""
    seeds = [
        {
            (member.run.dataset, member.seed)
            for _, groups in of_one.values()
            for group in groups
            for member in group.members
            if not member.broadcast
        }
        for of_one in machines
    ]
    return sum(map(len, seeds)) > len(set[tuple[str, str]]().union(*seeds))


def _over_machines(found: Sequence[Measured]) -> Measured:
    """The measurements of one test and place on several machines as one: all of their seeds.

    What the values of all seeds of a machine share, such as the error of a measured constant, is
    taken to be shared by all.
    """
    if len(found) == 1:
        return found[0]
    groups = tuple(group for _, groups in found for group in groups)
    counts = [value for value, _ in found if isinstance(value, Counts)]
    if counts:
        ours, theirs = (sum((getattr(c, side) for c in counts), ()) for side in ("ours", "theirs"))
        return Counts(ours, theirs), groups
    seeds = [value for value, _ in found if isinstance(value, Seeds)]
    limits = [m.limits for m in seeds if m.limits is not None]
    known = len(limits) == len(seeds)
    together = Seeds(
        {key: number for m in seeds for key, number in m.values.items()},
        lacking="; ".join(dict.fromkeys(m.lacking for m in seeds if m.lacking)),
        bounds=any(m.bounds for m in seeds),
        limits=(min(a for a, _ in limits), max(b for _, b in limits)) if known else None,
        error=max(m.error for m in seeds),
        freedom=min(m.freedom for m in seeds),
        blocks=sum((m.blocks for m in seeds), ()),
        machine_of={key: number for number, m in enumerate(seeds) for key in m.values},
    )
    return together, groups


def _titled(measured: Measured) -> Measured:
    """A measurement beside others of the same place: titles tell them apart."""
    value, groups = measured
    return value, tuple(replace(group, place=group.title or group.place) for group in groups)


def _pooled(found: Sequence[Measured]) -> list[Measured]:
    """Measurements of all data sets combined into one; empty if there are none."""
    groups = tuple(group for _, groups in found for group in groups)
    counts = [value for value, _ in found if isinstance(value, Counts)]
    if counts:
        theirs = sum((c.theirs for c in counts), ())
        return [(Counts(sum((c.ours for c in counts), ()), theirs), groups)]
    seeds = [value for value, _ in found if isinstance(value, Seeds)]
    values = {key: number for m in seeds for key, number in m.values.items()}
    blocks = sum((m.blocks for m in seeds), ())
    return [(Seeds(values, blocks=blocks), groups)] if found else []
