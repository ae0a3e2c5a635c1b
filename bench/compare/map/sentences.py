"""The map in words: the sentence of a cell, of a crossover, and the headline of a map."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from bench.compare.cells import exact
from bench.compare.map.contenders import Contender
from bench.compare.map.crossings import Crossover
from bench.compare.map.grid import ANY, PRICES, Map, Panel, Row
from bench.compare.map.verdicts import Cell, Score
from bench.compare.topics.blindness import OWN_CLASSIFIER
from bench.compare.topics.sampling_cost import price_of_both
from bench.compare.topics.settled import margin_of, within

FAULTS = {
    "unchanged": "the samples of {names} have not changed yet: what makes them is trained later",
    "collapsed": "the samples of {names} collapsed or are copies",
    "far": "no sample of {names} is near real images yet",
}
"""Why families cannot be ahead, by fault."""

MINUTES = 600
"""Seconds from which moments are given in minutes."""

FID_IS = "FID is a distance from real images{features}: lower is better."
OWN_FEATURES = ", in features of a classifier of this data set and not of Inception as in papers"

NOBODY = "no family can be recommended"
EMPTY = "no model has a result"


def sentence(panel: Panel, row: Row, column: int, price: float, cell: Cell) -> str:
    """What a cell says, as one text; arguments are those of `sentences`."""
    return " ".join(sentences(panel, row, column, price, cell))


def sentences(panel: Panel, row: Row, column: int, price: float, cell: Cell) -> list[str]:
    """What a cell says, with how sure it is, in a few sentences.

    Args:
        panel: its panel.
        row: its row.
        column: place of its budget.
        price: most milliseconds for one sample.
        cell: the cell.
    """
    start = (
        f"With {panel.budget(panel.columns[column])} of training and "
        f"{row.title}{price_words(price)}"
    )
    leader = cell.leader
    if leader is None:
        said = [f"{start}, {NOBODY if cell.scores else EMPTY}."]
        return [*said, *_faults(cell)]
    if cell.state == "alone":
        said = [
            f"{start}, the {leader.contender.family} ({named(leader)}) stands alone: "
            f"FID {exact(leader.fid)}."
        ]
        memory = _memory(leader.contender, panel.columns[column])
        said += [f"{memory}."] if memory else []
        return [*said, *_faults(cell), *_missing(cell)]
    rival = cell.able[1]
    said = [f"{start}, {_ahead(cell, leader, rival, margin_of(row.comparison))}{_real(row)}."]
    said += _prices(leader, rival)
    said += [_sure(cell), *_dissent(cell), *_by_memory(cell, panel.columns[column])]
    said += _falling(cell)
    return [*said, *_faults(cell), *_missing(cell)]


def price_words(price: float) -> str:
    """The price of a sample as part of a sentence; empty for any price."""
    return "" if math.isinf(price) else f", at up to {exact(price)} ms per sample"


def named(score: Score) -> str:
    """A family's model and sampler, such as "v_diffusion_small, dpmpp-10"."""
    return ", ".join(filter(None, (score.contender.label, score.contender.sampler)))


def _ahead(cell: Cell, leader: Score, rival: Score, margin: float) -> str:
    first, second = leader.contender.family, rival.contender.family
    words = {
        "settled": f"the {first} is ahead of the {second}",
        "equal": f"the {first} and the {second} are {within(margin)}",
    }.get(cell.state)
    if words is None:
        nearest = cell.nearest.contender.family
        words = f"the {first} leads, and is not shown to be ahead of the {nearest}"
        if nearest != second:
            words += f"; next comes the {second}"
    return (
        f"{words}: FID {exact(leader.fid)} ({_spread(leader)}) against {exact(rival.fid)} "
        f"({_spread(rival)}), a factor of {exact(cell.lead)}"
    )


def _spread(score: Score) -> str:
    """A family's model and sampler, with the FIDs of its luckiest and its unluckiest seed."""
    low, high = (exact(pick(score.fids.values())) for pick in (min, max))
    seeds = f"{low} to {high} over seeds" if low != high else ""
    return "; ".join(filter(None, (named(score), seeds)))


def _real(row: Row) -> str:
    """The FID of the real-data baseline, as the end of a sentence; empty if it was not scored."""
    comparison = row.comparison
    real = [e for e in comparison.entries if e.finished and e.mean.get("nfe") == 0]
    found = [e.mean[comparison.fid] for e in real if e.values(comparison.fid)]
    return f"; held-out real images have {exact(found[0])}" if found else ""


def _prices(leader: Score, rival: Score) -> list[str]:
    """What one sample of both costs."""
    return price_of_both(
        *((f"the {s.contender.family}", s.contender.latency) for s in (leader, rival))
    )


