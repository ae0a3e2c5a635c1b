"""Signs of mode collapse and copying; they stop no training and choose no checkpoint."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # bench.compare reads warnings without torch
    from bench.evaluation.metrics.copying import Copying


PREFIX = "warning/"
"""Prefix of the keys of warnings in train.csv and W&B."""

FEWEST_MODES = 0.5
"""Threshold: classes hit, as a share of those that as many real samples would hit."""

MOST_DUPLICATES = 0.25
"""Threshold: share of near-duplicates; about 0.01 for real samples."""

LEAST_RECALL = 0.02
"""Threshold: recall below which a model with realistic samples is considered collapsed."""

LOOKS_REAL = 0.2
"""Threshold: precision with the extractor that ranks models (points: share of high quality) from
which samples are realistic, so that missing variety means collapse. The test is skipped if the
extractor's precision does not tell noise from real data."""

LARGEST_RISE = 1.5
"""Threshold: FID divided by the best one so far."""


SEPARATOR = "; "
"""Separator between the texts of several signs."""

COPIES = "copies"
"""Prefix of the text of copying; no sign of collapse has it."""


@dataclass(frozen=True)
class Sign:
    """One sign of collapse or of copying.

    Attributes:
        name: key of train.csv and W&B, such as "warning/modes".
        value: the value that exceeded the threshold.
        words: the sign as text.
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
    """Detect signs of collapse in the scores of one sampler at one evaluation point.

    Args:
        values: scores by column of eval.csv; missing or None if not measured.
        extractor: the extractor whose scores are used.
        expected_modes: number of classes that as many real samples would hit; None without classes.
        earlier_fids: FIDs of this sampler at earlier evaluation points of the run.
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
    """The sign that samples are copies of training images, if it is significant.

    Args:
        found: result of the test of copying; None if it was not made.
    """
    if found is None or not found.found:
        return []
    words = (
        f"{COPIES}: {found.share:.0%} of the samples all but coincide with one training image, "
        f"{found.held_out:.1%} of held-out images do"
    )
    return [Sign(f"{PREFIX}copies", found.share, words)]


def shows_collapse(warning: str) -> bool:
    """Whether the text of a row's column "warning" names a sign of collapse."""
    return any(words and not words.startswith(COPIES) for words in warning.split(SEPARATOR))


def shows_copying(warning: str) -> bool:
    """Whether the text of a row's column "warning" names copying."""
    return any(words.startswith(COPIES) for words in warning.split(SEPARATOR))
