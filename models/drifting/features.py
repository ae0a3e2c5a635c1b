"""Features of images for the drifting loss, self-supervised on the training data.

A masked autoencoder (Deng et al. 2026, App. A.3): a convolutional ResNet sees images of which half
of the patches are zero, and a decoder restores them. Means and deviations of its feature maps over
patches of several sizes are what samples are compared by (App. A.5).
"""

from abc import abstractmethod
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import Batch, ShapeError
from models.diffusion.networks.unet import to_patches
from models.drifting.field import Features
from models.layers.norms import NONE, RELU, GroupNorm

MASKED = 0.5
"""Share of the patches that are masked."""

POOLED = (2, 4)
"""Sides of the patches whose features are pooled, beside the whole map."""

LEAST_VARIANCE = 1e-6
"""Variances below it count as this, so that the deviation has a finite gradient."""


class FeatureNetwork(nn.Module):
    """A module with features for the drifting loss.

    Attributes:
        extractors: names of the extractors of the evaluation that it is or contains; see
            `GenerativeModel.trains_on`.
    """

    extractors: tuple[str, ...] = ()

    @abstractmethod
    def features(self, x: Tensor) -> Sequence[Features]:
        """Features of samples, (B, *shape)."""

    @abstractmethod
    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """What trains it on real data, with "loss" among its values."""


