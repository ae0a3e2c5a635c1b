"""The networks of StyleGAN2 (Karras et al. 2020), for any image size.

https://arxiv.org/abs/1912.04958: a mapping network, modulated and demodulated convolutions with
noise, images summed over sizes ("skip" generator), and a residual discriminator with the standard
deviation of its batch. Sizes are those of `models.gan.networks.dcgan.halvings`, level 0 the
smallest.

Departures: image sizes other than powers of two; the coarsest size may be other than 4x4; images
are enlarged bilinearly (equal to the paper's filter but at the border); the standard deviation is
over the whole batch instead of groups; no truncation.
"""

import math
from collections.abc import Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.networks.dcgan import halvings
from models.gan.networks.progressive import Equalised, with_deviation
from models.gan.networks.r3gan import resample
from models.layers.convolutions import ConvTranspose2d
from models.layers.precision import full_precision

SLOPE = 0.2
GAIN = math.sqrt(2.0)
"""Factor after each LeakyReLU, which keeps the variance of what enters it."""
FILTER = (1.0, 3.0, 3.0, 1.0)
"""Low-pass filter along each side."""


def activation(x: Tensor) -> Tensor:
    """LeakyReLU with slope 0.2, scaled."""
    return GAIN * F.leaky_relu(x, SLOPE)


class Generator(nn.Module):
    """Latents to styles, and styles and noise to images.

    Attributes:
        sizes: of the images of every level, the coarsest first.
        num_styles: L, the number of styles: one per convolution and one for the last image.
        noise_size: P, the number of noise values per sample: one per pixel of every convolution.
    """

    def __init__(
        self,
        latent_dim: int,
        data_shape: tuple[int, ...],
        width: int = 512,
        *,
        max_width: int = 512,
        mapping_layers: int = 8,
        style_dim: int = 512,
    ) -> None:
        """Build the network; the defaults are the paper's at 32x32.

        Args:
            latent_dim: length of z.
            data_shape: (C, H, W), H and W at least 8.
            width: channels at the full size; they double with every halving.
            max_width: maximum number of channels.
            mapping_layers: layers of the mapping network.
            style_dim: W, length of a style.

        Raises:
            ValueError: data_shape is not an image of at least 8x8, or a number is below 1.
        """
        super().__init__()
        self.sizes = halvings(
            data_shape,
            width=width,
            max_width=max_width,
            mapping_layers=mapping_layers,
            style_dim=style_dim,
        )[::-1]
        widths = level_widths(width, max_width, len(self.sizes))
        dims = [latent_dim, *[style_dim] * mapping_layers]
        self.mapping = nn.Sequential(*(MappingLayer(*pair) for pair in pairwise(dims)))
        self.constant = nn.Parameter(torch.randn(widths[0], *self.sizes[0]))
        convolutions = [StyledConvolution(widths[0], widths[0], style_dim, self.sizes[0])]
        for size, (before, after) in zip(self.sizes[1:], pairwise(widths), strict=True):
            convolutions.append(StyledConvolution(before, after, style_dim, size, up=True))
            convolutions.append(StyledConvolution(after, after, style_dim, size))
        self.convolutions = nn.ModuleList(convolutions)
        self.to_image = nn.ModuleList(ToImage(w, data_shape[0], style_dim) for w in widths)
        self.num_styles = len(convolutions) + 1
        self.noise_sizes = [math.prod(layer.size) for layer in convolutions]
        self.noise_size = sum(self.noise_sizes)

    def forward(self, z: Tensor, noise: Tensor) -> Tensor:
        """Map latents, (B, latent_dim), and noise, (B, P), to unbounded images, (B, C, H, W)."""
        styles = self.mapped(z)[:, None].expand(-1, self.num_styles, -1)  # (B, L, W)
        return self.synthesise(styles, noise)

    def mapped(self, z: Tensor) -> Tensor:
        """Styles of latents, (B, latent_dim) to (B, W); latents are normalised first."""
        return self.mapping(z * (z.square().mean(dim=1, keepdim=True) + 1e-8).rsqrt())

    def synthesise(self, styles: Tensor, noise: Tensor) -> Tensor:
        """Map styles, (B, L, W), and noise, (B, P), to unbounded images, (B, C, H, W)."""
        noises = noise.split(self.noise_sizes, dim=1)
        # Copies, since torch's FLOP counter cannot follow a view of a parameter in inference mode.
        h = self.constant.repeat(len(styles), 1, 1, 1)  # (B, W_0, *sizes[0])
        h = self.convolutions[0](h, styles[:, 0], noises[0])  # (B, W_0, *sizes[0])
        image = self.to_image[0](h, styles[:, 1])  # (B, C, *sizes[0])
        for level in range(1, len(self.sizes)):
            for layer in (2 * level - 1, 2 * level):
                h = self.convolutions[layer](h, styles[:, layer], noises[layer])
            image = resample(image, self.sizes[level])
            image = image + self.to_image[level](h, styles[:, 2 * level + 1])
        return image


