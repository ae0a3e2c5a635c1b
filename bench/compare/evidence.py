"""What seeds say for certain: spread, differences between models, and training that failed."""

from collections.abc import Iterator

from bench.compare.notation import NOTHING, computed, exact, interval
from bench.compare.outcomes import OUTCOMES_SENTENCE, outcomes, outcomes_table
from bench.compare.pairs import TOO_FEW, compare_pairs, pairs_sentences, pairs_table
from bench.compare.seeds import MIN_SEEDS
from bench.compare.statistics import Comparison
from bench.compare.tables import Cell, Passage, Table

SEEDS_SENTENCE = (
    "FID ({extractor}) over seeds. The interval is that of the mean: a 95 % percentile bootstrap "
    "over seeds, which is too short where seeds are few (docs/statistics.md says by how much); "
    "verdicts do not rest on it."
)
FEW_SENTENCE = "Fewer than {limit} seeds for {names}: neither interval nor verdict."


def blocks(comparison: Comparison) -> Iterator[tuple[str, *tuple[Passage, ...]]]:
    """Headings of a comparison, each with the sentences and tables below it."""
    if table := seeds_table(comparison):
        sentence = SEEDS_SENTENCE.format(extractor=comparison.extractors[0])
        yield "Over seeds", sentence, *few_seeds(comparison), table
    pairs = compare_pairs(comparison)
    if pairs:
        sentences = pairs_sentences(comparison, pairs)
        tables = [] if sentences == [TOO_FEW] else [pairs_table(comparison, pairs)]
        yield "Differences between models", *sentences, *tables
    if found := outcomes(comparison):
        yield "Training that failed", OUTCOMES_SENTENCE, outcomes_table(comparison, found)


def few_seeds(comparison: Comparison) -> list[str]:
    """A sentence that names the trained entries with too few seeds, if there are any."""
    few = [e for e in comparison.entries if e.finished and e.trained and len(e.seeds) < MIN_SEEDS]
    names = ", ".join(dict.fromkeys(comparison.label(entry) for entry in few))
    return [FEW_SENTENCE.format(limit=MIN_SEEDS, names=names)] if few else []


def seeds_table(comparison: Comparison) -> Table | None:
    """The FID that ranks the entries, summarised over seeds; None where there is none."""
    rows = []
    for entry in comparison.entries:
        s = entry.summary(f"fid_{comparison.extractors[0]}") if entry.finished else None
        if s is None or not s.n:
            continue
        ends = f"{computed(s.minimum)}–{computed(s.maximum)}" if s.n > 1 else NOTHING
        cells = (comparison.marked(entry), entry.sampler, str(s.n), computed(s.mean))
        cells += (computed(s.median), exact(s.std), ends, interval(s.mean, s.low, s.high))
        rows.append(tuple(map(Cell, cells)))
    headings = ("model", "sampler", "seeds", "mean", "median", "std", "min–max")
    return Table((*headings, "mean [95 %]"), tuple(rows), labels=2) if rows else None
