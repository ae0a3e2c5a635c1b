"""Which extractors see a user's own images: those first that tell known bad samples from them."""

import logging
from collections.abc import Callable

from bench.blind_spots import NEAR_COPIES, BlindSpot
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
    something, features learnt from the images without their classes. The one with the fewest blind
    spots comes first, and among equals the default order holds. Copies do not count, since signs of
    copying rank nothing. All default ones are kept: a classifier also counts classes.

    Args:
        dataset: what they will see.
        check: finds the blind spots of an extractor.
    """
    names = default_extractors(dataset)
    if not dataset.own:
        return names
    counts = {names[0]: _count(check(names[0]))}
    if not counts[names[0]]:
        return names  # it sees everything, or cannot be checked
    for name in dict.fromkeys((*names[1:], PATCHES)):
        counts[name] = _count(check(name))
    first = min(counts, key=lambda name: counts[name])  # the earliest of several
    log.info(
        "%s is seen by %s first: of the known bad samples, extractors do not tell from held-out "
        "images (pairs of metric and kind): %s",
        dataset.name,
        first,
        ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
    return (first, *(name for name in names if name != first))


def _count(spots: tuple[BlindSpot, ...] | None) -> int:
    return sum(spot.kind != NEAR_COPIES for spot in spots or ())
