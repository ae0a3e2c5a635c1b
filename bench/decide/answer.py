"""What is said of the questions: a line after every look, and the answer at the end."""

import math
from collections.abc import Sequence
from statistics import mean

from bench.compare.cells import exact
from bench.compare.comparison import Comparison, Entry, comparable, separated
from bench.compare.topics.conditional import apart_sentences
from bench.compare.topics.few_samples import few_samples
from bench.compare.topics.pairs import contestants, eligible
from bench.compare.topics.ranked import has_collapsed, is_fit
from bench.compare.topics.settled import contests
from bench.decide.loop import (
    End,
    Job,
    Limits,
    estimate,
    further_seeds,
    seconds_of_a_seed,
    verdicts,
)
from bench.decide.project import Asked, Project, families
from bench.decide.units import Unit
from bench.runtime.printing import duration

ORDER = ("settled", "equal", "open", "dropped")
"""The order in which questions are listed."""

TITLES = {
    "settled": "settled",
    "equal": "practically equal",
    "open": "open",
    "dropped": "not asked any more, because one of the models is shown to be worse than another",
}

ANSWERED = "not asked any more, because what they were asked for is known without them"
"""Title of such questions if they are those of claims."""


NOT_NEAR = "no sample near real data"
WORSE = "every other one{of} is shown to be worse"
OTHERS_UNFIT = "no other one{of} may be recommended"
WORSE_OF_FIT = "every other one{of} that may be recommended is shown to be worse"
OF_THOSE = " with a result"
CIRCLE = "each one is shown to be worse than another one, over different seeds"
UNKNOWN = "nothing is known yet of {names}, which {have} no result"


def leaders(comparison: Comparison, margin: float) -> list[Entry]:
    """The models that are not shown to be worse than another one, by mean FID.

    Models with collapsed samples, or with none near real data, do not lead.
    """
    worse = set()
    for contest in contests(comparison, margin):
        if contest.lower is not None and is_fit(comparison, contest.lower):
            worse.add((contest.b if contest.lower is contest.a else contest.a).key)
    entries = _contestants(comparison, margin)
    return [e for e in entries if e.key not in worse and is_fit(comparison, e)]


def _contestants(comparison: Comparison, margin: float) -> list[Entry]:
    """The models with a result that questions are about, by mean FID."""
    found = contests(comparison, margin)
    entries = {entry.key: entry for contest in found for entry in (contest.a, contest.b)}
    finished = [entry for entry in entries.values() if entry.finished]
    return sorted(finished, key=lambda entry: _fid(comparison, entry))


def _fid(comparison: Comparison, entry: Entry) -> float:
    values = list(entry.values(comparison.fid).values())
    return mean(values) if values else math.inf


def _comparisons(project: Project) -> list[Comparison]:
    """The comparisons, with class-conditional models apart."""
    return [part for whole in project.comparisons for part in separated(whole)]


def progress_line(project: Project, block: Sequence[Job], limits: Limits, margin: float) -> str:
    """Where the questions stand: open ones of all, best so far, what runs next, time left."""
    words = []
    if project.asked:
        words.append(_open(project))
    comparisons = _comparisons(project)
    for comparison in comparisons:
        if first := leaders(comparison, margin)[:1]:
            label, fid = comparison.label(first[0]), exact(_fid(comparison, first[0]))
            where = f" on {comparison.title}" if len(comparisons) > 1 else ""
            words.append(f"best so far{where}: {label} (FID {fid})")
    seeds = sorted({job.seed for job in block})
    models = len({job.unit for job in block})
    named = ", ".join(map(str, seeds))
    what = f"{models} models" if models > 1 else project.units[block[0].unit].planned.model
    words.append(f"next: {what}, seed {named}, about {duration(estimate(project, block))}")
    words.append(f"{duration(max(0.0, limits.seconds - project.spent))} left")
    return " · ".join(words)


