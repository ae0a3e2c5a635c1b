"""The networks of R3GAN: residual, without any normalisation, for any image size.

Huang et al. 2024, https://arxiv.org/abs/2501.05441, Sec. 4 and App. (32x32 to 256x256): inverted
bottlenecks with grouped 3x3 convolutions, Fixup initialisation, and a learned basis at the coarsest
size. The discriminator mirrors the generator. Sizes are those of
`models.gan.networks.dcgan.halvings`.

Departures: the coarsest size may be other than 4x4, and images are resampled with centred triangle
    filters ([1, 3, 3, 1] at a factor of 2, where the authors' code has [1, 2, 1]), which fit odd
    sizes.
As in the paper the generator has no output tanh: images are clamped only when sampling.
"""

from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.dcgan import halvings

SLOPE = 0.2
"""Slope of the LeakyReLU for negative values."""
GAIN = (2 / (1 + SLOPE**2)) ** 0.5
"""Gain that preserves the second moment through a LeakyReLU (He et al. 2015, Eq. 15)."""


class Generator(nn.Module):
    """Latents to images: a learned basis, weighted by z, then stages that double the size."""

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        width: int = 768,
        *,
        full_stages: int = 4,
        blocks: int = 2,
        group_width: int = 16,
        num_classes: int = 0,
    ) -> None:
        """Build the network; the defaults are the paper's.

        Args:
            latent_dim: length of z, and of a class's embedding.
            data_shape: (C, H, W), H and W at least 8.
            width: channels of the coarsest stages.
            full_stages: number of stages with this width; it halves with each finer stage.
            blocks: residual blocks per stage.
            group_width: channels of each group of the 3x3 convolutions; divides twice the width.
            num_classes: K; class embeddings are concatenated to z. 0 for an unconditional network.

        Raises:
            ValueError: data_shape is not an image of at least 8x8, or group_width does not divide.
        """
        super().__init__()
        sizes = halvings(data_shape, width=width, group_width=group_width)
        self.sizes = sizes[::-1]  # coarsest first
        widths = stage_widths(width, len(self.sizes), full_stages, group_width)
        self.classes = nn.Embedding(num_classes, latent_dim) if num_classes else None
        if self.classes is not None:  # equivalent to the authors' linear layer of one-hot classes
            nn.init.normal_(self.classes.weight, 0.0, num_classes**-0.5)
        inputs = latent_dim * (2 if num_classes else 1)
        self.weights = _linear(inputs, widths[0])
        self.basis = nn.Parameter(torch.randn(widths[0], *self.sizes[0]))
        self.transitions = nn.ModuleList(_transition(*pair) for pair in pairwise(widths))
        self.stages = _stages(widths, blocks, group_width)
        self.output = _convolution(widths[-1], data_shape[0])

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map latents, (B, latent_dim), and classes, (B,), to unbounded images, (B, C, H, W)."""
        if self.classes is not None:
            z = torch.cat([z, embedded(self.classes, y)], dim=1)  # (B, 2 latent_dim)
        h = self.basis * self.weights(z)[:, :, None, None]  # (B, W_0, h, w)
        h = self.stages[0](h)
        for size, transition, stage in zip(
            self.sizes[1:], self.transitions, self.stages[1:], strict=True
        ):
            h = stage(resample(transition(h), size))  # (B, W_s, *size)
        return self.output(h)  # (B, C, H, W)


class Discriminator(nn.Module):
    """Images to logits: stages that halve the size, then projections on a learned basis."""

    def __init__(
        self,
        data_shape: tuple[int, ...],
        width: int = 768,
        *,
        full_stages: int = 4,
        blocks: int = 2,
        group_width: int = 16,
        num_classes: int = 0,
    ) -> None:
        """Build the network; the arguments are those of `Generator`.

        With classes the logit is the inner product of the features and the class embedding.

        Raises:
            ValueError: data_shape is not an image of at least 8x8, or group_width does not divide.
        """
        super().__init__()
        self.sizes = halvings(data_shape, width=width, group_width=group_width)  # finest first
        widths = stage_widths(width, len(self.sizes), full_stages, group_width)[::-1]
        self.input = _convolution(data_shape[0], widths[0])
        self.stages = _stages(widths, blocks, group_width)
        self.transitions = nn.ModuleList(_transition(*pair) for pair in pairwise(widths))
        height, breadth = self.sizes[-1]
        self.basis = nn.Parameter(
            torch.randn(widths[-1], height, breadth) / (height * breadth) ** 0.5
        )
        self.output = _linear(widths[-1], widths[-1] if num_classes else 1)
        self.classes = nn.Embedding(num_classes, widths[-1]) if num_classes else None
        if self.classes is not None:
            nn.init.normal_(self.classes.weight, 0.0, (num_classes * widths[-1]) ** -0.5)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map images, (B, C, H, W), and classes, (B,), to logits of "real", (B,)."""
        h = self.input(x)  # (B, W_0, H, W)
        for size, transition, stage in zip(
            self.sizes[1:], self.transitions, self.stages[:-1], strict=True
        ):
            h = transition(resample(stage(h), size))  # (B, W_s, *size)
        h = (self.stages[-1](h) * self.basis).sum(dim=(2, 3))  # (B, W_S)
        h = self.output(h)  # (B, 1), or (B, W_S)
        if self.classes is None:
            return h.squeeze(1)
        return (h * embedded(self.classes, y)).sum(dim=1)


