"""All measurements of a test: on every data set, size of model, protocol and machine."""

from collections.abc import Iterable, Sequence
from itertools import groupby, product

from bench.compare.claims.declaration import Criterion
from bench.compare.claims.measured import Counts, Outcomes, Seeds, Sides
from bench.compare.claims.selection import Group, find
from bench.compare.comparison import Comparison
from bench.compare.protocols import MACHINE
from bench.compare.topics.outcomes import is_trained

Measured = tuple[Seeds | Counts, tuple[Group, ...]]
"""A measurement, and the groups behind it."""


def measure(test: Criterion, comparisons: Sequence[Comparison]) -> list[Measured]:
    """All measurements of a test, for each protocol.

    There is one per data set and size of model, or one for all of them together if the kind does
    not give one number per seed. A test that names its data sets is measured over all of them.
    Runs of one machine are compared with each other; the seeds of several machines are counted
    together.
    """
    measured: list[Measured] = []
    for machines in by_protocol(comparisons):
        found: dict[tuple[str, int], list[Measured]] = {}
        for comparisons_of_one in machines:
            for key, (value, groups) in _measure_each(test, comparisons_of_one).items():
                if key not in found or any(group.trained for group in groups):
                    found.setdefault(key, []).append((value, groups))
        each = [_over_machines(values) for values in found.values()]
        measured += each if test.kind.per == "seed" else _pooled(each)
    return measured


def by_protocol(comparisons: Sequence[Comparison]) -> list[list[list[Comparison]]]:
    """Comparisons by their protocol, and within one by machine.

    A comparison without a machine, such as that of real data, is among those of every machine. If a
    seed of a data set ran on two machines, as where precisions are compared, each machine is a
    protocol of its own: the runs of one seed are not independent.
    """
    found = []
    for _, group in groupby(sorted(comparisons, key=_protocol), key=_protocol):
        of_protocol = sorted(group, key=_machine)
        machines = [list(of_one) for _, of_one in groupby(of_protocol, key=_machine)]
        if len(machines) > 1 and not machines[0][0].machine:
            anywhere, *machines = machines
            machines = [[*anywhere, *of_one] for of_one in machines]
        seeds = [
            {
                (comparison.dataset, run.seed)
                for comparison in of_one
                for run in comparison.runs
                if len(run.last) and is_trained(run) and comparison.machine
            }
            for of_one in machines
        ]
        apart = sum(map(len, seeds)) == len(set[tuple[str, str]]().union(*seeds))
        found += [machines] if apart else [[of_one] for of_one in machines]
    return found


def _protocol(comparison: Comparison) -> str:
    """A key of the protocol fields by which the comparison was split, but for the machine."""
    return repr(sorted((k, v) for k, v in comparison.values.items() if k not in MACHINE))


def _machine(comparison: Comparison) -> str:
    """The machine of a comparison; a key for `groupby`."""
    return comparison.machine


def _measure_each(
    test: Criterion, comparisons: Sequence[Comparison]
) -> dict[tuple[str, int], Measured]:
    """The measurements on runs of one protocol and machine, by place and size of model."""
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


def _over_machines(found: Sequence[Measured]) -> Measured:
    """The measurements of one test and place on several machines as one: all of their seeds.

    What the values of all seeds of a machine share, such as the error of a measured constant, is
    taken to be shared by all. Runs without rows, whose machine is unknown, are counted once.
    """
    if len(found) == 1:
        return found[0]
    groups = tuple(group for _, groups in found for group in groups)
    counts = [value for value, _ in found if isinstance(value, Counts)]
    if counts:
        return Counts(
            _counted_once(c.ours for c in counts), _counted_once(c.theirs for c in counts)
        ), groups
    seeds = [value for value, _ in found if isinstance(value, Seeds)]
    limits = [m.limits for m in seeds if m.limits is not None]
    known = len(limits) == len(seeds)
    return (
        Seeds(
            {key: number for m in seeds for key, number in m.values.items()},
            lacking="; ".join(dict.fromkeys(m.lacking for m in seeds if m.lacking)),
            bounds=any(m.bounds for m in seeds),
            limits=(min(a for a, _ in limits), max(b for _, b in limits)) if known else None,
            error=max(m.error for m in seeds),
            freedom=min(m.freedom for m in seeds),
            blocks=sum((m.blocks for m in seeds), ()),
        ),
        groups,
    )


def _counted_once(of_machines: Iterable[tuple[Outcomes, ...]]) -> tuple[Outcomes, ...]:
    """The outcomes of several machines, without those of seeds that an earlier one has."""
    found: list[Outcomes] = []
    for outcomes in of_machines:
        seen = {seed for earlier in found for seed in earlier}
        found += [{s: o for s, o in of.items() if s not in seen} for of in outcomes]
    return tuple(found)


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
