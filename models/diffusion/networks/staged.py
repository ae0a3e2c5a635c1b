"""The three-part denoiser of source document B (seeds/001): front end, stages, post-processing.

Kept as printed: a 3x3 convolution to 64 channels with ReLU and max pooling by two; a stack of 10
stages of the inverse process, each 64 → 32 → 16 channels with ReLUs; upsampling by two and a 3x3
convolution to the image. Departures (the printed shapes do not fit, and there is no timestep):

- A printed stage ends in 3 channels, enlarges the image eightfold and cannot be followed by the
  next one, which wants 64. Here a stage returns to 64 channels at the same size, by 3x3
  convolutions instead of transposed 2x2 ones of stride 2, and is added to its input, so that ten
  can be stacked.
- Every stage is shifted by an embedding of the timestep.
- Convolutions are padded, so that sizes are kept.
- The document's forward pass leaves the front end out; its example calls it first, as here.
"""

import torch.nn.functional as F
from torch import Tensor, nn

from models.base import ShapeError
from models.diffusion.networks.embedding import TimeEmbedding

WIDTH = 64


class StagedDiffusion(nn.Module):
    """Front end, a stack of stages, and post-processing at the image's size."""

    def __init__(self, data_shape: tuple[int, ...], *, stages: int = 10) -> None:
        """Build the network.

        Args:
            data_shape: (C, H, W), sides at least 8.
            stages: of the inverse process, at least 1; 10 in the document.

        Raises:
            ValueError: an argument is not such.
        """
        super().__init__()
        if len(data_shape) != 3 or min(data_shape[1:]) < 8:
            raise ShapeError(
                f"staged_diffusion: data_shape must be (C, H, W) with sides >= 8, got {data_shape}:"
                " choose another model, or larger images"
            )
        if stages < 1:
            raise ValueError(f"stages must be at least 1, got {stages}")
        self.front_end = nn.Sequential(
            nn.Conv2d(data_shape[0], WIDTH, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2)
        )
        self.time = TimeEmbedding(WIDTH)
        self.stages = nn.ModuleList(
            nn.Sequential(
                nn.Conv2d(WIDTH, WIDTH // 2, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(WIDTH // 2, WIDTH // 4, 3, padding=1),
                nn.ReLU(),
                nn.Conv2d(WIDTH // 4, WIDTH, 3, padding=1),
            )
            for _ in range(stages)
        )
        self.shifts = nn.ModuleList(nn.Linear(WIDTH, WIDTH) for _ in range(stages))
        self.post_processing = nn.Conv2d(WIDTH, data_shape[0], 3, padding=1)

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        """Predict from noisy images, (B, C, H, W), and timesteps, (B,), to the images' shape."""
        h = self.front_end(x_t)  # (B, 64, H / 2, W / 2)
        embedding = F.silu(self.time(t))  # (B, 64)
        for stage, shift in zip(self.stages, self.shifts, strict=True):
            h = h + stage(h + shift(embedding)[:, :, None, None])
        h = F.interpolate(h, x_t.shape[2:])  # nearest neighbour
        return self.post_processing(h)  # (B, C, H, W)
