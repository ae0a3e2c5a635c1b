"""Extractors by name, and the default choice for a data set."""

import logging
from collections.abc import Callable
from pathlib import Path

import torch

from bench.data.dataset import Dataset
from bench.evaluation.blind_spots import NEAR_COPIES, BlindSpot
from bench.evaluation.extractors import domain, fidelity, imagenet, patches
from bench.evaluation.extractors.base import Extractor, IdentityExtractor
from bench.evaluation.extractors.patches import NAME as PATCHES

Builder = Callable[[str, Dataset, torch.device | str, Path, Path | None], Extractor]


def build_extractor(
    name: str,
    dataset: Dataset,
    *,
    device: torch.device | str,
    cache_dir: Path,
    weights: Path | None = None,
) -> Extractor:
    """Build an extractor by name for a dataset.

    Args:
        name: for points "identity"; for images "domain", the dataset's own classifier: shipped, or
            trained once and cached; "efficientnet-lite0", from an optional package; "patches",
            learned from images without labels; or one of torch-fidelity's, such as "inception".
        dataset: the data to score.
        device: the device of the extractor.
        cache_dir: folder of classifiers trained here.
        weights: local path of the weights; None for the shipped or published ones.

    Raises:
        ValueError: there is no such extractor, or it does not fit the dataset or the weights.
        FileNotFoundError: the weights are not available; the message says how to get them.
    """
    builders = _builders(name, dataset, weights)
    return builders[name](name, dataset, device, cache_dir, weights).to(device)


def stand_in(
    name: str,
    dataset: Dataset,
    *,
    device: torch.device | str,
    cache_dir: Path,
    weights: Path | None = None,
) -> tuple[Extractor, float]:
    """An extractor that takes as long, and the seconds of making the real one; none is trained.

    Args and errors are those of `build_extractor`.
    """
    _builders(name, dataset, weights)
    if name in STAND_INS and (found := STAND_INS[name](dataset, device, cache_dir, weights)):
        return found[0].to(device), found[1]
    given = {"device": device, "cache_dir": cache_dir, "weights": weights}
    return build_extractor(name, dataset, **given), 0.0


def _builders(name: str, dataset: Dataset, weights: Path | None) -> "dict[str, Builder]":
    """The builders for this kind of data, once the name and the weights are known to be right."""
    known = POINT_BUILDERS | IMAGE_BUILDERS
    if name not in known:
        raise ValueError(f"evaluator.extractor is {name!r}; must be one of {sorted(known)}")
    builders = POINT_BUILDERS if _is_points(dataset) else IMAGE_BUILDERS
    if name not in builders:
        sees, has = ("images", "points") if _is_points(dataset) else ("points", "images")
        raise ValueError(
            f"evaluator.extractor={name} sees {sees}, but {dataset.name} has {has}: "
            f"set evaluator.extractor={next(iter(builders))}"
        )
    if weights is not None and not weights.is_file():
        raise FileNotFoundError(
            f"evaluator.weights.{name}={weights}: there is no such file, give its path or null"
        )
    return builders


def default_extractors(dataset: Dataset) -> tuple[str, ...]:
    """Default extractors of a dataset; the FID of the first one ranks the models.

    Points are their own features. Labelled images use their own classifier; colour images also use
    ImageNet features if the optional packages are installed, except stacked digits. Unlabelled
    images use ImageNet features or, without these packages, patches.
    """
    if _is_points(dataset):
        return ("identity",)
    labelled = dataset.num_classes >= 2
    if dataset.stacked_from or (labelled and dataset.shape[0] != 3):
        return ("domain",)
    pictures = (imagenet.NAME,) if imagenet.installed() else ()
    return ("domain", *pictures) if labelled else pictures or (patches.NAME,)


def _is_points(dataset: Dataset) -> bool:
    return len(dataset.shape) == 1


def _build_identity(
    name: str, dataset: Dataset, device: torch.device | str, cache_dir: Path, weights: Path | None
) -> Extractor:
    del dataset, device, cache_dir
    if weights is not None:
        raise ValueError(f"evaluator.weights.{name}={weights}: {name} has no weights; leave it out")
    return IdentityExtractor()


POINT_BUILDERS: dict[str, Builder] = {"identity": _build_identity}

IMAGE_BUILDERS: dict[str, Builder] = {
    "domain": domain.build_domain,
    imagenet.NAME: imagenet.build_efficientnet,
    patches.NAME: patches.build_patches,
    **dict.fromkeys(fidelity.NAMES, fidelity.build_fidelity),
}

STAND_INS = {"domain": domain.stand_in}
"""What stands for extractors that may have to be trained."""

log = logging.getLogger(__name__)

Check = Callable[[str], tuple[BlindSpot, ...] | None]
"""Maps the name of an extractor to its blind spots; None if there are too few images."""


def suited_extractors(dataset: Dataset, check: Check) -> tuple[str, ...]:
    """Extractors chosen for a data set; the FID of the first one ranks the models.

    Standard data sets use the default, so that all results on one data set are comparable. For a
    user's own images the default extractors are checked and, if the first has a blind spot, also
    `patches`. The one with the fewest blind spots comes first, ties in default order. Blind spots
    for copies are ignored, because copying metrics rank nothing. All default extractors are kept,
    because a classifier also counts classes.

    Args:
        dataset: the data to score.
        check: finds the blind spots of an extractor.
    """
    names = default_extractors(dataset)
    if not dataset.own:
        return names
    counts = {names[0]: _count(check(names[0]))}
    if not counts[names[0]]:
        return names  # no blind spot, or cannot be checked
    for name in dict.fromkeys((*names[1:], PATCHES)):
        counts[name] = _count(check(name))
    first = min(counts, key=lambda name: counts[name])  # the first of several
    log.info(
        "%s: models are ranked by %s; numbers of blind spots (pairs of metric and known bad "
        "samples): %s",
        dataset.name,
        first,
        ", ".join(f"{name} {count}" for name, count in counts.items()),
    )
    return (first, *(name for name in names if name != first))


def _count(spots: tuple[BlindSpot, ...] | None) -> int:
    return sum(spot.kind != NEAR_COPIES for spot in spots or ())
