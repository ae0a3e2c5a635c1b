"""The discriminator of a denoising diffusion GAN: is x_{t-1} a denoised x_t, or a generated one?"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from models.gan.dcgan import halvings


class Discriminator(nn.Module):
    """Pairs of noisy images and their timestep to logits (Xiao et al. 2022, App. C, Table 7).

    Both images enter side by side; residual blocks with LeakyReLU(0.2) halve them until the shorter
    side is 4 to 7, every block shifted by an embedding of the timestep; the sum over what is left
    gives the logit. There is no batch normalisation. Departures from the authors' code: the few
    timesteps have a learned embedding instead of sinusoids, there is no minibatch standard
    deviation, and every block halves by plain averages.
    """

    def __init__(self, data_shape: tuple[int, ...], num_timesteps: int, *, width: int = 64) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), H and W at least 8.
            num_timesteps: T.
            width: channels before the first block; they double twice at most.

        Raises:
            ValueError: data_shape is not an image of at least 8x8, or width is below 1.
        """
        super().__init__()
        if width < 1:
            raise ValueError(f"width must be at least 1, got {width}")
        levels = len(halvings(data_shape)) - 1
        widths = [width * min(2**level, 4) for level in range(levels + 1)]
        embedding = 4 * width
        self.embed = nn.Embedding(num_timesteps, embedding)
        self.conv_in = nn.Conv2d(2 * data_shape[0], width, 3, padding=1)
        self.blocks = nn.ModuleList(
            Halve(widths[level], widths[level + 1], embedding) for level in range(levels)
        )
        self.last = nn.Linear(widths[-1], 1)

    def forward(self, x_prev: Tensor, x_t: Tensor, t: Tensor) -> Tensor:
        """Judge x_prev.

        Args:
            x_prev: images at timestep t - 1, real or generated, (B, C, H, W).
            x_t: the noisier images that they come from, (B, C, H, W).
            t: timesteps of x_t, (B,) int64 in {0, …, T - 1}.

        Returns:
            Logits of being real, (B,).
        """
        embedding = F.leaky_relu(self.embed(t), 0.2)  # (B, E)
        h = self.conv_in(torch.cat([x_prev, x_t], dim=1))  # (B, W_0, H, W)
        for block in self.blocks:
            h = block(h, embedding)  # (B, W_l, H / 2^l, W / 2^l)
        return self.last(F.leaky_relu(h, 0.2).sum((2, 3))).squeeze(1)  # (B,)


class Halve(nn.Module):
    """A residual block that halves the image: two convolutions, the first shifted by the timestep.

    Args:
        width_in: channels of the input.
        width_out: channels of the output.
        embedding: length of the timestep's embedding.
    """

    def __init__(self, width_in: int, width_out: int, embedding: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(width_in, width_in, 3, padding=1)
        self.conv2 = nn.Conv2d(width_in, width_out, 3, padding=1)
        self.shift = nn.Linear(embedding, width_in)
        self.shortcut = nn.Conv2d(width_in, width_out, 1, bias=False)

    def forward(self, x: Tensor, embedding: Tensor) -> Tensor:
        """Map x, (B, width_in, H, W), to (B, width_out, H // 2, W // 2); embedding is (B, E)."""
        h = self.conv1(F.leaky_relu(x, 0.2))  # (B, width_in, H, W)
        h = h + self.shift(embedding)[:, :, None, None]  # (B, width_in, H, W)
        h = self.conv2(F.avg_pool2d(F.leaky_relu(h, 0.2), 2))  # (B, width_out, H // 2, W // 2)
        return (h + self.shortcut(F.avg_pool2d(x, 2))) * 0.5**0.5