class Discriminator(nn.Module):
    """Images to logits: levels that halve the size, residual or plain."""

    def __init__(
        self,
        data_shape: tuple[int, ...],
        width: int = 512,
        *,
        max_width: int = 512,
        residual: bool = True,
    ) -> None:
        """Build the network; for arguments and errors see `Generator`.

        Args:
            data_shape: (C, H, W), H and W at least 8.
            width: channels at the full size.
            max_width: maximum number of channels.
            residual: whether each level adds a shortcut.
        """
        super().__init__()
        sizes = halvings(data_shape, width=width, max_width=max_width)
        widths = level_widths(width, max_width, len(sizes))[::-1]  # finest first
        self.from_image = Equalised(nn.Conv2d(data_shape[0], widths[0], 1), gain=1.0)
        self.levels = nn.Sequential(*(Halving(*pair, residual) for pair in pairwise(widths)))
        height, breadth = sizes[-1]
        self.last = Equalised(nn.Conv2d(widths[-1] + 1, widths[-1], 3, padding=1), gain=1.0)
        self.features = Equalised(nn.Linear(widths[-1] * height * breadth, widths[-1]), gain=1.0)
        self.output = Equalised(nn.Linear(widths[-1], 1), gain=1.0)

    def forward(self, x: Tensor) -> Tensor:
        """Map images, (B, C, H, W), to logits, (B,)."""
        h = self.from_image(x).contiguous(memory_format=torch.channels_last)
        h = self.levels(activation(h))  # (B, W_S, h, w)
        h = activation(self.last(with_deviation(h)))
        return self.output(activation(self.features(h.flatten(1)))).squeeze(1)


class MappingLayer(nn.Module):
    """A linear layer and an activation; its weights learn at a hundredth of the rate."""

    def __init__(self, inputs: int, outputs: int, rate: float = 0.01) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(outputs, inputs) / rate)
        self.bias = nn.Parameter(torch.zeros(outputs))
        self.rate = rate
        self.scale = rate / math.sqrt(inputs)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, inputs) to (B, outputs)."""
        return activation(F.linear(x, self.weight * self.scale, self.bias * self.rate))


class ModulatedConv2d(nn.Module):
    """A convolution whose weights are scaled for each sample (Karras et al. 2020, Eq. 1 and 3).

    w'_ijk = s_i w_ijk is applied by scaling the input's channels, and the demodulation
    w''_ijk = w'_ijk / sqrt(sum of w'_ijk² over i and k) by scaling the output's: one convolution
    with shared weights, whatever the number of samples.
    """

    def __init__(
        self, before: int, after: int, kernel: int, *, demodulate: bool = True, up: bool = False
    ) -> None:
        """Build the layer.

        Args:
            before: channels of the input.
            after: channels of the output.
            kernel: side of the kernel; 3 if up.
            demodulate: whether the scale of the output is kept.
            up: whether the sides are doubled, followed by a low-pass filter.
        """
        super().__init__()
        self.layer = (
            ConvTranspose2d(before, after, kernel, stride=2, bias=False)
            if up
            else nn.Conv2d(before, after, kernel, padding=kernel // 2, bias=False)
        )
        nn.init.normal_(self.layer.weight)
        self.gain = 1 / math.sqrt(before * kernel**2)
        self.demodulate = demodulate
        self.up = up

    @property
    def weight(self) -> Tensor:
        """The shared weights w, (C_out, C_in, kernel, kernel)."""
        return self.layer.weight.transpose(0, 1) if self.up else self.layer.weight

    def forward(self, x: Tensor, style: Tensor, size: Sequence[int]) -> Tensor:
        """Convolve images.

        Args:
            x: (B, C_in, H, W).
            style: factor of every channel, (B, C_in).
            size: sides of the result: (H, W), or about twice that if up.

        Returns:
            (B, C_out, *size).
        """
        scaled = self.gain * style.float()
        h = self.layer(x * scaled[:, :, None, None].to(x.dtype))
        if self.up:
            h = blur(h, [target - side + 3 for target, side in zip(size, h.shape[2:], strict=True)])
            h = 4.0 * h
        if self.demodulate:
            h = h * self.demodulation(scaled)[:, :, None, None].to(h.dtype)
        return h

    def demodulation(self, scaled: Tensor) -> Tensor:
        """Factors that give the output of white noise unit variance, (B, C_in) to (B, C_out)."""
        with full_precision(scaled):
            powers = self.weight.float().square().sum(dim=(2, 3))  # (C_out, C_in)
            return (scaled.square() @ powers.T + 1e-8).rsqrt()


class StyledConvolution(nn.Module):
    """A modulated 3x3 convolution, noise, a bias and an activation."""

    def __init__(
        self, before: int, after: int, style_dim: int, size: tuple[int, int], *, up: bool = False
    ) -> None:
        super().__init__()
        self.size = size
        self.style = style_layer(style_dim, before)
        self.convolution = ModulatedConv2d(before, after, 3, up=up)
        self.strength = nn.Parameter(torch.zeros(()))
        self.bias = nn.Parameter(torch.zeros(after))

    def forward(self, x: Tensor, style: Tensor, noise: Tensor) -> Tensor:
        """Map x, (B, before, …), by a style, (B, W), and noise, (B, H W), to (B, after, H, W)."""
        h = self.convolution(x, self.style(style), self.size)
        noise = noise.unflatten(1, self.size)[:, None]  # (B, 1, H, W)
        h = h + self.strength.to(h.dtype) * noise.to(h.dtype)
        return activation(h + self.bias.to(h.dtype)[:, None, None])


class ToImage(nn.Module):
    """A modulated 1x1 convolution without demodulation, and a bias."""

    def __init__(self, width: int, channels: int, style_dim: int) -> None:
        super().__init__()
        self.style = style_layer(style_dim, width)
        self.convolution = ModulatedConv2d(width, channels, 1, demodulate=False)
        self.bias = nn.Parameter(torch.zeros(channels))

    def forward(self, x: Tensor, style: Tensor) -> Tensor:
        """Map x, (B, width, H, W), by a style, (B, W), to (B, channels, H, W) float32."""
        h = self.convolution(x, self.style(style), x.shape[2:])
        return h.float() + self.bias[:, None, None]


class Halving(nn.Module):
    """Two convolutions, the second of which halves the sides, rounding down.

    With a shortcut the result is divided by √2, since it sums two terms of equal variance. This and
    the activations' factors are part of the convolutions' scales.
    """

    def __init__(self, before: int, after: int, residual: bool) -> None:
        super().__init__()
        self.first = ScaledWeights(nn.Conv2d(before, before, 3, padding=1), gain=1.0)
        self.second = ScaledWeights(nn.Conv2d(before, after, 3, stride=2), gain=GAIN)
        self.shortcut = (
            ScaledWeights(nn.Conv2d(before, after, 1, bias=False), gain=1 / GAIN)
            if residual
            else None
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, before, H, W) to (B, after, H // 2, W // 2)."""
        h = F.leaky_relu(self.first(x), SLOPE)
        h = self.second(blur(h, (4, 4)))
        if self.shortcut is None:
            return activation(h)
        return F.leaky_relu(h, SLOPE) + self.shortcut(blur(x, (2, 2), stride=2))