def _open(project: Project) -> str:
    """How many questions are open; of claims, which rest on several questions, how many claims."""
    claims, open_ones = (
        {asked.question.verdict for asked in found} for found in (project.asked, project.waiting)
    )
    if claims == {""}:
        return f"{len(project.waiting)} of {counted(len(project.asked), 'question')} open"
    return f"{len(open_ones)} of {counted(len(claims), 'claim')} open"


def further_seconds(project: Project, asked: Asked) -> float:
    """Estimated seconds until an open question is settled; NaN or infinite like `needed`."""
    if math.isnan(asked.question.needed):
        return math.nan
    return further_seeds(asked) * seconds_of_a_seed(project, asked)


def seconds_for_all(project: Project) -> float:
    """Estimated seconds until all open verdicts are known, whose runs are shared."""
    seeds: dict[int, float] = {}
    waiting = [asked for way in verdicts(project, project.waiting) for asked in way.parts]
    for asked in waiting:
        for k in asked.units:
            if project.units[k].seeded:
                seeds[k] = max(seeds.get(k, 0.0), further_seeds(asked))
    if any(math.isnan(asked.question.needed) for asked in waiting):
        return math.nan
    return sum(n * project.seconds(k) for k, n in seeds.items()) / project.at_once


def states(project: Project) -> list[str]:
    """The state of every question, a line each; open ones in the order of what they cost."""
    groups: dict[str, list[Asked]] = {name: [] for name in ORDER}
    for asked in project.asked:
        question = asked.question
        groups["dropped" if question.dropped else question.state].append(asked)
    groups["open"].sort(key=lambda asked: _sortable(further_seconds(project, asked)))
    lines = []
    for name, found in groups.items():
        if found:
            claims = any(asked.question.verdict for asked in found)
            title = ANSWERED if claims and name == "dropped" else TITLES[name]
            lines.append(f"{title}:")
            lines += [f"  {_line(project, asked, name)}" for asked in found]
    return lines


def _sortable(seconds: float) -> float:
    return math.inf if math.isnan(seconds) else seconds


def _line(project: Project, asked: Asked, state: str) -> str:
    question = asked.question
    line = f"{question.name}: {question.answer} ({counted(question.seeds, 'seed')})"
    return f"{line}; {further(project, asked)}" if state == "open" else line


def further(project: Project, asked: Asked) -> str:
    """What would settle an open question, in words."""
    needed = asked.question.needed
    if math.isnan(needed):
        return "how many seeds it needs is not known yet"
    if math.isinf(needed):
        return "out of reach: it would need more than 200 seeds"
    more = max(needed - asked.question.seeds, 1.0)
    seeds = f"{more:.0f} more seed{'s' if more > 1 else ''}"
    return f"about {seeds}, {duration(further_seconds(project, asked))}"


def answer(end: End, limits: Limits, margin: float, again: str) -> list[str]:
    """The answer in sentences: those of each comparison, two on the questions, and what failed.

    Args:
        end: how it ended.
        limits: when to stop.
        margin: of practical equality.
        again: the command that goes on with more hours.
    """
    project = end.project
    found = [line for part in _comparisons(project) for line in _best(project, part, margin)]
    return [
        *found,
        _count(project),
        _why(end, limits, again),
        *_failures(project, end.stuck),
    ]


def _best(project: Project, comparison: Comparison, margin: float) -> list[str]:
    """Which model is best, and what its FID rests on; empty for a comparison without a question.

    Models that may not be recommended are named instead of called the best. While nothing is known
    of some models, these are named, and none is called the best.
    """
    entries = _contestants(comparison, margin)
    if not entries:
        return []
    found = leaders(comparison, margin)
    unknown = _unknown(project, comparison, margin)
    said = _ahead(comparison, margin, entries, found, complete=not unknown) if found else []
    apart = [e for e in entries if not is_fit(comparison, e)]
    lower = [e for e in apart if not found or _fid(comparison, e) < _fid(comparison, found[0])]
    if lower:
        said.append(_unfit(comparison, lower))
    if not said:
        said.append(CIRCLE)
    if unknown:
        have = "has" if len(unknown) == 1 else "have"
        said.append(UNKNOWN.format(names=_joined(unknown), have=have))
    start = "" if found else "no model is recommended: "
    first = f"On {comparison.title}, {start}{'; '.join(said)}."
    return [first, *few_samples(comparison), *apart_sentences(comparison)]


