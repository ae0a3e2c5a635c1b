"""The table of diversity: recall and coverage beside the Vendi score and FID by class."""

from collections import Counter

from bench.compare.cells import Table
from bench.compare.comparison import Comparison
from bench.compare.topics.columns import measures, with_values
from bench.compare.topics.quality import build

WORST_SENTENCE = "The worst class of {name}: {classes}."
OF_SEEDS = "{name} in {count} of {seeds} seeds"


def diversity_table(comparison: Comparison, extractor: str) -> Table | None:
    """Diversity in the features of one extractor.

    None if there is nothing but recall and coverage, which the table of quality has, as in rows of
    earlier versions.
    """
    shown = measures("diversity", extractor)
    if not with_values(comparison, [m for m in shown if m.column.group == "diversity"]):
        return None
    return build(comparison, shown)


def worst_classes(comparison: Comparison, extractor: str) -> list[str]:
    """Which class has the highest FID, for each entry with FID by class.

    It is recorded for the first extractor that has it; empty for others.
    """
    with_classes = (e for e in comparison.extractors if _has_classes(comparison, e))
    if next(with_classes, None) != extractor:
        return []
    found = []
    for entry in comparison.entries:
        texts = (table.texts("worst_class") for table in entry.tables.values())
        counts = Counter(text[-1] for text in texts if text and text[-1])
        if counts:
            seeds = len(entry.tables)
            named = [
                name if seeds == 1 else OF_SEEDS.format(name=name, count=count, seeds=seeds)
                for name, count in counts.most_common()
            ]
            name = f"{comparison.label(entry)}, {entry.sampler}"
            found.append(WORST_SENTENCE.format(name=name, classes="; ".join(named)))
    return found


def _has_classes(comparison: Comparison, extractor: str) -> bool:
    shown = (m for m in measures("diversity", extractor) if m.column.name == "fid_by_class")
    return bool(with_values(comparison, list(shown)))
