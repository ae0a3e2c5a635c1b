"""Which extractors see a user's own images: those first that tell known bad samples from them."""

import logging
from collections.abc import Callable

from bench.blind_spots import BlindSpot
from bench.data.dataset import Dataset
from bench.extractors.patches import NAME as PATCHES
from bench.extractors.table import default_extractors

log = logging.getLogger(__name__)

Check = Callable[[str], tuple[BlindSpot, ...] | None]
"""The blind spots of the extractor of this name; None where there are too few images to tell."""


def suited_extractors(dataset: Dataset, check: Check) -> tuple[str, ...]:
    """Names of the extractors that suit a data set; the first one's FID ranks the models.

    Standard data sets have their default ones, so that all numbers of one data set can be compared.
    For a user's own images the default ones are checked, and, where the first of them is blind to
    something, features learnt from the images without their classes. The least blind comes first;
    among equals the default order holds. All default ones are kept, since a classifier also counts
    classes.

    Args:
        dataset: what they will see.
        check: finds the blind spots of an extractor.
    """
    names = default_extractors(dataset)
    if not dataset.own:
        return names
    found = {names[0]: check(names[0])}
    if not found[names[0]]:
        return names  # it sees everything, or cannot be checked
    for name in dict.fromkeys((*names[1:], PATCHES)):
        found[name] = check(name)
    counts = {name: len(spots or ()) for name, spots in found.items()}
    first = min(counts, key=lambda name: counts[name])  # the earliest of several
    log.info(
        "%s is seen by %s first, by the number of known bad samples and metrics that extractors do "
        "not tell from held-out images: %s",
        dataset.name,
        first,
        ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
    return (first, *(name for name in names if name != first))
