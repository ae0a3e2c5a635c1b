"""How many samples a model that is cheap to draw from has to draw to be worth its training."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from bench.compare.cells import NOTHING, Cell, Table, exact, prefixed, spread
from bench.compare.comparison import Comparison, Entry
from bench.compare.topics.curves import Axis, LearningCurves, median

GIGA = 1e9


@dataclass(frozen=True)
class Offer:
    """What an entry costs at a quality: `train` once and `per_sample` for every sample.

    Attributes:
        entry: the trained model and its sampler.
        train: until the quality is reached; seconds or FLOPs.
        per_sample: in the same unit.
        at_most: whether `train` is an upper bound, the first evaluation point.
    """

    entry: Entry
    train: float
    per_sample: float
    at_most: bool = False

    def total(self, samples: float) -> float:
        """Training and drawing so many samples."""
        return self.train + samples * self.per_sample


def break_even(a: Offer, b: Offer) -> float | None:
    """The number of samples at which both cost the same; None if one option dominates.

    With total T + n s, n* = (T_b - T_a) / (s_a - s_b): positive only where one of the two is
    cheaper to train and the other cheaper to sample from.
    """
    train, per_sample = b.train - a.train, a.per_sample - b.per_sample
    return train / per_sample if (train > 0 < per_sample) or (train < 0 > per_sample) else None


def cheapest(offers: Sequence[Offer]) -> list[tuple[float, Offer]]:
    """Who is cheapest for how many samples: the lower envelope of the lines of total cost.

    Args:
        offers: at least one.

    Returns:
        (number of samples from which on it is cheapest, offer), ascending, the first from 0.
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
    """Seconds per sample at the batch size that draws fastest; NaN where that is not known."""
    rate = entry.mean["images_per_second"]
    return 1 / rate if rate > 0 else math.nan


def flops_per_sample(entry: Entry) -> float:
    """Floating-point operations per sample; NaN where they are not known."""
    return entry.mean["gflops_per_sample"] * GIGA


@dataclass(frozen=True)
class Currency:
    """What training and drawing are added up in.

    Attributes:
        name: for readers.
        axis: of training.
        per_sample: what a sample costs an entry, in the unit of the axis.
        text: shows an amount with its unit.
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
    """What every entry costs that reaches this FID in its median seed.

    Args:
        curves: of the FID, by entry.
        currency: what is counted.
        fid: the quality.
    """
    for of in curves:
        when = median(of.crossings(currency.axis, fid))
        per_sample = currency.per_sample(of.entry)
        if when.reached and math.isfinite(per_sample):
            yield Offer(of.entry, when.high, per_sample, at_most=when.low < when.high)


def break_even_table(
    comparison: Comparison, curves: Sequence[LearningCurves], fids: Sequence[float]
) -> Table | None:
    """Who is cheapest for how many samples of a quality; None where no cost is known.

    Args:
        comparison: names the entries.
        curves: of the FID, by entry.
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
    """What training and a sample cost, with units."""
    train = f"{'≤ ' if offer.at_most else ''}{currency.text(offer.train)}"
    per_sample = Cell(currency.text(offer.per_sample), key=offer.per_sample)
    return Cell(train, key=offer.train), per_sample


def _samples(start: float, end: float) -> str:
    """A range of numbers of samples, for readers."""
    if start == 0:
        return "any number" if math.isinf(end) else f"up to {_count(end)}"
    return f"from {_count(start)}" if math.isinf(end) else f"{_count(start)} to {_count(end)}"


def _count(samples: float) -> str:
    """A number of samples to three digits, at least one."""
    return exact(float(f"{max(1, round(samples)):.3g}"))


MAX_LIMITS = 4
"""Most columns of a table."""

PRICES: dict[str, Callable[[float], str]] = {
    "latency_ms": lambda ms: f"{exact(ms)} ms",
    "gflops_per_sample": lambda gflops: prefixed(1e9 * gflops, "FLOP"),
}
"""What a sample costs, as columns of eval.csv, and how an amount of it is shown."""


def sampling_table(comparison: Comparison, cost: str) -> Table | None:
    """The best FID of each model within limits of what a sample costs; None where nothing is known.

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
    """Powers of ten between the least and the greatest cost, and the one above; a few of them."""
    if not costs:
        return []
    first, last = (math.ceil(math.log10(end)) for end in (min(costs), max(costs)))
    powers = np.linspace(first, last, min(MAX_LIMITS, last - first + 1)).round()
    return [10.0 ** int(power) for power in powers]


def _sampled(entry: Entry | None, fid: str, best: bool) -> Cell:
    """The FID of an entry and which sampler it is of."""
    if entry is None:
        return Cell(NOTHING)
    return Cell(f"{spread(entry.mean[fid], entry.std[fid])}, {entry.sampler}", best)