class ScaledWeights(Equalised):
    """A convolution with an equalised learning rate that scales its weights, not its input.

    In training, with large images and few channels, that takes less time.
    """

    layer: nn.Conv2d

    def forward(self, x: Tensor) -> Tensor:
        """The convolution of x, (B, C_in, H, W), without padding other than zeros."""
        layer = self.layer
        return F.conv2d(x, layer.weight * self.scale, layer.bias, layer.stride, layer.padding)


def style_layer(style_dim: int, channels: int) -> Equalised:
    """Styles to factors of channels, which start near 1."""
    linear = nn.Linear(style_dim, channels)
    layer = Equalised(linear, gain=1.0)
    nn.init.ones_(linear.bias)
    return layer


def blur(x: Tensor, padding: Sequence[int], stride: int = 1) -> Tensor:
    """Low-pass filter of images, with gain 1.

    The filter is separable: it multiplies rows and columns by a matrix each. At the sizes of these
    networks this costs a small part of the convolutions around it and runs faster than a
    convolution of each channel by itself, whose gradients, and theirs, take most of a step on CPUs.

    Args:
        x: (B, C, H, W).
        padding: zeros added along each side, (in rows, in columns), one more after than before
            where odd.
        stride: only every such pixel is computed.

    Returns:
        (B, C, H + padding[0] - 3, W + padding[1] - 3) for stride 1, channels last.
    """
    rows, columns = (
        filter_matrix(side, zeros, stride, x.device).to(x.dtype)
        for side, zeros in zip(x.shape[2:], padding, strict=True)
    )
    h = x.permute(0, 2, 3, 1)  # (B, H, W, C)
    h = (rows @ h.flatten(2)).unflatten(2, h.shape[2:])  # (B, H', W, C)
    h = (columns @ h.flatten(0, 1)).unflatten(0, h.shape[:2])  # (B, H', W', C)
    return h.permute(0, 3, 1, 2)


def filter_matrix(side: int, padding: int, stride: int, device: torch.device) -> Tensor:
    """The filter along one side as a matrix, (outputs, side); for arguments see `blur`."""
    last = side + padding - len(FILTER)
    first = torch.arange(0, last + 1, stride, device=device) - padding // 2  # input of tap 0
    tap = torch.arange(side, device=device) - first[:, None]
    matrix = torch.zeros(tap.shape, device=device)
    for k, weight in enumerate(FILTER):
        matrix += weight / sum(FILTER) * (tap == k)
    return matrix


def level_widths(width: int, max_width: int, levels: int) -> list[int]:
    """Channels of every level, the coarsest first."""
    return [min(max_width, width * 2 ** (levels - 1 - level)) for level in range(levels)]
