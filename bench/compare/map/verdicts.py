"""Who is ahead in each cell of the map, and how sure that is, corrected over all cells."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from bench.compare.discoveries import false_discovery
from bench.compare.map.contenders import Contender, has_fault
from bench.compare.sequential import LEVEL, equality_evidence, evidence
from bench.compare.stats import MIN_SEEDS, paired_difference, unpaired_difference
from bench.compare.topics.recommendation import STEEP

State = Literal["settled", "equal", "open", "alone", "nobody", "empty"]
"""What is known of a cell: the leader is shown to be ahead of all others, or practically equal to
the next one, or neither; it has no rival; there are models, but none can be ahead; no model."""


@dataclass(frozen=True)
class Score:
    """One family in a cell.

    Attributes:
        contender: what stands for it.
        fids: FID by seed, in the order of the seeds' numbers.
        fault: why it cannot be ahead: "collapsed", "far" from real data; empty if it can.
        slope: p of FID ~ budget^-p since the column before; NaN in the first one.
    """

    contender: Contender
    fids: Mapping[str, float]
    fault: str
    slope: float

    @property
    def fid(self) -> float:
        """Geometric mean over seeds."""
        return math.exp(float(np.mean(np.log(list(self.fids.values())))))

    @property
    def falling(self) -> bool:
        """Whether its FID still fell steeply up to this budget."""
        return self.slope >= STEEP

    @property
    def range(self) -> tuple[float, float]:
        """Where the FID of one more seed is expected in 95 % of cases; NaN with a single seed.

        The prediction interval of normal logarithms.
        """
        from scipy.special import stdtrit  # slow to import

        logs = np.log(list(self.fids.values()))
        n = len(logs)
        if n < 2:
            return math.nan, math.nan
        half = float(stdtrit(n - 1, 0.975) * logs.std(ddof=1) * math.sqrt(1 + 1 / n))
        return self.fid * math.exp(-half), self.fid * math.exp(half)


@dataclass(frozen=True)
class Cell:
    """One cell of the map.

    Attributes:
        scores: the families by FID; those that cannot be ahead come last.
        missing: families of the row without a result here, with the reason.
        state: what is known.
        rivals: p that the leader is not ahead of each other family that can be ahead, in order; NaN
            with too few seeds.
        seeds_of: number of seeds over which the leader is compared with each of these.
        p: the largest of these p, before correction; NaN if one of them is.
        anytime: whether p holds after any number of seeds (1 / e).
        equal_p: that the two leading families are not equal within the margin.
        adjusted: p over all cells of the map.
        by_others: further extractors that were measured here, with the family that leads by each.
    """

    scores: tuple[Score, ...] = ()
    missing: tuple[tuple[str, str], ...] = ()
    rivals: tuple[float, ...] = ()
    seeds_of: tuple[int, ...] = ()
    state: State = "empty"
    p: float = math.nan
    anytime: bool = False
    equal_p: float = math.nan
    adjusted: float = math.nan
    by_others: tuple[tuple[str, str], ...] = ()

    @property
    def able(self) -> tuple[Score, ...]:
        """The families that can be ahead, by FID."""
        return tuple(score for score in self.scores if not score.fault)

    @property
    def leader(self) -> Score | None:
        """The family with the lowest FID of those that can be ahead."""
        return self.able[0] if self.able else None

    @property
    def dissent(self) -> tuple[tuple[str, str], ...]:
        """The further extractors by which another family leads, with that family."""
        own = self.leader.contender.family if self.leader else ""
        return tuple((name, family) for name, family in self.by_others if family != own)

    @property
    def lead(self) -> float:
        """FID of the next family relative to the leader's, at least 1; NaN without a rival."""
        able = self.able
        return able[1].fid / able[0].fid if len(able) > 1 else math.nan

    @property
    def seeds(self) -> int:
        """Smallest number of seeds over which the leader is compared; 0 without a rival."""
        return min(self.seeds_of, default=0)

    @property
    def nearest(self) -> Score:
        """The family that the leader is least shown to be ahead of: with too few seeds, or by p."""
        if self.seeds < MIN_SEEDS:
            return self.able[1 + self.seeds_of.index(self.seeds)]
        return self.able[1 + self.rivals.index(max(self.rivals))]


