"""Break-even of training and sampling costs, and quality at equal sampling cost."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.compare.cells import NOTHING, Cell, Table, exact, prefixed, spread
from bench.compare.comparison import Comparison, Entry
from bench.compare.topics.curves import Axis, LearningCurves, median

GIGA = 1e9

ALIKE = 1.05
"""Ratio of times up to which two samples take as long."""


@dataclass(frozen=True)
class Offer:
    """Cost of an entry at a given quality: `train` once, and `per_sample` for every sample.

    Attributes:
        entry: the trained model and its sampler.
        train: cost of training until the quality is reached, in seconds or FLOPs.
        per_sample: cost of one sample, in the same unit.
        at_most: whether `train` is an upper bound (reached before the first evaluation point).
    """

    entry: Entry
    train: float
    per_sample: float
    at_most: bool = False

    def total(self, samples: float) -> float:
        """Total cost of training and of generating this number of samples."""
        return self.train + samples * self.per_sample


def price_of_both(first: tuple[str, float], second: tuple[str, float]) -> list[str]:
    """What one sample of two models costs, as a sentence; none if it was not measured.

    Args:
        first: what one is called, such as "the GAN", and its milliseconds for one sample.
        second: the same of the other.
    """
    (cheap, low), (dear, high) = sorted((first, second), key=lambda each: each[1])
    if math.isnan(low) or math.isnan(high):
        return []
    if high < ALIKE * low:
        both = " to ".join(dict.fromkeys((exact(low), exact(high))))
        return [f"One sample takes {both} ms with both."]
    return [
        f"One sample takes {exact(low)} ms with {cheap} and {exact(high)} ms with {dear}, "
        f"{exact(high / low)} times as long."
    ]


def break_even(a: Offer, b: Offer) -> float | None:
    """Number of samples at which both cost the same; None if one option dominates.

    With total T + n s, n* = (T_b - T_a) / (s_a - s_b): positive only where one of the two is
    cheaper to train and the other cheaper to sample from.
    """
    train, per_sample = b.train - a.train, a.per_sample - b.per_sample
    return train / per_sample if (train > 0 < per_sample) or (train < 0 > per_sample) else None


def cheapest(offers: Sequence[Offer]) -> list[tuple[float, Offer]]:
    """The cheapest offer by number of samples: the lower envelope of the total costs.

    Args:
        offers: at least one.

    Returns:
        (number of samples from which the offer is cheapest, offer), ascending; the first from 0.
    """
    best = min(offers, key=lambda offer: (offer.train, offer.per_sample))
    found = [(0.0, best)]
    while True:
        next_ones = [
            (n, offer.per_sample, k)
            for k, offer in enumerate(offers)
            if offer.per_sample < best.per_sample and (n := break_even(best, offer)) is not None
        ]
        if not next_ones:
            return found
        n, _, k = min(next_ones)
        best = offers[k]
        found.append((n, best))


def seconds_per_sample(entry: Entry) -> float:
    """Seconds per sample at the fastest batch size; NaN if unknown."""
    rate = entry.mean["images_per_second"]
    return 1 / rate if rate > 0 else math.nan


def flops_per_sample(entry: Entry) -> float:
    """Floating-point operations per sample; NaN if unknown."""
    return entry.mean["gflops_per_sample"] * GIGA


@dataclass(frozen=True)
class Currency:
    """Unit in which the costs of training and sampling are added.

    Attributes:
        name: its name in tables.
        axis: column of the training cost.
        per_sample: cost of one sample of an entry, in the unit of the axis.
        text: formats an amount with its unit.
    """

    name: str
    axis: Axis
    per_sample: Callable[[Entry], float]
    text: Callable[[float], str]


def _seconds(amount: float) -> str:
    return f"{exact(amount)} s" if amount >= 1 else f"{exact(1e3 * amount)} ms"


CURRENCIES = (
    Currency("time", "train_seconds", seconds_per_sample, _seconds),
    Currency("FLOPs", "train_flops", flops_per_sample, partial(prefixed, unit="FLOP")),
)


def offers_at(curves: Sequence[LearningCurves], currency: Currency, fid: float) -> Iterator[Offer]:
    """The costs of every entry whose median seed reaches this FID."""
    for of in curves:
        when = median(of.crossings(currency.axis, fid))
        per_sample = currency.per_sample(of.entry)
        if when.reached and math.isfinite(per_sample):
            yield Offer(of.entry, when.high, per_sample, at_most=when.low < when.high)


def break_even_table(
    comparison: Comparison, curves: Sequence[LearningCurves], fids: Sequence[float]
) -> Table | None:
    """The cheapest entry by quality and number of samples; None if no cost is known.

    Args:
        comparison: names the entries.
        curves: learning curves, by entry.
        fids: the qualities.
    """
    rows = []
    for fid in fids:
        for currency in CURRENCIES:
            offers = list(offers_at(curves, currency, fid))
            if not offers:
                continue
            envelope = cheapest(offers)
            ends = [*(n for n, _ in envelope[1:]), math.inf]
            for (start, offer), end in zip(envelope, ends, strict=True):
                quality = Cell(f"FID ≤ {exact(fid)}", key=fid)
                names = (currency.name, comparison.label(offer.entry), offer.entry.sampler)
                samples = Cell(_samples(start, end), key=start)
                rows.append((quality, *map(Cell, names), samples, *_prices(offer, currency)))
    headings = ("quality", "counted in", "cheapest", "sampler", "samples generated")
    headings += ("training", "per sample")
    return Table(headings, tuple(rows), labels=4) if rows else None


def _prices(offer: Offer, currency: Currency) -> tuple[Cell, Cell]:
    """Costs of training and of one sample, with units."""
    train = f"{'≤ ' if offer.at_most else ''}{currency.text(offer.train)}"
    per_sample = Cell(currency.text(offer.per_sample), key=offer.per_sample)
    return Cell(train, key=offer.train), per_sample


def _samples(start: float, end: float) -> str:
    """Text of a range of numbers of samples."""
    if start == 0:
        return "any number" if math.isinf(end) else f"up to {_count(end)}"
    return f"from {_count(start)}" if math.isinf(end) else f"{_count(start)} to {_count(end)}"


def _count(samples: float) -> str:
    """Text of a number of samples: three digits, at least one."""
    return exact(float(f"{max(1, round(samples)):.3g}"))


MAX_LIMITS = 4
"""Maximum number of cost limits in a table."""

PRICES: dict[str, Callable[[float], str]] = {
    "latency_ms": lambda ms: f"{exact(ms)} ms",
    "gflops_per_sample": lambda gflops: prefixed(1e9 * gflops, "FLOP"),
}
"""Costs of one sample as columns of eval.csv, each with the function that formats an amount."""


def sampling_table(comparison: Comparison, cost: str) -> Table | None:
    """The best FID of each model within limits of cost per sample; None if no cost is known.

    Args:
        comparison: the entries.
        cost: latency_ms or gflops_per_sample.
    """
    fid = comparison.fid
    priced: dict[str, list[Entry]] = {}
    for entry in comparison.entries:
        if entry.finished and entry.trained and entry.mean[cost] > 0 and entry.mean[fid] >= 0:
            priced.setdefault(comparison.label(entry), []).append(entry)
    limits = decades([e.mean[cost] for entries in priced.values() for e in entries])
    if not limits:
        return None
    columns = []
    for limit in limits:
        within = [[e for e in entries if e.mean[cost] <= limit] for entries in priced.values()]
        best = [min(es, key=lambda e: e.mean[fid]) if es else None for es in within]
        lowest = min(e.mean[fid] for e in best if e)
        beaten = len({e.mean[fid] for e in best if e}) > 1
        columns.append(
            [_sampled(e, fid, beaten and e is not None and e.mean[fid] == lowest) for e in best]
        )
    headings = tuple(f"≤ {PRICES[cost](limit)} ↓" for limit in limits)
    rows = zip(map(Cell, priced), *columns, strict=True)
    return Table(("model", *headings), tuple(rows), labels=1)


def decades(costs: Sequence[float]) -> list[float]:
    """At most `MAX_LIMITS` powers of ten from the lowest cost to above the highest."""
    if not costs:
        return []
    first, last = (math.ceil(math.log10(end)) for end in (min(costs), max(costs)))
    powers = np.linspace(first, last, min(MAX_LIMITS, last - first + 1)).round()
    return [10.0 ** int(power) for power in powers]


def _sampled(entry: Entry | None, fid: str, best: bool) -> Cell:
    """The FID of an entry and its sampler."""
    if entry is None:
        return Cell(NOTHING)
    return Cell(f"{spread(entry.mean[fid], entry.std[fid])}, {entry.sampler}", best)
