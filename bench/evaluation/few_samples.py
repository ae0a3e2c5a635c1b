"""What is said where so few samples are scored that their FID means little."""

ENOUGH = 500
"""Number of scored samples below which FID is warned of. Held-out images of Fashion-MNIST
have FID (domain) 4.4 ± 2.0 with 30 of them, 0.18 ± 0.06 with 500, 0.007 with 10,000
(docs/protocol.md)."""

FEW = "FID of {samples} samples is far too high and noisy: {remedy}."
MORE = "set evaluator.samples={held_out}"
HOLD_OUT = (
    "hold out more data (of images, in a folder test/), or set evaluator.samples=1000 and leave "
    "out model=real, which has no more than are held out"
)


def few_sentence(samples: int, held_out: int | None = None) -> str:
    """A warning with what to do; empty if enough samples are scored.

    Args:
        samples: number of samples that are scored of every sampler.
        held_out: number of held-out samples; None if unknown.
    """
    if samples >= ENOUGH:
        return ""
    more = held_out is not None and held_out >= ENOUGH
    remedy = MORE.format(held_out=held_out) if more else HOLD_OUT
    return FEW.format(samples=samples, remedy=remedy)