class Block(nn.Module):
    """x + f(x), f an inverted bottleneck: 1x1 to twice the channels, grouped 3x3, 1x1 back.

    Fixup (Zhang et al. 2019): the last convolution starts at zero, so that f = 0 initially, and the
        other
    m - 1 = 2 are scaled by L^(-1 / (2m - 2)), with L the number of blocks of the network.

    Args:
        width: channels of x.
        group_width: channels of each group of the 3x3 convolution.
        depth: L.
    """

    def __init__(self, width: int, group_width: int, depth: int) -> None:
        super().__init__()
        inner = 2 * width
        gain = GAIN * depth**-0.25
        self.expand = _convolution(width, inner, gain=gain, bias=True)
        self.mix = _convolution(inner, inner, 3, inner // group_width, gain=gain, bias=True)
        self.contract = _convolution(inner, width, gain=0.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, width, H, W), to the same shape."""
        h = F.leaky_relu(self.expand(x), SLOPE)  # (B, 2 width, H, W)
        h = F.leaky_relu(self.mix(h), SLOPE)
        return x + self.contract(h)


def stage_widths(width: int, stages: int, full_stages: int, group_width: int) -> list[int]:
    """Channels of every stage, coarsest first: the first `full_stages` have `width`, then half.

    Raises:
        ValueError: twice some stage's channels are not a multiple of group_width.
    """
    widths = [width // 2 ** max(0, stage + 1 - full_stages) for stage in range(stages)]
    if any(2 * channels % group_width for channels in widths) or min(widths) < 1:
        raise ValueError(f"group_width must divide twice the channels {widths}, got {group_width}")
    return widths


def resample(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Resize x, (B, W, H, W), by bilinear interpolation, with a low-pass filter if it shrinks."""
    shrinks = size[0] < x.shape[2]
    if not shrinks:
        return F.interpolate(x, size, mode="bilinear")
    wide = x.to(torch.promote_types(x.dtype, torch.float32))  # not implemented in bfloat16 on CPUs
    return F.interpolate(wide, size, mode="bilinear", antialias=True).to(x.dtype)


def embedded(classes: nn.Embedding, y: Tensor | None) -> Tensor:
    """Embeddings of classes, (B, D).

    Raises:
        ValueError: y is None.
    """
    if y is None:
        raise ValueError("y must be classes for a class-conditional network, got None")
    return classes(y)


def _stages(widths: Sequence[int], blocks: int, group_width: int) -> nn.ModuleList:
    depth = blocks * len(widths)
    return nn.ModuleList(
        nn.Sequential(*(Block(width, group_width, depth) for _ in range(blocks)))
        for width in widths
    )


def _transition(before: int, after: int) -> nn.Module:
    return nn.Identity() if before == after else _convolution(before, after)


def _convolution(
    before: int,
    after: int,
    size: int = 1,
    groups: int = 1,
    *,
    gain: float = 1.0,
    bias: bool = False,
) -> nn.Conv2d:
    """A convolution that keeps the image's size, with weights from N(0, gain² / fan_in)."""
    layer = nn.Conv2d(before, after, size, padding=size // 2, groups=groups, bias=bias)
    nn.init.normal_(layer.weight, 0.0, gain * (before // groups * size**2) ** -0.5)
    if layer.bias is not None:
        nn.init.zeros_(layer.bias)
    return layer


def _linear(before: int, after: int) -> nn.Linear:
    """A linear layer without bias, with weights from N(0, 1 / fan_in)."""
    layer = nn.Linear(before, after, bias=False)
    nn.init.normal_(layer.weight, 0.0, before**-0.5)
    return layer
