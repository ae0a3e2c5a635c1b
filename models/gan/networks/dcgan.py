"""The convolutional generator and discriminator of DCGAN (Radford et al. 2016), for any size.

The discriminator's 4x4 convolutions of stride 2 halve the image, rounding down, until its shorter
side is 4 to 7 pixels (28 -> 14 -> 7, 64 -> 32 -> 16 -> 8 -> 4); the generator uses these sizes in
reverse, with output padding for odd sizes. As in the paper, both use batch norm except in the
generator's output and the discriminator's input layer. At 64x64 and width 128 the generator has the
sizes of the paper; the authors' code has 5x5 kernels. Signals are halved along their length, with
kernels of 4 (`models.layers.planes`).
"""

from collections.abc import Callable
from itertools import pairwise

from torch import Tensor, nn

from models.base import ShapeError
from models.layers.convolutions import ConvTranspose2d, FlatLinear
from models.layers.norms import RELU, BatchNorm2d, GroupNorm, leaky_relu
from models.layers.planes import across, convolution, from_planes, is_signal, to_planes

LEAKY = leaky_relu(0.2)
NORMS: dict[str, Callable[[int], list[nn.Module]]] = {
    "batch": lambda channels: [BatchNorm2d(channels, activation=LEAKY), nn.Identity()],
    "layer": lambda channels: [GroupNorm(1, channels, activation=LEAKY), nn.Identity()],
    "none": lambda channels: [nn.Identity(), nn.LeakyReLU(0.2, inplace=True)],
}
"""Normalisations of the discriminator's hidden layers, with their activations.

`nn.Identity` stands where one of the two was a layer of its own: weights are recorded under the
numbers of their layers.
"""


class Generator(nn.Module):
    """Latents to samples through transposed convolutions of stride 2 (Radford et al. 2016, Fig. 1).

    Args:
        latent_dim: length of z.
        data_shape: (C, H, W) or (C, L), sides at least 8.
        width: channels before the output layer; they double with every halving of the sample.

    Raises:
        ValueError: if data_shape is not an image of at least 8x8 or a signal of at least 8 values.
    """

    def __init__(self, latent_dim: int, data_shape: tuple[int, ...], width: int = 64) -> None:
        super().__init__()
        signals = is_signal(data_shape)
        self.dims = 1 + len(data_shape)
        sizes = halvings(data_shape, signals=True, width=width)
        channels = [width * 2**level for level in range(len(sizes) - 1)]  # finest first
        height, breadth = sizes[-1]
        self.project = nn.Sequential(
            nn.Linear(latent_dim, channels[-1] * height * breadth, bias=False),
            nn.Unflatten(1, (channels[-1], height, breadth)),
            BatchNorm2d(channels[-1], activation=RELU),
        )
        layers: list[nn.Module] = []
        for level in range(len(channels) - 1, 0, -1):
            layers += [
                upsample(
                    channels[level], channels[level - 1], sizes[level], bias=False, signals=signals
                ),
                BatchNorm2d(channels[level - 1], activation=RELU),
                nn.Identity(),  # see NORMS
            ]
        last = upsample(width, data_shape[0], sizes[0], signals=signals)
        self.layers = nn.Sequential(*layers, last, nn.Tanh())
        self.apply(initialise)

    def forward(self, z: Tensor) -> Tensor:
        """Map latents, (B, latent_dim), to samples in [-1, 1], (B, *data_shape)."""
        h = self.project(z)  # (B, width * 2^(L-1), H / 2^L, W / 2^L)
        return from_planes(self.layers(h), self.dims)  # (B, *data_shape)


