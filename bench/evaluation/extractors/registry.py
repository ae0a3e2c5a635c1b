"""Extractors by name, and the default choice for a data set."""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import torch

from bench.data.dataset import Dataset, Kind, kind_of
from bench.errors import nearest_of
from bench.evaluation.blind_spots import NEAR_COPIES, BlindSpot
from bench.evaluation.extractors import domain, fidelity, imagenet, patches
from bench.evaluation.extractors.base import Extractor, IdentityExtractor
from bench.evaluation.extractors.classifier import FEATURES
from bench.evaluation.extractors.patches import NAME as PATCHES

Builder = Callable[[str, Dataset, torch.device | str, Path, Path | None], Extractor]
"""(name, dataset, device, cache_dir, weights) → extractor; see `build_extractor`."""


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
        name: for points "identity"; for images and signals "domain", the dataset's own classifier:
            shipped, or trained once and cached, or "patches", learned without labels; for images
            also "efficientnet-lite0", from an optional package, or one of torch-fidelity's, such as
            "inception".
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


def is_learned(name: str, dataset: Dataset, weights: Path | None) -> bool:
    """Whether `build_extractor` would first learn from the data, which takes time.

    Raises:
        ValueError: it would refuse this extractor, which can be told without learning it.
        FileNotFoundError: there are no such weights.
    """
    _builders(name, dataset, weights)
    return name in LEARNED and LEARNED[name](dataset, weights)


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


def _builders(name: str, dataset: Dataset, weights: Path | None) -> Mapping[str, Builder]:
    """The builders for this kind of data; the name and the weights exist."""
    check_extractors(name, {name: weights})
    has = kind_of(dataset.shape)
    builders = BUILDERS[has]
    if name not in builders:
        sees = " and ".join(kind for kind, known in BUILDERS.items() if name in known)
        raise ValueError(
            f"evaluator.extractor={name} sees {sees}, but {dataset.name} has {has}: "
            f"set evaluator.extractor={default_extractors(dataset)[0]}"
        )
    return builders


def check_extractors(
    chosen: str | Sequence[str] | None, weights: Mapping[str, str | Path | None]
) -> None:
    """Refuse extractors as far as they can be judged before the data is read.

    Args:
        chosen: one name or several; None where the data decides.
        weights: local path of the weights by extractor; None for the shipped or published ones.

    Raises:
        ValueError: a name is unknown or repeated, there is none, no data suits all, or weights are
            given for others.
        FileNotFoundError: there is no such file of weights, or an optional package is missing.
    """
    known = sorted(POINT_BUILDERS | IMAGE_BUILDERS)
    given = {name: path for name, path in weights.items() if path}
    names = [chosen] if isinstance(chosen, str) else chosen
    for setting, words in (("extractor", names or ()), ("weights", weights)):
        for name in words:
            if name not in known:
                remedy = nearest_of(str(name), known)
                raise ValueError(f"evaluator.{setting} names no extractor by {name!r}: {remedy}")
    if imagenet.NAME in (names or ()):
        imagenet.check_installed()
    if names is not None:
        if not names or len(set(names)) < len(names):
            raise ValueError(f"evaluator.extractor must name extractors once each, got {names}")
        points = [name for name in names if name in POINT_BUILDERS]
        if 0 < len(points) < len(names):
            raise ValueError(
                f"evaluator.extractor={names} is for points and for images, and no data set has "
                f"both: leave out {', '.join(points)}, or all others"
            )
        check_used(given, names)
    for name, path in given.items():
        if not Path(path).is_file():
            raise FileNotFoundError(
                f"evaluator.weights.{name}={path}: there is no such file, give its path or null"
            )


def check_used(weights: Iterable[str], names: Collection[str]) -> None:
    """Refuse weights of extractors that are not used."""
    if unused := sorted(set(weights) - set(names)):
        raise ValueError(
            f"evaluator.weights are given for {unused}, which evaluator.extractor lacks: name "
            "the extractor there, or leave its weights out"
        )


def check_classes(
    chosen: str | Sequence[str] | None, weights: Mapping[str, str | None], data: str, classes: int
) -> None:
    """Refuse extractors that need classes as soon as it is known that the data has none.

    Args:
        chosen: one name or several; None where the data decides.
        weights: local path of the weights by extractor, whose data is checked when they are read.
        data: name of the data set.
        classes: number of its classes.

    Raises:
        ValueError: an extractor needs classes.
    """
    names = [chosen] if isinstance(chosen, str) else chosen or ()
    if "domain" in names and not weights.get("domain"):
        domain.check_labelled(data, classes)


def default_extractors(dataset: Dataset) -> tuple[str, ...]:
    """Default extractors of a dataset; the FID of the first one ranks the models.

    Points are their own features. Labelled images use their own classifier; colour images also use
    ImageNet features if the optional packages are installed, except stacked digits. Unlabelled
    images use ImageNet features or, without these packages, patches. Signals use their own
    classifier or, without labels, patches.
    """
    labelled = dataset.num_classes >= 2
    if kind_of(dataset.shape) == "points":
        return ("identity",)
    if kind_of(dataset.shape) == "signals":
        return ("domain",) if labelled else (patches.NAME,)
    if dataset.stacked_from or (labelled and dataset.shape[0] != 3):
        return ("domain",)
    pictures = (imagenet.NAME,) if imagenet.installed() else ()
    return ("domain", *pictures) if labelled else pictures or (patches.NAME,)


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

SIGNAL_BUILDERS: dict[str, Builder] = {
    "domain": domain.build_domain,
    patches.NAME: patches.build_patches,
}

BUILDERS: Mapping[Kind, Mapping[str, Builder]] = {
    "images": IMAGE_BUILDERS,
    "signals": SIGNAL_BUILDERS,
    "points": POINT_BUILDERS,
}
"""Extractors by the kind of samples that they see."""

LEARNED: Mapping[str, Callable[[Dataset, Path | None], bool]] = {
    "domain": domain.is_learned,
    patches.NAME: patches.is_learned,
}
"""Extractors that may be learned from the data. Functions of the data and of given weights say
whether this one would be; a ValueError refuses what cannot be built."""

LEARNED_FEATURES: Mapping[str, int] = {"domain": FEATURES, patches.NAME: patches.FEATURES}
"""Number of features of extractors that are learned from the data."""

STAND_INS = {"domain": domain.stand_in}
"""What stands for extractors that take long to learn, while their cost is estimated."""


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
