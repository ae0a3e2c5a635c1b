"""Which classes a generator draws: the histogram of predicted classes against the data's."""

from collections.abc import Sequence

import torch
from torch import Tensor


def class_histogram(logits: Tensor, reference: Tensor | Sequence[int | float]) -> dict[str, float]:
    """Compare the predicted classes of samples with the class frequencies of the data.

    Args:
        logits: of the samples under the domain classifier, (N, K).
        reference: how often each class occurs in the data, (K,), each above 0; any scale.

    Returns:
        The keys of `bench.protocol.CLASSES`: modes, the number of classes predicted for at least
        one sample; class_kl, KL(samples ‖ reference) in nats; class_tv, the total variation
        distance, in [0, 1].

    Raises:
        ValueError: no samples, or a reference that is not K positive numbers.
    """
    target = torch.as_tensor(reference, dtype=torch.float64)
    if logits.ndim != 2 or len(logits) == 0:
        raise ValueError(f"logits have shape {tuple(logits.shape)}; must be (N, K) with N ≥ 1")
    if target.shape != logits.shape[1:] or not (target > 0).all():
        raise ValueError(
            f"reference has shape {tuple(target.shape)}; must be {logits.shape[1]} positive numbers"
        )
    counts = torch.bincount(logits.argmax(1), minlength=len(target))  # (K,)
    drawn, target = counts.double() / counts.sum(), target / target.sum()
    return {
        "modes": float((counts > 0).sum()),
        "class_kl": float(torch.xlogy(drawn, drawn / target).sum()),
        "class_tv": float((drawn - target).abs().sum() / 2),
    }
