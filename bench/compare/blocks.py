"""What stands on the page of a comparison, in order, whatever it is written in: the topics."""

from collections.abc import Iterator
from dataclasses import dataclass

from bench.compare import evidence, matched
from bench.compare.grids import Grid
from bench.compare.markdown import (
    HINDSIGHT_SENTENCE,
    INTERVAL_SENTENCE,
    Section,
    bias_sentences,
    held_out_sentences,
    protocol_table,
)
from bench.compare.modes import mode_sentences, mode_table
from bench.compare.notes import notes
from bench.compare.statistics import Comparison
from bench.compare.tables import (
    Table,
    bias_table,
    cost_table,
    counts_modes,
    held_out_table,
    interval_table,
    main_table,
    quality_table,
)


FEW_NOTES = 8
"""More notes than these are folded away."""


@dataclass(frozen=True)
class Notes:
    """Sentences that stand as a list."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    grids: tuple[Grid, ...]


Block = Table | Notes | Gallery | str
"""A table, a list, pictures, or a sentence."""


@dataclass(frozen=True)
class Topic:
    """A heading and what stands below it.

    Attributes:
        heading: the heading.
        blocks: in order.
        ranked: whether rows of its tables are the entries of the comparison, in their order.
        prominent: whether a reader who has little time should see it.
    """

    heading: str
    blocks: tuple[Block, ...]
    ranked: bool = False
    prominent: bool = False


def topics(section: Section) -> Iterator[Topic]:
    """The topics of a comparison, the most important first and the protocol last."""
    comparison = section.comparison
    yield _quality(comparison)
    if counts_modes(comparison):
        sentences = mode_sentences(comparison)
        yield Topic("Mode coverage", (mode_table(comparison), *listed(sentences)), prominent=True)
    for heading, *found in evidence.blocks(comparison):
        yield Topic(heading, tuple(found), prominent=True)
    for heading, *found in matched.blocks(comparison):
        yield Topic(heading, tuple(found))
    for extractor in comparison.extractors[1:]:
        table = quality_table(comparison, extractor)
        yield Topic(f"Quality ({extractor})", (table,), ranked=True)
    yield Topic("Cost", (cost_table(comparison),), ranked=True)
    if table := held_out_table(comparison):
        yield Topic("Held-out data", (table, *listed(held_out_sentences(table))))
    yield from _small_print(comparison)
    if sentences := notes(comparison):
        yield Topic("Notes", listed(sentences), prominent=len(sentences) <= FEW_NOTES)
    if section.grids:
        gallery = Gallery(tuple(section.grids))
        yield Topic("Samples", ("Drawn one after the other, not chosen.", gallery), prominent=True)
    yield Topic("Protocol", (protocol_table(comparison),))


def listed(sentences: list[str]) -> tuple[Notes, ...]:
    """The sentences as one list, or nothing if there is none."""
    return (Notes(tuple(sentences)),) if sentences else ()


def _quality(comparison: Comparison) -> Topic:
    table = main_table(comparison)
    followed = any("hindsight" in heading for heading in table.headings)
    below = listed([HINDSIGHT_SENTENCE] if followed else [])
    return Topic("Quality", (table, *below), ranked=True, prominent=True)


def _small_print(comparison: Comparison) -> Iterator[Topic]:
    """What each extractor says of bias, memorisation and finite samples."""
    for extractor in comparison.extractors:
        which = f" ({extractor})" if len(comparison.extractors) > 1 else ""
        if table := bias_table(comparison, extractor):
            sentences = bias_sentences(comparison, extractor)
            blocks = (table, *listed(sentences))
            yield Topic(f"Bias and memorisation{which}", blocks, ranked=True)
        if table := interval_table(comparison, extractor):
            yield Topic(f"Sampling intervals{which}", (INTERVAL_SENTENCE, table), ranked=True)