class Discriminator(nn.Module):
    """Samples to logits through convolutions of stride 2 and LeakyReLU(0.2).

    It returns logits: the paper's sigmoid belongs to the loss.

    Args:
        data_shape: (C, H, W) or (C, L), sides at least 8.
        width: channels of the first layer; they double with every halving of the sample.
        norm: "batch", as in the paper; "layer", over all values of one sample, for critics with
            gradient penalties; or "none".
        outputs: logits per sample; 1 gives (B,).

    Raises:
        ValueError: if data_shape is not an image of at least 8x8 or a signal of at least 8 values,
            or norm is unknown.
    """

    def __init__(
        self, data_shape: tuple[int, ...], width: int = 64, *, norm: str = "batch", outputs: int = 1
    ) -> None:
        super().__init__()
        if norm not in NORMS:
            raise ValueError(f"norm must be one of {sorted(NORMS)}, got {norm!r}")
        signals = is_signal(data_shape)
        sizes = halvings(data_shape, signals=True, width=width)
        channels = [width * 2**level for level in range(len(sizes) - 1)]
        layers: list[nn.Module] = [
            convolution(data_shape[0], width, 4, stride=2, padding=1, signals=signals),
            nn.LeakyReLU(0.2, inplace=True),
        ]
        for before, after in pairwise(channels):
            layers += [
                convolution(
                    before, after, 4, stride=2, padding=1, bias=norm == "none", signals=signals
                ),
                *NORMS[norm](after),
            ]
        height, breadth = sizes[-1]
        self.layers = nn.Sequential(*layers)
        features = channels[-1] * height * breadth
        self.output = nn.Sequential(nn.Identity(), FlatLinear(features, outputs))  # see NORMS
        self.apply(initialise)

    def forward(self, x: Tensor) -> Tensor:
        """Map samples, (B, *data_shape), to logits of "real", (B,), or (B, outputs)."""
        h = self.layers(to_planes(x))  # (B, width * 2^(L-1), H / 2^L, W / 2^L)
        return self.output(h).squeeze(1)  # (B,)

    def features(self, x: Tensor) -> Tensor:
        """Map samples, (B, *data_shape), to the inputs of the last layer, (B, D)."""
        return self.layers(to_planes(x)).flatten(1)


def halvings(
    data_shape: tuple[int, ...], *, signals: bool = False, **widths: int
) -> list[tuple[int, int]]:
    """Sizes of planes from full resolution down to a shorter side of 4 to 7, finest first.

    Args:
        data_shape: (C, H, W), or (C, L) for planes of one row that is halved, (1, L).
        signals: whether the network takes signals.
        widths: numbers of channels by the name of their setting, to be checked as well.

    Raises:
        ValueError: if data_shape is not (C, H, W) with H and W at least 8, or (C, L) with L at
            least 8 where signals are taken, or a width is below 1.
    """
    for name, width in widths.items():
        if width < 1:
            raise ValueError(f"{name} must be at least 1, got {width}")
    if signals and is_signal(data_shape):
        if data_shape[1] < 8:
            raise ShapeError(
                "data_shape must be (C, L) with L at least 8, since the networks halve it, got "
                f"{tuple(data_shape)}: choose another model, or longer signals"
            )
        lengths = halvings((1, data_shape[1], data_shape[1]))
        return [(1, length) for length, _ in lengths]
    if len(data_shape) != 3 or min(data_shape[1:]) < 8:
        raise ShapeError(
            "data_shape must be (C, H, W) with H and W at least 8, since the networks halve them, "
            f"got {tuple(data_shape)}: choose another model, or larger images"
        )
    height, breadth = data_shape[1:]
    sizes = [(height, breadth)]
    while min(height, breadth) >= 8:
        height, breadth = height // 2, breadth // 2
        sizes.append((height, breadth))
    return sizes


def upsample(
    before: int,
    after: int,
    target: tuple[int, int],
    *,
    bias: bool = True,
    signals: bool = False,
) -> ConvTranspose2d:
    """A transposed convolution that doubles the sample and reaches an odd target exactly.

    Args:
        before: input channels.
        after: output channels.
        target: (H, W) of the output; the input is (H // 2, W // 2), of signals (1, L // 2).
        bias: whether to add a bias; unnecessary before batch norm.
        signals: whether samples are signals, whose row is doubled in length.
    """
    odd = (0 if signals else target[0] % 2, target[1] % 2)
    return ConvTranspose2d(
        before,
        after,
        kernel_size=across(4, 1, signals=signals),
        stride=across(2, 1, signals=signals),
        padding=across(1, 0, signals=signals),
        output_padding=odd,
        bias=bias,
    )


def initialise(module: nn.Module) -> None:
    """Initialise weights from N(0, 0.02) (Radford et al. 2016, Section 4).

    Batch norm scales are from N(1, 0.02), as in the authors' code; biases are zero.
    """
    if isinstance(module, nn.Linear | nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, 0.0, 0.02)
    elif isinstance(module, nn.BatchNorm2d):
        nn.init.normal_(module.weight, 1.0, 0.02)
    else:
        return
    if module.bias is not None:
        nn.init.zeros_(module.bias)