def _sure(cell: Cell) -> str:
    """How sure the leader is."""
    seeds = f"{cell.seeds} seed{'s' * (cell.seeds != 1)}"
    if cell.state == "settled":
        return f"Settled over {seeds} ({_p(cell)})."
    if cell.state == "equal":
        return f"Shown over {seeds}."
    both = f"the {cell.able[0].contender.family} and the {cell.nearest.contender.family}"
    if cell.seeds == 0:
        return f"{both[0].upper()}{both[1:]} have no common seed: train the same seeds of both."
    if math.isnan(cell.p):
        of = f" of {both}" if len(set(cell.seeds_of)) > 1 else ""
        return f"With {seeds}{of} nothing can be said of chance: that takes at least three."
    return f"Not settled by {seeds} ({_p(cell)})."


def _p(cell: Cell) -> str:
    """The p of a cell, by itself and corrected."""
    alone, adjusted = ("below 0.001" if p < 0.001 else f"{p:.2g}" for p in (cell.p, cell.adjusted))
    return f"p {alone}; {adjusted} after correction over all cells at this price"


def _dissent(cell: Cell) -> list[str]:
    """Who leads by the features of further extractors, if it is another family."""
    return [f"By FID ({name}) the {family} leads instead." for name, family in cell.dissent]


def _falling(cell: Cell) -> list[str]:
    """The families whose FID still fell steeply: more budget may change the order."""
    names = [score.contender.family for score in cell.able if score.falling]
    if not names:
        return []
    return [f"The FID of the {_and(names)} still fell steeply here: more budget may change this."]


def _by_memory(cell: Cell, budget: float) -> list[str]:
    """That a lead may be memory of the images trained on; often nothing."""
    words = _memory(cell.able[0].contender, budget)
    consequence = "" if cell.state == "equal" else ": part of its lead may be memory"
    return [f"{words}{consequence}."] if words else []


def _memory(contender: Contender, budget: float) -> str:
    """That samples are near images that were trained on; empty unless it is more than chance."""
    found = contender.memory_at(budget)
    if found is None:
        return ""
    return (
        f"{found.share:.1%} of the samples of the {contender.family} are nearest to an image that "
        f"it was trained on, where {found.expected:.1%} are expected of one that has memorised none"
    )


def _faults(cell: Cell) -> list[str]:
    """Why families cannot be ahead."""
    said = []
    for fault, words in FAULTS.items():
        names = [f"the {s.contender.family}" for s in cell.scores if s.fault == fault]
        if names:
            text = words.format(names=_and(names))
            said.append(f"{text[0].upper()}{text[1:]}.")
    failed = [s.contender for s in cell.scores if s.contender.failed]
    said += [f"{_failures(contender)}." for contender in failed]
    return said


def _failures(contender: Contender) -> str:
    runs = f"{contender.failed} run{'s' * (contender.failed != 1)}"
    return f"{runs} of the {contender.family} failed"


def _missing(cell: Cell) -> list[str]:
    """Families of the row that have no result here."""
    if not cell.missing:
        return []
    return [f"Without a result here: {_and([f'{name} ({why})' for name, why in cell.missing])}."]


def _and(names: Sequence[str]) -> str:
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def crossover_sentences(crossovers: Sequence[Crossover], panel: Panel) -> list[str]:
    """Which families of a row overtake others, and which stay ahead.

    Pairs of which one is shown to be ahead at the largest budget, and was so at all, share a
    sentence.

    Args:
        crossovers: of one row.
        panel: its panel.
    """
    throughout: dict[str, list[str]] = {}
    said = []
    for crossover in crossovers:
        if math.isinf(crossover.low) and not crossover.between:
            behind = throughout.setdefault(crossover.first.family, [])
            behind.append(f"the {crossover.second.family}")
        else:
            said.append(crossover_words(crossover, panel))
    if throughout:
        words = [f"the {first} of {_and(behind)}" for first, behind in throughout.items()]
        said.append(f"ahead at every budget compared: {'; '.join(words)}")
    return said


def crossover_words(crossover: Crossover, panel: Panel) -> str:
    """When one family overtakes another, in words."""
    first, second = crossover.first.family, crossover.second.family
    ends = f"[{_end(crossover.low, panel)}, {_end(crossover.high, panel)}]"
    limit = panel.budget(crossover.limit)
    if not crossover.known:
        return f"the {first} or the {second}: not known which is ahead, up to {limit} {ends}"
    if crossover.between:
        between = f"the {second} in between"
        start = panel.budget(crossover.start)
        if math.isinf(crossover.low):
            return f"the {first} is ahead at {start} and, as is shown, at {limit}, {between}"
        return f"the {first} is ahead at {start} and at {limit}, {between} {ends}"
    if math.isinf(crossover.budget):
        return (
            f"the {first} is ahead at every budget compared, from {panel.budget(crossover.start)} "
            f"on: the {second} does not overtake it within {limit} {ends}"
        )
    return f"the {second} overtakes the {first} after {_moment(crossover.budget, panel)} {ends}"


def _end(budget: float, panel: Panel) -> str:
    """An end of an interval of budgets."""
    if math.isinf(budget):
        return "never"
    return _moment(budget, panel) if budget else "from the beginning"


