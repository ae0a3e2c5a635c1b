"""The content of a comparison's page, independent of the output format."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.compare.cells import NOTHING, Cell, Passage, Table, computed, exact, interval
from bench.compare.comparison import WARNING, Comparison, Entry, analysis, comparable
from bench.compare.stats import MIN_SEEDS
from bench.compare.topics import matched
from bench.compare.topics.blindness import blind_sentences, error_sentences
from bench.compare.topics.columns import interval_measures, measures, with_values
from bench.compare.topics.conditional import apart_sentences
from bench.compare.topics.disturbed import disturbed_notes, uneven_notes
from bench.compare.topics.diversity import diversity_table, worst_classes
from bench.compare.topics.few_samples import few_samples
from bench.compare.topics.modes import mode_sentences, mode_table
from bench.compare.topics.outcomes import OUTCOMES_SENTENCE, outcomes, outcomes_table
from bench.compare.topics.pairs import TOO_FEW, compare_pairs, pairs_sentences, pairs_table
from bench.compare.topics.pictures import Grid
from bench.compare.topics.published import published_sentences
from bench.compare.topics.quality import (
    cost_table,
    counts_modes,
    held_out_table,
    main_table,
    on_cpu,
    quality_table,
    selected_table,
    table_of,
)
from bench.compare.topics.settled import contests, is_sequential
from bench.compare.topics.settling import (
    SETTLED_HEADING,
    SETTLED_SENTENCE,
    sequential_sentences,
    sequential_table,
    settled_table,
)
from bench.schema import FIELDS, PROTOCOL, shown_in

HINDSIGHT_SENTENCE = (
    "Best FID in hindsight is the lowest FID at any evaluation point of a run, with that point. It "
    "is not used for ranking, because the best point is not known in advance."
)

INTERVAL_SENTENCE = (
    "Mean over seeds of the score and of both ends of its 95 % bootstrap interval over samples. "
    "The interval is the uncertainty from a finite number of samples, not the spread over seeds."
)


SELECTED_SENTENCE = (
    "Weights of the evaluation point at which other samples had the lowest FID to the held-out "
    "split (`trainer.keep=best`). The scores here use neither those samples nor that split; costs "
    "of training count the whole run. No value is marked best, and no other table, verdict or "
    "recommendation uses these rows."
)

FEW_NOTES = 8
"""Largest number of notes that is shown unfolded."""


@dataclass(frozen=True)
class Section:
    """One comparison on a page.

    Attributes:
        comparison: the comparison.
        grids: pictures of samples.
        heading: its title; empty if it is the only section of the page.
    """

    comparison: Comparison
    grids: Sequence[Grid] = ()
    heading: str = ""

    @cached_property
    def topics(self) -> "tuple[Topic, ...]":
        """Its topics, the most important first and the protocol last."""
        return tuple(_topics(self))


@dataclass(frozen=True)
class Notes:
    """A list of sentences."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures, shown side by side."""

    grids: tuple[Grid, ...]


Block = Passage | Notes | Gallery
"""A table, a sentence, a list of sentences, or pictures."""


@dataclass(frozen=True)
class Topic:
    """A heading and the blocks below it.

    Attributes:
        heading: the heading.
        blocks: tables, sentences and pictures, in order.
        ranked: whether the rows of its tables are the entries of the comparison, in order.
        prominent: whether it is shown unfolded.
    """

    heading: str
    blocks: tuple[Block, ...]
    ranked: bool = False
    prominent: bool = False


