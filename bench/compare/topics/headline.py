"""The headline: which family is ahead, by how much, at what price, and how sure that is."""

import math
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files

import yaml

from bench.compare.cells import exact
from bench.compare.comparison import Comparison, Entry, analysis, comparable
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.blindness import blind_sentences, classifier_error
from bench.compare.topics.certainty import more_seeds, rivalry
from bench.compare.topics.few_samples import few_samples
from bench.compare.topics.ranked import has_collapsed, is_far, is_fit, mean_fid, ranking
from bench.compare.topics.recommendation import answer, budget, caveats, still_falling
from bench.compare.topics.sampling_cost import price_of_both
from bench.compare.topics.settled import is_sequential, margin_of, within
from bench.evaluation.classifier_error import WARN_ABOVE
from bench.schema import MEASURED

MOST = 5
"""Largest number of sentences."""

AHEAD = "the best {best} is ahead of the best {rival}{so_far}"
LEVEL = "the best {best} is not shown to be ahead of the best {rival}"
EQUAL = "the best {best} and the best {rival} are {margin}"
ALONE = "the best {best} is ahead{so_far}"
SO_FAR = " so far"

FIRST_LOOK = (
    "With {seeds} per model this is a first look, not a recommendation: that takes at least "
    f"{MIN_SEEDS} seeds (seed=0,1,2)."
)
CHANCE = "A difference of this size between {seeds} may be chance{more}."
SURE = "Over {seeds}, chance does not explain this difference (p below 0.05, Holm)."
ANY_TIME = (
    "Over {seeds}, chance does not explain this difference (p below 0.05 at any number of seeds, "
    "Holm)."
)
BEHIND = (
    "Over {seeds}, the samplers that the models list first are in the other order (p below 0.05 at "
    "any number of seeds, Holm)."
)
SAME = "Over {seeds}, chance does not explain that they are so close (p below 0.05)."
UNFINISHED = {
    False: "{names} has not had its budget: its FID still fell steeply where training ended, so "
    "that more training may change the answer.",
    True: "{names} have not had their budget: their FIDs still fell steeply where training ended, "
    "so that more training may change the answer.",
}
"""By whether it is several models."""

DISTANCE = "FID is a distance from real images, lower is better{baseline}."
FEW = "FID is a distance from real images, lower is better, but {few}"


