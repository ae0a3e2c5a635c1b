"""The headline: which family is ahead, by how much, at what price, and how sure that is."""

from collections.abc import Mapping
from functools import cache
from importlib.resources import files

import yaml

from bench.compare.cells import exact
from bench.compare.comparison import Comparison, Entry, analysis, comparable
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics.blindness import blind_sentences, classifier_error
from bench.compare.topics.certainty import more_seeds, rivalry
from bench.compare.topics.disturbed import left_out_sentences
from bench.compare.topics.ranked import has_collapsed, is_fit, mean_fid, ranking
from bench.compare.topics.recommendation import answer, budget, still_falling
from bench.compare.topics.settled import is_sequential, margin_of, within
from bench.evaluation.classifier_error import WARN_ABOVE
from bench.schema import MEASURED

AHEAD = "the best {best} is ahead of the best {rival}"
LEVEL = "the best {best} is not shown to be ahead of the best {rival}"
EQUAL = "the best {best} and the best {rival} are {margin}"
ALONE = "the best {best} is ahead"

FIRST_LOOK = (
    "With {seeds} per model this is a first look, not a recommendation: that takes at least "
    f"{MIN_SEEDS} seeds (seed=0,1,2)."
)
CHANCE = "A difference of this size between {seeds} may be chance: {more}."
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
FALLING = (
    "The FID of {names} still fell steeply where training ended: more budget may change the answer."
)


@cache
def families() -> Mapping[str, str]:
    """The family of every model that belongs to one, by the model's name (conf/families.yaml)."""
    text = (files("conf") / "families.yaml").read_text(encoding="utf-8")
    listed = yaml.safe_load(text)["families"]
    return {model: family for family, models in listed.items() for model in models}


@analysis
def headline(comparison: Comparison) -> tuple[str, ...]:
    """The answer in a few sentences for readers who are new to the subject.

    The best entry of the leading family is compared with the best one of the next family. These are
    the sentences of the recommendation if fewer than two families were scored, if FID cannot rank
    them, or if no model of a family may be recommended.
    """
    fair = comparable(comparison)
    best = _best_by_family(fair)
    if len(best) < 2 or not _ranks(fair):
        return answer(comparison)
    (family, leader), *others = best.items()
    if not is_fit(fair, leader):
        return answer(comparison)
    rival_family, rival = others[0]
    if not is_fit(fair, rival):
        said = [_alone(fair, family, leader), _unfit(fair, rival_family), *_sure(fair, leader)]
    else:
        both = (family, leader), (rival_family, rival)
        said = [_ahead(fair, *both), *_price(*both), *_sure(fair, leader, rival)]
    return (*said, *left_out_sentences(comparison))


def _ranks(comparison: Comparison) -> bool:
    """Whether FID can rank models: its extractor sees bad samples, and its classifier is right."""
    extractor = comparison.extractors[0]
    error = classifier_error(comparison, extractor)
    blind = blind_sentences(comparison, extractor, [MEASURED["fid"]])
    return not blind and (error is None or error <= WARN_ABOVE)


def _best_by_family(comparison: Comparison) -> dict[str, Entry]:
    """The best entry of every family, the best first; entries that are not eligible come last."""
    best: dict[str, Entry] = {}
    for entry in ranking(comparison):
        if family := families().get(entry.model):
            best.setdefault(family, entry)
    return best


def _ahead(comparison: Comparison, first: tuple[str, Entry], second: tuple[str, Entry]) -> str:
    (family, leader), (rival_family, rival) = first, second
    known = min(len(leader.seeds), len(rival.seeds)) >= MIN_SEEDS
    found = rivalry(comparison, leader, rival) if known else None
    state = found.state if found else "open" if known else "lower"
    words = {"lower": AHEAD, "equal": EQUAL}.get(state, LEVEL)
    words = words.format(best=family, rival=rival_family, margin=within(margin_of(comparison)))
    low, high = mean_fid(comparison, leader), mean_fid(comparison, rival)
    factor = f", a factor of {exact(high / low)}" if 0 < low < high else ""
    return (
        f"{_start(comparison, leader)} {words}: FID ({comparison.extractors[0]}) {exact(low)} "
        f"({comparison.label(leader)}) against {exact(high)} ({comparison.label(rival)})"
        f"{factor}. FID is a distance from real images: lower is better{_baseline(comparison)}."
    )


def _alone(comparison: Comparison, family: str, leader: Entry) -> str:
    return (
        f"{_start(comparison, leader)} {ALONE.format(best=family)}: FID "
        f"({comparison.extractors[0]}) {exact(mean_fid(comparison, leader))} "
        f"({comparison.label(leader)}). FID is a distance from real images: lower is better"
        f"{_baseline(comparison)}."
    )


def _unfit(comparison: Comparison, family: str) -> str:
    """Why no model of a family can be compared."""
    entries = [e for e in ranking(comparison) if families().get(e.model) == family]
    if any(map(has_collapsed, entries)):
        return f"No {family} can be compared with it: their samples collapsed or are copies."
    return f"No {family} has samples that resemble real ones yet: this budget is too small for it."


def _start(comparison: Comparison, leader: Entry) -> str:
    return f"On {comparison.title}, after {budget(leader)} of training,"


def _baseline(comparison: Comparison) -> str:
    """The FID of held-out data, as the end of a sentence; empty if it was not scored."""
    real = [e for e in comparison.entries if e.finished and e.mean.get("nfe") == 0]
    found = [e.mean[comparison.fid] for e in real if e.values(comparison.fid)]
    return f", and held-out real images have {exact(found[0])}" if found else ""


def _price(*of_families: tuple[str, Entry]) -> list[str]:
    """A sentence on the time that one sample takes; none if it was not measured."""
    if not all(entry.values("latency_ms") for _, entry in of_families):
        return []
    (low, family), (high, dearer) = sorted((e.mean["latency_ms"], f) for f, e in of_families)
    return [
        f"One sample takes {exact(low)} ms with this {family} and {exact(high)} ms with this "
        f"{dearer}, {exact(high / low)} times as long."
    ]


def _sure(comparison: Comparison, leader: Entry, rival: Entry | None = None) -> list[str]:
    """Sentences on what this rests on."""
    both = [leader] if rival is None else [leader, rival]
    fewest = min(len(entry.seeds) for entry in both)
    seeds = f"{fewest} seed{'s' * (fewest != 1)}"
    said = []
    if fewest < MIN_SEEDS:
        said.append(FIRST_LOOK.format(seeds=seeds))
    elif rival is not None:
        said.append(_shown(comparison, leader, rival).format(seeds=seeds))
    if steep := still_falling(comparison, both):
        names = " and ".join(comparison.label(entry) for entry in steep)
        said.append(FALLING.format(names=names))
    return said


def _shown(comparison: Comparison, leader: Entry, rival: Entry) -> str:
    """What is shown of the two, as a sentence with a gap for the seeds."""
    found = rivalry(comparison, leader, rival)
    if found is not None and found.state == "lower":
        return ANY_TIME if is_sequential(comparison) else SURE
    if found is not None and found.state != "open":
        return SAME if found.state == "equal" else BEHIND
    more = "more seeds would tell" if found is None else more_seeds(comparison, leader, [found])
    return CHANCE.replace("{more}", more)
