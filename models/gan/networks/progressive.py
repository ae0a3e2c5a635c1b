"""The networks of progressive growing (Karras et al. 2018): small images first, then larger ones.

Equalised learning rates, pixel norm in the generator, minibatch standard deviation in the
discriminator. Sizes are those of `models.gan.networks.dcgan.halvings`; level 0 is the smallest. At
1024x1024 and width 16 the networks are those of the paper (Table 2). The standard deviation is over
the whole batch, as in the text of the paper; its later code uses groups of four.
"""

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.dcgan import halvings

SLOPE = 0.2
FIRST_GAIN = math.sqrt(2.0) / 4
"""Gain of the latents' layer, as in the authors' code; pixel norm cancels it, but not in Adam."""
LAST_LENGTH = 3.0
"""Length of training at the last level; a fade-in, and every other level, has length 1."""


class Place(NamedTuple):
    """A stage of growing.

    Attributes:
        level: level of generated and discriminated images.
        alpha: weight of this level, in [0, 1]; the level below has the rest. 1 after the fade-in.
    """

    level: int
    alpha: float


def place_at(progress: float, levels: int, last_length: float = LAST_LENGTH) -> Place:
    """The stage of growing at a share of the budget.

    Level 0 is trained for one unit; each further level fades in linearly over one unit and is then
    trained for one, the last for `last_length`: with 4 levels the units are 1, 1 + 1, 1 + 1 and
    1 + 3. The paper's unit is 800 thousand images; 400 thousand on CIFAR-10, with 44 units for the
    last.

    Args:
        progress: share of the budget, in [0, 1].
        levels: number of levels, at least 1.
        last_length: length of the last part in units, positive.
    """
    units = 2.0 * (levels - 1) + last_length
    since = progress * units - 1.0  # units since level 1 began to fade in
    if levels == 1 or since < 0:
        return Place(0, 1.0)
    level = min(levels - 1, 1 + int(since // 2.0))
    return Place(level, min(1.0, since - 2.0 * (level - 1)))


class Generator(nn.Module):
    """Latents to images of a level's size, blended with the enlarged ones of the level below."""

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        width: int = 64,
        *,
        max_width: int = 512,
    ) -> None:
        """Build all levels.

        Args:
            latent_dim: length of z.
            data_shape: (C, H, W), H and W at least 8.
            width: channels at the full size; they double with every halving.
            max_width: maximum number of channels.

        Raises:
            ValueError: if data_shape is not an image of at least 8x8.
        """
        super().__init__()
        self.sizes = halvings(data_shape, width=width, max_width=max_width)[::-1]
        widths = _widths(width, max_width, len(self.sizes))
        height, breadth = self.sizes[0]
        self.project = Equalised(nn.Linear(latent_dim, widths[0] * height * breadth), FIRST_GAIN)
        self.first = Equalised(nn.Conv2d(widths[0], widths[0], 3, padding=1))
        self.blocks = nn.ModuleList(
            nn.ModuleList(
                [
                    Equalised(nn.Conv2d(before, after, 3, padding=1)),
                    Equalised(nn.Conv2d(after, after, 3, padding=1)),
                ]
            )
            for before, after in pairwise(widths)
        )
        self.to_image = nn.ModuleList(
            Equalised(nn.Conv2d(w, data_shape[0], 1), gain=1.0) for w in widths
        )

    def forward(self, z: Tensor, place: Place) -> Tensor:
        """Map latents, (B, latent_dim), to unbounded images of the level's size."""
        height, breadth = self.sizes[0]
        h = self.project(pixel_norm(z)).unflatten(1, (-1, height, breadth))
        h = pixel_norm(F.leaky_relu(h, SLOPE))  # (B, W_0, h, w)
        h = pixel_norm(F.leaky_relu(self.first(h), SLOPE))
        below = h
        for level in range(1, place.level + 1):
            below = h
            h = F.interpolate(h, self.sizes[level])  # nearest neighbour
            for conv in cast(Iterable[nn.Module], self.blocks[level - 1]):
                h = pixel_norm(F.leaky_relu(conv(h), SLOPE))  # (B, W_level, *sizes[level])
        image = self.to_image[place.level](h)
        if place.alpha < 1.0:
            small = F.interpolate(self.to_image[place.level - 1](below), self.sizes[place.level])
            image = torch.lerp(small, image, place.alpha)
        return image  # (B, C, *sizes[level])


class Discriminator(nn.Module):
    """Images of the size of a level to logits."""

    def __init__(
        self, data_shape: tuple[int, ...], width: int = 64, *, max_width: int = 512
    ) -> None:
        """Build all levels; for arguments and errors see `Generator`."""
        super().__init__()
        self.sizes = halvings(data_shape, width=width, max_width=max_width)[::-1]
        widths = _widths(width, max_width, len(self.sizes))
        self.from_image = nn.ModuleList(Equalised(nn.Conv2d(data_shape[0], w, 1)) for w in widths)
        self.blocks = nn.ModuleList(
            nn.Sequential(
                Equalised(nn.Conv2d(after, after, 3, padding=1)),
                nn.LeakyReLU(SLOPE),
                Equalised(nn.Conv2d(after, before, 3, padding=1)),
                nn.LeakyReLU(SLOPE),
            )
            for before, after in pairwise(widths)
        )
        height, breadth = self.sizes[0]
        self.last = nn.Sequential(
            Equalised(nn.Conv2d(widths[0] + 1, widths[0], 3, padding=1)),
            nn.LeakyReLU(SLOPE),
            nn.Flatten(),
            Equalised(nn.Linear(widths[0] * height * breadth, widths[0])),
            nn.LeakyReLU(SLOPE),
            Equalised(nn.Linear(widths[0], 1), gain=1.0),
        )

    def forward(self, x: Tensor, place: Place) -> Tensor:
        """Map images of the level's size, (B, C, *sizes[level]), to logits, (B,)."""
        h = F.leaky_relu(self.from_image[place.level](x), SLOPE)
        for level in range(place.level, 0, -1):
            h = F.adaptive_avg_pool2d(self.blocks[level - 1](h), self.sizes[level - 1])
            if level == place.level and place.alpha < 1.0:
                small = F.adaptive_avg_pool2d(x, self.sizes[level - 1])
                below = F.leaky_relu(self.from_image[level - 1](small), SLOPE)
                h = torch.lerp(below, h, place.alpha)
        return self.last(with_deviation(h)).squeeze(1)  # (B,)


class Equalised(nn.Module):
    """A layer with weights from N(0, 1), scaled to He's variance in the forward pass (Sec. 4.1)."""

    def __init__(self, layer: nn.Linear | nn.Conv2d, gain: float = math.sqrt(2.0)) -> None:
        super().__init__()
        nn.init.normal_(layer.weight)
        if layer.bias is not None:
            nn.init.zeros_(layer.bias)
        self.layer = layer
        self.scale = gain / math.sqrt(layer.weight[0].numel())

    def forward(self, x: Tensor) -> Tensor:
        """The layer of x with scaled weights; the input is scaled, which costs less."""
        return self.layer(x * self.scale)


def pixel_norm(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Scale each pixel's channels to unit mean square (Sec. 4.2); x and result are (B, W, …)."""
    x = x.float()
    return x * (x.square().mean(dim=1, keepdim=True) + eps).rsqrt()


def with_deviation(x: Tensor, eps: float = 1e-8) -> Tensor:
    """Add the minibatch's standard deviation, averaged over all values, as a channel (Sec. 3).

    Args:
        x: features, (B, W, H, W').
        eps: keeps the root differentiable.

    Returns:
        (B, W + 1, H, W').
    """
    deviation = (x.float().var(dim=0, unbiased=False) + eps).sqrt().mean()
    return torch.cat([x, deviation.to(x.dtype).expand(len(x), 1, *x.shape[2:])], dim=1)


def _widths(width: int, max_width: int, levels: int) -> list[int]:
    """Channels of every level, the smallest size first."""
    return [min(max_width, width * 2 ** (levels - 1 - level)) for level in range(levels)]