class MaskedAutoencoder(FeatureNetwork):
    """A ResNet with group norm, whose feature maps are used, and a decoder that trains it.

    Departures: any image size; no cropping of the images; widths and depths are settings.
    """

    def __init__(
        self,
        data_shape: tuple[int, ...],
        *,
        width: int = 64,
        blocks: Sequence[int] = (3, 4, 6, 3),
        patch_size: int = 1,
        groups: int = 32,
        locations: int | None = None,
    ) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), the sides at least 4 patches.
            width: channels of the first stage; every stage but the first doubles them, and halves
                the map, rounding up.
            blocks: residual blocks of each stage.
            patch_size: p; every p x p pixels become one pixel with p² times the channels.
            groups: of every group norm; a divisor of width.
            locations: most locations of a map that enter one by one; a finer map enters by patches
                alone. None for any.

        Raises:
            ValueError: an argument is out of its range.
        """
        super().__init__()
        if patch_size < 1 or len(data_shape) != 3 or min(data_shape[1:]) < 4 * patch_size:
            raise ShapeError(
                f"masked autoencoder: data_shape must be (C, H, W) with sides >= {4 * patch_size} "
                f"for patch_size={patch_size}, got {tuple(data_shape)}: choose another model, or "
                "larger images"
            )
        if groups < 1 or width < 1 or width % groups:
            raise ValueError(f"groups must divide width={width}, got {groups}")
        if not blocks or min(blocks) < 1:
            raise ValueError(f"blocks must be at least 1 per stage, got {list(blocks)}")
        self.patch_size = patch_size
        self.locations = locations
        channels = data_shape[0] * patch_size**2
        widths = [width * 2**stage for stage in range(len(blocks))]
        self.stem = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1, bias=False),
            GroupNorm(groups, width, activation=RELU),
        )
        self.stages = nn.ModuleList()
        before = width
        for stage, (after, depth) in enumerate(zip(widths, blocks, strict=True)):
            strides = [1 if stage == 0 else 2, *(1,) * (depth - 1)]
            inputs = [before, *(after,) * (depth - 1)]
            pairs = zip(inputs, strides, strict=True)
            self.stages.append(nn.Sequential(*(Block(i, after, groups, s) for i, s in pairs)))
            before = after
        self.middle = convolution(before, before, groups)
        self.ups = nn.ModuleList(
            Up(coarse, fine, groups) for coarse, fine in pairwise(reversed(widths))
        )
        self.output = nn.Conv2d(width, channels, 1)

    def _encode(self, patches: Tensor) -> list[Tensor]:
        """The map of every stage, finest first, from (B, C p², H / p, W / p)."""
        h = self.stem(patches.contiguous(memory_format=torch.channels_last))
        maps = []
        for stage in self.stages:
            h = stage(h)  # (B, W · 2^k, H / (p 2^k), W / (p 2^k))
            maps.append(h)
        return maps

    def _decode(self, maps: Sequence[Tensor]) -> Tensor:
        """The restored patches, (B, C p², H / p, W / p) float32."""
        *finer, h = maps
        h = self.middle(h)
        for up, skip in zip(self.ups, reversed(finer), strict=True):
            h = up(h, skip)
        return self.output(h).float()  # (B, C p², H / p, W / p)

    def loss(self, batch: Batch) -> dict[str, Tensor]:
        """Squared error of the restored pixels that were hidden; "loss", 0-dim."""
        patches = to_patches(batch.x, self.patch_size)  # (B, C p², H / p, W / p)
        mask = random_mask(patches)
        restored = self._decode(self._encode(patches * (1 - mask)))
        errors = (restored - patches).square().mean(1, keepdim=True)  # (B, 1, H / p, W / p)
        return {"loss": (errors * mask).sum() / mask.sum().clamp_min(1.0)}

    def features(self, x: Tensor) -> list[Features]:
        """All that samples are compared by, from images, (B, C, H, W)."""
        patches = to_patches(x, self.patch_size)
        squares = Features(patches.float().square().mean((2, 3))[:, None])  # (B, 1, C p²)
        return [squares, *(statistics(h, self.locations) for h in self._encode(patches))]


def random_mask(patches: Tensor) -> Tensor:
    """Hide 2 x 2 pixels at a time, each with probability `MASKED`; 1 where hidden, (B, 1, H, W)."""
    rows, columns = (-(-side // 2) for side in patches.shape[2:])
    hidden = torch.rand(len(patches), 1, rows, columns, device=patches.device) < MASKED
    mask = hidden.repeat_interleave(2, 2).repeat_interleave(2, 3)
    return mask[:, :, : patches.shape[2], : patches.shape[3]].float()


def statistics(h: Tensor, locations: int | None = None) -> Features:
    """Vectors of a feature map (App. A.5): locations, and means and deviations over patches.

    Patches are those of `POOLED` that are smaller than the map, and the whole map.

    Args:
        h: the map, (B, C, H, W).
        locations: see `MaskedAutoencoder`.

    Returns:
        The vectors; locations, the means and the deviations of each size are one group each.
    """
    h = h.float()
    sides = h.shape[2:]
    parts = [h] if locations is None or sides.numel() <= locations else []
    for size in (*(side for side in POOLED if side < min(sides)), None):
        if size is None:
            mean, square = (v.mean((2, 3), keepdim=True) for v in (h, h.square()))
        else:
            mean, square = (F.avg_pool2d(v, size, ceil_mode=True) for v in (h, h.square()))
        parts.append(mean)
        if sides.numel() > 1:
            parts.append((square - mean.square()).clamp_min(LEAST_VARIANCE).sqrt())
    vectors = [part.flatten(2).transpose(1, 2) for part in parts]  # each (B, L, C)
    return Features(torch.cat(vectors, 1), tuple(v.shape[1] for v in vectors))


class Block(nn.Module):
    """Two convolutions with group norm around a shortcut (He et al. 2016, Fig. 2)."""

    def __init__(self, width_in: int, width_out: int, groups: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_out, 3, stride=stride, padding=1, bias=False)
        self.norm1 = GroupNorm(groups, width_out, activation=RELU)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1, bias=False)
        self.norm2 = GroupNorm(groups, width_out, activation=NONE)
        plain = stride == 1 and width_in == width_out
        self.shortcut = None if plain else nn.Conv2d(width_in, width_out, 1, stride=stride)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, width_in, H, W), to (B, width_out, H / stride, W / stride)."""
        h = self.norm2(self.conv2(self.norm1(self.conv1(x))))
        return F.relu(h + (x if self.shortcut is None else self.shortcut(x)))


class Up(nn.Module):
    """Enlarges a map bilinearly, joins the encoder's map of that size, and convolves twice."""

    def __init__(self, coarse: int, fine: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, coarse + fine)
        self.convolutions = nn.Sequential(
            convolution(coarse + fine, fine, groups), convolution(fine, fine, groups)
        )

    def forward(self, h: Tensor, skip: Tensor) -> Tensor:
        """Map h, (B, coarse, h, w), and skip, (B, fine, H, W), to (B, fine, H, W)."""
        h = F.interpolate(h, size=skip.shape[2:], mode="bilinear", align_corners=False)
        return self.convolutions(self.norm(torch.cat([h, skip.to(h.dtype)], dim=1)))


def convolution(width_in: int, width_out: int, groups: int) -> nn.Sequential:
    """A 3x3 convolution, group norm and ReLU."""
    return nn.Sequential(
        nn.Conv2d(width_in, width_out, 3, padding=1, bias=False),
        GroupNorm(groups, width_out, activation=RELU),
    )