def _unknown(project: Project, comparison: Comparison, margin: float) -> list[str]:
    """Names of the models without a result that do not always fail, begun or not."""
    found = contests(comparison, margin)
    pairs = [(contest.a, contest.b) for contest in found if contest.is_open]
    begun = {entry.key: entry for pair in pairs for entry in pair if not entry.finished}
    finished = {entry.key for entry in _contestants(comparison, margin)}
    fair = comparable(comparison)
    configured = len(contestants(fair)) == len(eligible(fair))  # else only defaults are compared
    names = [comparison.label(entry) for entry in begun.values()]
    for family in families(project.units).values():
        here = [unit for unit in family if unit.dataset == comparison.dataset]
        if any(unit.key in finished for unit in here):
            new = [unit for unit in here if unit.folder not in project.folders]
            names += [_name(project, u) for u in new if configured or u.key[1] == "default"]
    return names


def _name(project: Project, unit: Unit) -> str:
    """Name of a unit without a run: its model, with the variant if the model has several."""
    model, variant = unit.key
    units = [u for u in project.units if u.planned.model == model and u.dataset == unit.dataset]
    return model if len(units) == 1 else f"{model} ({variant})"


def _unfit(comparison: Comparison, entries: Sequence[Entry]) -> str:
    """Why some models are not recommended."""
    said = []
    for entry in entries:
        signs = f"signs of {' and '.join(entry.signs)}" if has_collapsed(entry) else NOT_NEAR
        label, fid = comparison.label(entry), exact(_fid(comparison, entry))
        said.append(f"{label} has FID {fid}, but {signs}")
    return "; ".join(said)


def _ahead(
    comparison: Comparison,
    margin: float,
    entries: Sequence[Entry],
    found: Sequence[Entry],
    *,
    complete: bool,
) -> list[str]:
    """Which of the leaders is ahead, and what is shown of the others: parts of a sentence.

    Args:
        comparison: the comparison.
        margin: of practical equality.
        entries: the models with a result.
        found: the leaders among them, at least one.
        complete: whether every other model has a result or always fails.
    """
    first = found[0]
    seeds = len(first.values(comparison.fid))
    extractor = comparison.extractors[0]
    size = f"FID ({extractor}) {exact(_fid(comparison, first))}, mean of {counted(seeds, 'seed')}"
    label = comparison.label(first)
    if len(found) > 1:
        return [f"{label} is ahead: {size}", _not_worse(comparison, margin, found)]
    if len(entries) == 1 and not complete:
        return [f"{label} is the only model with a result: {size}"]
    unfit = sum(not is_fit(comparison, entry) for entry in entries)
    others = (OTHERS_UNFIT if unfit == len(entries) - 1 else WORSE_OF_FIT) if unfit else WORSE
    if complete:
        return [f"{label} is the best model: {size}", others.format(of="")]
    return [f"{label} is ahead: {size}", others.format(of=OF_THOSE)]


def _not_worse(comparison: Comparison, margin: float, found: Sequence[Entry]) -> str:
    """What is shown of the other leaders, at least one, against the first."""
    first, others = found[0], found[1:]
    equal = {
        frozenset((contest.a.key, contest.b.key))
        for contest in contests(comparison, margin)
        if contest.question.state == "equal"
    }
    same = [e for e in others if frozenset((first.key, e.key)) in equal]
    unknown = [e for e in others if e not in same]
    said = []
    if same:
        said.append(f"{_names(comparison, same)} practically equal to it")
    if unknown:
        said.append(f"{_names(comparison, unknown)} not shown to be worse")
    return ", and ".join(said)


