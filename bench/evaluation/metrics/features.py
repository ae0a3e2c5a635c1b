"""Features of a set of samples, the input of all metrics."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True, eq=False)
class Features:
    """Features and logits of a set of samples, from one extractor.

    Attributes:
        features: (N, D) float32 on the CPU.
        logits: (N, K) float32 on the CPU, or None if the extractor has no classes.
    """

    features: Tensor
    logits: Tensor | None = None

    def __len__(self) -> int:
        return len(self.features)
