"""How to evaluate on one data set: the settings, with the number of samples filled in."""

import math
from dataclasses import dataclass

from bench.config import MIN_SAMPLES, EvaluatorSettings
from bench.data.dataset import kind_of
from bench.runtime.memory import check_fits

SCORED_BYTES, RESAMPLED_BYTES = 1024, 16
"""Fewest bytes of memory for scoring one sample, and more for each resample: see `quality`."""

MOST_BY_DEFAULT = 10_000
"""Most samples that are scored where settings do not say how many."""


@dataclass(frozen=True)
class EvaluatorOptions(EvaluatorSettings):
    """The settings for one data set, with the number of samples filled in."""

    samples: int = MIN_SAMPLES


def options_for(
    settings: EvaluatorSettings,
    name: str,
    shape: tuple[int, ...],
    train_size: int,
    held_out_size: int,
) -> EvaluatorOptions:
    """The options for a data set: as many samples as are held out, unless settings say.

    Args:
        settings: how to evaluate.
        name: of the data set, for messages.
        shape: shape of one sample.
        train_size: number of training images.
        held_out_size: number of held-out images.

    Raises:
        ValueError: too few images are held out, or samples or batches do not fit into memory.
    """
    samples = settings.samples
    if samples is None and held_out_size < MIN_SAMPLES:
        raise ValueError(
            f"{name} holds out {held_out_size} images and as many samples would be scored: add "
            f"images, or set evaluator.samples to at least {MIN_SAMPLES}"
        )
    samples = min(held_out_size, MOST_BY_DEFAULT) if samples is None else samples
    values = math.prod(shape)
    check_size(samples, settings.resamples, values if kind_of(shape) == "images" else 4 * values)
    at_once = min(settings.batch_size, max(samples, train_size, held_out_size))
    check_fits("evaluator.batch_size", at_once, 4 * values, "one sample as float32")
    return EvaluatorOptions(**{**vars(settings), "samples": samples})


def check_size(samples: int, resamples: int, sample_bytes: int = 0) -> None:
    """Refuse an evaluation that cannot fit into memory.

    Args:
        samples: number of samples scored.
        resamples: number of bootstrap replicates.
        sample_bytes: size of one stored sample; 0 if not known yet.

    Raises:
        ValueError: it does not fit; the message names both sizes.
    """
    resampled = RESAMPLED_BYTES * samples
    check_fits("evaluator.resamples", resamples, resampled, f"one over {samples} samples")
    each = sample_bytes + SCORED_BYTES + RESAMPLED_BYTES * resamples
    check_fits("evaluator.samples", samples, each, "one with its scores")
