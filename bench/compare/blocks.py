"""What stands on the page of a comparison, in order, whatever it is written in."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from bench.compare import evidence, matched
from bench.compare.blindness import blind_sentences, error_sentences
from bench.compare.columns import quality_measure, with_values
from bench.compare.grids import Grid
from bench.compare.modes import mode_sentences, mode_table
from bench.compare.notes import notes
from bench.compare.protocols import LABELS
from bench.compare.statistics import Comparison
from bench.compare.tables import (
    BIAS_METRICS,
    QUALITY_METRICS,
    Cell,
    Passage,
    Table,
    bias_table,
    cost_table,
    counts_modes,
    held_out_table,
    interval_table,
    main_table,
    quality_table,
)
from bench.protocol import PROTOCOL

BIAS_SENTENCES = {
    "fid_infinity": "FID∞ is FID extrapolated to infinitely many samples.",
    "mifid": "MiFID is FID with a penalty for samples that are copies of training data.",
    "authpct": "AuthPct is the percentage of samples that are farther from their nearest training "
    "sample than that one is from its own nearest. Copies lower it, noise raises it to 100.",
    "nn_ratio": "The NN ratio is the distance to the nearest training sample over that to the "
    "nearest held-out one; below 1, samples are closer to what was trained on.",
    "duplicates": "Duplicates is the share of samples nearer to another sample than all but 1 % of "
    "real ones are to each other: about 0.01 for real samples, less for noise.",
}
"""What the metrics of bias and memorisation are."""

HELD_OUT_SENTENCES = {
    "bits/dim": "Bits/dim bounds the negative log-likelihood of held-out images from above: the "
    "sum of what the last noise level tells of the image (prior), of the divergences of the "
    "reverse steps (KL) and of the last step to 8-bit values (reconstruction). It depends on the "
    "model, not on the sampler.",
    "test accuracy": "Test accuracy is that of a discriminator that also tells classes, from few "
    "labels and all images; supervised alone, that of the same network trained on the labels "
    "alone.",
}
"""What models say about held-out data."""

HINDSIGHT_SENTENCE = (
    "Best FID in hindsight is the lowest at any evaluation point of the run, and at which: not for "
    "ranking, since no one knows it in advance."
)
"""What the best FID along a run is."""

INTERVAL_SENTENCE = (
    "Mean over seeds of the score and of both ends of its 95 % bootstrap interval over samples: "
    "how far a score may be off because samples are finite, not how far seeds differ."
)


FEW_NOTES = 8
"""More notes than these are folded away."""


@dataclass(frozen=True)
class Section:
    """One comparison on a page.

    Attributes:
        comparison: what to show.
        grids: pictures of samples.
        heading: tells it from the other sections; empty where it has the page to itself.
    """

    comparison: Comparison
    grids: Sequence[Grid] = ()
    heading: str = ""

    @cached_property
    def topics(self) -> "tuple[Topic, ...]":
        """What stands on its page, the most important first and the protocol last."""
        return tuple(_topics(self))


@dataclass(frozen=True)
class Notes:
    """Sentences that stand as a list."""

    sentences: tuple[str, ...]


@dataclass(frozen=True)
class Gallery:
    """Pictures side by side."""

    grids: tuple[Grid, ...]


Block = Passage | Notes | Gallery
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


def _topics(section: Section) -> Iterator[Topic]:
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
        below = listed(blind_sentences(comparison, extractor, QUALITY_METRICS))
        yield Topic(f"Quality ({extractor})", (table, *below), ranked=True)
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
    sentences = [HINDSIGHT_SENTENCE] if followed else []
    for extractor in comparison.extractors[:1]:
        sentences += blind_sentences(comparison, extractor, QUALITY_METRICS)
    if not counts_modes(comparison):  # whose sentences say it
        sentences += error_sentences(comparison)
    return Topic("Quality", (table, *listed(sentences)), ranked=True, prominent=True)


def _small_print(comparison: Comparison) -> Iterator[Topic]:
    """What each extractor says of bias, memorisation and finite samples."""
    for extractor in comparison.extractors:
        which = f" ({extractor})" if len(comparison.extractors) > 1 else ""
        if table := bias_table(comparison, extractor):
            sentences = bias_sentences(comparison, extractor)
            sentences += blind_sentences(comparison, extractor, BIAS_METRICS)
            blocks = (table, *listed(sentences))
            yield Topic(f"Bias and memorisation{which}", blocks, ranked=True)
        if table := interval_table(comparison, extractor):
            yield Topic(f"Sampling intervals{which}", (INTERVAL_SENTENCE, table), ranked=True)


def bias_sentences(comparison: Comparison, extractor: str) -> list[str]:
    """What the metrics are that the table of bias and memorisation shows."""
    return [
        sentence
        for metric, sentence in BIAS_SENTENCES.items()
        if with_values(comparison, [quality_measure(metric, extractor)])
    ]


def held_out_sentences(table: Table) -> list[str]:
    """What the columns are that the table of held-out data shows."""
    return [
        sentence
        for title, sentence in HELD_OUT_SENTENCES.items()
        if any(heading.startswith(title) for heading in table.headings)
    ]


def protocol_table(comparison: Comparison) -> Table:
    """The fields on which all entries agree."""
    rows = []
    for field in PROTOCOL:
        values = dict.fromkeys(entry.protocol.get(field, "") for entry in comparison.entries)
        text = ", ".join(value for value in values if value) or "– (nothing was trained)"
        rows.append((Cell(LABELS.get(field, field)), Cell(text)))
    return Table(("field", "value"), tuple(rows), labels=2)
