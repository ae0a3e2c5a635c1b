"""Differences between models: tests of every pair over seeds, with Holm's correction."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from bench.compare.cells import Cell, Table, exact, interval, natural, p_value
from bench.compare.comparison import Comparison, Entry, analysis
from bench.compare.stats import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    Verdict,
    holm,
    paired_differences,
    power,
    unpaired_difference,
    verdict,
)
from bench.compare.variants import model_changes
from bench.schema import MEASURED

FEW = 8
"""Up to this number of models and variants all pairs are compared and shown. With more, variants
with model overrides are excluded; with still more, only pairs with the best model are shown."""

PAIRS_SENTENCE = (
    "Every model is represented by the first sampler that it lists, so that no sampler is selected "
    "by its score. Pairs are compared over common seeds by Student's paired t on {scale}, or by "
    "Welch's t if fewer than three seeds are shared. The effect size is the mean difference over "
    "its standard deviation over seeds, with Hedges' correction. p is adjusted for the "
    "number of pairs with enough seeds, here {family} (Holm); below 0.05 two models are called "
    "different. Intervals are not adjusted."
)
SCALES = {True: "logarithms of FID", False: "FID, because some are not positive"}
POWER_SENTENCE = (
    "Not shown to differ does not mean equal: with {n} seeds, a difference of one standard "
    "deviation is found in {alone:.0%} of cases by a single comparison{strictest}."
)
STRICTEST = ", and in {share:.1%} at the strictest step of Holm's correction for {family} pairs"
TOO_FEW = "No verdict: no two models have three common seeds, or three seeds each."
LOWEST_SENTENCE = (
    "Only pairs with the model of the lowest mean FID are shown; p is adjusted for all pairs."
)
CONFIGURED_SENTENCE = (
    "Variants with overrides of the model are not compared here, because there are too many: name "
    "the runs on the command line to compare them as a family of their own."
)


@dataclass(frozen=True)
class Pair:
    """Two models, and the difference of their FIDs over seeds.

    Attributes:
        a: the one with the lower mean FID.
        b: the other one.
        difference: A against B, by ratio where all FIDs are positive.
        p: adjusted over all pairs of the comparison; NaN with too few seeds.
        verdict: the verdict.
    """

    a: Entry
    b: Entry
    difference: Difference
    p: float
    verdict: Verdict


def first_listed(comparison: Comparison) -> dict[tuple[str, str], tuple[str, str]]:
    """The first listed (sampler, weights) of each model and variant."""
    found: dict[tuple[str, str], tuple[str, str]] = {}
    for run in sorted(comparison.runs, key=lambda run: natural(run.seed)):
        if run.state == "finished":
            found.setdefault((run.model, run.variant), next(iter(run.samplers)))
    return found


@analysis
def contestants(comparison: Comparison) -> tuple[Entry, ...]:
    """The entries that are compared: one per trained model and variant, in the order of the table.

    If there are more than `FEW` entries, variants with overrides of the model are left out (as long
    as two others remain): a sweep over settings would dominate the number of comparisons.
    """
    entries = eligible(comparison)
    configured = tuple(e for e in entries if not model_changes(e.overrides.split()))
    return configured if len(entries) > FEW and len(configured) > 1 else entries


@analysis
def eligible(comparison: Comparison) -> tuple[Entry, ...]:
    """The entry of the first listed sampler of each trained model and variant, if it has a FID."""
    if not comparison.extractors:
        return ()
    first = first_listed(comparison)
    return tuple(
        entry
        for entry in comparison.entries
        if entry.finished
        and entry.trained
        and first.get(entry.key) == (entry.sampler, entry.weights)
        and entry.values(comparison.fid)
    )


@analysis
def compare_pairs(comparison: Comparison) -> tuple[Pair, ...]:
    """Every pair of contestants by the FID of the first extractor, in the order of the table."""
    entries = contestants(comparison)
    if len(entries) < 2:
        return ()
    differences = all_differences([entry.values(comparison.fid) for entry in entries])
    adjusted = holm([d.p for d in differences])
    return tuple(
        Pair(a, b, d, p, verdict(p, d.n))
        for (a, b), d, p in zip(combinations(entries, 2), differences, adjusted, strict=True)
    )


def all_differences(samples: Sequence[dict[str, float]]) -> list[Difference]:
    """Compare all pairs of samples, in the order of `itertools.combinations`.

    Args:
        samples: FIDs by seed; compared by ratio if all are positive.
    """
    ratio = MEASURED["fid"].by_ratio(value for sample in samples for value in sample.values())
    seeds = list(dict.fromkeys(seed for sample in samples for seed in sample))
    values = np.array([[sample.get(seed, math.nan) for seed in seeds] for sample in samples])
    found = []
    for k in range(len(samples) - 1):
        paired = paired_differences(values[k : k + 1], values[k + 1 :], ratio=ratio)
        for other, difference in zip(samples[k + 1 :], paired, strict=True):
            if difference.n < MIN_SEEDS <= min(len(samples[k]), len(other)):
                a, b = list(samples[k].values()), list(other.values())
                difference = unpaired_difference(a, b, ratio=ratio)
            found.append(difference)
    return found


def pairs_table(comparison: Comparison, pairs: Sequence[Pair]) -> Table:
    """The table of pairs.

    Args:
        comparison: names the entries.
        pairs: all pairs, at least one.
    """
    extractor = comparison.extractors[0]
    sign = "/" if pairs[0].difference.ratio else "−"
    headings = ("A", "B", "seeds", f"FID ({extractor}) A {sign} B [95 %]", "effect size")
    rows = []
    for pair in shown(pairs):
        d = pair.difference
        estimate = exact(d.mean) if math.isnan(d.low) else interval(d.mean, d.low, d.high)
        names = (_name(comparison, pair.a), _name(comparison, pair.b))
        cells = (*names, str(d.n), estimate, exact(d.effect), p_value(pair.p))
        rows.append((*map(Cell, cells), Cell(_words(comparison, pair))))
    return Table((*headings, "p (Holm)", "verdict"), tuple(rows), labels=2)


def shown(pairs: Sequence[Pair]) -> list[Pair]:
    """All pairs, or with more than `FEW` models the pairs with the first model."""
    if len(pairs) <= math.comb(FEW, 2):
        return list(pairs)
    return [pair for pair in pairs if pair.a is pairs[0].a]


def pairs_sentences(comparison: Comparison, pairs: Sequence[Pair]) -> list[str]:
    """Explanation of the table of pairs, and the power of its tests.

    Args:
        comparison: the comparison.
        pairs: all pairs, at least one.
    """
    decided = [pair.difference for pair in pairs if pair.verdict != "too few seeds"]
    if not decided:
        return [TOO_FEW]
    scale = SCALES[decided[0].ratio]
    found = [PAIRS_SENTENCE.format(scale=scale, family=len(decided))]
    if len(contestants(comparison)) < len(eligible(comparison)):
        found.append(CONFIGURED_SENTENCE)
    if len(shown(pairs)) < len(pairs):
        found.append(LOWEST_SENTENCE)
    n, family = min(d.n for d in decided), len(decided)
    share = power(n, 1.0, SIGNIFICANCE / family)
    strictest = STRICTEST.format(share=share, family=family) if family > 1 else ""
    found.append(POWER_SENTENCE.format(n=n, alone=power(n, 1.0), strictest=strictest))
    return found


def _name(comparison: Comparison, entry: Entry) -> str:
    return f"{comparison.label(entry)}, {entry.sampler}"


def _words(comparison: Comparison, pair: Pair) -> str:
    """The verdict; if the models differ, also which one has the lower FID."""
    if pair.verdict != "different":
        return pair.verdict
    none = 1.0 if pair.difference.ratio else 0.0
    lower = pair.a if pair.difference.mean < none else pair.b
    return f"different: {comparison.label(lower)} is lower"
