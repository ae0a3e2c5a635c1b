"""Blind spots: bad samples that a metric scores like real data; detection and text form."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

UNIFORM, GAUSSIAN = "uniform noise", "Gaussian noise"
BLURRED, MEAN, REPEATED = "blurred images", "the mean image", "one image repeated"
NEAR_COPIES = "near-copies"
KINDS = (UNIFORM, GAUSSIAN, BLURRED, MEAN, REPEATED, NEAR_COPIES)
"""Known bad samples, derived from the data set by `bench.evaluation.extractors.known_bad`."""

_UNREAL = (UNIFORM, GAUSSIAN, BLURRED, MEAN)
_WITHOUT_VARIETY = (UNIFORM, GAUSSIAN, MEAN, REPEATED)

ASKED: Mapping[str, tuple[str, ...]] = {
    "fid": (*_UNREAL, REPEATED),
    "kid": (*_UNREAL, REPEATED),
    "is": (*_UNREAL, REPEATED),
    "precision": _UNREAL,
    "recall": _WITHOUT_VARIETY,
    "density": _UNREAL,
    "coverage": (*_UNREAL, REPEATED),
    "authpct": (NEAR_COPIES,),
    "nn_ratio": (NEAR_COPIES,),
}
"""Kinds that each metric must separate from real data. Others are excluded: one repeated real image
correctly has high precision, copies of training images correctly have a low FID, and blurred
images may lie near real ones, so recall need not detect them."""

RESTS_ON = dict.fromkeys(("fid_infinity", "fid_by_class", "fid_worst_class"), "fid")
"""Columns without a check of their own, by the metric whose blind spots they share."""

MOST_KEPT = 0.5
"""Largest share of the score of held-out data that bad samples may have."""

LEAST_FURTHER = 0.1
"""Minimum excess distance of bad samples over held-out data, as a share of that of samples without
any variety."""

SEES_ALL = "none"
"""Text for an extractor that was checked and has no blind spot."""

_WORSE_ABOVE = frozenset({"fid", "kid"})
_LEAST = {"is": 1.0}
_SHARES = frozenset({"precision", "recall", "coverage"})
_SPOT = re.compile(r"(\w+) of ([\w -]+) (\S+), of real data (\S+)")


@dataclass(frozen=True)
class BlindSpot:
    """Bad samples that a metric does not separate from real data.

    Attributes:
        metric: such as "precision".
        kind: one of `KINDS`.
        score: score of the bad samples.
        real: score of as many held-out images.
    """

    metric: str
    kind: str
    score: float
    real: float


def blind_spots(
    scores: Mapping[str, Mapping[str, float]], real: Mapping[str, float], n: int
) -> tuple[BlindSpot, ...]:
    """Find the bad samples that the metrics of one extractor do not separate from real data.

    Scores of which higher is better, and signs of copying, must fall to half of the score of
    held-out data, and shares by more than two standard errors. A distance must exceed that of
    held-out data by a tenth of the distance to the nearer of the mean image and one repeated image,
    which have no variety. Both thresholds are far above sampling noise at a few hundred images.
    Metrics that are undefined for an extractor (NaN) are skipped.

    Args:
        scores: scores of bad samples, by kind and metric.
        real: scores of held-out images, by metric.
        n: number of samples of each set.
    """
    return tuple(
        BlindSpot(metric, kind, scores[kind][metric], real[metric])
        for metric, kinds in ASKED.items()
        for kind in kinds
        if not any(map(math.isnan, (scores[kind][metric], real[metric])))
        and not _told_apart(
            metric,
            scores[kind][metric],
            real[metric],
            min(scores[MEAN][metric], scores[REPEATED][metric]),
            n,
        )
    )


def _told_apart(metric: str, bad: float, real: float, constant: float, n: int) -> bool:
    if metric in _WORSE_ABOVE:
        return bad - real > max(0.0, LEAST_FURTHER * (constant - real))
    least = _LEAST.get(metric, 0.0)
    variance = bad * (1 - bad) + real * (1 - real) if metric in _SHARES else 0.0
    beyond_noise = real - bad > 2 * math.sqrt(max(variance, 0.0) / n)
    return beyond_noise and bad - least <= MOST_KEPT * (real - least)


def to_text(spots: Sequence[BlindSpot]) -> str:
    """Write blind spots as the text of one column of eval.csv."""
    return "; ".join(
        f"{s.metric} of {s.kind} {s.score:.3g}, of real data {s.real:.3g}" for s in spots
    ) or (SEES_ALL)


def from_text(text: str) -> tuple[BlindSpot, ...] | None:
    """Parse the output of `to_text`; None for an empty text, an extractor that was not checked.

    Raises:
        ValueError: the text is something else.
    """
    if not text:
        return None
    found = []
    for part in () if text == SEES_ALL else text.split("; "):
        match = _SPOT.fullmatch(part)
        if match is None or match[1] not in ASKED or match[2] not in KINDS:
            raise ValueError(f"{part!r} names no blind spot of a metric")
        found.append(BlindSpot(match[1], match[2], float(match[3]), float(match[4])))
    return tuple(found)
