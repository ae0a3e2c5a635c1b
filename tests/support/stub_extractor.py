"""A cheap extractor with Inception's shapes, for tests of later stages."""

import torch
from torch import Generator, Tensor, nn

from bench.evaluation.extractors.base import Extractor


class _Projection(nn.Module):
    """Fixed random directions in the space of pixels."""

    def __init__(self, pixels: int) -> None:
        super().__init__()
        generator = Generator().manual_seed(0)
        for name, outputs in (("features", 2048), ("logits", 1008)):
            weight = torch.randn(pixels, outputs, generator=generator) / pixels**0.5
            self.register_buffer(name, weight)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        x = images.flatten(1).float() / 127.5 - 1  # (B, 3 H W)
        return x @ self.get_buffer("features"), x @ self.get_buffer("logits")


class StubExtractor(Extractor):
    """Maps (B, 3, H, W) uint8 to features (B, 2048) and logits (B, 1008), linearly."""

    def __init__(self, height: int, width: int, name: str = "inception") -> None:
        super().__init__(name, _Projection(3 * height * width), "stub")

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        return self.network(images)
