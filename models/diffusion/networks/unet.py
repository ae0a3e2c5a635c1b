"""The U-Net of DDPM (Ho et al. 2020, App. B), with diffusers' `UNet2DModel` topology.

Weights of either can be mapped to the other. Departures from the paper's code: none in the
function computed; all residual blocks' time projections are one matrix product, and image sizes
that are odd at some level are supported (TensorFlow's "SAME" padding down, the skip's size up).
Signals, (C, L), go through it along their length alone (`models.layers.planes`): the same blocks
with kernels of 3 instead of 3x3.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.base import ShapeError
from models.diffusion.networks.embedding import Sinusoids
from models.layers.convolutions import DoublesSides, with_bias
from models.layers.norms import SILU, GroupNorm
from models.layers.planes import across, convolution, from_planes, is_signal, to_planes


class UNet(nn.Module):
    """Predicts the noise in x_t: a U-Net of residual blocks with attention at chosen levels.

    Level l works at size ceil(H / 2^l) with channels * channel_mult[l] channels. The way down has
    num_res_blocks residual blocks per level, the way up one more.
    """

    def __init__(
        self,
        data_shape: tuple[int, ...],
        *,
        channels: int = 128,
        channel_mult: Sequence[int] = (1, 2, 2, 2),
        num_res_blocks: int = 2,
        attention_levels: Sequence[int] = (1,),
        dropout: float = 0.1,
        groups: int = 32,
        num_classes: int = 0,
        num_times: int = 1,
        out_channels: int | None = None,
        latent_dim: int = 0,
        patch_size: int = 1,
        augment_dim: int = 0,
    ) -> None:
        """Build the network; the last convolution of each residual branch starts near zero.

        Args:
            data_shape: (C, H, W) or (C, L), sides at least 4.
            channels: width at the first level, even.
            channel_mult: width of each level in multiples of channels.
            num_res_blocks: residual blocks per level on the way down.
            attention_levels: levels with self-attention after each residual block; the middle
                always has it. Level 1 is 16x16 for 32x32 images.
            dropout: dropout inside the residual blocks.
            groups: groups of every group norm; must divide all widths.
            num_classes: K; if positive, the network is told a class in {0, …, K}, K for none.
            num_times: T, timesteps that the network is told of each sample.
            out_channels: channels of the output; None for those of the data.
            latent_dim: length of a further input vector; 0 for none.
            patch_size: p; every p x p patch of pixels becomes one pixel of the first level, with
                p² times the channels; of signals every p values, with p times the channels. Sides
                that are no multiple of p are padded at the end.
            augment_dim: number of parameters of an augmentation of the images; 0 for none.

        Raises:
            ValueError: if an argument is out of its range.
        """
        super().__init__()
        widths = [channels * mult for mult in channel_mult]
        _check(data_shape, channels, widths, num_res_blocks, attention_levels, groups, patch_size)
        signals = is_signal(data_shape)
        values = patch_size if signals else patch_size**2  # of one channel in a patch
        self.patch_size = patch_size
        self.sinusoids = Sinusoids(channels)
        embedding = 4 * channels
        self.time_mlp = _mlp(num_times * channels, embedding)
        self.classes = nn.Embedding(num_classes + 1, embedding) if num_classes else None
        self.latent_mlp = _mlp(latent_dim, embedding) if latent_dim else None
        self.augmentation = nn.Linear(augment_dim, embedding, bias=False) if augment_dim else None
        self.conv_in = convolution(data_shape[0] * values, channels, 3, signals=signals)

        self.down = nn.ModuleList()
        skips = [channels]
        width = channels
        for level, width_out in enumerate(widths):
            for _ in range(num_res_blocks):
                attention = level in attention_levels
                self.down.append(Stage(width, width_out, groups, dropout, attention, signals))
                width = width_out
                skips.append(width)
            if level < len(widths) - 1:
                self.down.append(Downsample(width, signals))
                skips.append(width)

        self.middle = nn.ModuleList(
            [
                Stage(width, width, groups, dropout, attention=True, signals=signals),
                Stage(width, width, groups, dropout, attention=False, signals=signals),
            ]
        )

        self.up = nn.ModuleList()
        for level, width_out in reversed(list(enumerate(widths))):
            for _ in range(num_res_blocks + 1):
                attention = level in attention_levels
                joined = width + skips.pop()
                self.up.append(Stage(joined, width_out, groups, dropout, attention, signals))
                width = width_out
            if level > 0:
                self.up.append(Upsample(width, signals))

        self.norm_out = GroupNorm(groups, width, eps=1e-6, activation=SILU)
        out = (out_channels or data_shape[0]) * values  # of one patch of the output
        self.conv_out = convolution(width, out, 3, signals=signals)

        blocks = [m for m in self.modules() if isinstance(m, ResidualBlock)]
        self.block_widths = [block.conv1.out_channels for block in blocks]
        self.time_projections = nn.Linear(embedding, sum(self.block_widths))
        self._initialise()
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(
        self,
        x_t: Tensor,
        t: Tensor,
        y: Tensor | None = None,
        z: Tensor | None = None,
        augmented: Tensor | None = None,
    ) -> Tensor:
        """Predict the noise in x_t, or whatever it is trained to.

        Args:
            x_t: noisy samples, images (B, C, H, W) or signals (B, C, L).
            t: timesteps, (B,), float or integer; (B, T) if the network is told several.
            y: classes, (B,) int64 in {0, …, K}, if the network has them.
            z: the further input, (B, latent_dim), if the network has one.
            augmented: parameters of the augmentation of x_t, (B, augment_dim), if the network has
                them; None stands for zeros, images as they are.

        Returns:
            The prediction, (B, out_channels, H, W) or (B, out_channels, L).
        """
        embedding = self.time_mlp(self.sinusoids(t))  # (B, E)
        if self.classes is not None and y is not None:
            embedding = embedding + self.classes(y)
        if self.latent_mlp is not None and z is not None:
            embedding = embedding + self.latent_mlp(z)
        if self.augmentation is not None and augmented is not None:
            embedding = embedding + self.augmentation(augmented)
        projections = self.time_projections(embedding).float()  # (B, all widths)
        shifts = iter(projections.split(self.block_widths, dim=1))  # each (B, width of its block)

        x = to_planes(x_t)  # (B, C, H, W), of signals (B, C, 1, L)
        h = to_patches(x, self.patch_size)  # (B, C p², H / p, W / p)
        h = self.conv_in(h.contiguous(memory_format=torch.channels_last))  # (B, W_0, H / p, W / p)
        skips = [h]
        for module in self.down:
            h = module(h, next(shifts)) if isinstance(module, Stage) else module(h)
            skips.append(h)
        for module in self.middle:
            h = module(h, next(shifts))  # (B, W_L, H / (p 2^L), W / (p 2^L))
        for module in self.up:
            if isinstance(module, Stage):
                h = module(h, next(shifts), skips.pop())
            else:
                h = module(h, skips[-1].shape[2:])
        h = self.conv_out(self.norm_out(h))  # (B, C p², H / p, W / p)
        h = from_patches(h, self.patch_size, x.shape[2:])  # (B, C, H, W)
        return from_planes(h, x_t.dim())  # the shape of x_t

    def _initialise(self) -> None:
        """Glorot-uniform weights and zero biases; residual branches end near zero (App. B)."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        # The fused matrices are initialised as the separate ones they stand for.
        for weight in self.time_projections.weight.split(self.block_widths):
            nn.init.xavier_uniform_(weight)
        for module in self.modules():
            if isinstance(module, ResidualBlock):
                nn.init.xavier_uniform_(module.conv2.weight, gain=1e-5)
            elif isinstance(module, Attention):
                for weight in module.to_qkv.weight.chunk(3):
                    nn.init.xavier_uniform_(weight)
                nn.init.xavier_uniform_(module.to_out.weight, gain=1e-5)
        nn.init.xavier_uniform_(self.conv_out.weight, gain=1e-5)