def _moment(budget: float, panel: Panel) -> str:
    """A budget between those of columns, with more digits than these."""
    if panel.axis != "train_seconds":
        return panel.budget(budget)
    return f"{budget:.0f} s" if budget < MINUTES else panel.budget(round(budget))


def row_notes(panel: Panel, row: Row, cells: Sequence[Cell]) -> list[str]:
    """What the cells of a row leave unsaid: faults, missing results and memorised images.

    Args:
        panel: its panel.
        row: the row.
        cells: its cells at any price, one for each column.
    """
    places: dict[tuple[str, str], list[str]] = {}
    for column, cell in zip(panel.columns, cells, strict=True):
        for score in cell.scores:
            if score.fault:
                words = FAULTS[score.fault].format(names=f"the {score.contender.family}")
                places.setdefault(("", words), []).append(panel.budget(column))
            if words := _memory(score.contender, column):
                places.setdefault(("", words), []).append(panel.budget(column))
        for family, why in cell.missing:
            places.setdefault((family, why), []).append(panel.budget(column))
    said = [
        f"{row.title}: {words if not family else f'the {family} has no result, {words}'}"
        f"{'' if len(at) == len(panel.columns) else f', at {_and(at)}'}."
        for (family, words), at in places.items()
    ]
    entered = {s.contender.family: s.contender for cell in cells for s in cell.scores}
    failed = [_failures(each) for each in entered.values() if each.failed]
    return [*said, *(f"{row.title}: {words}." for words in failed)]


@dataclass(frozen=True)
class Headline:
    """The answer of a map: what its largest budget says, for all images in the last panel.

    Attributes:
        row: the row that it is about.
        said: the sentences.
        stands: labels and samplers of what stands for the families.
        settled: what the settled cell furthest along its panel says, where the first is not
            settled; often empty.
    """

    row: Row
    said: tuple[str, ...]
    stands: tuple[tuple[str, str], ...]
    settled: tuple[str, ...] = ()


def headline(made: Map) -> Headline | None:
    """The answer of a map, at any price of a sample; None if no cell compares two families.

    Of the cells in which two families can be compared it is that of the last panel, then of the
    most images, then of the largest budget.
    """
    cells = made.cells(ANY)
    able = [key for key, cell in cells.items() if len(cell.able) > 1]
    if not able:
        return None
    i, j, k = max(able)
    panel = made.panels[i]
    first, *others = sentences(panel, panel.rows[j], k, ANY, cells[i, j, k])
    first = f"On {panel.title}, {first[0].lower()}{first[1:]}"
    settled = _settled(made) if cells[i, j, k].state == "open" else ()
    entered = made.contenders(panel, panel.rows[j], ANY)
    stands = tuple((each.label, each.sampler) for each in entered)
    own = panel.rows[j].comparison.extractors[:1] == (OWN_CLASSIFIER,)
    fid_is = FID_IS.format(features=OWN_FEATURES if own else "")
    said = (first, fid_is, *others, *_cheaper(made, (i, j, k)))
    return Headline(panel.rows[j], said, stands, settled)


def _cheaper(made: Map, place: tuple[int, int, int]) -> list[str]:
    """Who leads at the highest price of a sample at which it is another family; often nothing."""
    first = made.cells(ANY)[place].leader
    for price in PRICES:
        cell = made.cells(price)[place]
        leader = cell.leader
        if first is None or leader is None or leader.contender.family == first.contender.family:
            continue
        start = f"At up to {exact(price)} ms per sample the {leader.contender.family}"
        if cell.state == "alone":
            return [f"{start} stands alone: FID {exact(leader.fid)}."]
        rival = cell.able[1]
        if cell.state == "equal":
            same = within(margin_of(made.panels[place[0]].rows[place[1]].comparison))
            start = f"{start} and the {rival.contender.family} are {same}"
        else:
            start = f"{start} {'is ahead' if cell.state == 'settled' else 'leads'}"
        unsure = ", which is not settled" if cell.state == "open" else ""
        return [
            f"{start}: FID {exact(leader.fid)} against {exact(rival.fid)} of the "
            f"{rival.contender.family}{unsure}."
        ]
    return []


def _settled(made: Map) -> tuple[str, ...]:
    """What the cell says that is furthest along its panel of those that are settled or equal.

    Cells in which other features name another family are left out. Of equally far ones it is that
    of the last panel, then of the most images.
    """
    cells = made.cells(ANY)
    sure = ("settled", "equal")
    known = [key for key, cell in cells.items() if cell.state in sure and not cell.dissent]
    if not known:
        return ()
    i, j, k = max(known, key=lambda at: ((at[2] + 1) / len(made.panels[at[0]].columns), *at))
    panel, cell = made.panels[i], cells[i, j, k]
    first, *_ = sentences(panel, panel.rows[j], k, ANY, cell)
    more = _by_memory(cell, panel.columns[k])
    return f"Settled, on {panel.title}: {first[0].lower()}{first[1:]}", _sure(cell), *more