def _topics(section: Section) -> Iterator[Topic]:
    comparison = section.comparison
    yield _quality(comparison)
    if table := selected_table(comparison):
        sentences = (SELECTED_SENTENCE, *_without_choice(comparison))
        yield Topic("Selected checkpoints", (table, *listed(sentences)))
    if counts_modes(comparison):
        sentences = [*_explained(comparison, "modes"), *mode_sentences(comparison)]
        yield Topic("Mode coverage", (mode_table(comparison), *listed(sentences)), prominent=True)
    for heading, *found in blocks(comparison):
        yield Topic(heading, tuple(found), prominent=True)
    for heading, *found in matched.blocks(comparable(comparison)):
        yield Topic(heading, tuple(found))
    for extractor in comparison.extractors[1:]:
        table = quality_table(comparison, extractor)
        below = listed(_explained(comparison, "quality", extractor))
        yield Topic(f"Quality ({extractor})", (table, *below), ranked=True)
    below = listed(_explained(comparison, "cost"))
    yield Topic("Cost", (cost_table(comparison), *below), ranked=True)
    if table := held_out_table(comparison):
        yield Topic("Held-out data", (table, *listed(_explained(comparison, "held-out"))))
    yield from _reliability(comparison)
    if sentences := notes(comparison):
        yield Topic("Notes", listed(sentences), prominent=len(sentences) <= FEW_NOTES)
    if section.grids:
        gallery = Gallery(tuple(section.grids))
        yield Topic(
            "Samples", ("The first samples of each run, not selected.", gallery), prominent=True
        )
    yield Topic("Protocol", (protocol_table(comparison),))


def listed(sentences: Sequence[str]) -> tuple[Notes, ...]:
    """The sentences as one list; empty if there are none."""
    return (Notes(tuple(sentences)),) if sentences else ()


def _explained(comparison: Comparison, table: str, extractor: str | None = None) -> list[str]:
    """Explanations of a table's columns, their blind spots, and the error behind their FID."""
    shown = with_values(comparison, measures(table, extractor))
    meanings = [m.column.meaning for m in shown if m.column.explained]
    if extractor is None:
        return meanings
    blind = blind_sentences(comparison, extractor, shown_in(table))
    errors = error_sentences(comparison, extractor)
    return meanings + blind + errors + published_sentences(comparison, extractor)


def _quality(comparison: Comparison) -> Topic:
    table = main_table(comparison)
    followed = any("hindsight" in heading for heading in table.headings)
    sentences = [HINDSIGHT_SENTENCE] if followed else []
    sentences += _explained(comparison, "quality", *comparison.extractors[:1])
    return Topic("Quality", (table, *listed(sentences)), ranked=True, prominent=True)


def _without_choice(comparison: Comparison) -> tuple[str, ...]:
    """A sentence on the trained models whose weights were not selected; empty if all were."""
    chosen = {entry.key for entry in comparison.best}
    others = dict.fromkeys(
        comparison.label(entry)
        for entry in comparison.entries
        if entry.finished and entry.trained and entry.key not in chosen
    )
    return (f"Models without a selected checkpoint: {', '.join(others)}.",) if others else ()


def _reliability(comparison: Comparison) -> Iterator[Topic]:
    """Diversity, bias, memorisation and sampling intervals, by extractor."""
    for extractor in comparison.extractors:
        which = f" ({extractor})" if len(comparison.extractors) > 1 else ""
        if table := diversity_table(comparison, extractor):
            sentences = _explained(comparison, "diversity", extractor)
            below = listed(sentences + worst_classes(comparison, extractor))
            yield Topic(f"Diversity{which}", (table, *below), ranked=True)
        if table := table_of(comparison, measures("bias", extractor)):
            blocks = (table, *listed(_explained(comparison, "bias", extractor)))
            yield Topic(f"Bias and memorisation{which}", blocks, ranked=True)
        if table := table_of(comparison, interval_measures(extractor)):
            yield Topic(f"Sampling intervals{which}", (INTERVAL_SENTENCE, table), ranked=True)


def protocol_table(comparison: Comparison) -> Table:
    """The protocol fields, on which all entries agree."""
    rows = []
    for field in PROTOCOL:
        values = dict.fromkeys(entry.protocol.get(field, "") for entry in comparison.entries)
        text = ", ".join(value for value in values if value) or "– (nothing was trained)"
        rows.append((Cell(FIELDS[field].label), Cell(text)))
    return Table(("field", "value"), tuple(rows), labels=2)


SEEDS_SENTENCE = (
    "FID ({extractor}) over seeds. The interval of the mean is a 95 % percentile bootstrap over "
    "seeds. It is too narrow for few seeds (docs/statistics.md), and verdicts do not rest on it."
)
FEW_SENTENCE = "No interval and no verdict with fewer than {limit} seeds: {names}."


def blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Headings of the statistics over seeds, each with the sentences and tables below it."""
    if table := seeds_table(comparison):
        sentence = SEEDS_SENTENCE.format(extractor=comparison.extractors[0])
        few = _with_few_seeds(comparison)
        short = [FEW_SENTENCE.format(limit=MIN_SEEDS, names=few)] if few else []
        yield "Over seeds", sentence, *short, table
    fair = comparable(comparison)
    if is_sequential(fair):
        yield from _sequential_blocks(fair)
    elif pairs := compare_pairs(fair):
        sentences = pairs_sentences(fair, pairs)
        tables = [] if sentences == [TOO_FEW] else [pairs_table(fair, pairs)]
        yield "Differences between models", *sentences, *tables
    if found := outcomes(comparison):
        yield "Training that failed", OUTCOMES_SENTENCE, outcomes_table(comparison, found)


def _sequential_blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """The pairs of a comparison that bench.decide made, and how they were settled."""
    if contests(comparison):
        sentences = sequential_sentences(comparison)
        yield "Differences between models", *sentences, sequential_table(comparison)
        yield SETTLED_HEADING, SETTLED_SENTENCE, settled_table(comparison)


def _with_few_seeds(comparison: Comparison) -> str:
    few = [e for e in comparison.entries if e.finished and e.trained and len(e.seeds) < MIN_SEEDS]
    return ", ".join(dict.fromkeys(comparison.label(entry) for entry in few))


def seeds_table(comparison: Comparison) -> Table | None:
    """The ranking FID, summarised over seeds; None if there is none."""
    rows = []
    for entry in comparison.entries:
        s = entry.summary(comparison.fid)
        if not s.n:
            continue
        ends = f"{computed(s.minimum)}–{computed(s.maximum)}" if s.n > 1 else NOTHING
        cells = (comparison.marked(entry), entry.sampler, str(s.n), computed(s.mean))
        cells += (computed(s.median), exact(s.std), ends, interval(s.mean, s.low, s.high))
        rows.append(tuple(map(Cell, cells)))
    headings = ("model", "sampler", "seeds", "mean", "median", "std", "min–max")
    return Table((*headings, "mean [95 %]"), tuple(rows), labels=2) if rows else None


@analysis
def notes(comparison: Comparison) -> tuple[str, ...]:
    """The notes: overrides, warnings, few seeds, runs without a result."""
    found = [f"{name} ran with {what}." for name, what in comparison.overrides.items()]
    for entry in comparison.entries:
        found += collapse_notes(comparison, entry)
    found += [*disturbed_notes(comparison), *uneven_notes(comparison)]
    found += apart_sentences(comparison)
    found += few_samples(comparison)
    if names := _with_few_seeds(comparison):
        found.append(
            f"Fewer than {MIN_SEEDS} seeds for {names}: the spread is uncertain, and there is no "
            "verdict."
        )
    if on_cpu(comparison):
        found.append(
            "Peak memory is only in the CSV: on a CPU it depends on earlier work of the process."
        )
    for entry in comparison.entries:
        run = f"{comparison.label(entry)} seed {entry.seeds[0]}"
        if entry.status == "failed":
            found.append(f"{run} failed and has no result: {entry.reason}.")
        elif entry.status == "unfinished":
            found.append(
                f"{run} is unfinished ({entry.reason}) and not included in any mean; "
                "its command resumes it."
            )
    return tuple(found)


def collapse_notes(comparison: Comparison, entry: Entry) -> list[str]:
    """Notes on seeds with warnings, at the last evaluation point or only earlier."""
    name = f"{comparison.label(entry)}, {entry.sampler}"
    before = {
        seed: f"at point {', '.join(map(str, at))} of {entry.points}"
        for seed, at in entry.warned_at.items()
    }
    warned = ", ".join(
        f"seed {seed} ({words}" + (f"; also {before[seed]})" if seed in before else ")")
        for seed, words in entry.warnings.items()
    )
    recovered = ", ".join(
        f"seed {seed} {at}" for seed, at in before.items() if seed not in entry.warnings
    )
    found = []
    if warned:
        found.append(
            f"{WARNING} {name}: signs of {' and '.join(entry.signs)} at the last evaluation point "
            f"in {warned}. These seeds are included in the means."
        )
    if recovered:
        found.append(f"{name}: signs of collapse at earlier evaluation points only in {recovered}.")
    return found
