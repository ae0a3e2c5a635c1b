"""The small denoiser that source document C prints (seeds/002): strided convolutions down and up.

Kept as printed: 4x4 convolutions of stride 2 to 64, 128 and 256 channels, transposed ones back,
ReLUs, no skip connections. Departures, because it could not work otherwise:

- The timestep is an input. As printed the network cannot know how much noise there is. Its
  embedding is added to the 256 channels in the middle.
- No sigmoid at the end: data lie in [-1, 1]. The sigmoid says that the network gives an image, so
  it is trained to predict x_0 (`predicts: x_0` in YAML), which is also all that a bottleneck
  without skips can carry.
- Any number of channels, and sides that 8 does not divide: odd sizes are padded on the way up.
"""

from itertools import pairwise

from torch import Tensor, nn

from models.base import ShapeError
from models.diffusion.networks.embedding import TimeEmbedding
from models.gan.networks.dcgan import upsample

WIDTHS = (64, 128, 256)


class SimpleUNet(nn.Module):
    """Encoder, middle and decoder of the document, with the timestep."""

    def __init__(self, data_shape: tuple[int, ...]) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), sides at least 8.

        Raises:
            ValueError: it is not such.
        """
        super().__init__()
        if len(data_shape) != 3 or min(data_shape[1:]) < 8:
            raise ShapeError(
                f"simple_unet: data_shape must be (C, H, W) with sides >= 8, got {data_shape}: "
                "choose another model, or larger images"
            )
        channels = (data_shape[0], *WIDTHS)
        sizes = [(data_shape[1] >> level, data_shape[2] >> level) for level in range(len(channels))]
        self.down = nn.Sequential()
        for before, after in pairwise(channels):
            self.down += nn.Sequential(nn.Conv2d(before, after, 4, stride=2, padding=1), nn.ReLU())
        self.time = TimeEmbedding(WIDTHS[-1])
        self.up = nn.Sequential()
        for level in reversed(range(len(WIDTHS))):
            self.up.append(upsample(channels[level + 1], channels[level], sizes[level]))
            if level:
                self.up.append(nn.ReLU())

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict from noisy images, (B, C, H, W), and timesteps, (B,), to the images' shape."""
        h = self.down(x_t) + self.time(t)[:, :, None, None]  # (B, 256, H / 8, W / 8)
        return self.up(h)  # (B, C, H, W)
