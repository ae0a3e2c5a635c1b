"""The extractors by name, and those that suit a data set."""

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
    """Build the extractor of this name for a dataset.

    Args:
        name: for points "identity"; for images "domain", the dataset's own classifier: shipped, or
            trained once and cached; "efficientnet-lite0", in an optional package; "patches", learnt
            from the images without classes; or one of torch-fidelity's, such as "inception".
        dataset: what it will see.
        device: where it will run.
        cache_dir: where a classifier trained here is kept.
        weights: local path of the weights; None for the shipped or published ones.

    Raises:
        ValueError: no such extractor, or it does not fit the dataset or the weights.
        FileNotFoundError: the weights cannot be had; the message says how to get them.
    """
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
    return builders[name](name, dataset, device, cache_dir, weights).to(device)


def default_extractors(dataset: Dataset) -> tuple[str, ...]:
    """Names of the extractors that suit a dataset; the first one's FID ranks the models.

    Points are their own features. Labelled images have their own classifier; colour pictures are
    seen by ImageNet features too, where the optional packages are installed. Stacked digits are no
    pictures. Unlabelled images without those packages are seen by features learnt from them.
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
