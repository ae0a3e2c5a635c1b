"""Published statistics of features, to which FID is measured instead of the training split."""

import hashlib
import zipfile
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from bench.data.cache import BROKEN_NPZ, what_is_broken
from bench.errors import nearest_of
from bench.evaluation.extractors.registry import IMAGE_BUILDERS, POINT_BUILDERS
from bench.evaluation.metrics.fid import Array
from bench.schema import PUBLISHED

SETTING = "evaluator.reference"

Given = str | Mapping[str, str | None] | None
"""Value of the setting: a path, for the extractor that it fits, or paths by extractor."""

MOST_FEATURES = 16_384
"""Most features that a file is read for: a covariance of 2 GiB."""

ROUNDING = 1e-5
"""Asymmetry, and negative eigenvalues, that float32 leaves; relative to the largest element."""


@dataclass(frozen=True, eq=False)
class Published:
    """A Gaussian fitted to features by somebody else.

    Attributes:
        mu: mean, (D,) float64.
        sigma: covariance, (D, D) float64, symmetric.
        sha256: of the file, 64 hex digits.
    """

    mu: Array
    sigma: Array
    sha256: str


def read_published(path: str, where: str) -> Published:
    """Read statistics as pytorch-fid, EDM and ADM write them: an .npz file with mu and sigma.

    Other arrays in the file, such as ADM's samples and its mu_s and sigma_s, are not read.

    Args:
        path: the file.
        where: the setting with its value, for messages.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: it holds something else.
    """
    if not Path(path).is_file():
        raise FileNotFoundError(
            f"{where}: there is no such file, give an .npz file with mu and sigma, or null"
        )
    arrays = _arrays(path, where)
    mu, sigma = arrays["mu"], arrays["sigma"]
    _check_values(mu, sigma, where)
    mu, sigma = mu.astype(np.float64), sigma.astype(np.float64)
    _check_covariance(sigma, where)
    return Published(mu, (sigma + sigma.T) / 2, _sha256(path))


def _arrays(path: str, where: str) -> dict[str, np.ndarray]:
    """The arrays mu and sigma of a file; nothing is unpickled."""
    try:
        with zipfile.ZipFile(path) as archive:
            sizes = {info.filename: info.file_size for info in archive.infolist()}
        if lacking := [name for name in ("mu", "sigma") if f"{name}.npy" not in sizes]:
            held = ", ".join(sorted(name.removesuffix(".npy") for name in sizes)) or "nothing"
            raise _OtherContentError(
                f"{where} holds {held}, but no {' and no '.join(lacking)}: give statistics of "
                "features, as pytorch-fid --save-stats and EDM's fid.py ref write them"
            )
        if max(sizes[f"{name}.npy"] for name in ("mu", "sigma")) > 8 * (MOST_FEATURES + 1) ** 2:
            raise _OtherContentError(
                f"{where} is of more than {MOST_FEATURES} features, which no extractor has: give "
                "statistics of another extractor"
            )
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in ("mu", "sigma")}
    except _OtherContentError:
        raise
    except BROKEN_NPZ as error:
        reason = what_is_broken(error, pickled="it holds pickled objects, which are not loaded")
        raise ValueError(
            f"{where} is no whole .npz file of plain arrays ({reason}): write its mu and sigma "
            "again with numpy.savez"
        ) from error


class _OtherContentError(ValueError):
    """A whole .npz file without statistics."""


def _check_values(mu: np.ndarray, sigma: np.ndarray, where: str) -> None:
    if mu.ndim != 1 or not len(mu) or sigma.shape != (len(mu), len(mu)):
        raise ValueError(
            f"{where} holds mu of shape {mu.shape} and sigma of shape {sigma.shape}: give a mean "
            "(D,) and a covariance (D, D)"
        )
    for name, array in (("mu", mu), ("sigma", sigma)):
        if not np.issubdtype(array.dtype, np.floating):
            raise ValueError(f"{where} holds {name} of {array.dtype} values: give float64")
        if not np.isfinite(array).all():
            raise ValueError(
                f"{where} holds a {name} with values that are not finite: compute it again"
            )


def _check_covariance(sigma: Array, where: str) -> None:
    """Refuse a matrix that no features have as their covariance, but for rounding to float32."""
    least = ROUNDING * float(np.abs(sigma).max())
    if float(np.abs(sigma - sigma.T).max()) > least:
        raise ValueError(
            f"{where} holds a sigma that is not symmetric, so it is no covariance: compute it again"
        )
    raised = torch.from_numpy((sigma + sigma.T) / 2)
    raised.diagonal().add_(2 * least + np.finfo(np.float64).tiny)
    _, failed = torch.linalg.cholesky_ex(raised)
    if failed:
        raise ValueError(
            f"{where} holds a sigma with negative eigenvalues, so it is no covariance: compute it "
            "again"
        )


def _sha256(path: str | Path) -> str:
    with Path(path).open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def check_published(given: Given) -> None:
    """Refuse files that hold no statistics, and extractors that do not exist, before any work.

    Raises:
        ValueError: naming the setting and the remedy.
        FileNotFoundError: there is no such file.
    """
    known = sorted(POINT_BUILDERS | IMAGE_BUILDERS)
    for name, _ in _paths(given):
        if name and name not in known:
            remedy = nearest_of(name, known)
            raise ValueError(f"{SETTING} names no extractor by {name!r}: {remedy}")
    for name, path in _paths(given):
        read_published(path, _where(name, path))


def choose_published(
    given: Given, sizes: Mapping[str, int], certain: Collection[str]
) -> dict[str, Published]:
    """The statistics by the extractor whose FID is measured to them.

    Args:
        given: the setting.
        sizes: number of features of each extractor that evaluates, or may.
        certain: those of them that evaluate in any case.

    Raises:
        ValueError: a file fits no extractor, or several where none is named.
    """
    chosen = {}
    for name, path in _paths(given):
        where = _where(name, path)
        found = read_published(path, where)
        features = len(found.mu)
        fitting = [each for each, size in sizes.items() if size == features]
        have = ", ".join(f"{each} has {size}" for each, size in sizes.items())
        if name and name not in certain:
            raise ValueError(
                f"{where} is for an extractor that evaluator.extractor lacks: name it there, or "
                f"leave its statistics out"
            )
        if not fitting or (name and name not in fitting) or not {*fitting} & {*certain}:
            raise ValueError(
                f"{where} is of {features} features, but {have}: name the extractor that it was "
                "made with as evaluator.extractor, or leave it out"
            )
        if not name and len(fitting) > 1:
            raise ValueError(
                f"{where} is of {features} features, as {' and '.join(fitting)} have: name the one "
                f"that it was made with, as in '{SETTING}={{{fitting[0]}:{path}}}'"
            )
        chosen[name or fitting[0]] = found
    return chosen


def file_hashes(given: Given) -> list[str]:
    """The SHA-256 of each file, for the record of a run."""
    return [_sha256(path) for _, path in _paths(given)]


def to_text(published: Mapping[str, Published]) -> str:
    """What the column `reference` says of published statistics; empty if there are none."""
    names = (f"; {PUBLISHED.format(extractor=name)}{p.sha256}" for name, p in published.items())
    return "".join(names)


def _paths(given: Given) -> Iterator[tuple[str, str]]:
    """Names of extractors, empty for the one that fits, and paths."""
    if isinstance(given, str):
        yield "", given
    elif given is not None:
        yield from ((name, path) for name, path in given.items() if path)


def _where(name: str, path: str) -> str:
    return f"{SETTING}.{name}={path}" if name else f"{SETTING}={path}"
