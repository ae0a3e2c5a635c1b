"""Signs that a model collapses or copies; they stop no training and choose no checkpoint."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # bench.compare reads warnings without torch
    from bench.evaluation.metrics.copying import Copying


PREFIX = "warning/"
"""How the keys of warnings begin in train.csv and W&B."""

FEWEST_MODES = 0.5
"""Share of the classes that real samples of the same number would hit."""

MOST_DUPLICATES = 0.25
"""Share of near-duplicates; among real samples it is about 0.01."""

LEAST_RECALL = 0.02
"""Recall below which a model whose samples look real is taken to repeat a few of them."""

LOOKS_REAL = 0.2
"""Precision in the eyes of the extractor that ranks models, or for points share of high quality,
from which samples look real enough for what they lack to mean collapse. An extractor whose
precision does not tell noise from real data cannot say so, and is not asked."""

LARGEST_RISE = 1.5
"""FID in units of the best one so far."""


SEPARATOR = "; "
"""Between the words of several signs."""

COPIES = "copies"
"""How the words of copying begin, and those of no sign of collapse."""


@dataclass(frozen=True)
class Sign:
    """One sign of collapse or of copying.

    Attributes:
        name: key of train.csv and W&B, such as "warning/modes".
        value: the value that gave it away.
        words: the same for readers.
    """

    name: str
    value: float
    words: str


def collapse_signs(
    values: Mapping[str, float | int | None],
    extractor: str,
    *,
    expected_modes: float | None,
    earlier_fids: Sequence[float],
    blind: Collection[str] = (),
) -> list[Sign]:
    """Look for signs of collapse in the scores of one sampler at one evaluation point.

    Args:
        values: scores by column of eval.csv; what was not measured is left out or None.
        extractor: the extractor whose scores are looked at.
        expected_modes: how many classes as many real samples would hit; None without classes.
        earlier_fids: of the same sampler at earlier evaluation points of the run.
        blind: metrics of the extractor that do not tell known bad samples from real data.

    Returns:
        The signs found, the most telling first.
    """
    modes, high_quality = values.get("modes"), values.get("high_quality")
    blurred = high_quality is not None and high_quality < LOOKS_REAL  # no mode is hit, none is lost
    duplicates, precision, recall, fid = (
        values.get(f"{metric}_{extractor}")
        for metric in ("duplicates", "precision", "recall", "fid")
    )
    signs = []
    expected = 0 if blurred else expected_modes or 0
    if modes is not None and modes < FEWEST_MODES * expected:
        words = f"only {modes:.0f} of {expected:.0f} modes"
        signs.append(Sign(f"{PREFIX}modes", modes, words))
    if duplicates is not None and duplicates > MOST_DUPLICATES:
        words = f"{duplicates:.0%} near-duplicates"
        signs.append(Sign(f"{PREFIX}duplicates", duplicates, words))
    asked = "precision" not in blind
    looks_real = asked and precision is not None and precision > LOOKS_REAL
    if looks_real and recall is not None and recall < LEAST_RECALL:
        words = f"recall {recall:.3f} at precision {precision:.2f} ({extractor})"
        signs.append(Sign(f"{PREFIX}recall", recall, words))
    best = min(earlier_fids, default=None)
    if fid is not None and best is not None and fid > LARGEST_RISE * best > 0:
        words = f"FID {fid:.3g}, {fid / best:.1f} times its best ({best:.3g})"
        signs.append(Sign(f"{PREFIX}fid", fid / best, words))
    return signs


def copying_signs(found: "Copying | None") -> list[Sign]:
    """The sign that samples are copies of training images, if they are beyond chance.

    Args:
        found: what the test of copying says; None where it was not made.
    """
    if found is None or not found.found:
        return []
    words = (
        f"{COPIES}: {found.share:.0%} of the samples all but coincide with one training image, "
        f"{found.held_out:.1%} of held-out images do"
    )
    return [Sign(f"{PREFIX}copies", found.share, words)]


def shows_collapse(warning: str) -> bool:
    """Whether words of a row's column "warning" name a sign of collapse, and not copying alone."""
    return any(words and not words.startswith(COPIES) for words in warning.split(SEPARATOR))


def shows_copying(warning: str) -> bool:
    """Whether words of a row's column "warning" name copying."""
    return any(words.startswith(COPIES) for words in warning.split(SEPARATOR))
