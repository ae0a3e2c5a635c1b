"""The residual networks of SNGAN, for any image size, with or without classes.

Miyato et al. 2018, App. B.4, Table 4 (32x32) and, with `doubling`, Table 5's generator (48x48, and
64x64 in the authors' code), and Miyato & Koyama 2018 for classes: conditional batch norm in the
generator, a projection in the discriminator. The doubling discriminator downsamples to 4 to 7
pixels, once less than theirs: at 48x48 it lacks the block of 1024 channels in Table 5, at 64x64 its
last block does not downsample. Spectral normalisation is added to the discriminator by
`models.gan.networks.spectral`. Sizes are those of `models.gan.networks.dcgan.halvings`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.dcgan import halvings
from models.layers.norms import NONE, RELU, BatchNorm2d


class Generator(nn.Module):
    """Latents to images through residual blocks that double the size."""

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        width: int = 256,
        *,
        doubling: bool = False,
        num_classes: int = 0,
    ) -> None:
        """Build the network.

        Args:
            latent_dim: length of z.
            data_shape: (C, H, W), H and W at least 8.
            width: channels; 256 in the paper at 32x32.
            doubling: whether they double with every halving of the image, as at 64x64.
            num_classes: K for conditional batch norm; 0 for an unconditional network.

        Raises:
            ValueError: if data_shape is not an image of at least 8x8.
        """
        super().__init__()
        self.sizes = halvings(data_shape, width=width)  # finest first
        levels = len(self.sizes) - 1
        widths = [width * 2**level if doubling else width for level in range(levels + 1)]
        height, breadth = self.sizes[-1]
        self.project = nn.Sequential(
            nn.Linear(latent_dim, widths[-1] * height * breadth),
            nn.Unflatten(1, (widths[-1], height, breadth)),
        )
        self.blocks = nn.ModuleList(
            GeneratorBlock(widths[level + 1], widths[level], self.sizes[level], num_classes)
            for level in reversed(range(levels))
        )
        self.norm = BatchNorm2d(width, activation=RELU)
        self.output = nn.Conv2d(width, data_shape[0], 3, padding=1)
        _initialise(self)

    def forward(self, z: Tensor, y: Tensor | None = None) -> Tensor:
        """Map latents, (B, latent_dim), and classes, (B,), to images in [-1, 1], (B, C, H, W)."""
        h = self.project(z)  # (B, W_L, H / 2^L, W / 2^L)
        for block in self.blocks:
            h = block(h, y)
        return torch.tanh(self.output(self.norm(h)))  # (B, C, H, W)


class Discriminator(nn.Module):
    """Images to logits through residual blocks, a sum over all pixels and a linear layer."""

    def __init__(
        self,
        data_shape: tuple[int, ...],
        width: int = 128,
        *,
        doubling: bool = False,
        num_classes: int = 0,
    ) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), H and W at least 8.
            width: channels; 128 in the paper at 32x32.
            doubling: whether they double with every block, as at 64x64. With doubling all
                downsampling blocks are followed by one further block; otherwise there is one
                downsampling block less, followed by two.
            num_classes: K for the projection; 0 for an unconditional network.

        Raises:
            ValueError: if data_shape is not an image of at least 8x8.
        """
        super().__init__()
        levels = len(halvings(data_shape, width=width)) - 1
        downs, flat = (levels, 1) if doubling else (levels - 1, 2)
        blocks: list[nn.Module] = []
        before = data_shape[0]
        for level in range(downs + flat):
            after = width * 2**level if doubling else width
            blocks.append(DiscriminatorBlock(before, after, down=level < downs, first=level == 0))
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.output = nn.Linear(before, 1)
        self.classes = nn.Embedding(num_classes, before) if num_classes else None
        _initialise(self)

    def forward(self, x: Tensor, y: Tensor | None = None) -> Tensor:
        """Map images, (B, C, H, W), and classes, (B,), to logits of "real", (B,).

        Raises:
            ValueError: there are classes, and y is None.
        """
        h = F.relu(self.blocks(x)).sum(dim=(2, 3))  # (B, W_L)
        logits = self.output(h).squeeze(1)  # (B,)
        if self.classes is None:
            return logits
        if y is None:
            raise ValueError("y must be classes for a class-conditional network, got None")
        return logits + (self.classes(y) * h).sum(dim=1)  # Miyato & Koyama 2018, Eq. 3


