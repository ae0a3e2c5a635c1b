"""Which sampler to take for these images at this budget, what it costs, and how sure that is."""

import math
from collections.abc import Sequence

from bench.compare.notation import exact, p_value, spread
from bench.compare.pareto import sampling_front
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
LEFT_OUT = "Not compared, for want of {limit} finished seeds: {names}."
COLLAPSED = "A lower FID, with signs of collapse, is that of {names}."
ALL_COLLAPSED = "But every model shows signs of collapse: none of them is to be recommended."
TRADED = "No other sampler is cheaper and worth its FID: nothing is traded away."


def recommendation(comparison: Comparison) -> list[str]:
    """Say in sentences which sampler to take; empty where nothing trained has a FID.

    The entry of the lowest mean FID without signs of collapse is compared with the best sampler of
    every other model, seed by seed, with Holm's correction for their number. It was picked by its
    score, which favours it a little; a difference that is shown stands far beyond that.
    """
    ranked = _ranked(comparison)
    if not ranked:
        return []
    best = ranked[0]
    collapsed = [e for e in ranked if _mean(comparison, e) < _mean(comparison, best)]
    where = " without signs of collapse" if collapsed else ""
    sentences = [
        f"On {comparison.title}, after {_budget(best)} of training, the lowest FID "
        f"({comparison.extractors[0]}){where} is that of {_name(comparison, best)}: "
        f"{_fid(comparison, best)} over {_seeds(best)}{_cost(best)}."
    ]
    if failed := sum(_is_failed(e, best) for e in comparison.entries):
        sentences.append(f"{failed} of its {failed + len(best.seeds)} runs failed.")
    if _has_collapsed(best):
        return [*sentences, ALL_COLLAPSED]
    if collapsed:
        sentences.append(COLLAPSED.format(names=_listed(comparison, collapsed)))
    return [*sentences, *_against(comparison, best, ranked), *_cheaper(comparison, best)]


def _ranked(comparison: Comparison) -> list[Entry]:
    """Trained entries with a FID, the lowest mean first; those whose samples collapsed are last."""
    if not comparison.extractors:
        return []
    column = f"fid_{comparison.extractors[0]}"
    found = [e for e in comparison.entries if e.finished and e.trained and e.values(column)]
    return sorted(found, key=lambda e: (_has_collapsed(e), e.mean[column]))


def _has_collapsed(entry: Entry) -> bool:
    return bool(entry.course and entry.course.warnings)


def _is_failed(entry: Entry, best: Entry) -> bool:
    """Whether an entry is a failed run of the model and variant of another."""
    same = (entry.model, entry.variant) == (best.model, best.variant)
    return same and entry.status == "failed"


def _against(comparison: Comparison, best: Entry, ranked: Sequence[Entry]) -> list[str]:
    """How sure it is that the best is better than the best entries of the other models."""
    rivals: dict[str, Entry] = {}
    for entry in ranked:
        rivals.setdefault(entry.model, entry)
    del rivals[best.model]
    others = {e.model for e in comparison.entries if e.trained} - {best.model}
    few = [FEW.format(limit=MIN_SEEDS)] if len(best.seeds) < MIN_SEEDS else []
    if not others:
        return [ALONE, *few]
    compared = [rival for rival in rivals.values() if len(rival.seeds) >= MIN_SEEDS]
    if len(best.seeds) < MIN_SEEDS or not compared:
        return [FEW.format(limit=MIN_SEEDS)]
    left_out = sorted(others - {rival.model for rival in compared})
    words = [LEFT_OUT.format(limit=MIN_SEEDS, names=", ".join(left_out))] if left_out else []
    higher = [r for r in compared if _mean(comparison, r) >= _mean(comparison, best)]
    return [*(_how_sure(comparison, best, higher) if higher else []), *words]


def _how_sure(comparison: Comparison, best: Entry, rivals: Sequence[Entry]) -> list[str]:
    column = f"fid_{comparison.extractors[0]}"
    differences = [_difference(best.values(column), r.values(column)) for r in rivals]
    adjusted = holm([d.p for d in differences])
    decided = [
        p < SIGNIFICANCE and d.high < (1.0 if d.ratio else 0.0)
        for p, d in zip(adjusted, differences, strict=True)
    ]
    if not all(decided):
        open_ = [rival for rival, sure in zip(rivals, decided, strict=True) if not sure]
        return [
            f"It is not shown to differ from {_listed(comparison, open_)}: more seeds would tell."
        ]
    k = max(range(len(rivals)), key=lambda k: differences[k].mean)
    d = differences[k]
    which = "that of the other model" if len(rivals) == 1 else "those of the other models"
    if d.ratio:
        size = f"{exact(1 / d.mean)} times as high [{exact(1 / d.high)}, {exact(1 / d.low)}]"
    else:
        size = f"higher by {exact(-d.mean)} [{exact(-d.high)}, {exact(-d.low)}]"
    return [
        f"It is lower than {which} (largest p {p_value(max(adjusted))}, Holm); the nearest is "
        f"{_name(comparison, rivals[k])}, {size}."
    ]


def _difference(a: dict[str, float], b: dict[str, float]) -> Difference:
    """By ratio where all are positive, paired where three seeds are shared."""
    ratio = min(*a.values(), *b.values()) > 0
    if len(a.keys() & b.keys()) >= MIN_SEEDS:
        return paired_difference(a, b, ratio=ratio)
    return unpaired_difference(list(a.values()), list(b.values()), ratio=ratio)


def _cheaper(comparison: Comparison, best: Entry) -> list[str]:
    """The cheapest sampler on the front, and how many lie between; nothing without latencies."""
    latency = best.mean.get("latency_ms", math.nan)
    front = [c for c in sampling_front(comparison, "latency_ms") if c.on_front]
    cheaper = [c for c in front if c.entry.mean["latency_ms"] < latency]
    if not cheaper:
        return [] if math.isnan(latency) else [TRADED]
    least = min(cheaper, key=lambda c: float(c.costs.mean()))
    sure = f", on the front in {least.share:.0%} of resamples" if least.share >= 0 else ""
    between = len([c for c in cheaper if c.entry is not best]) - 1
    rest = f" Between the two lie {between} more on the front." if between else ""
    return [
        f"Where samples must be cheap: {_name(comparison, least.entry)}, "
        f"FID {_fid(comparison, least.entry)}{_cost(least.entry)}, "
        f"{exact(latency / least.entry.mean['latency_ms'])} times cheaper{sure}.{rest}"
    ]


def _listed(comparison: Comparison, entries: Sequence[Entry]) -> str:
    """A few entries by name, with how many more there are."""
    names = " and ".join(_name(comparison, entry) for entry in entries[:3])
    return names + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")


def _mean(comparison: Comparison, entry: Entry) -> float:
    return entry.mean[f"fid_{comparison.extractors[0]}"]


def _budget(entry: Entry) -> str:
    """The training budget in words, such as "40 s"."""
    words = []
    for limit in entry.protocol.get("budget", "").split(","):
        name, _, amount = limit.partition("=")
        if name in UNITS:
            try:
                words.append(UNITS[name].format(exact(float(amount))))
            except ValueError:  # not ours: it stands in the table of the protocol
                words.append(limit)
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
