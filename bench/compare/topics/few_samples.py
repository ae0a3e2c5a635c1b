"""Whether so few samples were scored that their FID means little."""

from bench.compare.comparison import Comparison
from bench.evaluation.few_samples import few_sentence


def few_samples(comparison: Comparison) -> list[str]:
    """A sentence on too few scored samples, with what to do; none if they are enough or unknown."""
    entries = [entry for entry in comparison.entries if entry.finished and entry.trained]
    if not comparison.extractors or not entries:
        return []
    samples, held_out = (
        _number([entry.protocol.get(field, "") for entry in entries])
        for field in ("samples", "held_out_samples")
    )
    sentence = "" if samples is None else few_sentence(samples, held_out)
    return [sentence] if sentence else []


def _number(texts: list[str]) -> int | None:
    """The first of these texts that is a number; all that are one are equal."""
    return next((int(text) for text in texts if text.isdecimal()), None)
