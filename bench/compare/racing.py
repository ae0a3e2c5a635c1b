"""Racing: what the seeds so far show of every pair of models, and which models are out. Pure."""

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import combinations

import numpy as np

from bench.compare.questions import State
from bench.compare.sequential import (
    LEVEL,
    confidence_sequence,
    equality_evidence,
    evidence,
    settled_after,
)
from bench.compare.stats import holm, logarithms


@dataclass(frozen=True)
class Standing:
    """What the common seeds of two models show so far.

    Attributes:
        a: row of the first model.
        b: row of the second model.
        seeds: columns of the common seeds, in order.
        differences: A - B after each of them; of logarithms with `ratio`.
        path: evidence after each seed that there is a difference (e-values).
        equal_path: evidence after each seed that the difference is within the margin.
        p: 1 / (largest e-value so far), adjusted by Holm over all pairs.
        equal_p: the same for the evidence of equality.
        threshold: e-value that shows a difference: the number of pairs that Holm's correction
            counts at the step of this pair, divided by `LEVEL`.
        equal_threshold: the same for equality.
        margin: differences up to this size are practically equal; of logarithms with `ratio`.
        ratio: whether logarithms are compared.
        sizes: magnitude of the compared values, one per difference, see `evidence`.
        dropped: whether one of the models is shown to be worse than another model, and this pair
            was not settled before.
    """

    a: int
    b: int
    seeds: tuple[int, ...]
    differences: tuple[float, ...]
    path: tuple[float, ...]
    equal_path: tuple[float, ...]
    p: float
    equal_p: float
    threshold: float
    equal_threshold: float
    margin: float
    ratio: bool
    sizes: tuple[float, ...]
    dropped: bool = False

    @property
    def state(self) -> State:
        """Settled, if a difference is shown, however small; else equal, if that is shown."""
        if self.p <= LEVEL:
            return "settled"
        return "equal" if self.equal_p <= LEVEL else "open"

    @property
    def mean(self) -> float:
        """Mean of A - B, or with `ratio` the ratio of geometric means A / B; NaN without seeds."""
        if not self.differences:
            return math.nan
        mean = float(np.mean(self.differences))
        return math.exp(mean) if self.ratio else mean

    @property
    def direction(self) -> int:
        """-1 if A is lower, 1 if B is: by the seeds up to the largest e-value; 0 without seeds."""
        if not self.path:
            return 0
        upto = int(np.argmax(self.path)) + 1
        return int(np.sign(np.sum(self.differences[:upto])))

    @property
    def e_now(self) -> float:
        """e-value for a difference after the last seed: over a page this one counts."""
        return self.path[-1] if self.path else 1.0

    @property
    def equal_e_now(self) -> float:
        """The same for equality."""
        return self.equal_path[-1] if self.equal_path else 1.0

    @cached_property
    def interval(self) -> tuple[float, float]:
        """The confidence sequence after the last seed; of the ratio A / B with `ratio`.

        It is that of this pair alone: not corrected for the other pairs.
        """
        ends = confidence_sequence(np.array(self.differences), size=np.array(self.sizes))
        low, high = (_exp(end) for end in ends) if self.ratio else ends
        return low, high

    @cached_property
    def needed(self) -> float:
        """Estimated number of all common seeds that settle it, see `settled_after`."""
        if self.state != "open":
            return float(len(self.seeds))
        return settled_after(
            self.differences,
            self.threshold,
            self.margin,
            equal_threshold=self.equal_threshold,
            size=max(self.sizes, default=0.0),
        )


@dataclass(frozen=True)
class Standings:
    """All pairs of models, and what follows for the models.

    Attributes:
        pairs: in the order of `itertools.combinations`.
        dropped: rows of the models that are shown to be worse than another one that may be
            recommended.
        remaining: rows of the others, which may still be the best.
    """

    pairs: tuple[Standing, ...]
    dropped: tuple[int, ...]
    remaining: tuple[int, ...]

    @property
    def open(self) -> tuple[Standing, ...]:
        """Pairs that further seeds should settle."""
        return tuple(pair for pair in self.pairs if pair.state == "open" and not pair.dropped)


