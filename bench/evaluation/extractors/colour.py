"""Extractors for colour images; grey images are repeated to three channels."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from bench.data.dataset import Dataset
from bench.evaluation.extractors.base import Extractor
from bench.evaluation.extractors.fused import fold_batch_norms, fuse_sequences


class PictureExtractor(Extractor):
    """A published network for colour images; grey ones are repeated to three channels.

    Args:
        name: the suffix of its metrics.
        network: maps images (B, 3, H, W) uint8 to (features,) or (features, logits); it is frozen,
            and optimised in place.
        resize: description of its resizing.
        channels: of the images, 1 or 3.
        fuse: joins the network's convolutions with their activations, in place, once batch norms
            are folded.
    """

    batch_size = 64
    cpu_batch_size = 4

    def __init__(
        self,
        name: str,
        network: nn.Module,
        resize: str,
        channels: int,
        fuse: Callable[[nn.Module], None] = fuse_sequences,
    ) -> None:
        grey = "grey repeated to 3 channels, " if channels == 1 else ""
        super().__init__(name, network, f"{grey}{resize}")
        # Last, since the hash is that of the published weights. Features are equal up to rounding:
        # scripts/benchmarks/extractors.py.
        fuse(fold_batch_norms(network))
        network.to(memory_format=torch.channels_last)  # pyright: ignore[reportCallIssue]

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor | None]:
        """Map (B, 1 or 3, H, W) uint8 to features (B, D) and logits (B, K) or None.

        Raises:
            ValueError: images of another type or number of channels.
        """
        if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] not in (1, 3):
            raise ValueError(
                f"images are {images.dtype} of shape {tuple(images.shape)}; {self.name} takes "
                "torch.uint8 of shape (B, 1 or 3, H, W)"
            )
        colour = images.expand(-1, 3, -1, -1).contiguous(memory_format=torch.channels_last)
        with torch.autocast(images.device.type, enabled=False):
            features, *logits = self.network(colour)  # (B, D), [(B, K)]
        return features, logits[0] if logits else None


def checked_channels(dataset: Dataset, name: str) -> int:
    """Channels of a data set's images, 1 or 3.

    Raises:
        ValueError: images of another number of channels; the message names the extractor.
    """
    channels = dataset.shape[0]
    if channels not in (1, 3):
        raise ValueError(f"{dataset.name} has {channels} channels; {name} takes 1 or 3")
    return channels
