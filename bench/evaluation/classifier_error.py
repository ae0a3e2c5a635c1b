"""The held-out error of the data set's own classifier, in words: FID (domain) rests on it."""

from collections.abc import Iterable
from typing import TypeGuard

from bench.columns import SHARE

WARN_ABOVE = 0.1
"""Error on held-out images, a share, above which the classifier's features are warned of."""

WARNING = "⚠"


def error_note(error: float | None) -> str:
    """A few words to stand beside a FID; empty if the error is not known.

    Args:
        error: share of held-out images that the classifier misclassifies.
    """
    if not is_known(error):
        return ""
    return f"classifier error {_percent(error)} %{f' {WARNING}' if error > WARN_ABOVE else ''}"


def error_sentence(extractor: str, error: float | None, extractors: Iterable[str]) -> str:
    """What the error is, and what to do if it is a high one; empty if it is not known.

    Args:
        extractor: whose features come from the classifier.
        error: share of held-out images that the classifier misclassifies.
        extractors: all that samples are scored by.
    """
    if not is_known(error):
        return ""
    said = (
        f"FID ({extractor}) rests on a classifier of the data's own classes, which misclassifies "
        f"{_percent(error)} % of held-out images"
    )
    if error <= WARN_ABOVE:
        return f"{said}."
    others = " and ".join(f"FID ({name})" for name in extractors if name != extractor)
    remedy = f"compare by others as well (evaluator.extractor=[{extractor},patches])"
    return (
        f"{WARNING} {said}, more than {_percent(WARN_ABOVE)} %: it has learned poor features, so "
        f"{f'compare by {others} as well' if others else remedy}."
    )


def is_known(error: float | None) -> TypeGuard[float]:
    """Whether it is a number between 0 and 1, neither missing nor NaN."""
    return error is not None and SHARE.low <= error <= SHARE.high


def _percent(share: float) -> str:
    return f"{100 * share:.3g}"
