"""What a run says of its data and of the classifier that scores it."""

import logging

from bench.data.dataset import Dataset
from bench.evaluation.classifier_error import WARN_ABOVE, error_sentence, is_known
from bench.evaluation.few_samples import few_sentence
from bench.evaluation.reference import Reference

log = logging.getLogger("bench.run")

_SHOWN_CLASSES = 5

_said: set[str] | None = None
"""What runs of a sweep have said in this process; None outside a sweep."""


def say_once() -> None:
    """From now on, runs in this process do not repeat each other's lines, as in a sweep."""
    global _said
    _said = set() if _said is None else _said


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
    for line in (words, *dataset.notes):
        _say(logging.INFO, dataset.name, line)


def warn_of_few_samples(dataset: Dataset, samples: int) -> None:
    """Warn if so few samples are to be scored that their FID will mean little."""
    if sentence := few_sentence(samples, len(dataset.test)):
        _say(logging.WARNING, dataset.name, sentence)


def warn_of_classifier(reference: Reference) -> None:
    """Say how often the data set's own classifier errs, on whose features a FID rests."""
    names = [extractor.name for extractor in reference.extractors]
    for extractor in reference.extractors:
        error = reference.classifier_error(extractor)
        if is_known(error):
            level = logging.WARNING if error > WARN_ABOVE else logging.INFO
            sentence = error_sentence(extractor.name, error, names)
            _say(level, reference.dataset.name, sentence)


def _say(level: int, name: str, words: str) -> None:
    line = f"  {name}: {words}"
    if _said is not None:
        if line in _said:
            return
        _said.add(line)
    log.log(level, "%s", line)
