"""Which sampler to take for these images at this budget, what it costs, and how sure that is."""

import math
from collections.abc import Sequence

from bench.compare.notation import exact, p_value, spread
from bench.compare.pareto import Candidate, sampling_front
from bench.compare.seeds import (
    MIN_SEEDS,
    SIGNIFICANCE,
    Difference,
    holm,
    paired_difference,
    unpaired_difference,
)
from bench.compare.statistics import Comparison, Entry

UNITS = {"seconds": "{} s", "images": "{} images", "flops": "{} FLOP"}
"""How the limits of a budget are shown, by name."""

FEW = (
    "With fewer than {limit} seeds each this is what happened once, not a recommendation: run it "
    "with seed=0,1,2."
)
ALONE = "It was the only model trained: nothing is known of others at this budget."


def recommendation(comparison: Comparison) -> list[str]:
    """Say in sentences which sampler to take; empty where nothing trained has a FID.

    The entry of the lowest mean FID is compared with the best sampler of every other model, seed by
    seed, with Holm's correction for their number. It was picked by its score, which favours it a
    little; a difference that is shown stands far beyond that.
    """
    ranked = _ranked(comparison)
    if not ranked:
        return []
    best, front = ranked[0], [c for c in sampling_front(comparison, "latency_ms") if c.on_front]
    sentences = [
        f"On {comparison.title}, after {_budget(best)} of training, the lowest FID "
        f"({comparison.extractors[0]}) is that of {_name(comparison, best)}: "
        f"{_fid(comparison, best)} over {_seeds(best)}"
        f"{_cost(best)}."
    ]
    rivals = _rivals(ranked)
    sure = [rival for rival in rivals if len(rival.seeds) >= MIN_SEEDS]
    if not rivals:
        sentences.append(ALONE)
    elif len(best.seeds) < MIN_SEEDS or not sure:
        sentences.append(FEW.format(limit=MIN_SEEDS))
    else:
        sentences += _how_sure(comparison, best, sure)
    cheaper = [c for c in front if c.entry is not best]
    if cheaper:
        sentences.append(_cheaper(comparison, best, cheaper))
    elif front:
        sentences.append("No other sampler is cheaper and worth its FID: nothing is traded away.")
    return sentences


def _ranked(comparison: Comparison) -> list[Entry]:
    """Trained entries with a FID, the lowest mean first; those whose samples collapsed are last."""
    if not comparison.extractors:
        return []
    column = f"fid_{comparison.extractors[0]}"
    found = [e for e in comparison.entries if e.finished and e.trained and e.values(column)]
    return sorted(found, key=lambda e: (bool(e.course and e.course.warnings), e.mean[column]))


def _rivals(ranked: Sequence[Entry]) -> list[Entry]:
    """The best entry of every other model."""
    found: dict[str, Entry] = {}
    for entry in ranked:
        found.setdefault(entry.model, entry)
    return list(found.values())[1:]


def _how_sure(comparison: Comparison, best: Entry, rivals: Sequence[Entry]) -> list[str]:
    column = f"fid_{comparison.extractors[0]}"
    differences = [_difference(best.values(column), r.values(column)) for r in rivals]
    adjusted = holm([d.p for d in differences])
    open_ = [k for k, p in enumerate(adjusted) if not p < SIGNIFICANCE]
    if not open_:
        k = max(range(len(rivals)), key=lambda k: differences[k].mean)
        d = differences[k]
        return [
            f"It is lower than that of every other model (largest p {p_value(max(adjusted))}, "
            f"Holm); the nearest is {_name(comparison, rivals[k])}, "
            f"{exact(1 / d.mean)} times as high [{exact(1 / d.high)}, {exact(1 / d.low)}]."
        ]
    names = " and ".join(_name(comparison, rivals[k]) for k in open_[:3])
    more = f" and {len(open_) - 3} more" if len(open_) > 3 else ""
    return [f"It is not shown to differ from {names}{more}: more seeds would tell."]


def _difference(a: dict[str, float], b: dict[str, float]) -> Difference:
    """By ratio, paired where three seeds are shared."""
    if len(a.keys() & b.keys()) >= MIN_SEEDS:
        return paired_difference(a, b, ratio=True)
    return unpaired_difference(list(a.values()), list(b.values()), ratio=True)


def _cheaper(comparison: Comparison, best: Entry, cheaper: Sequence[Candidate]) -> str:
    """The cheapest sampler on the front, and how many lie between."""
    least = min(cheaper, key=lambda c: float(c.costs.mean()))
    times = best.mean["latency_ms"] / least.entry.mean["latency_ms"]
    sure = f", on the front in {least.share:.0%} of resamples" if least.share >= 0 else ""
    between = len(cheaper) - 1
    rest = f" Between the two lie {between} more on the front." if between else ""
    return (
        f"Where samples must be cheap: {_name(comparison, least.entry)}, "
        f"FID {_fid(comparison, least.entry)}{_cost(least.entry)}, {exact(times)} times "
        f"cheaper{sure}.{rest}"
    )


def _budget(entry: Entry) -> str:
    """The training budget in words, such as "40 s"."""
    words = []
    for limit in entry.protocol.get("budget", "").split(","):
        name, _, amount = limit.partition("=")
        if name in UNITS:
            words.append(UNITS[name].format(exact(float(amount))))
    return " or ".join(words) or "the same budget"


def _name(comparison: Comparison, entry: Entry) -> str:
    return f"{comparison.marked(entry)} ({entry.sampler})"


def _fid(comparison: Comparison, entry: Entry) -> str:
    column = f"fid_{comparison.extractors[0]}"
    mean, std = entry.mean[column], entry.std[column]
    return exact(mean) if math.isnan(std) else spread(mean, std)


def _seeds(entry: Entry) -> str:
    return f"{len(entry.seeds)} seed{'s' * (len(entry.seeds) != 1)}"


def _cost(entry: Entry) -> str:
    latency = entry.mean.get("latency_ms", math.nan)
    return "" if math.isnan(latency) else f", {exact(latency)} ms per sample"