def _names(comparison: Comparison, entries: Sequence[Entry]) -> str:
    labels = [comparison.label(entry) for entry in entries]
    verb = "is" if len(labels) == 1 else "are"
    return f"{' and '.join(filter(None, (', '.join(labels[:-1]), labels[-1])))} {verb}"


def _count(project: Project) -> str:
    """How many questions are in each state."""
    if not project.asked:
        return "No two models have a result, so that no question can be answered."
    waiting = project.waiting
    equal = sum(asked.question.state == "equal" for asked in project.asked)
    settled = sum(asked.question.state == "settled" for asked in project.asked)
    dropped = len(project.asked) - equal - settled - len(waiting)
    parts = [f"{settled} settled", f"{equal} practically equal", f"{len(waiting)} open"]
    if dropped:
        claims = any(asked.question.verdict for asked in project.asked)
        why = "" if claims else " because a model was dropped"
        parts.append(f"{dropped} not asked any more{why}")
    return f"Of {counted(len(project.asked), 'question')}, {_joined(parts)}."


def counted(number: int, what: str) -> str:
    """A number of things, such as "1 seed" or "3 seeds"."""
    return f"{number} {what}{'' if number == 1 else 's'}"


def _joined(parts: Sequence[str]) -> str:
    return f"{', '.join(parts[:-1])} and {parts[-1]}" if len(parts) > 1 else parts[0]


def _why(end: End, limits: Limits, again: str) -> str:
    """Why it ended, and what would go on."""
    project = end.project
    took = f"{duration(project.spent)} of runs"
    whole = seconds_for_all(project) if project.waiting else 0.0
    more = f"about {duration(whole)} more" if math.isfinite(whole) else "more time"
    match end.reason:
        case "settled":
            return f"Nothing is left to settle after {took}."
        case "time":
            return (
                f"The time is up: of {duration(limits.seconds)}, {duration(project.spent)} are "
                f"spent, and none of the next runs fits; the open questions would take {more}: "
                f"{again}"
            )
        case "interrupted":
            return (
                f"The time ran out in the middle of a block, after {took}; what was trained is "
                f"saved, and this goes on with it: {again}"
            )
        case "seeds":
            return (
                f"Every open question has all its {limits.seeds} seeds after {took}: a larger "
                "seeds= goes on."
            )
        case "failing":
            return (
                f"No further run would settle an open question after {took}: each of them needs a "
                f"model whose runs always fail, or has all its {limits.seeds} seeds."
            )
        case "stuck":
            return (
                f"Further runs could not be made, see above, after {took}: the same command tries "
                "again."
            )


def _failures(project: Project, stuck: frozenset[int]) -> list[str]:
    """What is to be said of models whose runs fail."""
    found = []
    for k, (unit, tally) in enumerate(zip(project.units, project.tallies, strict=True)):
        name = f"{unit.planned.model} ({unit.key[1]}) on {unit.dataset}"
        runs = len(tally.ended)
        if tally.always_fails:
            found.append(f"{name} failed in all of {runs} seeds and was left out.")
        elif tally.failed:
            found.append(f"{name} failed in {len(tally.failed)} of {runs} seeds.")
        if k in stuck:
            found.append(f"{name} could not run, or another process is at it: see above.")
    return found


def wanted_hours(project: Project, limits: Limits) -> float:
    """A number of hours that would settle what is open, or twice the limit if that is unknown."""
    whole = seconds_for_all(project)
    seconds = project.spent + 1.2 * whole if math.isfinite(whole) else 0.0
    return rounded_up(max(seconds, (1.1 if seconds else 2) * limits.seconds) / 3600)


def rounded_up(hours: float) -> float:
    """A number of hours in two digits, not less than it."""
    digits = 1 - math.floor(math.log10(hours))
    return math.ceil(hours * 10**digits) / 10**digits