class GeneratorBlock(nn.Module):
    """Batch norm, ReLU, upsampling and convolution, twice; the shortcut is upsampled."""

    def __init__(
        self, width_in: int, width_out: int, size: tuple[int, int], num_classes: int
    ) -> None:
        super().__init__()
        self.size = size
        self.norm1 = ClassBatchNorm(width_in, num_classes)
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.norm2 = ClassBatchNorm(width_out, num_classes)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        self.shortcut = nn.Conv2d(width_in, width_out, 1)

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Map x, (B, width_in, h, w), to (B, width_out, *size)."""
        h = F.interpolate(self.norm1(x, y), self.size)  # nearest neighbour
        h = self.conv2(self.norm2(self.conv1(h), y))
        return h + F.interpolate(self.shortcut(x), self.size)  # 1x1 commutes with upsampling


class DiscriminatorBlock(nn.Module):
    """ReLU and convolution, twice, then average pooling, also in the shortcut.

    The first block has no ReLU at its input and pools the image before its shortcut.
    """

    def __init__(self, width_in: int, width_out: int, *, down: bool, first: bool) -> None:
        super().__init__()
        self.down, self.first = down, first
        self.conv1 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.conv2 = nn.Conv2d(width_out, width_out, 3, padding=1)
        changes = down or width_in != width_out
        self.shortcut = nn.Conv2d(width_in, width_out, 1) if changes else None

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, width_in, H, W), to (B, width_out, H, W), or half of H and W."""
        h = self.conv2(F.relu(self.conv1(x if self.first else F.relu(x))))
        shortcut = F.avg_pool2d(x, 2) if self.down else x  # 1x1 commutes with pooling
        if self.shortcut is not None:
            shortcut = self.shortcut(shortcut)
        return (F.avg_pool2d(h, 2) if self.down else h) + shortcut


class ClassBatchNorm(nn.Module):
    """Batch norm and ReLU, with scale and shift per class if any (de Vries et al. 2017)."""

    def __init__(self, width: int, num_classes: int) -> None:
        super().__init__()
        activation = NONE if num_classes else RELU
        self.norm = BatchNorm2d(width, affine=not num_classes, activation=activation)
        self.scales = nn.Embedding(num_classes, width) if num_classes else None
        self.shifts = nn.Embedding(num_classes, width) if num_classes else None

    def forward(self, x: Tensor, y: Tensor | None) -> Tensor:
        """Map x, (B, W, H, W), to the same shape; y are classes, (B,).

        Raises:
            ValueError: there are classes, and y is None.
        """
        h = self.norm(x)
        if self.scales is None or self.shifts is None:
            return h
        if y is None:
            raise ValueError("y must be classes for a class-conditional network, got None")
        return F.relu(self.scales(y)[:, :, None, None] * h + self.shifts(y)[:, :, None, None])


def _initialise(network: nn.Module) -> None:
    """Glorot-uniform weights, as in the authors' code: gain √2 inside blocks; unit scales."""
    for name, module in network.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            inside = name.endswith(("conv1", "conv2"))
            nn.init.xavier_uniform_(module.weight, gain=2**0.5 if inside else 1.0)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, ClassBatchNorm) and module.scales and module.shifts:
            nn.init.ones_(module.scales.weight)
            nn.init.zeros_(module.shifts.weight)
        elif name == "classes" and isinstance(module, nn.Embedding):
            nn.init.xavier_uniform_(module.weight)