@cache
def families() -> Mapping[str, str]:
    """The family of every model that belongs to one, by the model's name (conf/families.yaml)."""
    text = (files("conf") / "families.yaml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["families"]
    return {model: family for family, models in listed.items() for model in models}


@analysis
def headline(comparison: Comparison) -> tuple[str, ...]:
    """The answer in at most `MOST` sentences for readers who are new to the subject.

    The best entry of the leading family is compared with the best one of the next family. These are
    the sentences of the recommendation if fewer than two families were scored, if FID cannot rank
    them, or if no model of a family may be recommended.
    """
    fair = comparable(comparison)
    best = best_by_family(fair)
    if len(best) < 2 or not _ranks(fair):
        return answer(comparison)
    (family, leader), *others = best.items()
    if not is_fit(fair, leader):
        return answer(comparison)
    rival_family, rival = others[0]
    steep = still_falling(fair, [entry for entry in best.values() if not has_collapsed(entry)])
    if not is_fit(fair, rival):
        first = _alone(
            fair, family, leader, rival_family, so_far=bool(steep) or is_far(fair, rival)
        )
        said = [first, _distance(fair, (family, leader)), *_sure(fair, leader)]
    else:
        both = (family, leader), (rival_family, rival)
        first = _ahead(fair, *both, so_far=bool(steep))
        said = [first, _distance(fair, *both), *_price(*both), *_sure(fair, leader, rival, steep)]
    return _at_most([*said, *_unfinished(fair, steep), *caveats(comparison)])


def _at_most(sentences: Sequence[str]) -> tuple[str, ...]:
    """At most `MOST` sentences: the last ones become one, with semicolons."""
    first, last = sentences[: MOST - 1], sentences[MOST - 1 :]
    if len(last) < 2:
        return tuple(sentences)
    later = [f"{sentence[0].lower()}{sentence[1:]}" for sentence in last[1:]]
    ends = [sentence.removesuffix(".") for sentence in (last[0], *later)]
    return (*first, f"{'; '.join(ends)}.")


def _ranks(comparison: Comparison) -> bool:
    """Whether FID can rank models: its extractor sees bad samples, and its classifier is right."""
    extractor = comparison.extractors[0]
    error = classifier_error(comparison, extractor)
    blind = blind_sentences(comparison, extractor, [MEASURED["fid"]])
    return not blind and (error is None or error <= WARN_ABOVE)


def best_by_family(comparison: Comparison) -> dict[str, Entry]:
    """The best entry of every family, the best first; entries that are not eligible come last.

    Args:
        comparison: as returned by `comparable`, or class-conditional models count as well.
    """
    best: dict[str, Entry] = {}
    for entry in ranking(comparison):
        if family := families().get(entry.model):
            best.setdefault(family, entry)
    return best


def _ahead(
    comparison: Comparison, first: tuple[str, Entry], second: tuple[str, Entry], *, so_far: bool
) -> str:
    """Which family is ahead, and by what factor."""
    (family, leader), (rival_family, rival) = first, second
    known = min(len(leader.seeds), len(rival.seeds)) >= MIN_SEEDS
    found = rivalry(comparison, leader, rival) if known else None
    state = found.state if found else "open" if known else "lower"
    words = {"lower": AHEAD, "equal": EQUAL}.get(state, LEVEL)
    words = words.format(
        best=family,
        rival=rival_family,
        margin=within(margin_of(comparison)),
        so_far=SO_FAR if so_far else "",
    )
    low, high = mean_fid(comparison, leader), mean_fid(comparison, rival)
    factor = f", a factor of {exact(high / low)}" if 0 < low < high else ""
    return (
        f"{_start(comparison, leader)} {words}: FID ({comparison.extractors[0]}) {exact(low)} "
        f"({comparison.label(leader)}) against {exact(high)} ({comparison.label(rival)}){factor}."
    )


def _alone(comparison: Comparison, family: str, leader: Entry, unfit: str, *, so_far: bool) -> str:
    """Which family is ahead of one of which no model may be recommended, and why none may."""
    words = ALONE.format(best=family, so_far=SO_FAR if so_far else "")
    return (
        f"{_start(comparison, leader)} {words}: FID ({comparison.extractors[0]}) "
        f"{exact(mean_fid(comparison, leader))} ({comparison.label(leader)}); "
        f"{_unfit(comparison, unfit)}."
    )


def _unfit(comparison: Comparison, family: str) -> str:
    """Why no model of a family can be compared."""
    entries = [e for e in ranking(comparison) if families().get(e.model) == family]
    if any(map(has_collapsed, entries)):
        return f"no {family} can be compared with it: their samples collapsed or are copies"
    return f"no {family} has samples that resemble real ones yet: this budget is too small for it"


def _start(comparison: Comparison, leader: Entry) -> str:
    return f"On {comparison.title}, after {budget(leader)} of training,"


def _distance(comparison: Comparison, *of_families: tuple[str, Entry]) -> str:
    """What FID is, and how far the families are from real images; or that it means little."""
    if few := few_samples(comparison):
        return FEW.format(few=few[0])
    real = [e for e in comparison.entries if e.finished and e.mean.get("nfe") == 0]
    found = [e.mean[comparison.fid] for e in real if e.values(comparison.fid)]
    if not found:
        return DISTANCE.format(baseline="")
    baseline = f": held-out real images have {exact(found[0])}"
    if found[0] > 0:
        times = [
            f"this {family} is {exact(mean_fid(comparison, entry) / found[0])}"
            for family, entry in of_families
        ]
        baseline += f", {' times and '.join(times)} times as far"
    return DISTANCE.format(baseline=baseline)


def _unfinished(comparison: Comparison, steep: Sequence[Entry]) -> list[str]:
    """A sentence that names the models whose curves still fell; none if there are none."""
    if not steep:
        return []
    *most, last = map(comparison.label, steep)
    names = f"{', '.join(most)} and {last}" if most else last
    return [UNFINISHED[bool(most)].format(names=names)]


def _price(*of_families: tuple[str, Entry]) -> list[str]:
    """What one sample of both costs."""
    return price_of_both(
        *(
            (f"this {family}", entry.mean.get("latency_ms", math.nan))
            for family, entry in of_families
        )
    )


def _sure(
    comparison: Comparison,
    leader: Entry,
    rival: Entry | None = None,
    steep: Sequence[Entry] = (),
) -> list[str]:
    """A sentence on what this rests on; none for a family alone with enough seeds.

    Args:
        comparison: the comparison.
        leader: the best entry.
        rival: the best entry of the next family.
        steep: entries whose curves still fell.
    """
    both = [leader] if rival is None else [leader, rival]
    fewest = min(len(entry.seeds) for entry in both)
    seeds = f"{fewest} seed{'s' * (fewest != 1)}"
    if fewest < MIN_SEEDS:
        return [FIRST_LOOK.format(seeds=seeds)]
    if rival is None:
        return []
    falling = any(entry is other for entry in both for other in steep)
    return [_shown(comparison, leader, rival, falling=falling).format(seeds=seeds)]


def _shown(comparison: Comparison, leader: Entry, rival: Entry, *, falling: bool) -> str:
    """What is shown of the two, as a sentence with a gap for the seeds.

    If a curve still fell, more seeds of this budget would not tell.
    """
    found = rivalry(comparison, leader, rival)
    if found is not None and found.state == "lower":
        return ANY_TIME if is_sequential(comparison) else SURE
    if found is not None and found.state != "open":
        return SAME if found.state == "equal" else BEHIND
    if falling:
        return CHANCE.replace("{more}", "")
    more = "more seeds would tell" if found is None else more_seeds(comparison, leader, [found])
    return CHANCE.replace("{more}", f": {more}")