def to_patches(x: Tensor, patch_size: int) -> Tensor:
    """Move the pixels of every patch into channels (space-to-depth, Shi et al. 2016, reversed).

    Args:
        x: images, (B, C, H, W); sides that are no multiple of p are padded with zeros at the end.
            Signals, (B, C, 1, L), have patches along their length.
        patch_size: p.

    Returns:
        (B, C p², ceil(H / p), ceil(W / p)), of signals (B, C p, 1, ceil(L / p)).
    """
    if patch_size == 1:
        return x
    if x.shape[2] == 1:
        parts = F.pad(x, (0, -x.shape[3] % patch_size)).unflatten(3, (-1, patch_size))
        return parts.permute(0, 1, 4, 2, 3).flatten(1, 2)
    below, right = -x.shape[2] % patch_size, -x.shape[3] % patch_size
    return F.pixel_unshuffle(F.pad(x, (0, right, 0, below)), patch_size)


def from_patches(patches: Tensor, patch_size: int, size: Sequence[int]) -> Tensor:
    """The inverse of `to_patches` for images of this size, (H, W): (B, C, H, W)."""
    if patch_size == 1:
        return patches
    if size[0] == 1:
        parts = patches.unflatten(1, (-1, patch_size)).permute(0, 1, 3, 4, 2)
        return parts.flatten(3)[..., : size[1]]
    return F.pixel_shuffle(patches, patch_size)[:, :, : size[0], : size[1]]


