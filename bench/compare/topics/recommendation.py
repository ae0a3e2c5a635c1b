"""The recommended sampler for this data and budget, its cost, and how certain the answer is."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import replace
from statistics import median

from bench.columns import NOMINAL
from bench.compare.cells import NOTHING, exact, p_value, spread
from bench.compare.comparison import Comparison, Entry, analysis, comparable, left_out
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.blindness import blind_sentences, classifier_error
from bench.compare.topics.certainty import Rivalry, identity, more_seeds, rivalries
from bench.compare.topics.conditional import apart_sentences
from bench.compare.topics.curves import Curve, LearningCurves, at, learning_curves
from bench.compare.topics.disturbed import left_out_sentences
from bench.compare.topics.few_samples import few_samples
from bench.compare.topics.pareto import sampling_front
from bench.compare.topics.ranked import (
    best_rivals,
    has_collapsed,
    is_far,
    is_fit,
    mean_fid,
    ranking,
)
from bench.compare.topics.settled import is_sequential, margin_of, within
from bench.evaluation.classifier_error import WARN_ABOVE, error_sentence
from bench.evaluation.collapse import shows_copying
from bench.runtime.printing import exact_duration
from bench.schema import MEASURED

UNITS = {"images": "{} images", "flops": "{} FLOP"}
"""Formats of the limits of a budget but for seconds, by name."""

FEW = (
    "With fewer than {limit} seeds per model this is not a recommendation: run it with seed=0,1,2."
)
EQUAL = "It is {margin} to {names}."
HIGHER = "By the samplers that the models list first, it is higher than {names}."
MORE_SEEDS = "It is not shown to differ from {names}: {seeds}."
MORE_BUDGET = (
    "It is not shown to differ from {names}, and the FID of {steep} still fell steeply where "
    "training ended: more budget would tell, not more seeds."
)
STEEP_SENTENCE = (
    "The FID of {steep} still fell steeply where training ended: more budget may change the answer."
)
ALONE = "It is the only trained model: nothing is known about others at this budget."
LEFT_OUT = "Not compared, because of fewer than {limit} finished seeds: {names}."
COLLAPSED = "A lower FID, but signs of {signs}: {names}."
FAR = "A lower FID, but no sample near real data (precision and coverage 0): {names}."
NONE_FIT = "But every model {faults}: none is recommended."
NOT_NEAR = "has no sample near real data"
SOME_SEEDS = "{warned} of {seeds} seeds of {name} {show} signs of {signs}"
TOO_SMALL = (
    "On {title}, after {budget} of training, there is no answer: the lowest FID ({extractor}) is "
    "that of {name}, {fid} over {seeds}, but {zeros} are 0: the budget was too small for any "
    "answer"
)
FOREIGN = "Not trained here, and so not ranked: {}."
BLIND_RANKING = "A ranking by this FID is no recommendation."
COPIES = ", with signs of copying, which FID does not detect"
TRADED = "No cheaper sampler is on the Pareto front."

STEEP = 1.0
"""Threshold of p in FID ~ budget^-p from which the FID falls steeply: at 1, twice the budget halves
the FID."""

LEAST_GROWTH = 1.2
"""Minimum ratio of the budgets of seeds from which the slope of the FID is estimated."""


@analysis
def recommendation(comparison: Comparison) -> tuple[str, ...]:
    """The recommended sampler in sentences, followed by every scored row.

    Runs that did not get their cores, and class-conditional models beside unconditional ones, are
    left out, and named.
    """
    fair = comparable(comparison)
    rows = _every_row(fair, ranking(fair))
    return (*_undisturbed(comparison), *rows, *caveats(comparison))


@analysis
def answer(comparison: Comparison) -> tuple[str, ...]:
    """The recommendation without the list of scored rows."""
    return (*_undisturbed(comparison), *caveats(comparison))


def caveats(comparison: Comparison) -> list[str]:
    """Sentences on what is not compared; none if all is."""
    return [*left_out_sentences(comparison), *apart_sentences(comparison)]


def _undisturbed(comparison: Comparison) -> tuple[str, ...]:
    """The answer among the runs that can be compared."""
    fair = comparable(comparison)
    if left_out(comparison) and not ranking(fair):
        return ()  # models were trained, on too few cores
    return _answer(fair)


def _answer(comparison: Comparison) -> tuple[str, ...]:
    """The recommendation among runs that can be compared, without the list of scored rows.

    The eligible entry with the lowest mean FID is compared with the best sampler of every other
    model over seeds, with Holm's correction. It was selected by its score, which favours it
    slightly.
    """
    ranked = ranking(comparison)
    if not ranked:
        return tuple(_without_answer(comparison))
    best = ranked[0]
    first = _too_small(comparison, best) if is_far(comparison, best) else _lowest(comparison, best)
    if missing := _missing(comparison, ranked):
        have = "has" if len(missing) == 1 else "have"
        first += f"; {_and(missing)} {have} no finished run"
    sentences = [f"{first}."]
    if failed := sum(e.key == best.key and e.status == "failed" for e in comparison.entries):
        of_best = (run for run in comparison.runs if (run.model, run.variant) == best.key)
        unusable = any(run.state == "unusable" for run in of_best)
        what = "failed or cannot be used (see the notes)" if unusable else "failed"
        sentences.append(f"{failed} of its {failed + len(best.seeds)} runs {what}.")
    error = classifier_error(comparison, comparison.extractors[0])
    if error is not None and error > WARN_ABOVE:
        sentences.append(error_sentence(comparison.extractors[0], error, comparison.extractors))
    sentences += few_samples(comparison)
    if blind := blind_sentences(comparison, comparison.extractors[0], [MEASURED["fid"]]):
        return (*sentences, *blind, BLIND_RANKING)
    return (*sentences, *_advice(comparison, ranked))


def _advice(comparison: Comparison, ranked: Sequence[Entry]) -> list[str]:
    """Sentences that follow from the ranking; none if the budget was too small."""
    best = ranked[0]
    if is_far(comparison, best):
        return []
    if has_collapsed(best):
        return [_none_fit(comparison, ranked)]
    lower = [e for e in ranked if mean_fid(comparison, e) < mean_fid(comparison, best)]
    far = [e for e in lower if not has_collapsed(e)]
    said = [
        COLLAPSED.format(signs=" and ".join(signs), names=_listed(comparison, entries))
        for signs, entries in _by_signs(lower).items()
    ]
    said += [FAR.format(names=_listed(comparison, far))] if far else []
    said += _some_seeds(comparison, ranked)
    return [*said, *_against(comparison, best), *_cheaper(comparison, best)]


def _lowest(comparison: Comparison, best: Entry) -> str:
    """The entry that is recommended or, if none is eligible, the one with the lowest FID."""
    lower = [e for e in ranking(comparison) if mean_fid(comparison, e) < mean_fid(comparison, best)]
    kinds = dict.fromkeys(kind for signs in _by_signs(lower) for kind in signs)
    where = f" without signs of {' or '.join(sorted(kinds))}" if kinds else ""
    if not all(map(has_collapsed, lower)):
        where += f"{' and' if where else ''} with samples near real data"
    return (
        f"On {comparison.title}, after {budget(best)} of training, the lowest FID "
        f"({comparison.extractors[0]}){where} is that of {_name(comparison, best)}: "
        f"{_fid(comparison, best)} over {_seeds(best)}{_cost(best)}"
    )


def _too_small(comparison: Comparison, best: Entry) -> str:
    """The answer if no model has samples near real data."""
    extractor = comparison.extractors[0]
    metrics = ("precision", "recall", "coverage")
    return TOO_SMALL.format(
        title=comparison.title,
        budget=budget(best),
        extractor=extractor,
        name=_name(comparison, best),
        fid=_fid(comparison, best),
        seeds=_seeds(best),
        zeros="its " + _and([m for m in metrics if best.mean.get(f"{m}_{extractor}") == 0]),
    )


def _without_answer(comparison: Comparison) -> list[str]:
    """The answer if no trained entry has a FID; empty if nothing was scored."""
    if missing := _missing(comparison, []):
        return [f"On {comparison.title}, no model has a result: {_and(missing)}."]
    scored = _every_row(comparison, [])
    return [f"On {comparison.title}, no model was trained."] if scored else []


def _missing(comparison: Comparison, ranked: Sequence[Entry]) -> list[str]:
    """Trained models without a finished run that has a FID, sorted."""
    return sorted({e.model for e in comparison.entries if e.trained} - {e.model for e in ranked})


def _every_row(comparison: Comparison, ranked: Sequence[Entry]) -> list[str]:
    """Sentences with the FID of every scored row, separately for models not trained here."""
    by_label: dict[str, list[str]] = {}
    for entry in sorted(ranked, key=lambda e: mean_fid(comparison, e)):
        value = f"{entry.sampler} {exact(mean_fid(comparison, entry))}"
        by_label.setdefault(comparison.marked(entry), []).append(value)
    trained = "; ".join(f"{label} ({', '.join(rows)})" for label, rows in by_label.items())
    others = [e for e in comparison.entries if e.finished and not e.trained]
    foreign = [_foreign(comparison, entry) for entry in others]
    said = [f"FID of every trained row: {trained}."] if len(ranked) > 1 else []
    return [*said, *([FOREIGN.format("; ".join(foreign))] if foreign else [])]


def _foreign(comparison: Comparison, entry: Entry) -> str:
    """An entry that no model trained here made, its FID, and whether it shows signs of copying."""
    origin = "held-out real data" if entry.mean.get("nfe") == 0 else "samples made elsewhere"
    fid = mean_fid(comparison, entry) if comparison.extractors else math.nan
    shown = NOTHING if math.isnan(fid) else _fid(comparison, entry)
    copies = COPIES if any(map(shows_copying, entry.warnings.values())) else ""
    return f"{_name(comparison, entry)}, {origin}, FID {shown}{copies}"


def _by_signs(entries: Iterable[Entry]) -> dict[tuple[str, ...], list[Entry]]:
    """Entries with too many warnings, by the kinds of their warnings."""
    found: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        if has_collapsed(entry):
            found.setdefault(entry.signs, []).append(entry)
    return found


def _none_fit(comparison: Comparison, ranked: Sequence[Entry]) -> str:
    """A sentence with the reasons why no entry is recommended."""
    reasons = {f"shows signs of {' and '.join(s)}": e for s, e in _by_signs(ranked).items()}
    if far := [entry for entry in ranked if not has_collapsed(entry)]:
        reasons[NOT_NEAR] = far
    if len(reasons) == 1:
        return NONE_FIT.format(faults=next(iter(reasons)))
    named = (f"{reason} ({_listed(comparison, e)})" for reason, e in reasons.items())
    return NONE_FIT.format(faults=" or ".join(named))


def _some_seeds(comparison: Comparison, ranked: Sequence[Entry]) -> list[str]:
    """A sentence on eligible entries with warnings for some of their seeds."""
    said = [
        SOME_SEEDS.format(
            warned=len(entry.warnings),
            seeds=len(entry.seeds),
            name=_name(comparison, entry),
            show="shows" if len(entry.warnings) == 1 else "show",
            signs=" and ".join(entry.signs),
        )
        for entry in ranked
        if entry.warnings and is_fit(comparison, entry)
    ]
    more = f"; {len(said) - 3} more rows have such seeds" if len(said) > 3 else ""
    return [f"{'; '.join(said[:3])}{more}."] if said else []


def _against(comparison: Comparison, best: Entry) -> list[str]:
    """Sentences on the comparison of the best entry with those of the other models."""
    rivals = best_rivals(comparison, best)
    steep = still_falling(comparison, [best, *rivals.values()])
    falling = [STEEP_SENTENCE.format(steep=_listed(comparison, steep))] if steep else []
    others = {e.model for e in comparison.entries if e.trained} - {best.model}
    few = [FEW.format(limit=MIN_SEEDS)] if len(best.seeds) < MIN_SEEDS else []
    if not others:
        return [ALONE, *few, *falling]
    if few:
        return [*few, *falling]
    left_out = sorted(r.model for r in rivals.values() if len(r.seeds) < MIN_SEEDS)
    words = [LEFT_OUT.format(limit=MIN_SEEDS, names=", ".join(left_out))] if left_out else []
    found = rivalries(comparison, *identity(best))
    return [*(_how_sure(comparison, best, found, steep) if found else falling), *words]


def _how_sure(
    comparison: Comparison, best: Entry, found: Sequence[Rivalry], steep: Sequence[Entry]
) -> list[str]:
    """Sentences on the rivals that it is shown to be lower than, equal to, or neither."""
    falling = _listed(comparison, steep)
    by_state: dict[str, list[Rivalry]] = {}
    for each in found:
        by_state.setdefault(each.state, []).append(each)
    names = {k: _listed(comparison, [each.rival for each in v]) for k, v in by_state.items()}
    said = []
    if set(by_state) == {"lower"}:
        said.append(_lower_than_all(comparison, found))
    if "equal" in by_state:
        margin = within(margin_of(comparison))
        said.append(EQUAL.format(names=names["equal"], margin=margin))
    if "higher" in by_state:
        said.append(HIGHER.format(names=names["higher"]))
    if "open" in by_state and steep:
        return [*said, MORE_BUDGET.format(names=names["open"], steep=falling)]
    if "open" in by_state:
        seeds = more_seeds(comparison, best, by_state["open"])
        said.append(MORE_SEEDS.format(names=names["open"], seeds=seeds))
    return [*said, *([STEEP_SENTENCE.format(steep=falling)] if steep else [])]


def _lower_than_all(comparison: Comparison, found: Sequence[Rivalry]) -> str:
    """The sentence on a best entry that is lower than all others: which is nearest, and how far."""
    which = "that of the other model" if len(found) == 1 else "those of the other models"
    scored = [each for each in found if not math.isnan(each.p)]
    if not scored:
        return f"It is lower than {which}."
    nearest = max(scored, key=lambda each: each.mean)
    d = nearest
    if d.ratio:
        size = f"{exact(1 / d.mean)} times as high [{exact(1 / d.high)}, {exact(1 / d.low)}]"
    else:
        size = f"higher by {exact(-d.mean)} [{exact(-d.high)}, {exact(-d.low)}]"
    any_time = " at any time" if is_sequential(comparison) else ""
    p = p_value(max(each.p for each in scored))
    return (
        f"It is lower than {which} (largest p{any_time} {p}, Holm); the nearest is "
        f"{_name(comparison, nearest.rival)}, {size}."
    )


def still_falling(comparison: Comparison, entries: Sequence[Entry]) -> list[Entry]:
    """The entries whose FID still fell steeply at the end of training.

    A sampler that was scored only there is judged by the other samplers of its model.
    """
    curves = learning_curves(comparison)
    steep = [of.entry for of in curves if falls_steeply(of)]
    models = {entry.key for entry in steep}
    return [
        entry
        for entry in entries
        if any(entry is other for other in steep)
        or (not entry.followed and entry.points > 1 and entry.key in models)
    ]


def falls_steeply(curves: LearningCurves) -> bool:
    """Whether the FID still falls steeply (`STEEP`) at the end of training.

    This is the case if the median over seeds of the slope over the second half of the budget is
    steep, or if seeds reached different budgets and their final FIDs fall steeply with the budget.
    """
    found = [curve for curve in curves.along("images") if len(curve.x) and curve.y.min() > 0]
    powers = [_power(curve) for curve in found if len(curve.x) > 1]
    if powers and median(powers) >= STEEP:
        return True
    ends = sorted((float(curve.x[-1]), float(curve.y[-1])) for curve in found)
    fids = [fid for _, fid in ends]
    if len(ends) < MIN_SEEDS or fids != sorted(fids, reverse=True):
        return False
    growth = ends[-1][0] / ends[0][0]
    return growth >= LEAST_GROWTH and math.log(fids[0] / fids[-1]) >= STEEP * math.log(growth)


def _power(curve: Curve) -> float:
    """The p of FID ~ budget^-p from half of the budget, or the first point, to the end."""
    start = max(float(curve.x[-1]) / 2, float(curve.x[0]))
    return math.log(at(curve, start) / float(curve.y[-1])) / math.log(float(curve.x[-1]) / start)


def _cheaper(comparison: Comparison, best: Entry) -> list[str]:
    """The cheapest sampler on the front of eligible entries; nothing without latencies."""
    latency = best.mean.get("latency_ms", math.nan)
    fit = tuple(e for e in comparison.entries if not e.finished or is_fit(comparison, e))
    whole = len(fit) == len(comparison.entries)
    among = comparison if whole else replace(comparison, entries=fit)
    front = [c for c in sampling_front(among, "latency_ms") if c.on_front]
    cheaper = [c for c in front if c.entry.mean["latency_ms"] < latency]
    if not cheaper:
        return [] if math.isnan(latency) else [TRADED]
    least = min(cheaper, key=lambda c: float(c.costs.mean()))
    between = len([c for c in cheaper if c.entry is not best]) - 1
    rest = f" {between} more on the front lie between the two." if between else ""
    return [
        f"Where samples must be cheap: {_name(comparison, least.entry)}, "
        f"FID {_fid(comparison, least.entry)}{_cost(least.entry)}, "
        f"{exact(latency / least.entry.mean['latency_ms'])} times cheaper.{rest}"
    ]


def _and(names: Iterable[str]) -> str:
    """Names joined as in "a, b and c"."""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def _listed(comparison: Comparison, entries: Sequence[Entry]) -> str:
    """The names of up to three entries, and the number of others."""
    names = " and ".join(_name(comparison, entry) for entry in entries[:3])
    return names + (f" and {len(entries) - 3} more" if len(entries) > 3 else "")


def budget(entry: Entry) -> str:
    """Text of the training budget, such as "40 s", "1 h 20 min" or "2 min (nominal)"."""
    words = []
    text = entry.protocol.get("budget", "")
    nominal = " (nominal)" if NOMINAL in text else ""
    for limit in text.split(","):
        name, _, amount = limit.partition("=")
        try:
            if name == "seconds":
                words.append(f"{exact_duration(float(amount))}{nominal}")
            elif name in UNITS:
                words.append(UNITS[name].format(exact(float(amount))))
        except ValueError:  # unknown format: show as recorded
            words.append(limit)
    return " or ".join(words) or "the same budget"


def _name(comparison: Comparison, entry: Entry) -> str:
    return f"{comparison.marked(entry)} ({entry.sampler})"


def _fid(comparison: Comparison, entry: Entry) -> str:
    mean, std = entry.mean[comparison.fid], entry.std[comparison.fid]
    return exact(mean) if math.isnan(std) else spread(mean, std)


def _seeds(entry: Entry) -> str:
    return f"{len(entry.seeds)} seed{'s' * (len(entry.seeds) != 1)}"


def _cost(entry: Entry) -> str:
    latency = entry.mean.get("latency_ms", math.nan)
    return "" if math.isnan(latency) else f", {exact(latency)} ms per sample"
