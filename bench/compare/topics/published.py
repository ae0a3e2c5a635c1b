"""What a page says of published statistics that FID is measured to."""

from bench.compare.comparison import Comparison
from bench.schema import PUBLISHED

PUBLISHED_SENTENCE = (
    "FID ({extractor}), its interval and FID∞ are measured to published statistics "
    "(evaluator.reference, SHA-256 {sha256}…). All other scores are measured to the images of the "
    "data set, MiFID, FID by class and FID to images trained on included."
)
SHOWN_DIGITS = 12


def published_sentences(comparison: Comparison, extractor: str) -> list[str]:
    """The statistics that FID of one extractor is measured to; empty for the training images."""
    texts = {entry.protocol.get("reference", "") for entry in comparison.entries}
    found = [text.partition(PUBLISHED.format(extractor=extractor))[2] for text in texts]
    return [
        PUBLISHED_SENTENCE.format(extractor=extractor, sha256=digits[:SHOWN_DIGITS])
        for digits in found
        if digits
    ]