def _mlp(width: int, embedding: int) -> nn.Sequential:
    """Maps sinusoids or, as in DDGAN (Xiao et al. 2022, App. C), latents to the embedding."""
    return nn.Sequential(
        nn.Linear(width, embedding), nn.SiLU(), nn.Linear(embedding, embedding), nn.SiLU()
    )


class Stage(nn.Module):
    """A residual block, then self-attention where chosen."""

    def __init__(
        self,
        width_in: int,
        width_out: int,
        groups: int,
        dropout: float,
        attention: bool,
        signals: bool,
    ) -> None:
        super().__init__()
        self.block = ResidualBlock(width_in, width_out, groups, dropout, signals)
        self.attention = Attention(width_out, groups) if attention else None

    def forward(self, x: Tensor, shift: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x and skip, side by side (B, width_in, H, W), to (B, width_out, H, W)."""
        h = self.block(x, shift, skip)
        return h if self.attention is None else self.attention(h)


class ResidualBlock(nn.Module):
    """x + conv(SiLU(norm(conv(SiLU(norm(x))) + shift))), the shift from the time embedding."""

    def __init__(
        self, width_in: int, width_out: int, groups: int, dropout: float, signals: bool
    ) -> None:
        super().__init__()
        self.norm1 = GroupNorm(groups, width_in, eps=1e-6, activation=SILU)
        self.conv1 = convolution(width_in, width_out, 3, signals=signals)
        self.norm2 = GroupNorm(groups, width_out, eps=1e-6, activation=SILU)
        self.dropout = nn.Dropout(dropout)
        self.conv2 = convolution(width_out, width_out, 3, signals=signals)
        self.shortcut = nn.Conv2d(width_in, width_out, 1) if width_in != width_out else None

    def forward(self, x: Tensor, shift: Tensor, skip: Tensor | None = None) -> Tensor:
        """Map x and skip, side by side (B, width_in, H, W), to (B, width_out, H, W).

        Args:
            x: images, (B, width_in less those of skip, H, W).
            shift: of every pixel, (B, width_out).
            skip: further channels.
        """
        h, x = self.norm1.joining(x, skip)  # each (B, width_in, H, W)
        h = self.norm2(self.conv1(h), shift)  # (B, width_out, H, W)
        h = self.conv2(self.dropout(h))  # (B, width_out, H, W)
        return h.add_(x if self.shortcut is None else self.shortcut(x))


class Attention(nn.Module):
    """Residual single-head self-attention over all pixels."""

    def __init__(self, width: int, groups: int) -> None:
        super().__init__()
        self.norm = GroupNorm(groups, width, eps=1e-6)
        self.to_qkv = nn.Linear(width, 3 * width)
        self.to_out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map x to the same shape, (B, W, H, W)."""
        height = x.shape[2]
        h, x = self.norm.joining(x)
        tokens = h.permute(0, 2, 3, 1).flatten(1, 2)  # (B, HW, W)
        q, k, v = self.to_qkv(tokens).chunk(3, dim=-1)  # each (B, HW, W)
        # Written out: as fast as the fused kernel at few tokens, twice as fast in bf16 on CPU.
        scores = torch.bmm(q, k.transpose(1, 2) * k.shape[-1] ** -0.5)  # (B, HW, HW)
        h = self.to_out(torch.bmm(scores.softmax(dim=-1).to(v.dtype), v))  # (B, HW, W)
        return x + h.unflatten(1, (height, -1)).permute(0, 3, 1, 2)


class Downsample(nn.Module):
    """Halves the sides, rounding up: a stride-2 convolution with TensorFlow's "SAME" padding."""

    def __init__(self, width: int, signals: bool) -> None:
        super().__init__()
        self.signals = signals
        self.conv = convolution(width, width, 3, stride=2, padding=0, signals=signals)

    def forward(self, x: Tensor) -> Tensor:
        """Map x, (B, W, H, W), to (B, W, ceil(H / 2), ceil(W / 2)), (B, W, 1, L) to half of L."""
        top, left = x.shape[2] % 2, x.shape[3] % 2
        return self.conv(F.pad(x, (left, 1) if self.signals else (left, 1, top, 1)))


class Upsample(DoublesSides):
    """Doubles the sides (nearest neighbour), then convolves.

    Both at once: a transposed convolution with 4x4 kernel, whose taps are sums of the 3x3 kernel's,
    computes the same function with 4 instead of 9 products per output and no enlarged copy. Where
    the skip to meet has an odd side, the last row or column is dropped.
    """

    taps: Tensor

    def __init__(self, width: int, signals: bool) -> None:
        super().__init__()
        self.signals = signals
        self.conv = convolution(width, width, 3, signals=signals)
        taps = torch.tensor([[0.0, 0.0, 1.0], [0.0, 1.0, 1.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]])
        self.register_buffer("taps", taps, persistent=False)

    def forward(self, x: Tensor, size: Sequence[int]) -> Tensor:
        """Map x, (B, W, h, w), to (B, W, *size), the size of the skip to meet."""
        weight, bias = self.transposed()
        stride = across(2, 1, signals=self.signals)
        padding = across(1, 0, signals=self.signals)
        h = F.conv_transpose2d(x, weight, stride=stride, padding=padding)  # (B, W, 2h, 2w)
        return with_bias(h, bias)[:, :, : size[0], : size[1]]

    @property
    def doubled(self) -> tuple[bool, bool]:
        """All signals are planes of one row."""
        return (not self.signals, True)

    def transposed(self) -> tuple[Tensor, Tensor | None]:
        """Weight, (W, W, 4, 4), or (W, W, 1, 4) of signals, and bias of the convolution."""
        if self.signals:
            weight = torch.einsum("oide,be->iodb", self.conv.weight, self.taps)
        else:
            weight = torch.einsum("ad,oide,be->ioab", self.taps, self.conv.weight, self.taps)
        return weight.contiguous(memory_format=torch.channels_last), self.conv.bias


def _check(
    data_shape: tuple[int, ...],
    channels: int,
    widths: Sequence[int],
    num_res_blocks: int,
    attention_levels: Sequence[int],
    groups: int,
    patch_size: int,
) -> None:
    """Raise ValueError on sizes that `UNet` cannot build."""
    if patch_size < 1:
        raise ValueError(f"U-Net: patch_size must be at least 1, got {patch_size}")
    least = 3 * patch_size + 1  # the shortest side of four patches
    if len(data_shape) not in (2, 3) or min(data_shape[1:]) < least:
        patches = f" for patch_size={patch_size}" if patch_size > 1 else ""
        raise ShapeError(
            f"U-Net: data_shape must be (C, H, W) or (C, L) with sides >= {least}{patches}, got "
            f"{data_shape}: choose another model, or larger samples"
        )
    if groups < 1 or num_res_blocks < 1:
        raise ValueError(
            f"groups and num_res_blocks must be at least 1, got {groups} and {num_res_blocks}"
        )
    if channels < 4 or channels % 2:
        raise ValueError(f"channels must be even and at least 4, got {channels}")
    if not widths or any(width < 1 or width % groups for width in (channels, *widths)):
        raise ValueError(f"groups={groups} must divide all widths, got {[channels, *widths]}")
    unknown = set(attention_levels) - set(range(len(widths)))
    if unknown:
        raise ValueError(f"attention_levels must be in 0..{len(widths) - 1}, got {unknown}")