def standings(
    values: np.ndarray, *, margin: float, ratio: bool, unfit: Collection[int] = ()
) -> Standings:
    """Compare all pairs of models over their common seeds, at any number of seeds.

    Holm's correction counts all pairs of the models that were entered, with or without common
    seeds and whether dropped or not: the number of tests must not depend on the results.
    Differences and equality are two families. Each has false verdicts in at most `LEVEL` of cases.

    Args:
        values: (M, S) float64, lower is better, in the order of seeds; NaN if missing.
        margin: of practical equality: a ratio above 1 with `ratio`, else a difference above 0.
        ratio: whether to compare logarithms, of positive values.
        unfit: rows of models that may not be recommended, such as collapsed ones; being worse than
            one of them drops no model.

    Raises:
        ValueError: a margin that leaves no room, or a ratio of values that are not positive.
    """
    if not (margin > (1 if ratio else 0) and math.isfinite(margin)):
        kind = "a ratio above 1" if ratio else "a difference above 0"
        raise ValueError(f"margin={margin:g} is not {kind}: within it, models count as equal")
    x = logarithms(values) if ratio else np.asarray(values, dtype=np.float64)
    within = math.log(margin) if ratio else margin
    rows = list(combinations(range(len(x)), 2))
    if not rows:
        return Standings((), (), tuple(range(len(x))))
    first, second = (x[[row[k] for row in rows]] for k in (0, 1))  # (P, S)
    size = np.maximum(np.maximum(np.abs(first), np.abs(second)), float(ratio))
    differences = first - second
    paths = evidence(differences, size=size)
    equal_paths = equality_evidence(differences, within, size=size)
    p, threshold = corrected(paths)
    equal_p, equal_threshold = corrected(equal_paths)
    pairs = []
    for k, (a, b) in enumerate(rows):
        known = np.flatnonzero(~np.isnan(differences[k]))
        pair = Standing(
            a,
            b,
            tuple(known.tolist()),
            tuple(differences[k][known].tolist()),
            tuple(paths[k][known].tolist()),
            tuple(equal_paths[k][known].tolist()),
            p[k],
            equal_p[k],
            threshold[k],
            equal_threshold[k],
            within,
            ratio,
            tuple(size[k][known].tolist()),
        )
        pairs.append(pair)
    return _race(pairs, len(x), unfit)


def corrected(paths: np.ndarray) -> tuple[list[float], list[float]]:
    """Holm's correction of a family of tests that are looked at after every seed.

    Args:
        paths: e-values after each seed, (P, S).

    Returns:
        Adjusted p values of the largest e-values so far, and the e-values that settle each test,
        given the others, (P,) each.
    """
    highest = np.max(paths, axis=1, initial=1.0)
    p = holm((1 / highest).tolist())
    settled = sum(value <= LEVEL for value in p)
    counted = np.empty(len(p))
    counted[np.argsort(-highest, kind="stable")] = len(p) - np.minimum(np.arange(len(p)), settled)
    return p, (counted / LEVEL).tolist()


def next_question(needed: Sequence[float], seeds: Sequence[int], seconds: Sequence[float]) -> int:
    """The open question whose verdict costs least: the index of the smallest expected cost.

    Args:
        needed: estimated number of all seeds that settle each question. NaN, unknown, counts as
            one more seed; infinite ones come last, the cheapest first.
        seeds: number of seeds that each question has.
        seconds: cost of one more seed of each question.

    Raises:
        ValueError: there is no question.
    """
    if not len(needed):
        raise ValueError("there is no open question to choose from")
    more = [
        max(1.0, n - have) if not math.isnan(n) else 1.0
        for n, have in zip(needed, seeds, strict=True)
    ]
    costs = [(m * s, s) for m, s in zip(more, seconds, strict=True)]
    return min(range(len(costs)), key=costs.__getitem__)


def _race(pairs: Sequence[Standing], models: int, unfit: Collection[int]) -> Standings:
    """Drop the models that are shown to be worse than another one that may be recommended."""
    settled = [pair for pair in pairs if pair.state == "settled"]
    order = [(p.a, p.b) if p.direction < 0 else (p.b, p.a) for p in settled]
    out = {worse for better, worse in order if better not in unfit}
    if out >= set(range(models)) - set(unfit):  # verdicts in a circle leave no best model
        out = set()
    judged = tuple(
        replace(pair, dropped=pair.state == "open" and (pair.a in out or pair.b in out))
        for pair in pairs
    )
    return Standings(judged, tuple(sorted(out)), tuple(k for k in range(models) if k not in out))


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
