"""Control of the false discovery rate over all verdicts of a page, by closed testing with e-values.

Each verdict points in one of two directions, which the data choose: for or against, one family or
another. (One that says both is false only if one of them is, and has the weaker evidence of the
two.) Of the two hypotheses that it may refute wrongly at least one is true, so that the K verdicts
of a page have K or more true hypotheses, each with half of the error. A set of k verdicts may stand
at a level if, for every set S of s verdicts, the sum of the e-values of S, divided by (K + s) / 2,
is at least the share of the k verdicts that would be false if those of S were, divided by the
level: the closed testing of Xu et al. (2025, arXiv:2509.02517) with hypotheses in pairs. For the
verdicts that are false that quotient has an expectation of at most 1, whatever depends on what, so
that the expected share of false verdicts is at most the level.
"""

import math
from collections.abc import Sequence

import numpy as np

STEPS = 30
"""Halvings of the range of an adjusted p value, in logarithms; its ends differ by a factor of K
(1 + 1/2 + … + 1/K) at most: relative error below 1e-7."""

EXACT = 1 - 1e-9
"""Relative error of sums of e-values that is let pass, so that e-values at their limit count."""


def false_discovery(p: Sequence[float], anytime: Sequence[bool]) -> list[float]:
    """Adjust p values of a page: of those up to 0.05, at most 5 % are expected to be false.

    The p value of a sequential test is 1 / e. That of a test at a fixed number of seeds becomes an
    e-value by the calibrator of Benjamini & Yekutieli (2001), for (K + s) / 2 hypotheses, rounded
    up, so that both kinds may stand on one page. No adjusted p value is larger than by their
    method, or by e-BH (Wang & Ramdas 2022), and none is smaller than its p value: a verdict needs
    evidence of its own, although closed testing would let a few stand without any beside many that
    are sure.

    Args:
        p: two-sided p values, from 0 to 1; NaN, a test that was not possible, stays NaN and is not
            counted.
        anytime: which of them are 1 / e. e must be the e-value at the last look, or at another
            stopping time: the largest of all looks is no e-value.

    Returns:
        The adjusted p values, in the order given.
    """
    known = [k for k in range(len(p)) if not math.isnan(p[k])]
    harmonic = sum(1 / k for k in range(1, len(known) + 1))
    scaled = {k: p[k] if anytime[k] else harmonic * p[k] for k in known}
    order = sorted(known, key=lambda k: scaled[k])
    page = _Page([p[k] for k in order], [anytime[k] for k in order])
    adjusted, smallest = [math.nan] * len(p), 1.0
    for count in range(len(order), 0, -1):
        k = order[count - 1]
        by_e_bh = len(order) / count * scaled[k]
        adjusted[k] = smallest = page.level(count, min(smallest, by_e_bh))
    return adjusted


class _Page:
    """p values of a page, in the order in which verdicts are given."""

    def __init__(self, p: Sequence[float], anytime: Sequence[bool]) -> None:
        self._p, self._anytime = np.array(p, dtype=np.float64), np.array(anytime, dtype=bool)
        self._sizes = np.arange(1, len(p) + 1)
        self._half = (len(p) + self._sizes) / 2
        self._harmonic = np.cumsum(1 / self._sizes)

    def level(self, count: int, most: float) -> float:
        """The smallest level below `most` at which the first verdicts may stand together, or it."""
        least = float(self._p[:count].max())
        if least >= most or not self._stands(count, most):
            return most
        if self._stands(count, least):
            return least
        for _ in range(STEPS):
            middle = math.sqrt(least * most)
            least, most = (least, middle) if self._stands(count, middle) else (middle, most)
        return most

    def _stands(self, count: int, level: float) -> bool:
        """Whether every set has the evidence that the first verdicts need at a level.

        Of the sets with equally many members among these verdicts and beside them, that with the
        smallest e-values decides.
        """
        e = self._quotients(level)
        inside, beside = (_smallest_sums(part) for part in (e[:, :count], e[:, count:]))
        size, false = np.meshgrid(self._sizes, np.arange(1, count + 1), indexing="ij")
        others = size - false
        possible = (others >= 0) & (others < beside.shape[1])
        size, false, others = size[possible], false[possible], others[possible]
        sums = inside[size - 1, false] + beside[size - 1, others]
        return bool((sums * level * count >= false * EXACT).all())

    def _quotients(self, level: float) -> np.ndarray:
        """e-values over (K + s) / 2, (number of members of a set, p value), float64."""
        half, count = self._half[:, None], np.ceil(self._half)[:, None]
        harmonic = self._harmonic[np.ceil(self._half).astype(int) - 1][:, None]
        with np.errstate(divide="ignore", over="ignore"):
            step = np.maximum(np.ceil(count * harmonic * self._p / level - 1e-9), 1.0)
            fixed = np.where(harmonic * self._p <= level, 1 / (level * step), 0.0)
            grown = np.where(self._p < 1, 1 / self._p, 0.0)  # 1 stands for any smaller e-value
            return np.where(self._anytime, grown / half, fixed)


def _smallest_sums(e: np.ndarray) -> np.ndarray:
    """Sums of the 0, 1, 2, … smallest values of each row."""
    sums = np.cumsum(np.sort(e, axis=1), axis=1)
    return np.concatenate([np.zeros((len(e), 1)), sums], axis=1)