def make_cell(
    contenders: Sequence[Contender],
    budget: float,
    before: float | None,
    *,
    sequential: bool,
    margin: float,
) -> Cell:
    """Compare all families at one budget.

    The leader is tested against every other family that can be ahead, and the largest two-sided p
    counts. That the leader was chosen by its FID needs no further correction: chance puts a family
    ahead of all others most often if only two are equal, and then the two-sided test is exact (Hung
    & Fithian 2019, Rank verification for exponential families; simulated in docs/statistics.md).
    Sequential runs are tested by evidence at any number of seeds, others by Student's t.

    Args:
        contenders: one for each family.
        budget: of the column.
        before: budget of the column before; None in the first one.
        sequential: whether bench.decide made the runs.
        margin: FIDs with a ratio within [1 / margin, margin] count as equal.
    """
    scores, missing = [], []
    for contender in contenders:
        found = contender.at(budget)
        if any(point.fid <= 0 for point in found.values()) or not found:
            why = "its FID is not above 0" if found else "not scored at this budget"
            missing.append((contender.family, why))
            continue
        fids = {seed: found[seed].fid for seed in sorted(found, key=int)}
        slope = math.nan if before is None else _slope(contender, fids, before, budget)
        scores.append(Score(contender, fids, has_fault(found), slope))
    scores.sort(key=lambda score: (bool(score.fault), score.fid))
    cell = Cell(tuple(scores), tuple(missing))
    able = cell.able
    if not scores:
        return cell
    if len(able) < 2:
        return replace(cell, state="alone" if able else "nobody")
    seeds = tuple(_seeds(able[0], rival, sequential=sequential) for rival in able[1:])
    rivals = tuple(
        _p(able[0], rival, sequential=sequential) if n >= MIN_SEEDS else math.nan
        for rival, n in zip(able[1:], seeds, strict=True)
    )
    if min(seeds) < MIN_SEEDS:
        return replace(cell, state="open", rivals=rivals, seeds_of=seeds)
    equal = len(rivals) * _equal_p(able[0], able[1], margin)
    return replace(
        cell,
        state="open",
        rivals=rivals,
        seeds_of=seeds,
        p=max(rivals),
        anytime=sequential,
        equal_p=min(1.0, equal),
    )


def settle(cells: Sequence[Cell]) -> list[Cell]:
    """The cells with what is known of them, corrected over all of them.

    Of the cells that are called settled at most 5 % are expected to be wrong, and of those that are
    shown to be equal too (`bench.compare.discoveries.false_discovery`). A cell that is both, with a
    small difference that is sure, is called settled.
    """
    adjusted = false_discovery([c.p for c in cells], [c.anytime for c in cells])
    equal = false_discovery([c.equal_p for c in cells], [True] * len(cells))
    found = []
    for cell, p, same in zip(cells, adjusted, equal, strict=True):
        state = cell.state
        if state == "open" and p <= LEVEL:
            state = "settled"
        elif state == "open" and same <= LEVEL:
            state = "equal"
        found.append(replace(cell, state=state, adjusted=p))
    return found


def _seeds(leader: Score, rival: Score, *, sequential: bool) -> int:
    """Number of seeds over which two families are compared: common ones, if that is possible."""
    common = len(leader.fids.keys() & rival.fids.keys())
    if sequential or common >= MIN_SEEDS:
        return common
    return min(len(leader.fids), len(rival.fids))


def _p(leader: Score, rival: Score, *, sequential: bool) -> float:
    """P that the leader is not ahead of a rival, two-sided; 1 if its common seeds say otherwise."""
    a, b = leader.fids, rival.fids
    common = [seed for seed in a if seed in b]
    if sequential:
        d = _differences(a, b, common)
        if not len(d) or d.mean() >= 0:
            return 1.0
        return min(1.0, float(1 / evidence(d, size=_size(a, b, common))[-1]))
    if len(common) >= MIN_SEEDS:
        found = paired_difference(a, b, ratio=True)
    else:
        found = unpaired_difference(list(a.values()), list(b.values()), ratio=True)
    if found.mean >= 1:
        return 1.0
    return found.p


def _equal_p(leader: Score, rival: Score, margin: float) -> float:
    """P that two families are not equal within the margin: 1 / e, over their common seeds."""
    common = [seed for seed in leader.fids if seed in rival.fids]
    d = _differences(leader.fids, rival.fids, common)
    if not len(d):
        return 1.0
    size = _size(leader.fids, rival.fids, common)
    e = float(equality_evidence(d, math.log(margin), size=size)[-1])
    return 1 / e if e > 1 else 1.0


def _differences(
    a: Mapping[str, float], b: Mapping[str, float], seeds: Sequence[str]
) -> np.ndarray:
    """Differences of the logarithms of FIDs, (S,)."""
    return np.array([math.log(a[seed] / b[seed]) for seed in seeds])


def _size(a: Mapping[str, float], b: Mapping[str, float], seeds: Sequence[str]) -> np.ndarray:
    """Magnitude of the compared logarithms, at least 1, (S,)."""
    return np.array([max(1.0, abs(math.log(a[s])), abs(math.log(b[s]))) for s in seeds])


def _slope(contender: Contender, fids: Mapping[str, float], before: float, budget: float) -> float:
    """P of FID ~ budget^-p between two columns, median over common seeds; NaN without one."""
    earlier = contender.at(before)
    found = [
        math.log(earlier[seed].fid / fid) / math.log(budget / before)
        for seed, fid in fids.items()
        if seed in earlier and earlier[seed].fid > 0
    ]
    return float(np.median(found)) if found else math.nan
