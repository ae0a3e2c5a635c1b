"""Convolutional encoders and decoders: images to latent vectors, or to small latent maps and back.

Latent vectors are decoded by DCGAN's generator (`models.gan.networks.dcgan.Generator`) and encoded
by its mirror image, so that a VAE and a GAN can use one generating network. Latent maps have
residual blocks at every size, as in Rombach et al. 2022 (App. E); departures: one block per size,
no attention, transposed convolutions for upsampling. Group norm makes the latents of an image
independent of its batch.
"""

from abc import ABC, abstractmethod
from itertools import pairwise

from torch import Tensor, nn

from models.gan.networks.dcgan import halvings, upsample
from models.layers.convolutions import FlatLinear
from models.layers.norms import SILU, GroupNorm

GROUPS = 8
LOG_VARIANCES = (-30.0, 20.0)


class Encoder(nn.Module, ABC):
    """Images to the mean and the log-variance of a Gaussian over latents, of diagonal covariance.

    Args:
        latent_shape: shape of one latent.
    """

    def __init__(self, latent_shape: tuple[int, ...]) -> None:
        super().__init__()
        self.latent_shape = latent_shape

    @abstractmethod
    def moments(self, x: Tensor) -> Tensor:
        """Map images to means, then log-variances, side by side in dimension 1."""

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Map images, (B, C, H, W), to mean and log-variance, each (B, *latent_shape) float32."""
        mean, log_variance = self.moments(x).float().chunk(2, dim=1)
        return mean, log_variance.clamp(*LOG_VARIANCES)  # each (B, *latent_shape)


class VectorEncoder(Encoder):
    """Images to latent vectors: convolutions of stride 2 down to a shorter side of 4 to 7.

    Args:
        latent_dim: length of the latents.
        data_shape: (C, H, W), H and W at least 8.
        width: channels of the first layer, a multiple of 8; they double with every halving.

    Raises:
        ValueError: data_shape or width is out of its range.
    """

    def __init__(self, latent_dim: int, data_shape: tuple[int, ...], *, width: int = 64) -> None:
        super().__init__((latent_dim,))
        _check(data_shape, width)
        sizes = halvings(data_shape)
        channels = [data_shape[0]] + [width * 2**level for level in range(len(sizes) - 1)]
        layers: list[nn.Module] = []
        for before, after in pairwise(channels):
            layers += [nn.Conv2d(before, after, 4, 2, padding=1), *_group_norm_silu(after)]
        height, breadth = sizes[-1]
        last = FlatLinear(channels[-1] * height * breadth, 2 * latent_dim)
        self.layers = nn.Sequential(*layers, nn.Identity(), last)

    def moments(self, x: Tensor) -> Tensor:
        """Map images, (B, C, H, W), to (B, 2 * latent_dim)."""
        return self.layers(x)


class MapEncoder(Encoder):
    """Images to downsampled latent maps.

    Args:
        latent_dim: channels of the latents.
        data_shape: (C, H, W), H and W at least 8.
        width: channels at full size, a multiple of 8; they double with every halving.
        levels: number of halvings; fewer if a side would fall below 4.

    Raises:
        ValueError: data_shape, width or levels is out of its range.
    """

    def __init__(
        self, latent_dim: int, data_shape: tuple[int, ...], *, width: int = 32, levels: int = 2
    ) -> None:
        _check(data_shape, width, levels)
        sizes = map_sizes(data_shape, levels)
        super().__init__((latent_dim, *sizes[-1]))
        widths = [width * 2**level for level in range(len(sizes))]
        layers: list[nn.Module] = [nn.Conv2d(data_shape[0], width, 3, padding=1)]
        for before, after in pairwise(widths):
            layers += [nn.Conv2d(before, after, 4, 2, padding=1), ResidualBlock(after)]
        layers += _group_norm_silu(widths[-1])
        self.layers = nn.Sequential(*layers, nn.Conv2d(widths[-1], 2 * latent_dim, 3, padding=1))

    def moments(self, x: Tensor) -> Tensor:
        """Map images, (B, C, H, W), to (B, 2 * latent_dim, h, w)."""
        return self.layers(x)


class MapDecoder(nn.Module):
    """Latent maps to images, the mirror image of `MapEncoder`; tanh output.

    Args:
        latent_dim: channels of the latents.
        data_shape: (C, H, W), H and W at least 8.
        width: channels at full size, a multiple of 8; they double with every halving.
        levels: number of halvings of the encoder.

    Raises:
        ValueError: data_shape, width or levels is out of its range.
    """

    def __init__(
        self, latent_dim: int, data_shape: tuple[int, ...], *, width: int = 32, levels: int = 2
    ) -> None:
        super().__init__()
        _check(data_shape, width, levels)
        sizes = map_sizes(data_shape, levels)
        widths = [width * 2**level for level in range(len(sizes))]
        layers: list[nn.Module] = [nn.Conv2d(latent_dim, widths[-1], 3, padding=1)]
        for level in range(len(widths) - 1, 0, -1):
            layers += [ResidualBlock(widths[level])]
            layers += [upsample(widths[level], widths[level - 1], sizes[level - 1])]
        layers += _group_norm_silu(width)
        layers += [nn.Conv2d(width, data_shape[0], 3, padding=1), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents, (B, latent_dim, h, w), to images in [-1, 1], (B, C, H, W)."""
        return self.layers(z)


class ResidualBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x)))))).

    Args:
        width: channels, a multiple of 8.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1 = GroupNorm(GROUPS, width, activation=SILU)
        self.norm2 = GroupNorm(GROUPS, width, activation=SILU)
        self.conv1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """Map x to the same shape, (B, W, H, W)."""
        h, x = self.norm1.joining(x)
        return self.conv2(self.norm2(self.conv1(h))).add_(x)


def _group_norm_silu(width: int) -> list[nn.Module]:
    """Both in one layer, and `nn.Identity` in the second's place: weights go by layers' numbers."""
    return [GroupNorm(GROUPS, width, activation=SILU), nn.Identity()]


def map_sizes(data_shape: tuple[int, ...], levels: int) -> list[tuple[int, int]]:
    """Sizes from the image's down to the latent map's, finest first; no side falls below 4."""
    height, breadth = data_shape[1:]
    sizes = [(height, breadth)]
    while len(sizes) <= levels and min(height, breadth) >= 8:
        height, breadth = height // 2, breadth // 2
        sizes.append((height, breadth))
    return sizes


def _check(data_shape: tuple[int, ...], width: int, levels: int = 1) -> None:
    """Raise ValueError for unsupported sizes."""
    if len(data_shape) != 3 or min(data_shape[1:]) < 8:
        raise ValueError(
            "convolutional autoencoders need data_shape (C, H, W) with H and W at least 8, got "
            f"{tuple(data_shape)}: choose another model, or larger images"
        )
    if width < GROUPS or width % GROUPS:
        raise ValueError(f"width must be a positive multiple of {GROUPS}, got {width}")
    if levels < 1:
        raise ValueError(f"levels must be at least 1, got {levels}")
