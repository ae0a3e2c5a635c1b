"""What a run says of its data and of the classifier that scores it."""

import logging

from bench.data.dataset import Dataset
from bench.evaluation.classifier_error import WARN_ABOVE, error_sentence, is_known
from bench.evaluation.reference import Reference

log = logging.getLogger("bench.run")

_SHOWN_CLASSES = 5


def announce(dataset: Dataset, *, trained: bool) -> None:
    """Say what the data is, how training augments it, and what was assumed when it was read."""
    shape = "x".join(map(str, dataset.shape))
    words = f"{len(dataset.train):,} training and {len(dataset.test):,} held-out samples of {shape}"
    if dataset.few is not None:
        words = f"{len(dataset.few):,} of " + words
    if dataset.classes:
        more = ", …" if dataset.num_classes > _SHOWN_CLASSES else ""
        shown = ", ".join(dataset.classes[:_SHOWN_CLASSES])
        words += f", {dataset.num_classes} classes ({shown}{more})"
    if trained:
        words += "; augmentation: " + ("horizontal flips" if dataset.flip else "none")
    log.info("  %s: %s", dataset.name, words)
    for note in dataset.notes:
        log.info("  %s: %s", dataset.name, note)


def warn_of_classifier(reference: Reference) -> None:
    """Say how often the data set's own classifier errs, on whose features a FID rests."""
    for extractor in reference.extractors:
        error = reference.classifier_error(extractor)
        if is_known(error):
            level = logging.WARNING if error > WARN_ABOVE else logging.INFO
            sentence = error_sentence(extractor.name, error)
            log.log(level, "  %s: %s", reference.dataset.name, sentence)
